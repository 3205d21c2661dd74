package local_test

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"freshet/internal/cluster"
	"freshet/internal/cluster/clustertest"
	"freshet/internal/cluster/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness opens the cluster of a prefix once; all handles on it are the same.
func harness(dir func(t *testing.T) string) clustertest.Harness {
	var mu sync.Mutex
	open := make(map[string]*local.Cluster)
	return clustertest.Harness{Open: func(t *testing.T, prefix string) cluster.Cluster {
		mu.Lock()
		defer mu.Unlock()
		if c := open[prefix]; c != nil {
			return c
		}
		c, err := local.New(local.Config{Dir: dir(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		open[prefix] = c
		return c
	}}
}

func TestSuite(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		clustertest.Run(t, harness(func(*testing.T) string { return "" }))
	})
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		clustertest.Run(t, harness(func(t *testing.T) string { return t.TempDir() }))
	})
}

package edge

import (
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRequestsAreCountedExactly(t *testing.T) {
	var r requests
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&r)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 2500 {
				r.hit.Inc()
			}
		})
	}
	group.Wait()
	r.failed.Inc()
	want := `# HELP freshet_edge_requests_total ` + strings.Split(requestsDesc.String(), `"`)[3] + `
# TYPE freshet_edge_requests_total counter
freshet_edge_requests_total{outcome="failed"} 1
freshet_edge_requests_total{outcome="hit"} 10000
freshet_edge_requests_total{outcome="miss"} 0
freshet_edge_requests_total{outcome="pass"} 0
freshet_edge_requests_total{outcome="refused"} 0
freshet_edge_requests_total{outcome="stale"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

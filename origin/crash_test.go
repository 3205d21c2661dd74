package origin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus/memory"
	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/telemetry"
)

// childEnv names the data directory of an origin that runs as a child process, which
// the test can kill.
const childEnv = "FRESHET_TEST_ORIGIN"

// childMain runs an origin until it is killed, and prints its address when ready.
func childMain(dir string) int {
	if err := runChild(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runChild(dir string) error {
	ctx := context.Background()
	members, err := local.New(local.Config{})
	if err != nil {
		return err
	}
	docs := cluster.NewDocuments(members, cluster.SitesPrefix)
	if _, err := docs.Put(ctx, "demo", []byte(testSite), "test", "", cluster.AnyVersion); err != nil {
		return err
	}
	o, err := New(node.Env{
		File: &node.File{
			Role: cluster.Origin, Name: "child", Listen: []string{"127.0.0.1:0"},
			Data: dir, Token: document.NewSecret(testToken),
		},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Metrics: prometheus.NewRegistry(),
		Health: telemetry.NewHealth(), Cluster: members, Bus: memory.New(), Version: "test",
	})
	if err != nil {
		return err
	}
	go func() { // until the process is killed, as everything here
		for after := uint64(0); ; {
			nodes, err := members.Nodes(ctx, after)
			if err != nil {
				return
			}
			for len(nodes.List) > 0 {
				if o.env.Health.Err() == nil {
					fmt.Println(nodes.List[0].Addrs[0])
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			after = nodes.Version
		}
	}()
	return o.Run(ctx)
}

// child is an origin in a process of its own.
type child struct {
	cmd  *exec.Cmd
	addr string
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = testWriter{t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.kill()
		t.Fatalf("the child did not come up: %v", err)
	}
	c.addr = strings.TrimSpace(line)
	return c
}

// kill is kill -9; Wait says nothing that is not known.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// call makes one request and returns its status and body; status 0: no answer.
func (c *child) call(client *http.Client, method, host, path string, body []byte) (int, string) {
	req, err := http.NewRequest(method, "http://"+c.addr+path, strings.NewReader(string(body)))
	if err != nil {
		return 0, ""
	}
	req.Host = host
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(got)
}

// publisher changes paths of its own, one after the other, and remembers for each
// what was acknowledged last and what may have been done since.
type publisher struct {
	rng   *rand.Rand
	acked map[string]string // "" means that the object is not there
	open  map[string]string // the change whose answer did not come
	count int
}

func (p *publisher) run(c *child, id int, stop <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-stop:
			return
		default:
		}
		path := fmt.Sprintf("/%d/%d.bin", id, p.rng.IntN(6))
		method, body := "PUT", make([]byte, p.rng.IntN(1+p.rng.IntN(300<<10)))
		for i := range body {
			body[i] = byte(p.rng.Uint32())
		}
		if p.rng.IntN(5) == 0 {
			method, body = "DELETE", nil
		} else {
			body = append(body, path...) // never empty
		}
		p.open[path] = string(body)
		status, _ := c.call(client, method, c.addr, api+path, body)
		switch {
		case status == 0:
			return
		case status/100 == 2, method == "DELETE" && status == 404:
			p.acked[path] = string(body)
			delete(p.open, path)
			p.count++
		default:
			return
		}
	}
}

// TestKillLosesNoAcknowledgedPush kills the origin at random points while several
// clients put and delete. Every change that was acknowledged must be there afterwards,
// and of one that was not either all or nothing. (A killed process tests the order of
// the steps; that each is synced, only a machine without power could.)
func TestKillLosesNoAcknowledgedPush(t *testing.T) {
	const rounds, publishers = 15, 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	all := make([]*publisher, publishers)
	for i := range all {
		all[i] = &publisher{rng: rand.New(rand.NewPCG(seed, uint64(i+1))), acked: map[string]string{}, open: map[string]string{}}
	}
	for round := range rounds {
		c := startChild(t, dir)
		verify(t, c, all, round)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i, p := range all {
			wg.Go(func() { p.run(c, i, stop) })
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond) // the random point
		c.kill()
		close(stop)
		wg.Wait()
	}
	c := startChild(t, dir)
	defer c.kill()
	verify(t, c, all, rounds)
	count := 0
	for _, p := range all {
		count += p.count
	}
	t.Logf("%d changes were acknowledged", count)
	if count < rounds {
		t.Fatalf("only %d changes were acknowledged: this has tested nothing", count)
	}
	// What cut-off uploads have left is gone since the start.
	names, err := os.ReadDir(filepath.Join(dir, "blobs", "staged"))
	if err != nil || len(names) != 0 {
		t.Fatalf("%d unfinished uploads are left, %v", len(names), err)
	}
}

func verify(t *testing.T, c *child, all []*publisher, round int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, p := range all {
		paths := make(map[string]bool)
		for path := range p.acked {
			paths[path] = true
		}
		for path := range p.open {
			paths[path] = true
		}
		for path := range paths {
			status, got := c.call(client, "GET", "demo.test", path, nil)
			if status == 404 {
				got = ""
			} else if status != 200 {
				c.kill()
				t.Fatalf("round %d: %s has the status %d", round, path, status)
			}
			open, wasOpen := p.open[path]
			if got != p.acked[path] && !(wasOpen && got == open) {
				c.kill()
				t.Fatalf("round %d: %s has %d bytes; acknowledged were %d, under way %d (%v)",
					round, path, len(got), len(p.acked[path]), len(open), wasOpen)
			}
			p.acked[path] = got
			delete(p.open, path)
		}
	}
}

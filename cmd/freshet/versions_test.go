package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/cluster/clustertest"
)

// before is the last commit whose binary knows records of version 1 alone.
const before = "b9dedcf2a142d18bd4724c2e83a5f230c63da4eb"

// releaseBefore builds the binary of the release before from the history; "" where there is
// none, as in an archive of the sources or a shallow clone.
func releaseBefore(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return ""
	}
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "tree.tar")
	if out, err := exec.Command("git", "-C", strings.TrimSpace(string(root)), "archive", "-o", archive, before).CombinedOutput(); err != nil {
		t.Logf("git archive: %v: %s", err, out)
		return ""
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	binary := filepath.Join(dir, "freshet")
	build := exec.Command("go", "build", "-o", binary, "./cmd/freshet")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the release before: %v: %s", err, out)
	}
	return binary
}

// twoVersions is a distributor and two edges on Consul, of which any may be of the release
// before, before an origin that says how often it was asked.
type twoVersions struct {
	t    *testing.T
	dir  string
	old  string // binary of the release before
	env  []string
	addr map[string]string // of edges
	api  string
	asks *httptest.Server
}

func newTwoVersions(t *testing.T, old string) *twoVersions {
	t.Helper()
	w := &twoVersions{t: t, dir: t.TempDir(), old: old, addr: map[string]string{}}
	var n atomic.Int64
	w.asks = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "max-age=1000")
		if r.URL.Path != "/plain" {
			rw.Header().Set("Surrogate-Key", "tagged")
		}
		fmt.Fprintf(rw, "%d", n.Add(1))
	}))
	t.Cleanup(w.asks.Close)
	base, consul := freeBase(t), clustertest.StartConsul(t)
	w.api = fmt.Sprintf("http://127.0.0.1:%d", base+devAPIPort)
	bus := fmt.Sprintf("127.0.0.1:%d", base+devBusPort)
	w.env = []string{"FRESHET_API=" + w.api, "FRESHET_TOKEN=correct-horse-battery"}
	const common = `role: %s
name: %s
listen: ["%s"]
admin: 127.0.0.1:0
data: %s
token: {value: correct-horse-battery}
cluster: {kind: consul, address: "%s", secret: {value: the secret that all nodes of a test share}}
bus: {%s, password: {value: a-password-for-tests}}
`
	w.write("d1", fmt.Sprintf(common, "distributor", "d1", strings.TrimPrefix(w.api, "http://"), "d1", consul, `listen: "`+bus+`"`))
	for i, name := range []string{"e1", "e2"} {
		w.addr[name] = fmt.Sprintf("127.0.0.1:%d", base+devEdgePort+i)
		w.write(name, fmt.Sprintf(common, "edge", name, w.addr[name], name, consul, `address: "nats://`+bus+`"`))
	}
	for _, name := range []string{"d1", "e1", "e2"} {
		if err := os.Mkdir(filepath.Join(w.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write("site", "site: demo\nhosts: [demo.example]\norigin: {url: \""+w.asks.URL+"\"}\n")
	return w
}

func (w *twoVersions) path(name string) string { return filepath.Join(w.dir, name+".yaml") }

func (w *twoVersions) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// run starts a node of this release or the one before.
func (w *twoVersions) run(role, name string, old bool) *process {
	w.t.Helper()
	if old {
		return startCommand(w.t, nil, []string{w.old, role, "-c", w.path(name)})
	}
	return start(w.t, nil, role, "-c", w.path(name))
}

// must runs a verb of this release until it succeeds.
func (w *twoVersions) must(args ...string) string {
	w.t.Helper()
	var out string
	within(w.t, 60*time.Second, func() error {
		var code int
		if code, out = runFreshet(w.t, w.env, args...); code != exitOK {
			return fmt.Errorf("freshet %s: exit code %d: %s", strings.Join(args, " "), code, out)
		}
		return nil
	})
	return out
}

// ready waits until so many edges are ready.
func (w *twoVersions) ready(edges int) {
	w.t.Helper()
	within(w.t, 60*time.Second, func() error {
		if out := w.must("nodes"); strings.Count(out, "edge ") < edges || strings.Contains(out, " no ") {
			return fmt.Errorf("nodes:\n%s", out)
		}
		return nil
	})
}

// get asks an edge for a path, and says what it got and whether that was a hit.
func (w *twoVersions) get(edge, path string) (body string, hit bool) {
	w.t.Helper()
	var res *http.Response
	within(w.t, 30*time.Second, func() error {
		req, err := http.NewRequest("GET", "http://"+w.addr[edge]+path, nil)
		if err != nil {
			return err
		}
		req.Host = "demo.example"
		if res, err = http.DefaultClient.Do(req); err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if body = string(text); err == nil && res.StatusCode != 200 {
			err = fmt.Errorf("status %d: %s", res.StatusCode, body)
		}
		return err
	})
	return body, strings.Contains(res.Header.Get("Cache-Status"), "; hit")
}

// warm has each edge store each path.
func (w *twoVersions) warm() {
	for edge := range w.addr {
		for _, path := range []string{"/plain", "/tagged"} {
			w.get(edge, path)
			if _, hit := w.get(edge, path); !hit {
				w.t.Fatalf("%s at %s: no hit", path, edge)
			}
		}
	}
}

func (w *twoVersions) want(edge, path string, hit bool) {
	w.t.Helper()
	if body, got := w.get(edge, path); got != hit {
		w.t.Errorf("%s at %s: hit %t, want %t (%s)", path, edge, got, hit, body)
	}
}

// TestTwoVersionsTogether: nodes of this release and of the one before carry out each
// other's commands: a purge that both can say just as it is meant, and one that the older
// cannot say as a wider one, never as none.
func TestTwoVersionsTogether(t *testing.T) {
	t.Parallel()
	old := releaseBefore(t)
	if old == "" {
		t.Skip("the history does not hold the release before")
	}
	w := newTwoVersions(t, old)
	d := w.run("distributor", "d1", false)
	w.must("site", "apply", w.path("site"))
	w.run("edge", "e1", false)
	w.run("edge", "e2", true)
	w.ready(2)

	w.warm()
	w.must("purge", "http://demo.example/tagged")
	for _, edge := range []string{"e1", "e2"} {
		w.want(edge, "/tagged", false)
		w.want(edge, "/plain", true)
	}
	w.warm()
	w.must("purge", "--tag", "tagged", "--site", "demo")
	for _, edge := range []string{"e1", "e2"} {
		w.want(edge, "/tagged", false)
	}
	w.want("e1", "/plain", true)
	w.want("e2", "/plain", false) // the older purges the site

	if code := d.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	w.run("distributor", "d1", true) // on the log that the newer has written
	w.ready(2)
	w.warm()
	w.must("purge", "http://demo.example/tagged")
	for _, edge := range []string{"e1", "e2"} {
		w.want(edge, "/tagged", false)
		w.want(edge, "/plain", true)
	}
	if code, out := runFreshet(t, w.env, "purge", "--tag", "tagged", "--site", "demo"); code == exitOK {
		t.Errorf("a distributor of the release before has taken what it does not know: %s", out)
	}
}

// TestRestoredBus: the disk of the bus is put back to a copy from before a purge that was
// acknowledged, and the distributor goes on with that. What was purged stays so, nothing is
// acknowledged of the log that has lost it, and purges go on in a new one.
func TestRestoredBus(t *testing.T) {
	t.Parallel()
	w := newTwoVersions(t, "")
	d := w.run("distributor", "d1", false)
	w.must("site", "apply", w.path("site"))
	for edge := range w.addr {
		w.run("edge", edge, false)
	}
	w.ready(2)
	w.warm()
	w.must("purge", "http://demo.example/plain") // so that there is something to go back to
	if code := d.terminate(); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	data, copied := filepath.Join(w.dir, "d1"), t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	d = w.run("distributor", "d1", false)
	w.ready(2)
	w.warm()
	before := map[string]string{}
	for edge := range w.addr {
		before[edge], _ = w.get(edge, "/tagged")
	}
	first := w.must("purge", "http://demo.example/tagged")
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.exited
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}
	w.run("distributor", "d1", false)
	for edge := range w.addr {
		if body, hit := w.get(edge, "/tagged"); hit || body == before[edge] {
			t.Errorf("%s serves %s, a hit %t, of before the purge", edge, body, hit)
		}
	}
	out := w.must("purge", "http://demo.example/plain")
	if !strings.Contains(out, " at 2.") || !strings.Contains(first, " at 1.") {
		t.Errorf("a purge before: %s, and after: %s", first, out)
	}
	for edge := range w.addr {
		w.want(edge, "/plain", false)
	}
	if _, status := runFreshet(t, w.env, "status"); !strings.Contains(status, "the command log was replaced") {
		t.Errorf("status:\n%s", status)
	}
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeAddr is an address of 127.0.0.1 that nobody listens on just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startAlone runs freshet edge --upstream and waits until it serves.
func startAlone(t *testing.T, upstream string) (p *process, addr string) {
	t.Helper()
	addr = freeAddr(t)
	p = start(t, nil, "edge", "--listen", addr, "--upstream", upstream, "--admin", freeAddr(t))
	within(t, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return p, addr
}

func TestALoneEdgeCachesAnyUpstream(t *testing.T) {
	t.Parallel()
	asked := 0
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "%s%s", r.Host, r.RequestURI)
	}))
	defer origin.Close()
	p, addr := startAlone(t, origin.URL)
	for range 3 {
		for _, host := range []string{"a.example", "b.example"} {
			req, err := http.NewRequest("GET", "http://"+addr+"/x?y=z", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != host+"/x?y=z" {
				t.Errorf("host %s got %q", host, body)
			}
		}
	}
	if asked != 2 {
		t.Errorf("the upstream was asked %d times for two hosts, want 2", asked)
	}
	if code := p.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSIGTERMFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "first")
		w.(http.Flusher).Flush()
		close(asked)
		<-release
		fmt.Fprint(w, "-last")
	}))
	defer origin.Close()
	p, addr := startAlone(t, origin.URL)
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		res, err := http.Get("http://" + addr + "/slow")
		if err != nil {
			got <- result{"", err}
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		got <- result{string(body), err}
	}()
	<-asked
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil
		}
		conn.Close()
		return fmt.Errorf("%s still accepts", addr)
	})
	close(release)
	if r := <-got; r.err != nil || r.body != "first-last" {
		t.Errorf("the request under way got %q, %v", r.body, r.err)
	}
	if code := p.wait(20 * time.Second); code != exitOK {
		t.Errorf("exit code %d after a drain, want 0", code)
	}
}

func TestDevShowsAMissAndThenAHit(t *testing.T) {
	t.Parallel()
	base := freeBase(t)
	tmp := t.TempDir()
	p := start(t, []string{"TMPDIR=" + tmp}, "dev", "--listen-base", fmt.Sprint(base))
	within(t, 60*time.Second, func() error {
		if !strings.Contains(p.out.String(), "The CDN is up") {
			return fmt.Errorf("not up yet")
		}
		return nil
	})
	command := regexp.MustCompile(`curl -so /dev/null -D- (http://\S+)`).FindStringSubmatch(p.out.String())
	token := regexp.MustCompile(`FRESHET_API=(\S+) FRESHET_TOKEN=(\S+)`).FindStringSubmatch(p.out.String())
	if command == nil || token == nil {
		t.Fatal("no curl or no token is printed")
	}
	for i, want := range []string{"edge-1; fwd=uri-miss", "edge-1; hit"} {
		res, err := http.Get(command[1])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if got := res.Header.Get("Cache-Status"); res.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("request %d: %d, Cache-Status %q, want %q in it", i+1, res.StatusCode, got, want)
		}
	}
	secure := regexp.MustCompile(`curl -so /dev/null -D- --cacert (\S+) (https://\S+)`).FindStringSubmatch(p.out.String())
	if secure == nil {
		t.Fatal("no curl over TLS is printed")
	}
	res, err := trusting(t, secure[1]).Get(secure[2])
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 || res.Header.Get("Alt-Svc") == "" {
		t.Errorf("over TLS: %s %d %v", res.Proto, res.StatusCode, res.Header)
	}
	if code, out := runFreshet(t, []string{"FRESHET_API=" + token[1], "FRESHET_TOKEN=" + token[2]}, "status", "--json"); code != exitOK || !strings.Contains(out, `"state": "ok"`) {
		t.Errorf("status: exit code %d: %s", code, out)
	}
	if code := p.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDevKeepsItsStateWhereItIsTold(t *testing.T) {
	t.Parallel()
	base, data := freeBase(t), t.TempDir()
	var body string
	for round := range 2 {
		p := start(t, nil, "dev", "--listen-base", fmt.Sprint(base), "--data", data)
		within(t, 60*time.Second, func() error {
			if !strings.Contains(p.out.String(), "The CDN is up") {
				return fmt.Errorf("not up yet")
			}
			return nil
		})
		env := []string{fmt.Sprintf("FRESHET_API=http://127.0.0.1:%d", devAPIPort+base), "FRESHET_TOKEN_FILE=" + filepath.Join(data, "secrets", "token")}
		if round == 0 {
			body = fmt.Sprint("kept by base ", base)
			file := filepath.Join(t.TempDir(), "kept.txt")
			if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out := runFreshet(t, env, "push", file, "demo:/kept.txt"); code != exitOK {
				t.Fatalf("push: exit code %d: %s", code, out)
			}
		}
		res, err := http.Get(fmt.Sprintf("http://127.0.0.11:%d/kept.txt", devEdgePort+base))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != body {
			t.Errorf("round %d: %q, want %q", round, got, body)
		}
		if code := p.terminate(); code != exitOK {
			t.Errorf("round %d: exit code %d", round, code)
		}
	}
}

// TestMistakesSayWhatWhereAndWhatToDo runs wrong command lines and configurations.
func TestMistakesSayWhatWhereAndWhatToDo(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	invalid := filepath.Join(dir, "invalid.yaml")
	if err := os.WriteFile(invalid, []byte("role: edge\nname: e1\nlisten: [\"127.0.0.1:1\"]\nchache:\n  memory: lots\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(dir, "alone.yaml")
	if err := os.WriteFile(alone, []byte("role: edge\nname: e1\nlisten: [\"127.0.0.1:1\"]\ncache:\n  upstream: http://127.0.0.1:2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unreadable := filepath.Join(dir, "unreadable.yaml")
	if err := os.Mkdir(unreadable, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"port in use", []string{"edge", "--upstream", "http://127.0.0.1:9", "--listen", taken.Addr().String(), "--admin", freeAddr(t)},
			exitError, []string{taken.Addr().String(), "in use"}},
		{"no such file", []string{"mid", "-c", filepath.Join(dir, "none.yaml")}, exitNotFound, []string{"none.yaml", "-c"}},
		{"a directory as file", []string{"mid", "-c", unreadable}, exitError, []string{"unreadable.yaml", "directory"}},
		{"an invalid file", []string{"edge", "-c", invalid}, exitInvalid, []string{"invalid.yaml:4:1", `did you mean "cache"`}},
		{"another role's file", []string{"mid", "-c", alone}, exitInvalid, []string{"freshet edge -c"}},
		{"no file", []string{"router"}, exitUsage, []string{"-c"}},
		{"unknown flag", []string{"dev", "--nope"}, exitUsage, []string{"--nope", "--help"}},
		{"unknown command", []string{"serve"}, exitUsage, []string{"serve", "--help"}},
		{"bad upstream", []string{"edge", "--upstream", "ftp://x", "--listen", freeAddr(t)}, exitUsage, []string{"upstream", "http"}},
		{"bad memory", []string{"edge", "--upstream", "http://x", "--memory", "lots"}, exitUsage, []string{"--memory", "lots"}},
		{"a disk's size without a disk", []string{"edge", "--upstream", "http://x", "--disk-size", "1GiB"}, exitUsage, []string{"--disk-size 1GiB", "--disk DIR"}},
		{"a disk without a directory", []string{"edge", "--upstream", "http://x", "--disk", ""}, exitUsage, []string{"--disk", "directory"}},
		{"two sizes for three disks", []string{"edge", "--upstream", "http://x", "--disk", "a", "--disk", "b", "--disk", "c", "--disk-size", "1GiB", "--disk-size", "2GiB"}, exitUsage, []string{"2 times for 3"}},
		{"bad size of a disk", []string{"edge", "--upstream", "http://x", "--disk", dir, "--disk-size", "lots"}, exitUsage, []string{"--disk-size lots"}},
		{"small disk", []string{"edge", "--upstream", "http://x", "--disk", dir, "--disk-size", "1MiB"}, exitUsage, []string{"cache.disk[0].size", "64MiB"}},
		{"a disk twice", []string{"edge", "--upstream", "http://x", "--disk", "/a", "--disk", "/a/", "--disk-size", "1GiB"}, exitUsage, []string{"/a/", "taken"}},
		{"a disk beside a node file", []string{"edge", "-c", alone, "--disk", "/a"}, exitUsage, []string{"--disk", "--upstream"}},
		{"a directory that holds something else", []string{"edge", "--upstream", "http://x", "--listen", freeAddr(t), "--admin", freeAddr(t), "--disk", dir}, exitInvalid, []string{dir, "not a Freshet cache", "directory of its own"}},
		{"ports out of range", []string{"dev", "--listen-base", "60000"}, exitUsage, []string{"--listen-base"}},
		{"nobody at the API", []string{"status", "--api", "http://" + freeAddr(t)}, exitError, []string{"--api", "FRESHET_API"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out := runFreshet(t, []string{"FRESHET_TOKEN=0123456789abcdef"}, tc.args...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("the message lacks %q", want)
				}
			}
			if strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
				t.Error("it panicked")
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

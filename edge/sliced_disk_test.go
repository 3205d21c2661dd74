package edge

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// damage changes a byte of every copy of what that stands in the files of a directory.
func damage(t *testing.T, dir string, what []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.segment"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segments %v, %v", files, err)
	}
	damaged := 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; ; damaged++ {
			i := bytes.Index(data[at:], what)
			if i < 0 {
				break
			}
			at += i
			data[at] ^= 1
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(data[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
	if damaged == 0 {
		t.Fatal("it is not on the disk")
	}
}

// Slices survive a restart. What the disk has let rot since counts as not stored: it is
// fetched again, a slice alone where it can be, and no client gets a byte of it.
func TestSlicesOnDiskSurviveARestart(t *testing.T) {
	p := startPersistent(t)
	some := someBytes(12 * mib)
	large, weak, medium := some[:5*mib+7], some[6*mib:11*mib], some[11*mib:][:600_000]
	bodies := map[string][]byte{"/large": large, "/weak": weak, "/medium": medium}
	asked := make(chan string, 100)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.Header.Get("Range")
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("ETag", map[bool]string{true: `W/"1"`, false: `"1"`}[r.URL.Path == "/weak"])
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bodies[r.URL.Path]))
	})
	p.origin.origin.serve.Store(&h)
	all := func(want ...string) {
		t.Helper()
		for path, body := range bodies {
			a := get(t, p.url+path, "Host: www.test")
			if a.status != 200 || a.body != string(body) {
				t.Errorf("%s: status %d, %d bytes that differ", path, a.status, len(a.body))
			}
			a = get(t, p.url+path, "Host: www.test", "Range: bytes=-5")
			wantBytes(t, path, a, body, len(body)-5, len(body))
		}
		for range want {
			if got := <-asked; !strings.Contains(strings.Join(want, "\n"), got) {
				t.Errorf("the origin was asked for %q, want %q", got, want)
			}
		}
		select {
		case got := <-asked:
			t.Errorf("the origin was asked for %q, too", got)
		default:
		}
	}
	all("/large ", "/weak ", "/medium ")
	p.restart()
	all()
	p.stop()
	damage(t, p.dir, large[2*mib+100:][:1000])
	damage(t, p.dir, weak[3*mib+100:][:1000])
	damage(t, p.dir, medium[300_000:][:1000])
	p.begin()
	// Nothing else can take the place of a slice without a strong validator: the one who
	// finds it out is broken off.
	req, err := http.NewRequest("GET", p.url+"/weak", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "www.test"
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(res); err == nil || got != string(weak[:3*mib]) {
		t.Errorf("/weak: %d bytes, %v", len(got), err)
	}
	all("/large bytes=2097152-3145727", "/weak ", "/medium ")
	all()
}

package h2

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
)

// TestCurlReadsAnEarlyAnswer proves that curl, which has an upload of its own under way
// when the answer comes, reads all of that and takes the transfer for a good one.
func TestCurlReadsAnEarlyAnswer(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not there")
	}
	s := &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/refused-later" {
			_, _ = req.Body.Read(make([]byte, 1000))
		}
		status := 403
		if req.Target == "/small" {
			status = 200
		}
		_ = to.Respond(&exchange.Answer{Status: status, Bytes: []byte("no, thank you"), Length: 13})
	})}
	addr := listen(t, s, nil)
	for _, tc := range []struct {
		path string
		size int
		want string
	}{
		{"/refused", 8 << 20, "no, thank you 403"},
		{"/refused-later", 8 << 20, "no, thank you 403"},
		{"/small", streamWindow, "no, thank you 200"},
	} {
		file := filepath.Join(t.TempDir(), "upload")
		if err := os.WriteFile(file, make([]byte, tc.size), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			for _, how := range [][]string{{"-T", file}, {"--data-binary", "@" + file}} {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				out, err := exec.CommandContext(ctx, curl, append(how, "-sS", "--http2-prior-knowledge", "-w", " %{http_code}", "http://"+addr+tc.path)...).CombinedOutput()
				cancel()
				if err != nil || string(out) != tc.want {
					t.Errorf("%v %s: %q, %v", how, tc.path, out, err)
				}
			}
		}
	}
}

// TestWhatIsSentLateIsBounded proves that a client which goes on with a request that was
// refused is told to stop after lateBytes, that one which ends it or gives it up is not,
// and that all of it is given back to the connection's window.
func TestWhatIsSentLateIsBounded(t *testing.T) {
	s := &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 403})
	})}
	r := dial(t, listen(t, s, nil))
	answered := func(id uint32) {
		t.Helper()
		r.await("the answer", func(f http2.Frame) bool {
			if s, ok := f.(*http2.RSTStreamFrame); ok {
				t.Errorf("stream %d was reset with %v", s.StreamID, s.ErrCode)
			}
			h, ok := f.(*http2.HeadersFrame)
			return ok && h.StreamID == id
		})
	}
	r.open(1, false, post("/")...)
	answered(1)
	_ = r.fr.WriteData(1, false, make([]byte, 100))
	_ = r.fr.WriteData(1, true, nil)
	r.open(3, false, post("/")...)
	answered(3)
	r.open(3, true, "x-sum: 1")
	r.open(5, false, post("/")...)
	answered(5)
	_ = r.fr.WriteRSTStream(5, http2.ErrCodeCancel)
	r.open(7, false, post("/")...)
	answered(7)
	for range lateBytes / maxFrame {
		_ = r.fr.WriteData(7, false, make([]byte, maxFrame))
	}
	if code := r.awaitReset(7); code != http2.ErrCodeNo {
		t.Errorf("reset with %v", code)
	}
	_ = r.fr.WriteData(7, true, make([]byte, maxFrame)) // was on its way
	r.open(9, true, get("/")...)
	answered(9)
	_ = r.fr.WriteData(1, false, []byte("after its end"))
	if code := r.awaitReset(1); code != http2.ErrCodeStreamClosed {
		t.Errorf("reset with %v", code)
	}
}

// eager is a pipe of which one end need not wait for the other one to read.
type eager struct {
	net.Conn
	out chan []byte
}

func (e eager) Write(p []byte) (int, error) {
	e.out <- bytes.Clone(p)
	return len(p), nil
}

// TestLateClientsAreStopped proves that a client which neither goes on nor ends a request
// that was refused is told to stop in the end.
func TestLateClientsAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, end := net.Pipe()
		theirs := eager{end, make(chan []byte, 100)}
		go func() {
			for p := range theirs.out {
				_, _ = end.Write(p)
			}
		}()
		s := &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
			_ = to.Respond(&exchange.Answer{Status: 403})
		})}
		go s.Serve(ours, ConnInfo{Scheme: "http", Remote: anywhere})
		r := begin(t, theirs)
		start := time.Now()
		for id := uint32(1); id < 5; id += 2 {
			r.open(id, false, post("/")...)
			r.await("the answer", func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
			time.Sleep(lateTime / 2)
		}
		for id := uint32(1); id < 5; id += 2 {
			if code := r.awaitReset(id); code != http2.ErrCodeNo {
				t.Errorf("reset with %v", code)
			}
			if at := time.Since(start); at != lateTime+time.Duration(id/2)*lateTime/2 {
				t.Errorf("stream %d was reset after %v", id, at)
			}
		}
		end.Close()
		close(theirs.out)
	})
}

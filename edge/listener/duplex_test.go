package listener

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// TestABodyIsReadWhileItsAnswerIsSent proves that over HTTP/1.1 each side hears the other
// at once, and that the answer is the last of the connection.
func TestABodyIsReadWhileItsAnswerIsSent(t *testing.T) {
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 200, Stream: req.Body, Length: -1})
	}, nil)
	for name, framing := range map[string]struct{ field, piece string }{
		"in chunks":   {"Transfer-Encoding: chunked", "4\r\nping\r\n"},
		"of a length": {"Content-Length: 4000", "ping"},
	} {
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+framing.field+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil) // before a byte of the body was sent
		if err != nil || !res.Close {
			t.Fatalf("%s: %+v, %v", name, res, err)
		}
		for range 100 {
			if _, err := io.WriteString(conn, framing.piece); err != nil {
				t.Fatal(err)
			}
			var got [4]byte
			if _, err := io.ReadFull(res.Body, got[:]); err != nil || string(got[:]) != "ping" {
				t.Fatalf("%s: %q, %v", name, got, err)
			}
		}
		conn.Close()
	}
}

// TestWhatIsReadOfABodyHasNoHoles proves that nobody but its reader takes anything of a
// body whose answer has begun.
func TestWhatIsReadOfABodyHasNoHoles(t *testing.T) {
	const size = 1 << 20
	sums := make(chan string, 1)
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		counted := &lines{}
		_ = to.Respond(&exchange.Answer{Status: 200, Stream: io.TeeReader(req.Body, counted), Length: -1})
		sums <- fmt.Sprint(counted.bytes, counted.wrong)
	}, nil)
	pr, pw := io.Pipe()
	go func() {
		for n := 0; n < size; n += 16 {
			if _, err := fmt.Fprintf(pw, "%015d\n", n/16); err != nil {
				return
			}
		}
		pw.Close()
	}()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	req, _ := http.NewRequest("POST", "http://"+s.plain+"/", pr)
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if sum := <-sums; sum != fmt.Sprint(size, false) || n != size || err != nil {
		t.Errorf("%s, %d of %d back, %v", sum, n, size, err)
	}
}

// lines checks that what is written to it are numbered lines.
type lines struct {
	rest  []byte
	next  int
	bytes int
	wrong bool
}

func (l *lines) Write(p []byte) (int, error) {
	l.bytes += len(p)
	l.rest = append(l.rest, p...)
	for ; len(l.rest) >= 16; l.rest = l.rest[16:] {
		l.wrong = l.wrong || string(l.rest[:16]) != fmt.Sprintf("%015d\n", l.next)
		l.next++
	}
	return len(p), nil
}

// TestAnAnswerBeforeItsRequestIsHeard proves that a client which is still sending gets all
// of an early answer, that the connection ends with it, and that who reads the body hears
// that it is over.
func TestAnAnswerBeforeItsRequestIsHeard(t *testing.T) {
	read := make(chan error, 1)
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		var p [1]byte
		_, _ = req.Body.Read(p[:]) // somebody has begun
		reading := make(chan struct{})
		go func() {
			close(reading)
			_, err := io.Copy(io.Discard, req.Body)
			read <- err
		}()
		<-reading
		text := strings.Repeat("too much. ", 1000)
		_ = to.Respond(&exchange.Answer{Status: 413, Bytes: []byte(text), Length: int64(len(text))})
	}, nil)
	for name, framing := range map[string]string{
		"in chunks": "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "of a length": "Content-Length: 1000000000\r\n\r\nx", "almost whole": "Content-Length: 2\r\n\r\nx",
	} {
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+framing); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 413 || !res.Close || len(body) != 10000 {
			t.Errorf("%s: %d, %d bytes, last %t, %v", name, res.StatusCode, len(body), res.Close, err)
		}
		if err := <-read; err == nil {
			t.Errorf("%s: the body has come to an end", name)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("%s: the connection ends with %v", name, err)
		}
	}
}

// TestABodyThatNobodyReadsKeepsTheConnection proves that a small one costs its client no
// connection when it is answered without a look at it.
func TestABodyThatNobodyReadsKeepsTheConnection(t *testing.T) {
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		_ = to.Respond(&exchange.Answer{Status: 403, Bytes: []byte("no"), Length: 2})
	}, nil)
	conn := s.dial(s.plain)
	r := bufio.NewReader(conn)
	for range 3 {
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 403 || res.Close {
			t.Fatalf("%+v, %v", res, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSilenceIsUsualWhereAnAnswerHasBegun proves which bodies may be silent for longer
// than the time between two pieces.
func TestSilenceIsUsualWhereAnAnswerHasBegun(t *testing.T) {
	const short = 50 * time.Millisecond
	ended := make(chan error, 1)
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		if strings.HasPrefix(req.Target, "/answered") {
			_ = to.Respond(&exchange.Answer{Status: 200, Stream: req.Body, Length: -1})
			return
		}
		_, err := io.Copy(io.Discard, req.Body)
		ended <- err
		_ = to.Respond(&exchange.Answer{Status: 200})
	}, func(c *Config) { c.Limits.BodyTimeout = short })
	begin := func(target, fields string) (io.Writer, *bufio.Reader) {
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, "POST "+target+" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"+fields+"\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	toAnswered, answered := begin("/answered", "")
	res, err := http.ReadResponse(answered, nil)
	if err != nil {
		t.Fatal(err)
	}
	toGRPC, grpc := begin("/grpc", "Content-Type: application/grpc+proto\r\n")
	_, silent := begin("/silent", "") // by its end the others have been silent for as long
	if status, err := silent.ReadString('\n'); err != nil || !strings.Contains(status, " 200 ") {
		t.Fatalf("%q, %v", status, err)
	}
	if err := <-ended; err == nil || s.cutBy(limits.BodyTimeout) != 1 {
		t.Errorf("the silent body ends with %v, %v are counted", err, s.cutBy(limits.BodyTimeout))
	}
	for _, w := range []io.Writer{toAnswered, toGRPC} {
		if _, err := io.WriteString(w, "3\r\nend\r\n0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "end" {
		t.Errorf("%q, %v", body, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the body of gRPC: %v", err)
	}
	if res, err := http.ReadResponse(grpc, nil); err != nil || res.StatusCode != 200 {
		t.Errorf("%v, %v", res, err)
	}
}

// TestTheHeadOfAnAnswerWaitsForNoBody proves that a client learns of an answer before
// anything of its body is there, in either lane of HTTP/1.1.
func TestTheHeadOfAnAnswerWaitsForNoBody(t *testing.T) {
	bodies := make(chan *io.PipeWriter, 1)
	s := startServer(t, func(req *exchange.Request, to exchange.Responder) {
		pr, pw := io.Pipe()
		bodies <- pw
		_ = to.Respond(&exchange.Answer{Status: 200, Stream: pr, Length: -1})
	}, nil)
	for name, request := range map[string]string{"fast lane": get, "full lane": post} {
		conn := s.dial(s.plain)
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body := <-bodies
		var got [3]byte
		for range 3 {
			if _, err := io.WriteString(body, "one"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, got[:]); err != nil || string(got[:]) != "one" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		body.Close()
	}
}

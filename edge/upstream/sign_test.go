package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/header"
	"freshet/internal/ring"
)

// The keys of AWS's published examples.
const (
	testAccess = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// verifySigned checks the signature of a request as a server of S3 does, from the text of
// "Authenticating Requests (AWS Signature Version 4)" alone: over the target as it came.
func verifySigned(method, host, target string, h http.Header, secret string) error {
	auth, ok := strings.CutPrefix(h.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return errors.New("not signed")
	}
	part := make(map[string]string)
	for item := range strings.SplitSeq(auth, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		part[name] = value
	}
	credential := strings.Split(part["Credential"], "/")
	if len(credential) != 5 || credential[3] != "s3" || credential[4] != "aws4_request" || !strings.HasPrefix(h.Get("X-Amz-Date"), credential[1]) {
		return fmt.Errorf("credential %q of %s", credential, h.Get("X-Amz-Date"))
	}
	signed := strings.Split(part["SignedHeaders"], ";")
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return fmt.Errorf("signed fields %q", signed)
	}
	for name := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(signed, name) {
			return fmt.Errorf("%s is not signed", name)
		}
	}
	path, query, _ := strings.Cut(target, "?")
	params := strings.Split(query, "&")
	slices.Sort(params)
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n%s\n%s\n", method, path, strings.Join(params, "&"))
	for _, name := range signed {
		value := strings.Join(h.Values(name), ",")
		if name == "host" {
			value = host
		}
		fmt.Fprintf(&text, "%s:%s\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&text, "\n%s\n%s", part["SignedHeaders"], h.Get("X-Amz-Content-Sha256"))
	sum := sha256.Sum256([]byte(text.String()))
	key := []byte("AWS4" + secret)
	for _, message := range append(credential[1:], fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", h.Get("X-Amz-Date"), strings.Join(credential[1:], "/"), sum)) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(message))
		key = mac.Sum(nil)
	}
	if got := part["Signature"]; got != hex.EncodeToString(key) {
		return fmt.Errorf("signature %s, want %x of\n%s", got, key, text.String())
	}
	return nil
}

// TestTheVerifierKnowsThePublishedExamples: AWS's own, of "Signature Calculations for the
// Authorization Header", so that what the verifier says of our requests counts.
func TestTheVerifierKnowsThePublishedExamples(t *testing.T) {
	for _, tc := range []struct{ target, signed, signature, wrong string }{
		{"/test.txt", "host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "/text.txt"},
		{"/?max-keys=2&prefix=J", "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", "/?max-keys=2&prefix=K"},
		{"/?lifecycle=", "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", "/"},
	} {
		h := http.Header{
			"X-Amz-Date": {"20130524T000000Z"}, "X-Amz-Content-Sha256": {noBody}, "Range": {"bytes=0-9"},
			"Authorization": {"AWS4-HMAC-SHA256 Credential=" + testAccess + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + tc.signed + ",Signature=" + tc.signature},
		}
		if err := verifySigned("GET", "examplebucket.s3.amazonaws.com", tc.target, h, testSecret); err != nil {
			t.Errorf("%s: %v", tc.target, err)
		}
		if verifySigned("GET", "examplebucket.s3.amazonaws.com", tc.wrong, h, testSecret) == nil {
			t.Errorf("%s passes with the signature of %s", tc.wrong, tc.target)
		}
	}
}

// prepared is a request as it is sent to a server.
func prepared(s *Server, method, target string, fields ...string) (*http.Request, error) {
	hr, err := http.NewRequest(method, "http://s3.example:9000", nil)
	if err != nil {
		return nil, err
	}
	if hr.Host = "shop.example"; s.Host != "" {
		hr.Host = s.Host
	}
	setTarget(hr.URL, target, hr.Host)
	for i := 0; i < len(fields); i += 2 {
		hr.Header.Add(fields[i], fields[i+1])
	}
	return hr, s.Prepare(hr)
}

// TestSignaturesAreThoseOfAnotherImplementation: what is sent, path and signature, is what
// botocore 1.43 (S3SigV4Auth) sends for the same objects at the same moment.
func TestSignaturesAreThoseOfAnotherImplementation(t *testing.T) {
	for _, tc := range []struct{ target, sent, signature string }{
		{"/a%20b", "/bucket/a%20b", "8d5e6fd6d88566101c21d481e209da916d4a6ce2e6a4b5549fc8667957e1b052"},
		{"/a+b", "/bucket/a%2Bb", "f96fc3afce5afea93d7b4b6a1d0798ee60e99165d320b65824c9808753f87625"},
		{"/%c3%bc/%E6%97%A5", "/bucket/%C3%BC/%E6%97%A5", "8b809bba68e4217dbff8dfa1aa7356ad2ba459281913e8494a4307fd15a3292a"},
		{"/(x)!*'", "/bucket/%28x%29%21%2A%27", "d7d367914ea00746d48566000d0c504b2a54da65afa78bbaa890a407d3c0979e"},
		{"//double/", "/bucket//double/", "49c1a53f0d4de22f0e42f04a9a65b271221307ab6116d27c463652063f4cd311"},
		{"/100%25", "/bucket/100%25", "9d85784b1c5a2c34ce08cfcbb13a6c1fe29fea0e876c3698b97eba6c998a6efa"},
		{"/%7Et-_.", "/bucket/~t-_.", "a37a5fede9ce5e5351f707489f75936d2da13c43c55b1a93ae26df5bcc0521e3"},
	} {
		synctest.Test(t, func(t *testing.T) { // where it is midnight of January 1st, 2000, UTC
			s := &Server{Host: "s3.example:9000", PathPrefix: "/bucket", S3: &S3{Region: "eu-central-1", AccessKey: testAccess, SecretKey: testSecret}}
			hr, err := prepared(s, "GET", tc.target)
			if err != nil {
				t.Fatal(err)
			}
			want := "AWS4-HMAC-SHA256 Credential=" + testAccess + "/20000101/eu-central-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + tc.signature
			if got := hr.Header.Get("Authorization"); got != want || hr.URL.RequestURI() != tc.sent {
				t.Errorf("%s is sent as %s, %s\nwant %s, %s", tc.target, hr.URL.RequestURI(), got, tc.sent, want)
			}
		})
	}
}

// TestSignedRequestsPassOverRealSockets: whatever the client sends, the server gets a
// request that its signature covers, and nothing of the client's that is an order to S3.
func TestSignedRequestsPassOverRealSockets(t *testing.T) {
	seen := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := r.RequestURI
		if u, err := url.Parse(target); err == nil && u.IsAbs() { // absolute form
			target = strings.TrimPrefix(target, "http://"+r.Host)
		}
		seen <- r
		if err := verifySigned(r.Method, r.Host, target, r.Header, testSecret); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	defer server.Close()
	client := NewClient(time.Now, ring.NewLoads(time.Now))
	defer client.Close()
	for _, prefix := range []string{"", "/bucket", "/b%20u"} {
		for _, target := range []string{"/a", "/a?b=c&list-type=2", "/a%20b+c", "/%C3%BC", "//x//y/", "/a%2Fb", "/a;b=c:d@e", "/%00", "/a?"} {
			for _, method := range []string{"GET", "HEAD"} {
				s := &Server{Host: "bucket.s3.example", PathPrefix: prefix, Header: [][2]string{{"X-Own", "1"}}, S3: &S3{Region: "r", AccessKey: "id", SecretKey: testSecret}}
				h := new(header.Block)
				for _, field := range [][2]string{
					{"Authorization", "Basic Zm9v"}, {"x-amz-request-payer", "requester"}, {"X-Amz-Date", "19990101T000000Z"}, {"X-Own", "2"},
					{"Range", "bytes=0-0"}, {"Accept-Encoding", "gzip,  br"}, {"X-Two", "1"}, {"X-Two", "2"},
				} {
					if err := h.Add(field[0], field[1]); err != nil {
						t.Fatal(err)
					}
				}
				reply, err := client.Do(t.Context(), Parent{Name: "s3", URL: server.URL, Kind: Outside, Server: s}, Request{Method: method, Host: "shop.example", Target: target, Header: h})
				if err != nil {
					t.Fatalf("%s%s: %v", prefix, target, err)
				}
				body, _ := io.ReadAll(reply.Body)
				reply.Body.Close()
				r := <-seen
				if reply.Status != 200 {
					t.Errorf("%s %s%s: %d %s", method, prefix, target, reply.Status, body)
				}
				if r.Host != "bucket.s3.example" || r.URL.RawQuery != "" || r.Header.Get("X-Amz-Request-Payer") != "" || len(r.Header["Authorization"]) != 1 || !slices.Equal(r.Header["X-Own"], []string{"1"}) {
					t.Errorf("%s%s: sent %s %s %v", prefix, target, r.Host, r.URL, r.Header)
				}
			}
		}
	}
}

// TestWhatIsNotAsked: bodies and methods that write, the list of a bucket, names that are
// none, and paths that lead out of the prefix; and a server whose secrets are missing.
func TestWhatIsNotAsked(t *testing.T) {
	s3 := &Server{PathPrefix: "/bucket", S3: &S3{Region: "r", AccessKey: "id", SecretKey: "key"}}
	plain := &Server{PathPrefix: "/tenant"}
	for _, tc := range []struct {
		server         *Server
		method, target string
	}{
		{s3, "PUT", "/a"}, {s3, "DELETE", "/a"}, {s3, "POST", "/a"}, {s3, "OPTIONS", "*"}, {s3, "GET", "/"}, {s3, "GET", "//"}, {s3, "GET", "/%2f?list-type=2"},
		{s3, "GET", "/%ff"}, {s3, "GET", "/%zz"}, {s3, "GET", "/.."}, {s3, "GET", "/a/%2E./../other/b"},
		{plain, "GET", "/.."}, {plain, "GET", "/../other/x"}, {plain, "POST", "/a/%2e%2E/%2e./x"}, {plain, "GET", `/a\..\..\x`}, {plain, "GET", "/a%2f..%5c..%2fx"}, {plain, "GET", "/..;a=b/x"},
	} {
		if _, err := prepared(tc.server, tc.method, tc.target); !errors.Is(err, ErrRefused) {
			t.Errorf("%s %s: %v", tc.method, tc.target, err)
		}
	}
	missing := errors.New("secret x is missing")
	if _, err := prepared(&Server{err: missing}, "GET", "/a"); !errors.Is(err, missing) {
		t.Errorf("asked without its secret: %v", err)
	}
}

// TestPathPrefix: it stands before the path and nothing else of the target changes.
func TestPathPrefix(t *testing.T) {
	for target, want := range map[string]string{
		"/":           "/shop/",
		"/a?b=c":      "/shop/a?b=c",
		"/a?":         "/shop/a?",
		"//a//b?c":    "/shop//a//b?c",
		"/a..b/...":   "/shop/a..b/...",
		"/%41%2f+%zz": "/shop/%41%2f+%zz",
		"//h/%zz":     "/shop//h/%zz",
		"*":           "*",
	} {
		hr, err := prepared(&Server{PathPrefix: "/shop", Header: [][2]string{{"user-agent", "u"}}}, "GET", target, "User-Agent", "client", "X-A", "1")
		if err != nil {
			t.Fatal(err)
		}
		if got := hr.URL.RequestURI(); got != want || !slices.Equal(hr.Header["User-Agent"], []string{"u"}) || hr.Header.Get("X-A") != "1" {
			t.Errorf("%s is sent as %s, %v, want %s", target, got, hr.Header, want)
		}
	}
}

// FuzzPrepare: whatever is not refused is signed as it is sent, below the prefix.
func FuzzPrepare(f *testing.F) {
	for _, seed := range []string{"/a", "//a", "/a%20b?c=d", "/%e2%82%ac+", "/..", "/a/%2e%2e", "*", "/%ff", "/\xff"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, target string, signed bool) {
		if !strings.HasPrefix(target, "/") || strings.ContainsAny(target, " #\x7f") || strings.ContainsFunc(target, func(r rune) bool { return r < ' ' }) {
			return // no target that a listener lets in
		}
		s := &Server{PathPrefix: "/p", Host: "h"}
		if signed {
			s.S3 = &S3{Region: "r", AccessKey: "id", SecretKey: "key"}
		}
		hr, err := prepared(s, "GET", target)
		if err != nil {
			return
		}
		sent := hr.URL.RequestURI()
		if !strings.HasPrefix(sent, "/p/") {
			t.Fatalf("%q is sent as %q", target, sent)
		}
		if !signed {
			if sent != "/p"+target {
				t.Fatalf("%q is sent as %q", target, sent)
			}
			return
		}
		if err := verifySigned("GET", hr.Host, sent, hr.Header, "key"); err != nil {
			t.Fatalf("%q: %v", target, err)
		}
	})
}

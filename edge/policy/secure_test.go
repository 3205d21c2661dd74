package policy

import (
	"testing"

	"freshet/edge/exchange"
	"freshet/internal/site"
)

func TestSitesSendClientsToHTTPS(t *testing.T) {
	doc, err := site.Parse("f", []byte("site: s\nhosts: ['*']\nhttps: {redirect: true, hsts: 1h}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, scheme, host, target string
		port, status                 int
		location                     string
	}{
		{"GET", "http", "a.example", "/x?y", 443, 301, "https://a.example/x?y"},
		{"HEAD", "http", "a.example", "//evil.example/", 443, 301, "https://a.example//evil.example/"},
		{"POST", "http", "a.example", "/", 8443, 308, "https://a.example:8443/"},
		{"GET", "http", "2001:db8::1", "/", 8443, 301, "https://[2001:db8::1]:8443/"},
		{"GET", "https", "a.example", "/", 443, 0, ""},
	} {
		r := s.Secure(&exchange.Request{Method: tc.method, Scheme: tc.scheme, Host: tc.host, Port: "8080", Target: tc.target}, tc.port)
		if r.Status != tc.status || r.Location != tc.location {
			t.Errorf("%s %s://%s%s: %+v", tc.method, tc.scheme, tc.host, tc.target, r)
		}
	}
	if got := s.StrictTransportSecurity(); got != "max-age=3600" {
		t.Errorf("Strict-Transport-Security %q", got)
	}
}

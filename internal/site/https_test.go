package site

import (
	"strings"
	"testing"
)

func TestStrictTransportSecurity(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		"{redirect: true}": "",
		"{hsts: 1d}":       "max-age=86400",
		"{hsts: 0s}":       "max-age=0",
		"{hsts: 1h, hsts_include_subdomains: true}":                       "max-age=3600; includeSubDomains",
		"{hsts: 365d, hsts_include_subdomains: true, hsts_preload: true}": "max-age=31536000; includeSubDomains; preload",
	} {
		doc, err := Parse("f", []byte("site: s\nhosts: [a.example]\nhttps: "+text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := doc.HTTPS.StrictTransportSecurity(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestHSTSMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{hsts_include_subdomains: true}":                                "https.hsts_include_subdomains: goes with hsts",
		"{hsts_preload: true}":                                           "https.hsts_preload: goes with hsts",
		"{hsts: 30d, hsts_include_subdomains: true, hsts_preload: true}": "https.hsts_preload: browsers list only",
		"{hsts: 365d, hsts_preload: true}":                               "https.hsts_preload: browsers list only",
		"{hsts: -1s}":                                                    "https.hsts: ",
		"{hsts: 11000d}":                                                 "https.hsts: ",
	} {
		_, err := Parse("f", []byte("site: s\nhosts: [a.example]\nhttps: "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

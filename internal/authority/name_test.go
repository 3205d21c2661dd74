package authority_test

import (
	"crypto/x509"
	"errors"
	"net/url"
	"testing"

	"freshet/internal/authority"
)

func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{
		"freshet:edge/edge-1", "freshet:mid/m", "freshet:origin/o/x", "freshet:edge/", "freshet:/e", "freshet:king/k", "https://a.example/",
		"freshet://edge/edge-1", "Freshet:edge/e", "freshet:edge/E", "freshet:edge/-e", "freshet:edge/e%2f", "freshet:edge/e?x", "freshet:edge/e#x", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := authority.ParseURI(text)
		if err != nil {
			if name != (authority.Name{}) || !errors.Is(err, authority.ErrNoName) {
				t.Fatalf("%q: %+v, %v", text, name, err)
			}
			return
		}
		if name.URI() != text {
			t.Fatalf("%q is %+v, which is %q", text, name, name.URI())
		}
		uri, err := url.Parse(text)
		if err != nil || uri.String() != text {
			t.Fatalf("%q does not come through a certificate: %v, %v", text, uri, err)
		}
		if got, err := authority.NameOf(&x509.Certificate{URIs: []*url.URL{uri}}); err != nil || got != name {
			t.Fatalf("%q in a certificate is %v, %v", text, got, err)
		}
	})
}

func TestNameOf(t *testing.T) {
	uris := func(texts ...string) *x509.Certificate {
		c := new(x509.Certificate)
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		return c
	}
	for name, tt := range map[string]struct {
		cert *x509.Certificate
		want string
	}{
		"one":                     {uris("freshet:edge/e1"), "edge/e1"},
		"beside another's":        {uris("spiffe://a/b", "freshet:mid/m1"), "mid/m1"},
		"none":                    {uris("spiffe://a/b"), ""},
		"two":                     {uris("freshet:edge/e1", "freshet:mid/m1"), ""},
		"the same twice":          {uris("freshet:edge/e1", "freshet:edge/e1"), ""},
		"a good one and a bad":    {uris("freshet:edge/e1", "freshet:edge/E1"), ""},
		"no role of ours":         {uris("freshet:king/k1"), ""},
		"with an authority":       {uris("freshet://edge/e1"), ""},
		"a query":                 {uris("freshet:edge/e1?as=mid"), ""},
		"a fragment":              {uris("freshet:edge/e1#mid"), ""},
		"a path that goes on":     {uris("freshet:edge/e1/mid"), ""},
		"a percent-encoded slash": {uris("freshet:edge%2Fe1"), ""},
	} {
		got, err := authority.NameOf(tt.cert)
		if got.String() != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
}

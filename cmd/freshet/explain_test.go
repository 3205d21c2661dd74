package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"freshet/edge"
)

func TestExplainURL(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/mine" {
			w.Header().Set("Cache-Control", "private")
		}
		fmt.Fprint(w, "hello")
	}))
	defer origin.Close()
	site := filepath.Join(t.TempDir(), "site.yaml")
	text := "site: shop\nhosts: [shop.example]\nrules:\n  - {name: cart, match: {path: {prefix: /cart}}, cache: {bypass: true}}\n"
	if err := os.WriteFile(site, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, admin := freeAddr(t), freeAddr(t)
	p := start(t, nil, "edge", "--listen", addr, "--upstream", origin.URL, "--site", site, "--admin", admin)
	request := func() error {
		req, err := http.NewRequest("GET", "http://"+addr+"/a", nil)
		if err != nil {
			return err
		}
		req.Host = "shop.example"
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return err
	}

	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string // patterns, each of one line, in this order
	}{
		{"nothing is stored yet", []string{"http://shop.example/b"}, exitOK, []string{
			"^why +nothing is stored under the key$", "^outcome +forward$", "^Cache-Status +freshet-edge; fwd=uri-miss$",
			"^request +GET http://shop.example/b$", "^node +edge, an edge$", "^site +shop$", `^key +shop \| shop.example/b$`,
			"^purged by +url shop/b, key, prefix shop/, site shop, all$", "^clock +log [0-9a-f]{16}, applied 1.1, floor 1.1$", "^parent 1 +outside " + origin.URL + "$",
			"^  load +0 of [0-9]+ requests under way, 0 waiting$", "^  breaker +closed$",
		}},
		{"stored", []string{"http://shop.example/a"}, exitOK, []string{
			"^why +stored, true, and fresh for another (1m0s|59s|5.s)$", "^outcome +hit, status 200$", "^stored +content, status 200, 5 bytes$",
			"^  true +fetched at 1.1, true as of 1.1$", `^  life +fresh: age .* of 1m0s \(from max-age\), ttl `,
		}},
		{"a rule", []string{"http://shop.example/cart/1"}, exitOK, []string{"^why +a rule of the site says", "^outcome +pass$", "^rules +cart$"}},
		{"what would be stored", []string{"http://shop.example/mine", "--fetch"}, exitOK, []string{
			"^why +nothing is stored", "^fetched +status 200 from " + strings.TrimPrefix(origin.URL, "http://") + " in .*, 5 bytes$",
			"^  storable +no, private: the response says private",
		}},
		{"a field", []string{"http://any.example/cart/1", "--header", "Host: shop.example", "--method", "POST"}, exitOK,
			[]string{"^why +only GET and HEAD", "^request +POST http://shop.example/cart/1$"}},
		{"no site", []string{"http://other.example/"}, exitNotFound, []string{
			"^why +no site here has the host other.example$", "^outcome +refused, status 421$", "^freshet: no site here .*'freshet site list'",
		}},
		{"no URL", []string{"shop.example"}, exitUsage, []string{`^freshet: the url "shop.example" is not of the form http\(s\)://`}},
		{"a bad field", []string{"http://shop.example/", "--header", "Accept"}, exitUsage, []string{"is not of the form Name: value"}},
		{"fetch of a POST", []string{"http://shop.example/", "--fetch", "--method", "POST"}, exitUsage, []string{"by GET"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			within(t, 20*time.Second, request)
			code, out := runFreshet(t, nil, append([]string{"explain", "url", "--admin", admin}, tc.args...)...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			lines := strings.Split(out, "\n")
			for _, pattern := range tc.want {
				for len(lines) > 0 && !regexp.MustCompile(pattern).MatchString(lines[0]) {
					lines = lines[1:]
				}
				if len(lines) == 0 {
					t.Fatalf("no line %q, or not in this order, in\n%s", pattern, out)
				}
			}
		})
	}

	code, out := runFreshet(t, nil, "explain", "url", "http://shop.example/a", "--admin", admin, "--json")
	var e edge.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != exitOK || e.Outcome != edge.Hit || e.Stored == nil || e.Stored.LifetimeFrom != "max-age" {
		t.Errorf("--json: exit code %d, %v:\n%s", code, err, out)
	}
	if code := p.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	chatty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer chatty.Close()
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody there", []string{"url", "http://x/", "--admin", freeAddr(t)}, exitError, "cannot reach a node at .*--admin"},
		{"no edge", []string{"url", "http://x/", "--admin", strings.TrimPrefix(other.URL, "http://")}, exitError, "not the admin address of an edge or mid"},
		{"no node", []string{"url", "http://x/", "--admin", strings.TrimPrefix(chatty.URL, "http://")}, exitError, "something else than an explanation"},
		{"bad address", []string{"url", "http://x/", "--admin", "http://x"}, exitUsage, "--admin is .* host:port"},
		{"no URL", []string{"url"}, exitUsage, "takes one URL, not 0"},
		{"unknown", []string{"weather"}, exitUsage, "there is no 'freshet explain weather'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantVerb(t, tc.code, "", tc.want, append([]string{"explain"}, tc.args...)...)
		})
	}
}

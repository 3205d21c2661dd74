package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/distributor/client"
)

// runWith runs a command line with a standard input.
func runWith(t *testing.T, stdin string, args ...string) (code int, out, errOut string) {
	t.Helper()
	verbInput = strings.NewReader(stdin)
	defer func() { verbInput = nil }()
	return runVerb(t, args...)
}

// TestWhatRemovalsCover: every flag reaches the log as the scope that it stands for.
func TestWhatRemovalsCover(t *testing.T) {
	w := newVerbsWorld(t)
	for _, name := range []string{"demo", "shop"} {
		site := verbFile(t, name+".yaml", fmt.Sprintf("site: %s\nhosts: [%s.example]\n", name, name))
		wantVerb(t, exitOK, ".*", "", "site", "apply", site)
	}
	w.edge(t, "e1", true)
	for name, test := range map[string]struct {
		stdin string
		args  []string
		want  []string
	}{
		"url":    {"", []string{"purge", "http://demo.example/a", "--url", "http://shop.example/b"}, []string{"url demo/a", "url shop/b"}},
		"stdin":  {"http://demo.example/1\n\n# no\n  http://demo.example/2 \r\n", []string{"purge", "-", "http://demo.example/3"}, []string{"url demo/1", "url demo/2", "url demo/3"}},
		"key":    {"", []string{"purge", "--key", "demo | demo.example/a | +scheme https"}, []string{"key demo | demo.example/a | +scheme https"}},
		"prefix": {"", []string{"invalidate", "--prefix", "http://demo.example/a/"}, []string{"prefix demo/a/"}},
		"tag":    {"", []string{"invalidate", "--tag", "a,b", "--tag", "c", "--site", "demo,shop"}, []string{"tag demo: a,b", "tag demo: c", "tag shop: a,b", "tag shop: c"}},
		"site":   {"", []string{"invalidate", "--site", "demo"}, []string{"site demo"}},
		"ban": {"", []string{"ban", "--site", "demo", "--path", "/a*", "--header", "Content-Type: image/*", "--header", "X-A", "--header-re", "X-B:^b:"},
			[]string{"match demo: path = /a* and header Content-Type = image/* and header X-A and header X-B ~ ^b:"}},
		"refresh": {"", []string{"refresh", "https://demo.example:8443/a", "--key", "demo | demo.example/a"},
			[]string{"url https://demo.example:8443/a of demo", "key demo | demo.example/a"}},
		"prefetch": {"http://shop.example/1\n", []string{"prefetch", "--pop", "p1", "-"}, []string{"url http://shop.example/1 of shop"}},
		"ban of hosts": {"", []string{"ban", "--host", "*.example", "--path-re", "^/a", "--no-store", "10m"},
			[]string{"match demo: host = *.example and path ~ ^/a", "match shop: host = *.example and path ~ ^/a"}},
		"ban of all": {"", []string{"ban", "--path", "/x*", "--confirm", "everything", "--soft"}, []string{"match: path = /x*"}},
		"no-store":   {"", []string{"purge", "--site", "demo", "--no-store", "90s"}, []string{"site demo"}},
		"all":        {"", []string{"invalidate", "--all", "--confirm", "everything"}, []string{"everything"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := runWith(t, test.stdin, append(test.args, "-o", "json")...)
			var r client.Receipt
			if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil {
				t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errOut)
			}
			var got []string
			for _, s := range r.Scopes {
				got = append(got, scopeText(s))
			}
			if !slices.Equal(got, test.want) || r.Kind != test.args[0] || !r.Complete {
				t.Errorf("%s of %q, want %q; %+v", r.Kind, got, test.want, r.Nodes)
			}
		})
	}
}

// TestManyURLs: what does not fit into one command takes several, and the last is waited
// for.
func TestManyURLs(t *testing.T) {
	w := newVerbsWorld(t)
	wantVerb(t, exitOK, ".*", "", "site", "apply", verbFile(t, "demo.yaml", "site: demo\nhosts: [demo.example]\n"))
	w.edge(t, "e1", true)
	var list strings.Builder
	for i := range 1201 {
		fmt.Fprintf(&list, "http://demo.example/%d\n", i)
	}
	code, out, errOut := runWith(t, list.String(), "purge", "-", "--site", "demo", "-o", "json")
	var receipts []client.Receipt
	if err := json.Unmarshal([]byte(out), &receipts); code != exitOK || err != nil || len(receipts) != 3 {
		t.Fatalf("exit code %d, %v, %d receipts\n%.1000s%s", code, err, len(receipts), out, errOut)
	}
	n := 0
	for i, r := range receipts {
		n += len(r.Scopes)
		if last := i == 2; r.Waited != last || r.Complete != last {
			t.Errorf("receipt %d: waited %t, complete %t", i, r.Waited, r.Complete)
		}
	}
	if n != 1202 {
		t.Errorf("%d scopes", n)
	}
	wantVerb(t, exitOK, `(invalidate|purge) \S+ stands in the command log at 1\.\d+\n`, "^$", "invalidate", "--site", "demo", "--wait=false")
}

func TestRemovalsThatAreRefused(t *testing.T) {
	newVerbsWorld(t)
	for _, args := range [][]string{
		{"invalidate"}, {"invalidate", "--all"}, {"purge", "--tag", "x"}, {"purge", "--prefix", "/a/"}, {"purge", "http://demo.example/", "-o", "xml"},
		{"invalidate", "--site", "demo", "--no-store", "10m"}, {"command", "list", "--since", "yesterday"}, {"command", "list", "-n", "0"},
		{"refresh"}, {"refresh", "--site", "demo"}, {"prefetch"}, {"prefetch", "--key", "demo | /"}, {"prefetch", "--role", "origin", "http://demo.example/"},
		{"ban"}, {"ban", "--path", "a"}, {"ban", "--path", "/a*"}, {"ban", "--site", "demo"}, {"ban", "--site", "demo", "--path-re", "("},
		{"ban", "--site", "demo", "--header-re", "X-A"}, {"ban", "--site", "demo", "--path", "/a", "--soft", "--no-store", "1m"}, {"ban", "x"},
		{"command", "show"}, {"command", "nosuch"},
	} {
		wantVerb(t, exitUsage, "", "freshet: ", args...)
	}
	for _, stdin := range []string{"", "\n# none\n", "http://demo.example/\n/a\n", strings.Repeat("x", maxURLLine+1)} {
		if code, out, errOut := runWith(t, stdin, "purge", "-"); code != exitUsage {
			t.Errorf("%.40q: exit code %d\n%s%s", stdin, code, out, errOut)
		}
	}
}

// TestCommandVerbs: commands are listed and looked up.
func TestCommandVerbs(t *testing.T) {
	w := newVerbsWorld(t)
	wantVerb(t, exitOK, ".*", "", "site", "apply", verbFile(t, "demo.yaml", "site: demo\nhosts: [demo.example]\n"))
	wantVerb(t, exitOK, "SEQUENCE +AT +KIND +COVERS +BY +ID\n", "^$", "command", "list")
	w.edge(t, "e1", true)
	wantVerb(t, exitOK, ".*", "", "purge", "http://demo.example/a", "http://demo.example/b")
	wantVerb(t, exitOK, ".*", "", "invalidate", "--tag", "x", "--site", "demo")
	who := regexp.QuoteMeta(whoami())
	wantVerb(t, exitOK, `SEQUENCE[^\n]*\n1\.2 +\S+ +invalidate +tag demo: x +`+who+` +[0-9a-f]{32}\n1\.1 +\S+ +purge +url demo/a and 1 more +`+who+` .*\n`, "^$", "command", "list")
	wantVerb(t, exitOK, `SEQUENCE[^\n]*\n1\.2 [^\n]*\n`, "there may be more: --before 1.2\n", "command", "list", "-n", "1")
	wantVerb(t, exitOK, `SEQUENCE[^\n]*\n1\.1 [^\n]*\n`, "^$", "command", "list", "--before", "1.2")
	wantVerb(t, exitOK, `SEQUENCE[^\n]*\n1\.1 [^\n]*\n`, "^$", "command", "list", "--kind", "purge", "--since", "1h", "--by", whoami(), "--site", "demo")
	wantVerb(t, exitOK, `SEQUENCE[^\n]*\n`, "^$", "command", "list", "--since", time.Now().Add(time.Hour).Format(time.RFC3339))
	wantVerb(t, exitOK, `command +[0-9a-f]{32}\nkind +purge\n.*covers +url demo/a\n.* url demo/b\nNODE.*e1 +edge +p1 +applied +[0-9.]+ ms.*applied by 1 of 1 nodes.*`, "^$", "command", "show", "1.1")
	w.edge(t, "e2", false)
	wantVerb(t, exitPartial, `.*e2 +edge +p1 +late.*`, "late: e2", "command", "show", "1.1")
	wantVerb(t, exitNotFound, "", `^freshet: the command log has no command 1\.9; it holds 1\.1 to 1\.2\n$`, "command", "show", "1.9")
	code, out, errOut := runVerb(t, "command", "list", "-o", "json")
	var list client.Commands
	if err := json.Unmarshal([]byte(out), &list); code != exitOK || err != nil || len(list.Commands) != 2 || list.Kept != "1.1" {
		t.Errorf("exit code %d, %v\n%s%s", code, err, out, errOut)
	}
}

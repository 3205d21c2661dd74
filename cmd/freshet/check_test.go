package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/internal/document"
)

// check runs 'freshet check' and returns its exit code and what it wrote.
func check(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := newCheckCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		code = exitError
		var coded *codedError
		if errors.As(err, &coded) {
			code = coded.code
		}
		e.WriteString(err.Error())
	}
	return code, o.String(), e.String()
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("FRESHET_TEST_NAME", "edge-7")
	for name, text := range map[string]string{
		"site.yaml":     "site: shop\nhosts: [shop.example]\n",
		"site2.yaml":    "site: shop\nhost: [shop.example]\n",
		"edge.yaml":     "role: edge\nname: ${FRESHET_TEST_NAME}\nlisten: [':80']\ncache: {upstream: 'http://o'}\n",
		"edge2.yaml":    "role: edge\nname: ${FRESHET_TEST_NO_NAME}\nlisten: [':80']\ncache: {upstream: 'http://o', memory: lots}\n",
		"neither.yaml":  "hosts: [a]\n",
		"both.yaml":     "role: edge\nsite: a\n",
		"list.yaml":     "- a\n",
		"syntax.yaml":   "site: a: b\n",
		"roleless.yaml": "name: e\n",
		"large.yaml":    "site: shop\nhosts: [shop.example] #" + strings.Repeat("x", document.MaxText),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("dir.yaml", 0o700); err != nil {
		t.Fatal(err)
	}
	const site2 = "site2.yaml:1:1: hosts: is missing: Host names that clients use, all for the same content: names, *.suffix for any name below it, or * for any host.\n" +
		"site2.yaml:2:1: host: there is no such field (did you mean \"hosts\"?)\n"
	const edge2 = "edge2.yaml:2:7: name: the environment variable FRESHET_TEST_NO_NAME is not set\n" +
		"edge2.yaml:4:39: cache.memory: \"lots\" is not a size such as \"512\", \"64KiB\", \"256MiB\" or \"1.5GB\"\n"
	tests := []struct {
		name   string
		args   []string
		code   int
		out    string
		errOut string
	}{
		{"site", []string{"site.yaml"}, exitOK, "site.yaml: valid site document\n", ""},
		{"node", []string{"edge.yaml"}, exitOK, "edge.yaml: valid node file\n", ""},
		{"both kinds", []string{"edge.yaml", "site.yaml"}, exitOK, "edge.yaml: valid node file\nsite.yaml: valid site document\n", ""},
		{"invalid site", []string{"site2.yaml"}, exitInvalid, "", site2 + "2 mistakes in 1 invalid file"},
		{"invalid node", []string{"edge2.yaml"}, exitInvalid, "", edge2 + "2 mistakes in 1 invalid file"},
		{"some invalid", []string{"site2.yaml", "site.yaml", "edge2.yaml"}, exitInvalid, "site.yaml: valid site document\n", site2 + edge2 + "4 mistakes in 2 invalid files"},
		{"neither", []string{"neither.yaml"}, exitInvalid, "", "neither.yaml: this has neither the key 'role' of a node file nor the key 'site' of a site document (say which it is with --kind)\n1 mistake in 1 invalid file"},
		{"both", []string{"both.yaml"}, exitInvalid, "", "both.yaml: this has the key 'role' of a node file and the key 'site' of a site document (say which it is with --kind)\n1 mistake in 1 invalid file"},
		{"no mapping", []string{"list.yaml"}, exitInvalid, "", "list.yaml:1:1: the document must be a mapping of fields, not a list\n1 mistake in 1 invalid file"},
		{"no YAML", []string{"syntax.yaml"}, exitInvalid, "", "syntax.yaml:1:1: this is not valid YAML: mapping values are not allowed in this context\n1 mistake in 1 invalid file"},
		{"too large", []string{"large.yaml"}, exitInvalid, "", "large.yaml: the document is larger than 1048576 bytes\n1 mistake in 1 invalid file"},
		{"kind is told", []string{"--kind", "node", "roleless.yaml"}, exitInvalid, "",
			"roleless.yaml:1:1: role: is missing: What this node does.\n" +
				"roleless.yaml:1:1: listen: is missing: Addresses (host:port) of the service: HTTP for edge, mid and origin, DNS over UDP and TCP for a router, the management API for a distributor. An empty host means every address of the machine.\n" +
				"2 mistakes in 1 invalid file"},
		{"missing", []string{"none.yaml"}, exitNotFound, "", "open none.yaml: no such file or directory"},
		{"unreadable", []string{"dir.yaml"}, exitError, "", "read dir.yaml: is a directory"},
		{"missing and invalid", []string{"none.yaml", "list.yaml"}, exitInvalid, "", "list.yaml:1:1: the document must be a mapping of fields, not a list\nopen none.yaml: no such file or directory\n1 mistake in 1 invalid file"},
		{"no file", nil, exitUsage, "", "name a FILE to check, or --schema site|node; see 'freshet check --help'"},
		{"unknown kind", []string{"--kind", "edge", "edge.yaml"}, exitUsage, "", "--kind edge is unknown: node or site"},
		{"unknown schema", []string{"--schema", "edge"}, exitUsage, "", "--schema edge is unknown: node or site"},
		{"schema and file", []string{"--schema", "node", "edge.yaml"}, exitUsage, "", "--schema prints a schema and takes no FILE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := check(t, tt.args...)
			if code != tt.code || out != tt.out || errOut != tt.errOut {
				t.Errorf("exit code %d, want %d\nout:\n%s\nwant:\n%s\nerr:\n%s\nwant:\n%s", code, tt.code, out, tt.out, errOut, tt.errOut)
			}
		})
	}
}

func TestCheckJSON(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for file, text := range map[string]string{good: "site: a\nhosts: [a]\n", bad: "site: a\nhosts: [A]\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, _ := check(t, "--json", good, bad, filepath.Join(dir, "none.yaml"))
	var results []struct {
		File, Kind, Error string
		Valid             bool
		Mistakes          []struct {
			Line, Column  int
			Path, Message string
		}
	}
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if code != exitInvalid || len(results) != 3 {
		t.Fatalf("exit code %d, %+v", code, results)
	}
	if r := results[0]; !r.Valid || r.File != good || r.Kind != "site" || r.Mistakes != nil {
		t.Errorf("good: %+v", r)
	}
	if r := results[1]; r.Valid || len(r.Mistakes) != 1 || r.Mistakes[0].Line != 2 || r.Mistakes[0].Column != 9 || r.Mistakes[0].Path != "hosts[0]" {
		t.Errorf("bad: %+v", r)
	}
	if r := results[2]; r.Valid || r.Error == "" || r.Mistakes != nil {
		t.Errorf("missing: %+v", r)
	}
}

func TestCheckSchema(t *testing.T) {
	for _, kind := range []string{kindNode, kindSite} {
		code, out, errOut := check(t, "--schema", kind)
		var schema map[string]any
		if err := json.Unmarshal([]byte(out), &schema); err != nil || code != exitOK || errOut != "" {
			t.Fatalf("%s: exit code %d, %v, %s", kind, code, err, errOut)
		}
		if schema["$id"] != "urn:freshet:schema:"+kind {
			t.Errorf("%s: it is %v", kind, schema["$id"])
		}
	}
}

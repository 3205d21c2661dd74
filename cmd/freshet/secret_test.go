package main

import (
	"bytes"
	"strings"
	"testing"

	"freshet/internal/cluster"
)

// secret is the value of a secret as an edge reads it.
func (w *verbsWorld) secret(t *testing.T, name string) string {
	t.Helper()
	secrets, err := cluster.NewSecrets(w.cluster, []byte("the secret that all nodes of a test share"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := secrets.Get(t.Context(), cluster.SiteSecrets+"/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return string(pair.Value)
}

func TestSecretVerbs(t *testing.T) {
	w := newVerbsWorld(t)
	file := verbFile(t, "key.pem", "-----BEGIN\nx\n")
	wantVerb(t, exitOK, "SECRET +PROBLEM\n", "", "secret", "list")
	wantVerb(t, exitOK, "secret shop-key is stored\n", "^$", "secret", "set", "shop-key", "--file", file)
	root := newRootCommand()
	var out bytes.Buffer
	root.SetArgs([]string{"secret", "set", "shop-id", "--json"})
	root.SetIn(strings.NewReader("AKIA\r\n"))
	root.SetOut(&out)
	if err := root.ExecuteContext(t.Context()); err != nil || strings.Contains(out.String(), "AKIA") {
		t.Errorf("%s, %v", out.String(), err)
	}
	wantVerb(t, exitOK, "SECRET +PROBLEM\nshop-id +-\nshop-key +-\n", "", "secret", "list")
	for name, want := range map[string]string{"shop-key": "-----BEGIN\nx\n", "shop-id": "AKIA"} {
		if got := w.secret(t, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	wantVerb(t, exitUsage, "", "takes one name, not 2", "secret", "set", "shop-id", "AKIA")
	wantVerb(t, exitInvalid, "", "is no name", "secret", "set", "Shop", "--file", file)
	wantVerb(t, exitInvalid, "", "empty", "secret", "set", "shop", "--file", verbFile(t, "empty", "\n"))
	wantVerb(t, exitNotFound, "", "nosuch", "secret", "set", "shop", "--file", "nosuch")
	wantVerb(t, exitOK, "secret shop-id is removed\n", "", "secret", "rm", "shop-id")
	wantVerb(t, exitNotFound, "", "no secret shop-id", "secret", "rm", "shop-id")
}

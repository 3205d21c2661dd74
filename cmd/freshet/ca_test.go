package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCommand runs one command line within the test and returns what it prints, and its
// exit code.
func runCommand(t *testing.T, args ...string) (string, int) {
	t.Helper()
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	var coded *codedError
	switch {
	case err == nil:
		return out.String(), exitOK
	case errors.As(err, &coded):
		return out.String() + err.Error(), coded.code
	}
	return out.String() + err.Error(), exitError
}

// TestCA walks through the life of a CA by its verbs.
func TestCA(t *testing.T) {
	dir := t.TempDir()
	ca, out := filepath.Join(dir, "ca"), filepath.Join(dir, "edge-1")
	issue := []string{"ca", "issue", "--ca", ca, "--role", "edge", "--name", "edge-1", "--out", out}
	for _, step := range []struct {
		args []string
		code int
		says string
	}{
		{issue, exitNotFound, "ca.crt"},
		{[]string{"ca", "init", ca, "--name", "production"}, exitOK, "Freshet cluster CA production"},
		{[]string{"ca", "init", ca}, exitError, "choose another directory"},
		{[]string{"ca", "init"}, exitUsage, "name one DIR"},
		{issue, exitOK, "cert: " + filepath.Join(out, "edge-1.crt")},
		{issue, exitError, "--renew"},
		{append(issue, "--renew", "--days", "30", "--host", "edge-1.example"), exitOK, "edge/edge-1"},
		{append(issue, "--days", "0"), exitUsage, "1 to 3650"},
		{[]string{"ca", "issue", "--ca", ca, "--role", "king", "--name", "k", "--out", out}, exitUsage, "a role is one of"},
		{[]string{"ca", "issue", "--ca", ca, "--role", "edge", "--name", "e"}, exitUsage, "--out is missing"},
		{[]string{"ca", "show", filepath.Join(out, "edge-1.crt")}, exitOK, "edge/edge-1"},
		{[]string{"ca", "show", ca}, exitOK, "production"},
		{[]string{"ca", "show", filepath.Join(out, "edge-1.crt"), "--json"}, exitOK, `"for": "edge/edge-1"`},
		{append(issue, "--renew", "--json"), exitOK, `"key": "` + filepath.Join(out, "edge-1.key") + `"`},
		{[]string{"ca", "show", filepath.Join(dir, "none")}, exitNotFound, "no such file"},
	} {
		got, code := runCommand(t, step.args...)
		if code != step.code || !strings.Contains(got, step.says) {
			t.Errorf("%q: exit code %d, want %d, and it says %q, want %q", step.args, code, step.code, got, step.says)
		}
	}
	for _, key := range []string{filepath.Join(ca, "ca.key"), filepath.Join(out, "edge-1.key")} {
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, want it for its owner alone", key, err)
		}
	}
}

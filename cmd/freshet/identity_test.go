package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestANodeStartsOnlyAsItself proves that a certificate which is not for the node of the
// node file, or has ended, is refused at the start, with the reason.
func TestANodeStartsOnlyAsItself(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca")
	if out, code := runCommand(t, "ca", "init", ca); code != exitOK {
		t.Fatal(out)
	}
	for _, who := range []string{"edge/e1", "mid/m1", "edge/e2"} {
		role, name, _ := strings.Cut(who, "/")
		if out, code := runCommand(t, "ca", "issue", "--ca", ca, "--role", role, "--name", name, "--out", dir); code != exitOK {
			t.Fatal(out)
		}
	}
	if out, code := runCommand(t, "ca", "init", filepath.Join(dir, "other")); code != exitOK {
		t.Fatal(out)
	}
	for _, tt := range []struct{ ca, cert, says string }{
		{"ca.crt", "m1", "is the certificate of mid/m1, this node is edge/e1"},
		{"ca.crt", "e2", "is the certificate of edge/e2, this node is edge/e1"},
		{"other/ca.crt", "e1", "unknown authority"},
		{"ca.crt", "none", "no such file"},
	} {
		file := filepath.Join(dir, "node.yaml")
		text := fmt.Sprintf("role: edge\nname: e1\nlisten: ['127.0.0.1:0']\nadmin: 127.0.0.1:0\ncache: {upstream: 'http://127.0.0.1:1'}\nidentity: {ca: %s, cert: %s.crt, key: %s.key}\n", tt.ca, tt.cert, tt.cert)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, nil, "edge", "-c", file)
		if code := p.wait(20 * time.Second); code != exitInvalid || !strings.Contains(p.out.String(), tt.says) {
			t.Errorf("%s with %s: exit code %d, %q, want it to say %q", tt.cert, tt.ca, code, p.out.String(), tt.says)
		}
	}
}

// renews gives a running mid another certificate, which it takes without losing a
// connection: edges reach it by certificates alone, before and after.
func (c *testCDN) renews(mid, edge string) {
	c.t.Helper()
	const accepted = "freshet_edge_connections_accepted_total"
	tier := c.metric(mid, accepted, `listener="tier"`)
	if plain := c.metric(mid, accepted, `listener="http"`); tier == 0 || plain != 0 {
		c.t.Errorf("%s has accepted %v connections by certificate, and %v others", mid, tier, plain)
	}
	data := c.dev.data
	c.must("ca", "issue", "--ca", filepath.Join(data, "ca"), "--role", "mid", "--name", mid, "--out", filepath.Join(data, "identities"), "--renew", "--days", "100")
	within(c.t, 20*time.Second, func() error {
		if left := c.metric(mid, "freshet_identity_expiry_seconds"); left > 101*24*60*60 {
			return fmt.Errorf("the certificate lasts %v s", left)
		}
		return nil
	})
	c.must("purge", "http://"+devHost+"/news.txt")
	if got := c.get(edge, "/news.txt"); got.status != 200 || !strings.Contains(got.cacheStatus(), "freshet-"+mid+"; fwd=") {
		c.t.Errorf("after a renewal: %d, Cache-Status %q", got.status, got.cacheStatus())
	}
	if n := c.metric(mid, accepted, `listener="tier"`); n != tier {
		c.t.Errorf("%v connections to %s were made anew at its renewal", n-tier, mid)
	}
}

package authority_test

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/authority"
)

// TestARefusalChangesNothing proves that a certificate of a CA that the node does not know
// takes the place of none: the node could not start with it.
func TestARefusalChangesNothing(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	order := authority.Order{Name: authority.Name{Role: "edge", Node: "edge-1"}, Life: time.Hour}
	files, _, err := authority.Issue(newCA(t), dir, order, false, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := authority.Issue(newCA(t), dir, order, true, now); err == nil || !strings.Contains(err.Error(), "holds another CA") {
		t.Errorf("by another CA: %v", err)
	}
	open(t, files)
}

// TestCreate proves that a CA's key is its owner's alone, and that neither is overwritten.
func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	cert, err := authority.Create(dir, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(cert.NotAfter); !cert.IsCA || !cert.MaxPathLenZero || left < 9*365*24*time.Hour {
		t.Errorf("CA %v, path length 0 %v, for %s", cert.IsCA, cert.MaxPathLenZero, left)
	}
	info, err := os.Stat(filepath.Join(dir, authority.CAKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(filepath.Join(dir, authority.CAKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []string{authority.CAFile, authority.CAKeyFile} {
		if _, err := authority.Create(dir, "test", time.Now()); !errors.Is(err, fs.ErrExist) {
			t.Errorf("with %s there: %v", keep, err)
		}
		if keep == authority.CAFile {
			if err := os.Remove(filepath.Join(dir, keep)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after, err := os.ReadFile(filepath.Join(dir, authority.CAKeyFile)); err != nil || !slices.Equal(before, after) {
		t.Errorf("the key has changed: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestIssue proves what a node's certificate says, and that one which is there is replaced
// only when told.
func TestIssue(t *testing.T) {
	ca, dir := newCA(t), filepath.Join(t.TempDir(), "node")
	order := authority.Order{Name: authority.Name{Role: "edge", Node: "edge-1"}, Hosts: []string{"edge-1.example", "192.0.2.1", "2001:db8::1"}, Life: authority.LeafLife}
	now := time.Now()
	files, cert, err := authority.Issue(ca, dir, order, false, now)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := authority.NameOf(cert); err != nil || name != order.Name {
		t.Errorf("name %v, %v", name, err)
	}
	if !slices.Equal(cert.DNSNames, []string{"edge-1.example"}) || len(cert.IPAddresses) != 2 || cert.IsCA ||
		!slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Errorf("hosts %q, addresses %v, CA %v, for %v", cert.DNSNames, cert.IPAddresses, cert.IsCA, cert.ExtKeyUsage)
	}
	if info, err := os.Stat(files.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v", err)
	}
	if _, _, err := authority.Issue(ca, dir, order, false, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if _, again, err := authority.Issue(ca, dir, order, true, now); err != nil || again.Equal(cert) {
		t.Errorf("renewed: %v", err)
	}
	open(t, files)
	for name, tt := range map[string]struct {
		ca    string
		order authority.Order
		says  string
	}{
		"role":       {ca, authority.Order{Name: authority.Name{Role: "king", Node: "k"}, Life: time.Hour}, "freshet:ROLE/NAME"},
		"name":       {ca, authority.Order{Name: authority.Name{Role: "edge", Node: "../x"}, Life: time.Hour}, "freshet:ROLE/NAME"},
		"ca":         {ca, authority.Order{Name: authority.Name{Role: "edge", Node: "ca"}, Life: time.Hour}, "cannot be called"},
		"host":       {ca, authority.Order{Name: authority.Name{Role: "edge", Node: "x"}, Hosts: []string{"a b"}, Life: time.Hour}, "host name"},
		"life":       {ca, authority.Order{Name: authority.Name{Role: "edge", Node: "x"}}, "ended already"},
		"too long":   {ca, authority.Order{Name: authority.Name{Role: "edge", Node: "x"}, Life: 11 * 365 * 24 * time.Hour}, "the CA ends"},
		"another CA": {newCA(t), authority.Order{Name: authority.Name{Role: "edge", Node: "x"}, Life: time.Hour}, "holds another CA"},
		"no CA":      {t.TempDir(), authority.Order{Name: authority.Name{Role: "edge", Node: "x"}, Life: time.Hour}, "no such file"},
	} {
		if _, _, err := authority.Issue(tt.ca, dir, tt.order, false, now); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, tt.says)
		}
	}
}

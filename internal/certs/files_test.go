package certs

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func pairIn(dir, name string) Pair {
	return Pair{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
}

func TestCertificatesAreChosenByName(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	first, both, old, wild := pairIn(dir, "first"), pairIn(dir, "both"), pairIn(dir, "old"), pairIn(dir, "wild")
	isFirst := a.issue(first, false, 1000*time.Hour, "first.example")
	isOld := a.issue(old, true, 1000*time.Hour, "both.example")
	isBoth := a.issue(both, false, 1000*time.Hour, "Both.example", "exact.wild.example")
	isWild := a.issue(wild, false, 1000*time.Hour, "*.wild.example")
	m, err := New(Config{Files: []Pair{first, old, both, wild}, Log: new(logged).logger()})
	if err != nil {
		t.Fatal(err)
	}
	onlyRSA := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, tc := range []struct {
		name, host string
		suites     []uint16 // of a client of TLS 1.2
		want       int64
	}{
		{"by name", "first.example", nil, isFirst},
		{"ECDSA before RSA", "both.example", nil, isBoth},
		{"RSA where the client has nothing else", "both.example", onlyRSA, isOld},
		{"in capitals", "BOTH.Example", nil, isBoth},
		{"exact before wildcard", "exact.wild.example", nil, isBoth},
		{"wildcard", "other.wild.example", nil, isWild},
		{"a wildcard is one label", "a.b.wild.example", nil, isFirst},
		{"a wildcard is not its parent", "wild.example", nil, isFirst},
		{"unknown", "elsewhere.example", nil, isFirst},
		{"no name", "", nil, isFirst},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := &tls.Config{ServerName: tc.host, InsecureSkipVerify: true}
			if tc.suites != nil {
				client.CipherSuites, client.MaxVersion = tc.suites, tls.VersionTLS12
			}
			state, err := shake(t, m.TLS(), client)
			if err != nil || serial(state) != tc.want {
				t.Errorf("got %d, want %d, %v", serial(state), tc.want, err)
			}
		})
	}
}

func TestCertificatesAreReadAgainWhenTheyChange(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	// As Kubernetes mounts secrets: the files are links through a link that is swapped.
	one, two := filepath.Join(dir, "..1"), filepath.Join(dir, "..2")
	for _, d := range []string{one, two} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	linked := pairIn(dir, "linked")
	was := a.issue(pairIn(one, "linked"), false, 1000*time.Hour, "a.example")
	link(t, one, filepath.Join(dir, "..data"))
	link(t, "..data/linked.crt", linked.Cert)
	link(t, "..data/linked.key", linked.Key)
	renamed := pairIn(dir, "renamed")
	a.issue(renamed, false, 1000*time.Hour, "b.example")
	log := new(logged)
	m, err := New(Config{Files: []Pair{linked, renamed}, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(host string, want int64) {
		t.Helper()
		state, err := shake(t, m.TLS(), &tls.Config{ServerName: host, RootCAs: a.pool()})
		if err != nil || serial(state) != want {
			t.Errorf("%s: %v, want certificate %d, %v", host, state.PeerCertificates, want, err)
		}
	}
	expect("a.example", was)

	is := a.issue(pairIn(two, "linked"), false, 1000*time.Hour, "a.example", "c.example")
	link(t, two, filepath.Join(dir, "..data"))
	m.files.look()
	expect("a.example", is)
	expect("c.example", is)
	is = a.issue(renamed, false, 1000*time.Hour, "b.example")
	m.files.look()
	expect("b.example", is)

	good, err := os.ReadFile(renamed.Cert)
	if err != nil {
		t.Fatal(err)
	}
	a.write(renamed.Cert, []byte("no certificate"))
	m.files.look()
	if strings.Contains(log.String(), "level=ERROR") {
		t.Error("the first sight of a bad file, whose key may follow, is called an error")
	}
	for range 5 {
		m.files.look()
	}
	expect("b.example", is)
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors are logged of one bad file:\n%s", n, log)
	}
	if err := os.Remove(renamed.Cert); err != nil {
		t.Fatal(err)
	}
	m.files.look()
	expect("b.example", is)
	a.write(renamed.Cert, good)
	m.files.look()
	expect("b.example", is)
	a.write(renamed.Cert, []byte("no certificate again"))
	for range 3 {
		m.files.look()
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors are logged after a second bad file, want one of each:\n%s", n, log)
	}
}

// link makes or swaps a symbolic link.
func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func TestABadFileIsRefusedAtTheStart(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	one, two := pairIn(dir, "one"), pairIn(dir, "two")
	a.issue(one, false, time.Hour, "a.example")
	a.issue(two, false, time.Hour, "b.example")
	for name, p := range map[string]Pair{
		"no such file":       pairIn(dir, "none"),
		"key of another":     {one.Cert, two.Key},
		"key as certificate": {one.Key, one.Key},
	} {
		if _, err := New(Config{Files: []Pair{p}, Log: new(logged).logger()}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want an error with the file's name", name, err)
		}
	}
}

func TestTheEndOfACertificateIsAnnounced(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	soon, late := pairIn(dir, "soon"), pairIn(dir, "late")
	a.issue(soon, false, 13*24*time.Hour, "a.example")
	a.issue(late, false, 15*24*time.Hour, "b.example")
	log, reg := new(logged), prometheus.NewRegistry()
	now := time.Now()
	m, err := New(Config{Files: []Pair{soon, late}, Log: log.logger(), Metrics: reg, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	m.files.look()
	if n := strings.Count(log.String(), "certificate ends soon"); n != 1 || !strings.Contains(log.String(), soon.Cert) {
		t.Errorf("%d warnings:\n%s", n, log)
	}
	now = now.Add(25 * time.Hour) // the next day, and the other is near its end too
	m.files.look()
	m.files.look()
	if n := strings.Count(log.String(), "certificate ends soon"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, log)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "freshet_edge_certificate_expiry_seconds" {
			got := time.Duration(f.GetMetric()[0].GetGauge().GetValue() * float64(time.Second))
			if want := (13*24 - 25) * time.Hour; got < want-time.Minute || got > want+time.Minute {
				t.Errorf("the first certificate ends in %s, want %s", got, want)
			}
			return
		}
	}
	t.Error("there is no metric of the end")
}

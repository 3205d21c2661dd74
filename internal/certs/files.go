package certs

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	pollInterval = 3 * time.Second     // between two looks at the files
	warnBefore   = 14 * 24 * time.Hour // of the end of a certificate
	warnEvery    = 24 * time.Hour
	maxPEM       = 1 << 20 // bytes of one file
)

// files are the certificates that stand in files.
type files struct {
	now   func() time.Time
	log   *slog.Logger
	pairs []*filePair // touched by one goroutine: New's, then run's
	index atomic.Pointer[fileIndex]
}

// filePair is one pair of files as they were last read.
type filePair struct {
	Pair
	cert   *tls.Certificate
	seen   [2]fs.FileInfo // of what was tried last
	failed int            // times that was tried and was no good
	warned time.Time      // of the end that is near
}

// fileIndex finds certificates by name. What stands under a name is in order of
// preference. It is never changed.
type fileIndex struct {
	byName map[string][]*tls.Certificate // "a.example", "*.example"
	all    []*tls.Certificate            // as configured
}

// openFiles reads all pairs.
func openFiles(pairs []Pair, now func() time.Time, log *slog.Logger) (*files, error) {
	f := &files{now: now, log: log}
	for _, p := range pairs {
		pair := &filePair{Pair: p}
		var err error
		if pair.seen, err = pair.stat(); err == nil {
			pair.cert, err = pair.read()
		}
		if err != nil {
			return nil, err
		}
		f.pairs = append(f.pairs, pair)
	}
	f.publish()
	f.warn()
	return f, nil
}

// run looks at the files until ctx ends. It polls: what replaces certificates swaps
// symbolic links two directories up as often as it renames files, and a watch of all
// that would still need the poll for network file systems.
func (f *files) run(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look reads again what has changed. What is no good is tried a second time before that
// is an error: certificate and key are replaced one after the other.
func (f *files) look() {
	changed := false
	for _, p := range f.pairs {
		seen, err := p.stat()
		same := err == nil && unchanged(p.seen[0], seen[0]) && unchanged(p.seen[1], seen[1])
		if same && p.failed != 1 {
			continue
		}
		if err != nil && p.failed > 1 {
			continue // gone, and known to be
		}
		if !same && err == nil {
			p.failed = 0
		}
		var cert *tls.Certificate
		if err == nil {
			p.seen = seen
			cert, err = p.read()
		}
		if err != nil {
			if p.failed++; p.failed == 2 {
				f.log.Error("new certificate cannot be used, the old one stays", "cert", p.Cert, "err", err)
			}
			continue
		}
		p.cert, p.failed, p.warned, changed = cert, 0, time.Time{}, true
		f.log.Info("certificate was read", "cert", p.Cert, "until", cert.Leaf.NotAfter)
	}
	if changed {
		f.publish()
	}
	f.warn()
}

// warn speaks of certificates that end soon, once a day.
func (f *files) warn() {
	now := f.now()
	for _, p := range f.pairs {
		if p.cert.Leaf.NotAfter.Sub(now) < warnBefore && now.Sub(p.warned) >= warnEvery {
			p.warned = now
			f.log.Warn("certificate ends soon", "cert", p.Cert, "until", p.cert.Leaf.NotAfter)
		}
	}
}

// publish makes the index of what was read.
func (f *files) publish() {
	index := &fileIndex{byName: make(map[string][]*tls.Certificate)}
	for _, p := range f.pairs {
		index.all = append(index.all, p.cert)
		names := p.cert.Leaf.DNSNames
		if len(names) == 0 && p.cert.Leaf.Subject.CommonName != "" {
			names = []string{p.cert.Leaf.Subject.CommonName}
		}
		for _, name := range names {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			index.byName[name] = append(index.byName[name], p.cert)
		}
	}
	for _, list := range index.byName {
		slices.SortStableFunc(list, func(a, b *tls.Certificate) int { return cost(a) - cost(b) })
	}
	f.index.Store(index)
}

// cost orders certificates of one name: an RSA signature costs a handshake most.
func cost(c *tls.Certificate) int {
	if _, ok := c.PrivateKey.(*rsa.PrivateKey); ok {
		return 1
	}
	return 0
}

// named is the certificate for a host, nil when no file names it: an exact name before a
// wildcard, which stands for one label (RFC 9525 §6.3).
func (f *files) named(host string, hello *tls.ClientHelloInfo) *tls.Certificate {
	if host == "" {
		return nil
	}
	index := f.index.Load()
	list := index.byName[host]
	if len(list) == 0 {
		_, parent, found := strings.Cut(host, ".")
		if !found {
			return nil
		}
		if list = index.byName["*."+parent]; len(list) == 0 {
			return nil
		}
	}
	return able(list, hello)
}

// first is the default for clients whose host no file names: the first certificate, or
// another one of its names that the client can use.
func (f *files) first(hello *tls.ClientHelloInfo) *tls.Certificate {
	index := f.index.Load()
	first := index.all[0]
	for _, name := range first.Leaf.DNSNames {
		return able(index.byName[strings.ToLower(strings.TrimSuffix(name, "."))], hello)
	}
	return first
}

// able is the first of several that the client can use, else the first.
func able(list []*tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(list) > 1 {
		any := *hello
		any.ServerName = "" // the name was matched before
		for _, c := range list {
			if any.SupportsCertificate(c) == nil {
				return c
			}
		}
	}
	return list[0]
}

// ends is when the first of them ends.
func (f *files) ends() time.Time {
	var first time.Time
	for _, c := range f.index.Load().all {
		if first.IsZero() || c.Leaf.NotAfter.Before(first) {
			first = c.Leaf.NotAfter
		}
	}
	return first
}

func (p *filePair) stat() (seen [2]fs.FileInfo, err error) {
	for i, name := range []string{p.Cert, p.Key} {
		if seen[i], err = os.Stat(name); err != nil {
			return seen, fmt.Errorf("read certificate: %w", err)
		}
	}
	return seen, nil
}

func (p *filePair) read() (*tls.Certificate, error) {
	chain, err := readPEM(p.Cert)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	key, err := readPEM(p.Key)
	if err != nil {
		return nil, fmt.Errorf("read key of certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
	}
	return &cert, nil
}

func readPEM(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(text) > maxPEM {
		err = fmt.Errorf("%s: longer than %d bytes", name, maxPEM)
	}
	return text, err
}

func unchanged(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

package certs

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"freshet/internal/reload"
)

const (
	warnBefore = 14 * 24 * time.Hour // of the end of a certificate
	warnEvery  = 24 * time.Hour
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
	files  *reload.Set[*tls.Certificate]
	cert   *tls.Certificate
	warned time.Time // of the end that is near
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
		if pair.files, pair.cert, err = reload.Open(pair.read, p.Cert, p.Key); err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		f.pairs = append(f.pairs, pair)
	}
	f.publish()
	f.warn()
	return f, nil
}

// run looks at the files until ctx ends.
func (f *files) run(ctx context.Context) {
	tick := time.NewTicker(reload.Interval)
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

// look reads again what has changed.
func (f *files) look() {
	some := false
	for _, p := range f.pairs {
		cert, changed, err := p.files.Look()
		if err != nil {
			f.log.Error("new certificate cannot be used, the old one stays", "cert", p.Cert, "err", err)
		}
		if changed {
			p.cert, p.warned, some = cert, time.Time{}, true
			f.log.Info("certificate was read", "cert", p.Cert, "until", cert.Leaf.NotAfter)
		}
	}
	if some {
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

func (p *filePair) read() (*tls.Certificate, error) {
	chain, err := reload.PEM(p.Cert)
	if err != nil {
		return nil, err
	}
	key, err := reload.PEM(p.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
	}
	return &cert, nil
}

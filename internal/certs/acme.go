package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"freshet/internal/cluster"
	"freshet/internal/reload"
)

// acmeProtocol is what a client of tls-alpn-01 negotiates (RFC 8737 §6.2).
const acmeProtocol = "acme-tls/1"

// ChallengePath begins the paths of http-01 challenges (RFC 8555 §8.3).
const ChallengePath = "/.well-known/acme-challenge/"

const (
	orderTime     = 3 * time.Minute  // for one certificate, with its retries
	orderWait     = 30 * time.Second // that a handshake waits for it at most
	maxOrders     = 16               // under way at once
	maxRefused    = 4096             // hosts whose failure is remembered
	firstRefusal  = time.Minute      // until a host that failed is tried again; doubles
	maxRefusal    = time.Hour        // and no longer
	forgetEvery   = 10 * time.Minute // certificates of hosts that are served no more
	maxACMEHost   = 200              // bytes of a host: it stands twice in the keys of the storage
	orderEvery    = 36 * time.Second // new certificates in the long run, as Let's Encrypt allows an account: who may name any host below a wildcard cannot use that up for the others for long
	orderBurst    = 50               // new certificates at once
	challengeSize = 1 << 10          // bytes of a key authorization, with room
)

var (
	errNotRunning = errors.New("certificates are not being ordered yet")
	errManyOrders = errors.New("too many certificates are being ordered")
	errTooOften   = errors.New("too many certificates were ordered lately")
	errLongHost   = errors.New("the host is too long to order a certificate for")
)

// ordered are the certificates that ACME gives: ordered when a host is first named,
// kept in a storage that the cluster shares, renewed in time.
type ordered struct {
	cfg   Config
	roots *x509.CertPool
	store certmagic.Storage
	log   *zap.Logger
	rate  *rate.Limiter // of new certificates

	ready  chan struct{} // closed when what follows stands
	done   context.Context
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer

	orders sync.WaitGroup
	mu     struct {
		sync.Mutex
		loaded  map[string]bool    // hosts with a certificate in cache
		flights map[string]*flight // hosts whose certificate is being loaded or ordered
		refused map[string]refusal
		ends    time.Time // of the first to end, among loaded
	}
}

// flight is one load or order that many handshakes may wait for.
type flight struct {
	done chan struct{}
	err  error
}

// refusal keeps a host that failed from being tried for a while.
type refusal struct {
	until time.Time
	wait  time.Duration
	err   error
}

func newOrdered(cfg Config, secrets *cluster.Secrets) (*ordered, error) {
	if cfg.Hosts == nil {
		return nil, errors.New("ACME needs to know the hosts that it may order certificates for")
	}
	o := &ordered{cfg: cfg, ready: make(chan struct{}), log: zap.New(&slogCore{log: cfg.Log}), rate: rate.NewLimiter(rate.Every(orderEvery), orderBurst)}
	o.mu.loaded, o.mu.flights, o.mu.refused = make(map[string]bool), make(map[string]*flight), make(map[string]refusal)
	switch {
	case secrets != nil:
		o.store = newStorage(cfg.Cluster, secrets, cfg.Log)
	case cfg.Dir != "":
		o.store = &certmagic.FileStorage{Path: filepath.Join(cfg.Dir, "acme")}
	default:
		return nil, errors.New("ACME without a cluster needs a directory")
	}
	if cfg.ACME.CA != "" {
		text, err := reload.PEM(cfg.ACME.CA)
		if err != nil {
			return nil, fmt.Errorf("roots of the ACME server: %w", err)
		}
		o.roots = x509.NewCertPool()
		if !o.roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("roots of the ACME server: %s holds no certificate", cfg.ACME.CA)
		}
	}
	return o, nil
}

// run orders and renews until ctx ends.
func (o *ordered) run(ctx context.Context) {
	o.done = ctx
	o.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return o.magic, nil },
		Logger:           o.log,
	})
	o.magic = certmagic.New(o.cache, certmagic.Config{Storage: o.store, DisableStorageCheck: true, Logger: o.log})
	a := o.cfg.ACME
	o.issuer = certmagic.NewACMEIssuer(o.magic, certmagic.ACMEIssuer{
		CA: a.Directory, Email: a.Email, Agreed: true, TrustedRoots: o.roots, Logger: o.log,
		ListenHost: a.Host, AltHTTPPort: a.HTTPPort, AltTLSALPNPort: a.TLSPort,
		HTTPProxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	})
	o.magic.Issuers = []certmagic.Issuer{o.issuer}
	close(o.ready)
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			o.orders.Wait()
			o.cache.Stop()
			return
		case <-tick.C:
			o.forget()
		}
	}
}

// get is the certificate of a host that may have one. It waits for one that is being
// ordered, within orderWait and as long as ctx allows; the order goes on after that.
func (o *ordered) get(ctx context.Context, host string) (*tls.Certificate, error) {
	if len(host) > maxACMEHost {
		return nil, errLongHost
	}
	select {
	case <-o.ready:
	default:
		return nil, errNotRunning
	}
	if c := o.cached(host); c != nil {
		return c, nil
	}
	f, err := o.flight(host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, orderWait)
	defer cancel()
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	if c := o.cached(host); c != nil {
		return c, nil
	}
	return nil, errNotRunning // it was forgotten again
}

// cached is the certificate of a host that is in RAM and has not ended.
func (o *ordered) cached(host string) *tls.Certificate {
	now := o.cfg.Now()
	var best *tls.Certificate
	for _, c := range o.cache.AllMatchingCertificates(host) {
		if c.Leaf != nil && now.Before(c.Leaf.NotAfter) && (best == nil || c.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best = &c.Certificate
		}
	}
	return best
}

// flight is the order of a host that is under way, or a new one.
func (o *ordered) flight(host string) (*flight, error) {
	now := o.cfg.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.mu.flights[host]; f != nil {
		return f, nil
	}
	if r, ok := o.mu.refused[host]; ok && now.Before(r.until) {
		return nil, r.err
	}
	if len(o.mu.flights) >= maxOrders {
		return nil, errManyOrders
	}
	if o.done.Err() != nil {
		return nil, o.done.Err()
	}
	f := &flight{done: make(chan struct{})}
	o.mu.flights[host] = f
	o.orders.Go(func() {
		ctx, cancel := context.WithTimeout(o.done, orderTime)
		defer cancel()
		f.err = o.order(ctx, host)
		o.settle(host, f)
	})
	return f, nil
}

// settle ends a flight and remembers how.
func (o *ordered) settle(host string, f *flight) {
	now := o.cfg.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.mu.flights, host)
	if f.err == nil {
		o.mu.loaded[host] = true
		delete(o.mu.refused, host)
	} else if o.done.Err() == nil {
		o.cfg.Log.Error("certificate could not be ordered", "host", host, "err", f.err)
		r := o.mu.refused[host]
		r.wait = min(max(firstRefusal, 2*r.wait), maxRefusal)
		r.until, r.err = now.Add(r.wait), f.err
		if len(o.mu.refused) >= maxRefused {
			for victim := range o.mu.refused {
				delete(o.mu.refused, victim)
				break
			}
		}
		o.mu.refused[host] = r
	}
	close(f.done)
}

// order brings the certificate of a host into RAM, from the storage or from ACME.
func (o *ordered) order(ctx context.Context, host string) error {
	if !certmagic.SubjectQualifiesForCert(host) {
		return fmt.Errorf("no certificate can be ordered for %s", host)
	}
	c, err := o.magic.CacheManagedCertificate(ctx, host)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !o.rate.AllowN(o.cfg.Now(), 1):
		return errTooOften
	case errors.Is(err, fs.ErrNotExist):
		err = o.magic.ObtainCertAsync(ctx, host)
	case err == nil && !o.cfg.Now().Before(c.Leaf.NotAfter):
		err = o.magic.RenewCertAsync(ctx, host, false)
	default:
		return err
	}
	if err == nil {
		_, err = o.magic.CacheManagedCertificate(ctx, host)
	}
	return err
}

// forget lets go of certificates whose hosts are served no more, so that they are not
// renewed for ever.
func (o *ordered) forget() {
	o.mu.Lock()
	var gone []certmagic.SubjectIssuer
	for host := range o.mu.loaded {
		if !o.cfg.Hosts(host) {
			gone = append(gone, certmagic.SubjectIssuer{Subject: host})
			delete(o.mu.loaded, host)
		}
	}
	o.mu.Unlock()
	o.cache.RemoveManaged(gone)
}

// ends is when the first certificate in RAM ends.
func (o *ordered) ends() (first time.Time) {
	select {
	case <-o.ready:
	default:
		return first
	}
	o.mu.Lock()
	hosts := make([]string, 0, len(o.mu.loaded))
	for host := range o.mu.loaded {
		hosts = append(hosts, host)
	}
	o.mu.Unlock()
	for _, host := range hosts {
		if c := o.cached(host); c != nil && (first.IsZero() || c.Leaf.NotAfter.Before(first)) {
			first = c.Leaf.NotAfter
		}
	}
	return first
}

// challenge is the certificate that answers tls-alpn-01 (RFC 8737 §3).
func (o *ordered) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	select {
	case <-o.ready:
	default:
		return nil, errNotRunning
	}
	host := hostname(hello.ServerName)
	if host == "" || !o.cfg.Hosts(host) {
		return nil, fmt.Errorf("tls-alpn-01 for a host that is not served here: %q", host)
	}
	return o.magic.GetCertificate(hello)
}

// Challenge is what a request for path on a plain listener is to be answered, when path
// begins with ChallengePath; false when no such challenge is under way, or ACME is off.
// It may ask the cluster: another node may have placed the order.
func (m *Manager) Challenge(ctx context.Context, host, path string) (body string, ok bool) {
	if m.acme == nil || !strings.HasPrefix(path, ChallengePath) || hostname(host) == "" || !m.cfg.Hosts(hostname(host)) {
		return "", false
	}
	select {
	case <-m.acme.ready:
	default:
		return "", false
	}
	r := (&http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: path}, Header: http.Header{}}).WithContext(ctx)
	w := new(recorder)
	if !m.acme.issuer.HandleHTTPChallenge(w, r) || len(w.body) == 0 {
		return "", false
	}
	return string(w.body), true
}

// recorder takes the answer to a challenge.
type recorder struct {
	header http.Header
	body   []byte
}

func (w *recorder) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

func (w *recorder) WriteHeader(int) {}

func (w *recorder) Write(p []byte) (int, error) {
	if len(w.body)+len(p) > challengeSize {
		return 0, net.ErrClosed
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

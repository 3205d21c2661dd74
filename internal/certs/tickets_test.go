package certs

import (
	"context"
	"crypto/tls"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/cluster/clustertest"
	"freshet/internal/cluster/consul"
	"freshet/internal/cluster/local"
)

var clusterSecret = []byte("0123456789abcdef0123456789abcdef")

// clock is a time that the test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// step has managers look at the shared keys.
func step(t *testing.T, managers ...*Manager) {
	t.Helper()
	for _, m := range managers {
		if err := m.tickets.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASessionOfOneNodeResumesAtAnother(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cluster.KV{
		"local": func(t *testing.T) cluster.KV {
			c, err := local.New(local.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return c
		},
		"consul": func(t *testing.T) cluster.KV {
			c, err := consul.New(consul.Config{Address: clustertest.StartConsul(t), Prefix: "certs"}, new(logged).logger())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			kv, now := open(t), &clock{now: time.Now()}
			a := newAuthority(t)
			pair := pairIn(t.TempDir(), "a")
			a.issue(pair, false, 999*time.Hour, "a.example")
			node := func(pop string) *Manager {
				m, err := New(Config{Files: []Pair{pair}, Cluster: kv, Secret: clusterSecret, PoP: pop, Now: now.Now, Log: new(logged).logger()})
				if err != nil {
					t.Fatal(err)
				}
				step(t, m)
				return m
			}
			one, two, far := node("here"), node("here"), node("there")
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				client := &tls.Config{ServerName: "a.example", RootCAs: a.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: version}
				expect := func(what string, at *Manager, want bool) {
					t.Helper()
					state, err := shake(t, at.TLS().Clone(), client)
					if err != nil || state.DidResume != want {
						t.Errorf("TLS %x, %s: resumed %v, want %v; %v", version, what, state.DidResume, want, err)
					}
				}
				begin := func() {
					client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
					expect("a first handshake", one, false)
				}
				begin()
				expect("at another node", two, true)
				begin()
				expect("in another PoP", far, false)

				// The next key is known to all before it is used: who knows more is understood by
				// who knows less.
				begin()
				now.add(ticketLife - ticketLead)
				step(t, two)
				now.add(ticketLead)
				step(t, one)
				expect("after one rotation", two, true)
				begin()
				expect("of a key that the other has not taken into use", two, true)

				begin()
				for range ticketOld + 1 {
					now.add(ticketLife)
					step(t, one, two)
				}
				now.add(ticketLead)
				step(t, one, two)
				expect("after all keys of its time are gone", two, false)
			}
		})
	}
}

func TestKeysRotate(t *testing.T) {
	now := time.Unix(1e9, 0)
	var keys ticketKeys
	used := make(map[[32]byte]bool)
	var before [32]byte
	for range 5000 { // minutes: three days and more
		if keys.due(now) {
			keys = keys.next(now, newTicketKey())
		}
		order := keys.order(now)
		if before != ([32]byte{}) && order[0] != before && !contains(order, before) {
			t.Fatal("a key opens nothing any more as soon as it seals nothing")
		}
		before = order[0]
		used[before] = true
		if len(order) > ticketOld+2 {
			t.Fatalf("%d keys", len(order))
		}
		now = now.Add(time.Minute)
	}
	if n := len(used); n < 13 || n > 15 {
		t.Errorf("%d keys were used in 83 hours", n)
	}
}

func contains(keys [][32]byte, key [32]byte) bool {
	for _, k := range keys {
		if k == key {
			return true
		}
	}
	return false
}

func TestOneOfManyNodesMakesTheNextKey(t *testing.T) {
	kv, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	nodes := make([]*Manager, 8)
	dir := t.TempDir()
	for i := range nodes {
		if nodes[i], err = New(Config{SelfSigned: true, Dir: dir, Cluster: kv, Secret: clusterSecret, Log: new(logged).logger()}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, m := range nodes {
		all.Go(func() {
			if err := m.tickets.step(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, m := range nodes {
		if len(m.tickets.mu.keys) != 1 || m.tickets.mu.keys[0].Key != nodes[0].tickets.mu.keys[0].Key {
			t.Errorf("keys differ: %d", len(m.tickets.mu.keys))
		}
	}
}

// Handshakes go on while keys change; the race detector watches.
func TestRotationUnderLoad(t *testing.T) {
	now := &clock{now: time.Now()}
	m, err := New(Config{SelfSigned: true, Dir: t.TempDir(), Now: now.Now, Log: new(logged).logger()})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		all.Go(func() {
			client := &tls.Config{ServerName: "a.example", InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			resumed := 0
			for i := 0; i < 20 || resumed == 0; i++ {
				state, err := shake(t, m.TLS(), client)
				if err != nil {
					t.Error(err)
					return
				}
				if state.DidResume {
					resumed++
				}
			}
		})
	}
	go func() {
		all.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
			now.add(ticketLife / 4)
			step(t, m)
		}
	}
}

func TestOpenSSLResumesAtAnotherNode(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl here")
	}
	kv, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	dir := t.TempDir()
	session := filepath.Join(dir, "session")
	for i, flag := range []string{"-sess_out", "-sess_in"} {
		m, err := New(Config{SelfSigned: true, Dir: dir, Cluster: kv, Secret: clusterSecret, Log: new(logged).logger()})
		if err != nil {
			t.Fatal(err)
		}
		step(t, m)
		ln, err := tls.Listen("tcp", "127.0.0.1:0", m.TLS())
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Write([]byte("hello\n"))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		cmd := exec.CommandContext(ctx, openssl, "s_client", "-connect", ln.Addr().String(), "-servername", "a.example", "-CAfile", m.CAFile(), "-verify_return_error", "-ign_eof", flag, session)
		out, err := cmd.CombinedOutput()
		cancel()
		ln.Close()
		<-served
		if want := []string{"New, TLS", "Reused, TLS"}[i]; !strings.Contains(string(out), want) || !strings.Contains(string(out), "Verify return code: 0") && i == 0 {
			t.Fatalf("%s: no %q, %v:\n%s", flag, want, err, out)
		}
	}
}

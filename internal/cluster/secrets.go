package cluster

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Errors of Secrets, possibly wrapped.
var (
	ErrOtherKey = errors.New("encrypted under another cluster secret")
	ErrDamaged  = errors.New("stored secret is damaged or was moved")
)

// secretsPrefix begins the keys of secrets.
const secretsPrefix = "secrets/"

// minSecret is how many bytes a cluster secret has at least.
const minSecret = 32

// A stored secret:
//
//	0        1            9            21
//	+--------+------------+------------+----------------------------+
//	| format | key id (8) | nonce (12) | AES-256-GCM of the secret  |
//	+--------+------------+------------+----------------------------+
//
// Key and key id are derived from the cluster secret (HKDF-SHA256, different info),
// so the id tells a wrong key from damage and says nothing about the key. What
// stands before the nonce, and the name, are associated data: a secret that was
// copied to another name does not open.
const (
	secretFormat = 1
	keyIDSize    = 8
	nonceSize    = 12
	secretHead   = 1 + keyIDSize + nonceSize
	gcmTagSize   = 16

	// MaxSecret is how many bytes a secret has at most.
	MaxSecret = MaxValue - secretHead - gcmTagSize
)

// Secrets are small values that stand encrypted in a KV, under secrets/<name>. A
// name is what CheckKey allows.
type Secrets struct {
	kv    KV
	id    []byte
	gcm   cipher.AEAD
	under string
}

// NewSecrets are the secrets under a cluster secret, which has at least 32 bytes of
// good randomness.
func NewSecrets(kv KV, key []byte) (*Secrets, error) {
	if len(key) < minSecret {
		return nil, fmt.Errorf("the cluster secret has %d bytes, it needs at least %d", len(key), minSecret)
	}
	derived, err := hkdf.Key(sha256.New, key, nil, "freshet secrets 1: key", 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	id, err := hkdf.Key(sha256.New, key, nil, "freshet secrets 1: key id", keyIDSize)
	if err != nil {
		return nil, fmt.Errorf("derive key id: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return &Secrets{kv: kv, id: id, gcm: gcm, under: secretsPrefix}, nil
}

// Put stores a secret as KV.Put does, with its errors.
func (s *Secrets) Put(ctx context.Context, name string, secret []byte, expect uint64) (uint64, error) {
	if len(secret) > MaxSecret {
		return 0, fmt.Errorf("put secret %s: %d bytes: %w: at most %d", name, len(secret), ErrTooLarge, MaxSecret)
	}
	version, err := s.kv.Put(ctx, s.under+name, s.seal(name, secret), expect)
	if err != nil {
		return 0, fmt.Errorf("put secret %s: %w", name, err)
	}
	return version, nil
}

// Get reads a secret; the Pair's Key is the name, its Value what was put.
// ErrNotFound, ErrOtherKey, ErrDamaged.
func (s *Secrets) Get(ctx context.Context, name string) (Pair, error) {
	pair, err := s.kv.Get(ctx, s.under+name)
	if err != nil {
		return Pair{}, fmt.Errorf("get secret %s: %w", name, err)
	}
	secret, err := s.open(name, pair.Value)
	if err != nil {
		return Pair{}, fmt.Errorf("get secret %s: %w", name, err)
	}
	return Pair{Key: name, Value: secret, Version: pair.Version}, nil
}

func (s *Secrets) seal(name string, secret []byte) []byte {
	sealed := make([]byte, 0, secretHead+len(secret)+gcmTagSize)
	sealed = append(sealed, secretFormat)
	sealed = append(sealed, s.id...)
	head := sealed
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	sealed = append(sealed, nonce...)
	return s.gcm.Seal(sealed, nonce, secret, associated(head, name))
}

func (s *Secrets) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < secretHead+gcmTagSize {
		return nil, fmt.Errorf("%d bytes: %w", len(sealed), ErrDamaged)
	}
	if sealed[0] != secretFormat {
		return nil, fmt.Errorf("format %d is of a newer version of this program: %w", sealed[0], ErrDamaged)
	}
	head, nonce := sealed[:1+keyIDSize], sealed[1+keyIDSize:secretHead]
	if !bytes.Equal(head[1:], s.id) {
		return nil, ErrOtherKey
	}
	secret, err := s.gcm.Open(nil, nonce, sealed[secretHead:], associated(head, name))
	if err != nil {
		return nil, ErrDamaged
	}
	return secret, nil
}

// associated is the head, whose length is fixed, then the name.
func associated(head []byte, name string) []byte {
	return append(bytes.Clone(head), name...)
}

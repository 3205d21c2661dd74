package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Bounds of a token, in bytes. Random tokens of MinToken characters cannot be
// guessed over a network; MaxToken bounds what a stranger makes us hash.
const (
	MinToken = 16
	MaxToken = 1024
)

// ErrToken: the token that was to be verified against is of no use; the text says why.
var ErrToken = errors.New("unusable token")

// Verifier tells the right bearer token from all others, in a time that depends on
// neither. It is immutable.
type Verifier struct {
	hash [sha256.Size]byte
}

// NewVerifier hashes token and forgets it. ErrToken if it is empty, shorter than
// MinToken, longer than MaxToken, or holds what a header cannot carry.
func NewVerifier(token string) (*Verifier, error) {
	switch {
	case token == "":
		return nil, fmt.Errorf("%w: no token is configured; set one of at least %d characters", ErrToken, MinToken)
	case len(token) < MinToken:
		return nil, fmt.Errorf("%w: it has %d characters; at least %d are needed", ErrToken, len(token), MinToken)
	case len(token) > MaxToken:
		return nil, fmt.Errorf("%w: it has %d characters; at most %d are allowed", ErrToken, len(token), MaxToken)
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c >= 0x7f {
			return nil, fmt.Errorf("%w: only printable ASCII without spaces can stand in a header", ErrToken)
		}
	}
	return &Verifier{hash: sha256.Sum256([]byte(token))}, nil
}

// Verify reports whether token is the right one.
func (v *Verifier) Verify(token string) bool {
	if len(token) > MaxToken {
		return false
	}
	hash := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(hash[:], v.hash[:]) == 1
}

// Require lets a request pass to next if it carries the right bearer token, and
// otherwise answers 401 with a problem document (RFC 9457) and reads nothing of the
// body.
func (v *Verifier) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r.Header)
		switch {
		case !ok:
			refuse(w, `Bearer realm="freshet"`, "a bearer token is needed: send Authorization: Bearer TOKEN")
		case !v.Verify(token):
			refuse(w, `Bearer realm="freshet", error="invalid_token"`, "the bearer token is not the right one")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// bearer takes the token out of the one Authorization field. Several fields are
// refused: two parties could read different ones.
func bearer(h http.Header) (string, bool) {
	fields := h["Authorization"]
	if len(fields) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(fields[0], " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return "", false
	}
	token = strings.Trim(token, " ")
	return token, token != ""
}

func refuse(w http.ResponseWriter, challenge, detail string) {
	body, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": "Unauthorized", "status": http.StatusUnauthorized, "detail": detail,
	})
	if err != nil { // constant strings and a number always encode
		body = nil
	}
	h := w.Header()
	h.Set("WWW-Authenticate", challenge)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnauthorized)
	// The client may be gone already; there is nobody left to tell.
	_, _ = w.Write(append(body, '\n'))
}

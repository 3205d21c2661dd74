package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names.
const (
	maxKey    = 512 // bytes of a key
	maxName   = 63  // bytes of a node's, a document's or an election's name: one DNS label
	maxField  = 256 // bytes of a node's other texts
	maxAddrs  = 16  // addresses of a node
	maxReason = 512 // bytes of a Reason
	maxTier   = 16
)

// CheckKey says what is wrong with a key, as ErrInvalid. A key is at most 512 bytes
// of printable UTF-8; its segments, separated by slashes, are neither empty nor "."
// nor "..".
func CheckKey(key string) error {
	if key == "" || len(key) > maxKey {
		return fmt.Errorf("key of %d bytes: %w: a key has 1 to %d", len(key), ErrInvalid, maxKey)
	}
	if !printable(key) {
		return fmt.Errorf("key %q: %w: it holds something that cannot be printed", key, ErrInvalid)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("key %q: %w: the segment %q", key, ErrInvalid, segment)
		}
	}
	return nil
}

// Under is the text with which the keys under a KV prefix begin: "" for "", else
// prefix with one slash at its end. ErrInvalid.
func Under(prefix string) (string, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return "", nil
	}
	if err := CheckKey(prefix); err != nil {
		return "", err
	}
	return prefix + "/", nil
}

// CheckName says what is wrong with the name of a node, a document or an election,
// as ErrInvalid: 1 to 63 lower-case letters, digits and dashes, no dash at either
// end.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of %d characters: %w: a name has 1 to %d", len(name), ErrInvalid, maxName)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("name %q: %w: only lower-case letters, digits and dashes", name, ErrInvalid)
		}
	}
	if name[0] == '-' || name[len(name)-1] == '-' {
		return fmt.Errorf("name %q: %w: a dash at its end", name, ErrInvalid)
	}
	return nil
}

// Check says what keeps a node from being announced, as ErrInvalid.
func (n Node) Check() error {
	if err := CheckName(n.Name); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	switch n.Role {
	case Edge, Mid, Origin, Router, Distributor:
	default:
		return fmt.Errorf("node %s: %w: no such role: %q", n.Name, ErrInvalid, n.Role)
	}
	for _, text := range []string{n.PoP, n.Region, n.Admin, n.Version} {
		if len(text) > maxField || !printable(text) {
			return fmt.Errorf("node %s: %w: %q is longer than %d bytes or cannot be printed", n.Name, ErrInvalid, text, maxField)
		}
	}
	if n.Tier < 0 || n.Tier > maxTier || n.Tier > 0 && n.Role != Mid {
		return fmt.Errorf("node %s: %w: tier %d of role %s; only a mid has one, up to %d", n.Name, ErrInvalid, n.Tier, n.Role, maxTier)
	}
	for _, addrs := range [][]netip.AddrPort{n.Addrs, n.TierAddrs} {
		if len(addrs) > maxAddrs {
			return fmt.Errorf("node %s: %w: %d addresses, at most %d", n.Name, ErrInvalid, len(addrs), maxAddrs)
		}
		if slices.ContainsFunc(addrs, func(addr netip.AddrPort) bool { return !addr.IsValid() }) {
			return fmt.Errorf("node %s: %w: an address is missing", n.Name, ErrInvalid)
		}
	}
	return nil
}

// Reason is the text that stands for what health said: "" for nil, else the error's
// first 512 bytes, never empty.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	text := strings.TrimSpace(strings.ToValidUTF8(err.Error(), "?"))
	if text == "" {
		return "not ready"
	}
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	return text
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// CheckElection says what is wrong with the names of an election and of a candidate
// in it, as ErrInvalid.
func CheckElection(name, holder string) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("election: %w", err)
	}
	if err := CheckName(holder); err != nil {
		return fmt.Errorf("candidate for %s: %w", name, err)
	}
	return nil
}

package object

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPath is the longest path of an object, in bytes.
const MaxPath = 1024

// ErrPath: the path can be no object's; the text says why.
var ErrPath = errors.New("bad path")

// CheckPath is the one rule for legal paths, in their decoded form: "/css/site.css".
// A path is valid UTF-8 of at most MaxPath bytes that starts with a slash, and
// each of its segments is something: not empty, "." or "..", and without control
// characters and backslashes. So it means the same to every URL parser and file
// system on its way. ErrPath.
func CheckPath(path string) error {
	if len(path) > MaxPath {
		return fmt.Errorf("%w: it has %d bytes; at most %d are allowed", ErrPath, len(path), MaxPath)
	}
	if !utf8.ValidString(path) {
		return fmt.Errorf("%w %q: it is not valid UTF-8", ErrPath, path)
	}
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return fmt.Errorf("%w %q: it does not start with a slash", ErrPath, path)
	}
	for segment := range strings.SplitSeq(rest, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w %q: a segment is empty (a double slash, or one at the end)", ErrPath, path)
		case ".", "..":
			return fmt.Errorf("%w %q: the segment %q is not allowed", ErrPath, path, segment)
		}
	}
	for _, c := range rest {
		if c == '\\' || unicode.IsControl(c) {
			return fmt.Errorf("%w %q: the character %q is not allowed", ErrPath, path, c)
		}
	}
	return nil
}

// ParsePath decodes the path of a URL, once, and checks it. An encoded slash is
// refused: whether it separates segments is read differently by different parties,
// and a purge of the one spelling would miss the other. ErrPath.
func ParsePath(escaped string) (string, error) {
	// Three bytes of the encoded form may stand for one.
	if len(escaped) > 3*MaxPath {
		return "", fmt.Errorf("%w: it has %d bytes; at most %d are allowed", ErrPath, len(escaped), MaxPath)
	}
	if strings.Contains(escaped, "%2F") || strings.Contains(escaped, "%2f") {
		return "", fmt.Errorf("%w %q: an encoded slash is not allowed", ErrPath, escaped)
	}
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("%w %q: %w", ErrPath, escaped, err)
	}
	if err := CheckPath(path); err != nil {
		return "", err
	}
	return path, nil
}

// EscapePath is the path as it stands in a URL, in the one spelling under which
// objects are served: only what RFC 3986 does not allow in a segment is encoded, in
// upper-case digits. ParsePath is its inverse.
func EscapePath(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(path) {
		if plain[c] {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// plain are the bytes of a path that stand for themselves: pchar of RFC 3986 §3.3,
// and the slash.
var plain = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/") {
		set[c] = true
	}
	return set
}()

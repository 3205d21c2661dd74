package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// Errors of Prepare; nothing was sent.
var (
	// ErrRefused: the request is not one that the origin may be asked.
	ErrRefused = errors.New("the origin is not asked such things")
	// ErrUnusable: what the site needs to ask its origin is missing or wrong, as the error says.
	ErrUnusable = errors.New("the origin cannot be asked")
)

// noBody is the SHA-256 of an empty body. GET and HEAD have none, and its hash is taken by
// every server, also over plain HTTP, where some refuse a payload that is not signed.
const noBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Usable says why a server cannot be asked; nil if it can. It may be asked of a nil Server.
func (s *Server) Usable() error {
	if s == nil {
		return nil
	}
	return s.err
}

// Prepare makes of a request, whose target setTarget has set, what this server is to get:
// the path prefix, the fields, the signature, in that order. ErrRefused, ErrUnusable.
func (s *Server) Prepare(hr *http.Request) error {
	if s.err != nil {
		return s.err
	}
	path := sentPath(hr)
	if s.PathPrefix != "" && strings.HasPrefix(path, "/") {
		if climbs(path) {
			return fmt.Errorf("%w: a path with .. may lead out of %s", ErrRefused, s.PathPrefix)
		}
	}
	for _, field := range s.Header {
		hr.Header[http.CanonicalHeaderKey(field[0])] = []string{field[1]}
	}
	if s.S3 != nil {
		return s.S3.sign(hr, s.PathPrefix, path)
	}
	if s.PathPrefix != "" && strings.HasPrefix(path, "/") {
		target := s.PathPrefix + path
		if hr.URL.RawQuery != "" || hr.URL.ForceQuery {
			target += "?" + hr.URL.RawQuery
		}
		setTarget(hr.URL, target, hr.Host)
	}
	return nil
}

// sentPath is the path that setTarget was given.
func sentPath(hr *http.Request) string {
	switch u := hr.URL; {
	case u.Opaque == "":
		return u.EscapedPath()
	case strings.HasPrefix(u.Opaque, "//"):
		return strings.TrimPrefix(u.Opaque, "//"+hr.Host)
	default:
		return u.Opaque
	}
}

// climbs reports whether a server may find a segment .. in a path, however it reads it.
func climbs(path string) bool {
	if !strings.Contains(path, ".") && !strings.Contains(path, "%") {
		return false
	}
	path = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/", `\`, "/").Replace(path)
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";") // parameters (RFC 3986 §3.3), which some cut off first
		if segment == ".." {
			return true
		}
	}
	return false
}

// sign signs a request for an object (AWS Signature Version 4). What the client may have
// told S3 itself is not passed on, for it would be signed, and so be an order from whom S3
// trusts: fields X-Amz-*, and the query, by which a bucket is listed and the fields of an
// answer are set. For the same reason the bucket itself, which answers with its list, is not
// asked.
//
// The path is sent in the one form in which S3 has it signed, since some servers take it as
// it was sent and others decode it and encode it anew.
func (k *S3) sign(hr *http.Request, prefix, path string) error {
	if hr.Method != http.MethodGet && hr.Method != http.MethodHead || hr.Body != nil && hr.Body != http.NoBody {
		return fmt.Errorf("%w: S3 is asked by GET and HEAD, without a body", ErrRefused)
	}
	object, err := url.PathUnescape(path)
	if err != nil || !utf8.ValidString(object) || !strings.HasPrefix(object, "/") {
		return fmt.Errorf("%w: no object of S3 has such a name", ErrRefused)
	}
	if strings.Trim(object, "/") == "" {
		return fmt.Errorf("%w: a bucket of S3 answers with a list of all that is in it", ErrRefused)
	}
	before, err := url.PathUnescape(prefix)
	if err != nil {
		return fmt.Errorf("path prefix %s: %w", prefix, err)
	}
	object = before + object
	for name := range hr.Header {
		if strings.HasPrefix(name, "X-Amz-") {
			delete(hr.Header, name)
		}
	}
	// Only what S3 demands is signed: another field may change on the way.
	signed := signer.SignV4(http.Request{
		Method: hr.Method, Host: hr.Host, URL: &url.URL{Path: object}, Header: http.Header{"X-Amz-Content-Sha256": {noBody}},
	}, k.AccessKey, k.SecretKey, "", k.Region)
	for name, values := range signed.Header {
		hr.Header[name] = values
	}
	setTarget(hr.URL, encodePath(object), hr.Host)
	return nil
}

// encodePath encodes a path as it stands in what is signed: all but the unreserved
// characters (RFC 3986 §2.3) and the slash.
func encodePath(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

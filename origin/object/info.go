package object

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/origin/blob"
)

// Info is all that is known about one object beside its bytes. It is immutable; the
// JSON form is that of the push API and of the catalog.
type Info struct {
	Path        string      `json:"path"`
	Size        int64       `json:"size"`
	Digest      blob.Digest `json:"digest"` // SHA-256 of the content
	ContentType string      `json:"content_type"`
	Modified    time.Time   `json:"modified"` // when this content or these headers were put
	// Headers were given with the object and are served with it: those of Fields,
	// under their canonical names.
	Headers map[string]string `json:"headers,omitempty"`
}

// Fields are the header fields that are taken from a PUT and served with the
// object, beside Content-Type.
var Fields = []string{
	"Cache-Control",
	"Cdn-Cache-Control",
	"Content-Disposition",
	"Content-Encoding",
	"Content-Language",
	"Surrogate-Key",
}

// MaxHeaders is how many bytes the values of Info.Headers may have together.
const MaxHeaders = 8 << 10

// Same reports whether o says the same as i, whenever either was put.
func (i Info) Same(o Info) bool {
	return i.Path == o.Path && i.Size == o.Size && i.Digest == o.Digest &&
		i.ContentType == o.ContentType && maps.Equal(i.Headers, o.Headers)
}

// ETag is a strong entity tag, with its quotes. It covers what a 304 does not carry
// too (the content type), so that a cache that validates never keeps an old one.
func (i Info) ETag() string {
	var meta strings.Builder
	meta.WriteString(i.ContentType)
	for _, name := range slices.Sorted(maps.Keys(i.Headers)) {
		fmt.Fprintf(&meta, "\n%s: %s", name, i.Headers[name])
	}
	return fmt.Sprintf(`"%s-%08x"`, hex.EncodeToString(i.Digest[:16]), uint32(xxh3.HashString(meta.String())))
}

// CacheControl is the Cache-Control to serve: the one given with the object, else
// the default for its path.
func (i Info) CacheControl() string {
	if v := i.Headers["Cache-Control"]; v != "" {
		return v
	}
	return defaultCacheControl(i.Path)
}

// Put is the answer of the push API to a PUT.
type Put struct {
	Site    string      `json:"site"`
	Path    string      `json:"path"`
	Size    int64       `json:"size"`
	Digest  blob.Digest `json:"digest"`
	Changed bool        `json:"changed"` // false: the object was there already, just like this
}

// List is one page of a site's objects, sorted by path.
type List struct {
	Site    string `json:"site"`
	Objects []Info `json:"objects"`
	Next    string `json:"next,omitempty"` // what to ask for as after; empty at the end
}

// MaxList is how many objects one List holds at most.
const MaxList = 1000

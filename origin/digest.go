package origin

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"

	"github.com/dunglas/httpsfv"

	"freshet/origin/blob"
)

// digests is what a client says of the content that it sends. It is the writer that
// the content must be copied to.
type digests struct {
	sha256 *blob.Digest // nil: it says none
	want   []byte       // MD5; nil: it says none
	md5    hash.Hash    // nil without want
}

// readDigests reads Content-Digest and Repr-Digest (RFC 9530; of a whole upload
// they are the same), of which only sha-256 is looked at, and Content-MD5.
func readDigests(in http.Header) (*digests, error) {
	d := &digests{}
	for _, name := range []string{"Content-Digest", "Repr-Digest"} {
		fields := in[name]
		if len(fields) == 0 {
			continue
		}
		dict, err := httpsfv.UnmarshalDictionary(fields)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errHeader, name, err)
		}
		member, ok := dict.Get("sha-256")
		if !ok {
			continue
		}
		item, ok := member.(httpsfv.Item)
		value, isBytes := item.Value.([]byte)
		if !ok || !isBytes || len(value) != len(blob.Digest{}) {
			return nil, fmt.Errorf("%w: %s: sha-256 should be 32 bytes in base64 between colons", errHeader, name)
		}
		if said := blob.Digest(value); d.sha256 != nil && *d.sha256 != said {
			return nil, fmt.Errorf("%w: Content-Digest and Repr-Digest contradict each other", errHeader)
		} else {
			d.sha256 = &said
		}
	}
	if text := in.Get("Content-Md5"); text != "" {
		want, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(want) != md5.Size {
			return nil, fmt.Errorf("%w: Content-MD5 should be 16 bytes in base64", errHeader)
		}
		d.want, d.md5 = want, md5.New()
	}
	return d, nil
}

func (d *digests) Write(p []byte) (int, error) {
	if d.md5 != nil {
		return d.md5.Write(p)
	}
	return len(p), nil
}

// check compares what came with what was said.
func (d *digests) check(got blob.Digest) error {
	if d.sha256 != nil && *d.sha256 != got {
		return fmt.Errorf("%w: sha-256 is %s, not %s", errMismatch, got, *d.sha256)
	}
	if d.md5 != nil && string(d.md5.Sum(nil)) != string(d.want) {
		return fmt.Errorf("%w: MD5 is another", errMismatch)
	}
	return nil
}

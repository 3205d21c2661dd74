package origin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet/internal/site"
	"freshet/origin/blob"
	"freshet/origin/object"
)

// sniffBytes is how much of the content http.DetectContentType looks at.
const sniffBytes = 512

// put takes an object: everything that can be refused is refused before the body is
// read, and nothing is left of a body that does not come whole.
func (h *handler) put(a *answer, r *http.Request, doc *site.Document, path string) error {
	start := time.Now()
	if doc.Origin.Outside() {
		return fmt.Errorf("%w, %s: nobody would see what is pushed here; take origin.url or origin.servers out of the site document", errOutside, doc.Origin.String())
	}
	if r.ContentLength > h.limits.object {
		return fmt.Errorf("%w: %d bytes; at most %d are allowed", blob.ErrTooLarge, r.ContentLength, h.limits.object)
	}
	info, err := readInfo(r.Header, path)
	if err != nil {
		return err
	}
	digests, err := readDigests(r.Header)
	if err != nil {
		return err
	}
	cond := readCondition(r.Header)
	if err := h.precheck(doc.Site, path, cond); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return errBusy
	}

	body := bufio.NewReaderSize(&upload{r.Body, a}, sniffBytes)
	if info.ContentType == "" {
		// An error shows again in Stage.
		head, _ := body.Peek(sniffBytes)
		info.ContentType = contentType(info, head)
	}
	staged, err := h.store.Stage(io.TeeReader(body, digests), h.limits.object)
	if err != nil {
		return err
	}
	if err := digests.check(staged.Digest()); err != nil {
		return errors.Join(err, staged.Discard())
	}
	info, old, err := h.store.Put(doc.Site, info, staged, cond.check)
	if err != nil {
		return err
	}
	h.metrics.push(info.Size, time.Since(start))

	a.Header().Set("Etag", info.ETag())
	code := http.StatusOK
	if old == nil {
		code = http.StatusCreated
		a.Header().Set("Location", r.URL.EscapedPath())
	}
	writeJSON(a, code, "application/json", object.Put{
		Site: doc.Site, Path: path, Size: info.Size, Digest: info.Digest, Changed: old == nil || !old.Same(info),
	})
	return nil
}

// precheck spares the client an upload whose condition fails already.
func (h *handler) precheck(siteName, path string, cond condition) error {
	if cond.empty() {
		return nil
	}
	info, err := h.store.Get(siteName, path)
	switch {
	case err == nil:
		return cond.check(&info)
	case status(err) == http.StatusNotFound:
		return cond.check(nil)
	}
	return err
}

// readInfo takes from a request's head what is to be served with the object. The
// content type stays empty where neither the request nor the path says it.
func readInfo(in http.Header, path string) (object.Info, error) {
	info := object.Info{Path: path, ContentType: in.Get("Content-Type")}
	if in.Get("Content-Range") != "" {
		// RFC 9110 §14.5: taken for the whole, a part would destroy the object.
		return info, fmt.Errorf("%w: Content-Range: only whole objects can be put", errHeader)
	}
	if info.ContentType != "" {
		base, _, err := mime.ParseMediaType(info.ContentType)
		if err != nil || len(info.ContentType) > 255 || !strings.Contains(base, "/") {
			return info, fmt.Errorf("%w: Content-Type %q is no media type", errHeader, info.ContentType)
		}
		if base == "application/x-www-form-urlencoded" {
			info.ContentType = "" // curl --data-binary says so of everything
		}
	}
	if info.ContentType == "" {
		info.ContentType = object.ContentTypeFor(path)
	}
	size := 0
	for _, name := range object.Fields {
		value := strings.TrimSpace(strings.Join(in[name], ", "))
		if value == "" {
			continue
		}
		if size += len(value); size > object.MaxHeaders {
			return info, fmt.Errorf("%w: the fields kept with an object may have %d bytes together", errHeader, object.MaxHeaders)
		}
		if info.Headers == nil {
			info.Headers = make(map[string]string)
		}
		info.Headers[name] = value
	}
	return info, nil
}

// contentType goes by the content, unless that is in a coding.
func contentType(info object.Info, head []byte) string {
	if info.Headers["Content-Encoding"] != "" {
		return "application/octet-stream"
	}
	return http.DetectContentType(head)
}

// condition is that of a PUT or DELETE (RFC 9110 §13.1).
type condition struct {
	match, noneMatch []string // entity tags, or "*"; nil: no such field
}

func readCondition(in http.Header) condition {
	return condition{match: tags(in["If-Match"]), noneMatch: tags(in["If-None-Match"])}
}

// tags splits lists of entity tags. Ours have no commas, so that a foreign one that
// does only turns into others that match nothing.
func tags(fields []string) []string {
	var list []string
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			list = append(list, strings.TrimSpace(tag))
		}
	}
	return list
}

func (c condition) empty() bool { return c.match == nil && c.noneMatch == nil }

// check compares what is stored (nil: nothing) with the condition, strongly.
func (c condition) check(old *object.Info) error {
	switch {
	case c.match != nil && old == nil:
		return fmt.Errorf("%w: there is no such object (If-Match)", errCondition)
	case c.match != nil && !slices.Contains(c.match, "*") && !slices.Contains(c.match, old.ETag()):
		return fmt.Errorf("%w: the object has the tag %s (If-Match)", errCondition, old.ETag())
	case c.noneMatch != nil && old != nil && (slices.Contains(c.noneMatch, "*") || slices.Contains(c.noneMatch, old.ETag())):
		return fmt.Errorf("%w: the object exists (If-None-Match)", errCondition)
	}
	return nil
}

package origin

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"freshet/internal/site"
	"freshet/origin/object"
)

const (
	apiRoot   = "/v1/"
	apiPrefix = apiRoot + "sites/"
)

// serveAPI answers who has shown the token. The path is taken apart here and not by
// a http.ServeMux, which would redirect the paths that it wants cleaner.
func (h *handler) serveAPI(w http.ResponseWriter, r *http.Request) {
	a := w.(*answer) // ServeHTTP has made it, and access hands it on
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), apiPrefix)
	name, rest, cut := strings.Cut(rest, "/")
	if !ok || !cut || (rest != "objects" && !strings.HasPrefix(rest, "objects/")) {
		h.fail(a, r, fmt.Errorf("%w: the push API has %s{site}/objects and %s{site}/objects/{path}", errNoPage, apiPrefix, apiPrefix))
		return
	}
	doc, err := h.site(name)
	if err != nil {
		h.fail(a, r, err)
		return
	}
	escaped := strings.TrimPrefix(rest, "objects")
	if escaped == "" {
		h.list(a, r, doc)
		return
	}
	path, err := object.ParsePath(escaped)
	if err != nil {
		h.fail(a, r, err)
		return
	}
	switch r.Method {
	case http.MethodPut:
		err = h.put(a, r, doc, path)
	case http.MethodGet, http.MethodHead:
		err = h.read(a, r, doc, path)
	case http.MethodDelete:
		err = h.delete(a, r, doc, path)
	default:
		h.notAllowed(a, r, "DELETE, GET, HEAD, PUT")
	}
	if err != nil {
		h.fail(a, r, err)
	}
}

// site finds a site by the name in a URL.
func (h *handler) site(escaped string) (*site.Document, error) {
	sites := h.sites()
	if sites == nil {
		return nil, errSitesUnknown
	}
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSite, err)
	}
	doc := sites.ByName(name)
	if doc == nil {
		return nil, fmt.Errorf("%w %q; make it known with: freshet site apply FILE", errNoSite, name)
	}
	return doc, nil
}

// read answers with an object as it is stored, for publishers.
func (h *handler) read(a *answer, r *http.Request, doc *site.Document, path string) error {
	info, content, err := h.store.Open(doc.Site, path)
	if err != nil {
		return err
	}
	defer content.Close()
	a.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(info.Digest[:])+":")
	h.send(a, r, info, "no-store", content)
	return nil
}

func (h *handler) delete(a *answer, r *http.Request, doc *site.Document, path string) error {
	if err := h.store.Delete(doc.Site, path, readCondition(r.Header).check); err != nil {
		return err
	}
	a.WriteHeader(http.StatusNoContent)
	return nil
}

// list answers with a page of a site's objects.
func (h *handler) list(a *answer, r *http.Request, doc *site.Document) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.notAllowed(a, r, "GET, HEAD")
		return
	}
	q, err := readListQuery(r.URL.RawQuery)
	if err != nil {
		h.fail(a, r, err)
		return
	}
	objects, more, err := h.store.List(doc.Site, q.prefix, q.after, q.limit)
	if err != nil {
		h.fail(a, r, err)
		return
	}
	page := object.List{Site: doc.Site, Objects: objects}
	if page.Objects == nil {
		page.Objects = []object.Info{} // an empty list, not null
	}
	if more {
		page.Next = objects[len(objects)-1].Path
	}
	writeJSON(a, http.StatusOK, "application/json", page)
}

type listQuery struct {
	prefix, after string
	limit         int
}

func readListQuery(raw string) (listQuery, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return listQuery{}, fmt.Errorf("%w: %w", errQuery, err)
	}
	q := listQuery{limit: object.MaxList}
	for name, v := range values {
		value := v[0]
		switch {
		case len(v) > 1:
			return listQuery{}, fmt.Errorf("%w: %q is given twice", errQuery, name)
		case len(value) > object.MaxPath:
			return listQuery{}, fmt.Errorf("%w: %q is longer than any path", errQuery, name)
		case name == "prefix":
			q.prefix = value
		case name == "after":
			q.after = value
		case name == "limit":
			if q.limit, err = strconv.Atoi(value); err != nil || q.limit < 1 || q.limit > object.MaxList {
				return listQuery{}, fmt.Errorf("%w: limit is %q; it should be 1 to %d", errQuery, value, object.MaxList)
			}
		default:
			return listQuery{}, fmt.Errorf("%w: there is no %q; use prefix, after and limit", errQuery, name)
		}
	}
	return q, nil
}

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"freshet/edge/exchange"
	"freshet/internal/header"
	"freshet/internal/site"
	"freshet/internal/wildcard"
)

// rule is a compiled site.Rule.
type rule struct {
	name              string
	doc               *site.Rule
	path              *site.Path
	headers           []headerMatch
	rewrite           *rewrite
	to                *site.Template // of a redirect
	expose            string         // Access-Control-Expose-Headers of its CORS
	request, response edit
	// inKey: it changes what the origin is asked, on account of more than the path.
	inKey bool
}

type headerMatch struct{ name, pattern string }

// edit is a compiled site.HeaderEdit.
type edit struct {
	remove []string
	set    []fieldValue // by name
}

type fieldValue struct{ name, value string }

func compileEdit(doc *site.HeaderEdit) edit {
	e := edit{remove: doc.Remove}
	for _, name := range slices.Sorted(maps.Keys(doc.Set)) {
		e.set = append(e.set, fieldValue{name, doc.Set[name]})
	}
	return e
}

// apply makes the changes in a block or a draft of one.
func (e *edit) apply(h interface {
	Del(name string)
	Set(name, value string) error
}) error {
	for _, name := range e.remove {
		h.Del(name)
	}
	for _, f := range e.set {
		if err := h.Set(f.name, f.value); err != nil {
			return err
		}
	}
	return nil
}

type rewrite struct {
	path *site.Path // nil: the rule's own
	to   *site.Template
}

func compileRule(doc *site.Rule, i int) (rule, error) {
	r := rule{name: doc.Name, doc: doc}
	if r.name == "" {
		r.name = fmt.Sprintf("rules[%d]", i)
	}
	var err error
	if r.path, err = site.CompilePath(doc.Match.Path); err != nil {
		return r, err
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Match.Header)) {
		r.headers = append(r.headers, headerMatch{name, doc.Match.Header[name]})
	}
	if doc.Redirect != nil {
		if r.to, err = site.CompileTemplate(doc.Redirect.To); err != nil {
			return r, err
		}
	}
	if w := doc.Rewrite; w != nil {
		r.rewrite = new(rewrite)
		if r.rewrite.to, err = site.CompileTemplate(w.Template()); err != nil {
			return r, err
		}
		if w.Prefix != "" || w.Regex != "" {
			if r.rewrite.path, err = site.CompilePath(site.PathMatch{Prefix: w.Prefix, Regex: w.Regex}); err != nil {
				return r, err
			}
		}
	}
	if doc.CORS != nil {
		r.expose = strings.Join(doc.CORS.Expose, ", ")
	}
	r.request, r.response = compileEdit(&doc.RequestHeaders), compileEdit(&doc.ResponseHeaders)
	r.inKey = doc.Conditional() && r.asks()
	return r, nil
}

// asks reports whether the rule changes what the origin is asked.
func (r *rule) asks() bool {
	d := r.doc
	return d.Rewrite != nil || d.CORS != nil || d.Cache.PassCookies != nil || !d.RequestHeaders.Empty()
}

// matches reports whether the rule is about the request, whose scheme and path are
// given.
func (r *rule) matches(req *exchange.Request, scheme, path string) bool {
	if r.doc.Match.Scheme != "" && r.doc.Match.Scheme != scheme {
		return false
	}
	if len(r.doc.Match.Method) > 0 && !slices.Contains(r.doc.Match.Method, req.Method) {
		return false
	}
	for i := range r.headers {
		if !r.headers[i].matches(req.Header) {
			return false
		}
	}
	return r.path.Match(path)
}

func (m *headerMatch) matches(h *header.Block) bool {
	for v := range h.Values(m.name) {
		if wildcard.Match(m.pattern, v) {
			return true
		}
	}
	return false
}

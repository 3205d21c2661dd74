package site

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"freshet/internal/document"
)

// checkRules reports what the tags cannot say of the rules.
func (d *Document) checkRules(report *document.Report) {
	checkCount(report, "rules", len(d.Rules), MaxRules)
	names := make(map[string]int)
	last := -1 // the first rule that looks at more than the path and is the last for some
	for i := range d.Rules[:min(len(d.Rules), MaxRules)] {
		r, at := &d.Rules[i], document.Index("rules", i)
		if first, ok := names[r.Name]; ok && r.Name != "" {
			report.Mistake(at+".name", "%s is the name of rules[%d] already", cut(r.Name), first)
		} else if len(r.Name) > 63 || !isASCII(r.Name) {
			report.Mistake(at+".name", "%s must be at most 63 ASCII characters", cut(r.Name))
		}
		names[r.Name] = i
		path := r.Match.check(report, at+".match", d.AmbiguousPaths != PassAmbiguous)
		r.checkActions(report, at, path)
		if r.Cache.Key != nil {
			r.checkKey(report, at+".cache.key", last)
			r.Cache.Key.check(report, at+".cache.key", d.Hosts)
		}
		if last < 0 && r.Last && r.Conditional() {
			last = i
		}
	}
}

// checkKey reports a rule whose key depends on more of a request than a purge knows.
func (r *Rule) checkKey(report *document.Report, at string, last int) {
	if r.Conditional() {
		report.Mistake(at, "a rule that matches by scheme, method or header cannot change the key: purges know the path alone")
	} else if last >= 0 {
		report.Mistake(at, "must stand before rules[%d], which is the last for some schemes, methods or headers only: purges know the path alone", last)
	}
}

// check returns the compiled condition on the path; nil if it is wrong.
func (m *Match) check(report *document.Report, at string, guarded bool) *Path {
	checkCount(report, at+".method", len(m.Method), MaxListed)
	for i, method := range m.Method {
		switch here := document.Index(at+".method", i); {
		case !isToken(method) || method != strings.ToUpper(method):
			report.MistakeHint(here, "such as GET", "%s is no method: they are in upper case", cut(method))
		case method == "CONNECT" || method == "TRACE":
			report.Mistake(here, "%s is not served", method)
		case slices.Contains(m.Method[:i], method):
			report.Mistake(here, "%s is listed twice", method)
		}
	}
	checkCount(report, at+".header", len(m.Header), MaxKeyFields)
	for name, pattern := range m.Header {
		here := at + ".header." + name
		if err := checkFieldName(name, conditional, framing, passage); err != nil {
			report.Mistake(here, "%v", err)
		} else if len(pattern) > MaxPattern {
			report.Mistake(here, "%v", errTooLong)
		}
	}
	return m.Path.check(report, at+".path", guarded)
}

func (m *PathMatch) check(report *document.Report, at string, guarded bool) *Path {
	field, text, given := "", "", 0
	for _, f := range []struct{ name, text string }{{"prefix", m.Prefix}, {"glob", m.Glob}, {"regex", m.Regex}} {
		if report.Has(at + "." + f.name) {
			field, text = f.name, f.text
			given++
		}
	}
	here := at + "." + field
	switch {
	case given == 0:
		if report.Has(at) {
			report.Mistake(at, "is empty: want one of prefix, glob and regex")
		}
	case given > 1:
		report.Mistake(at, "want one of prefix, glob and regex, not %d of them", given)
		return nil
	case text == "":
		report.Mistake(here, "must not be empty")
	case field != "regex":
		checkPathText(report, here, text, field == "glob")
		if field == "prefix" && guarded && report.Valid(here) {
			// Any letter may follow.
			if why := AmbiguousPath(text + "x"); why != "" {
				report.Mistake(here, "matches nothing: it %s, and such paths are refused unless ambiguous_paths is pass", why)
			}
		}
	}
	path, err := CompilePath(*m)
	if err != nil {
		report.Mistake(here, "%v", err)
	}
	if !report.Valid(here) {
		return nil
	}
	return path
}

// checkPathText reports what no path can hold as clients send it.
func checkPathText(report *document.Report, at, text string, glob bool) {
	switch {
	case text[0] != '/' && !(glob && (text[0] == '*' || text[0] == '?')):
		report.MistakeHint(at, fmt.Sprintf("%q", "/"+strings.TrimLeft(text, "/")), "%s must begin with a slash, as paths do", cut(text))
	case !glob && strings.Contains(text, "?"):
		report.Mistake(at, "%s has a ?, but the path ends before it: queries are not matched", cut(text))
	case strings.ContainsAny(text, " #") || !isASCII(text):
		report.Mistake(at, "%s must be as clients send it: spaces, # and what is not ASCII are %%-encoded", cut(text))
	}
}

// checkActions reports what is wrong with what a rule does; path is its condition,
// nil if that is wrong.
func (r *Rule) checkActions(report *document.Report, at string, path *Path) {
	if r.Rewrite != nil {
		r.Rewrite.check(report, at+".rewrite", path)
	}
	if r.Redirect != nil {
		r.Redirect.check(report, at+".redirect", path)
	}
	if r.CORS != nil {
		r.CORS.check(report, at+".cors")
	}
	r.RequestHeaders.check(report, at+".request_headers", conditional, framing, passage)
	r.ResponseHeaders.check(report, at+".response_headers", framing, passage, told)
}

func (e *HeaderEdit) check(report *document.Report, at string, not ...[]string) {
	checkFieldNames(report, at+".remove", e.Remove, MaxListed, not...)
	checkCount(report, at+".set", len(e.Set), MaxListed)
	var seen []string
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		here := at + ".set." + name
		if err := checkFieldName(name, not...); err != nil {
			report.Mistake(here, "%v", err)
		} else if !isValue(e.Set[name]) {
			report.Mistake(here, "%s cannot be the value of a field: no control characters, no space at its ends, at most %d bytes", cut(e.Set[name]), 4*MaxPattern)
		} else if containsName(seen, name) || containsName(e.Remove, name) {
			report.Mistake(here, "%s is set or removed twice", name)
		}
		seen = append(seen, name)
	}
}

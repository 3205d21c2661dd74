package site

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"freshet/internal/document"
)

// check reports what is wrong with a rewrite; path is the rule's condition, nil if
// that is wrong.
func (w *Rewrite) check(report *document.Report, at string, path *Path) {
	switch {
	case w.Prefix != "" && w.Regex != "":
		report.Mistake(at, "want prefix or regex, not both")
		return
	case w.Prefix != "":
		checkPathText(report, at+".prefix", w.Prefix, false)
	case w.Regex != "":
		regex, err := CompilePath(PathMatch{Regex: w.Regex})
		if path = regex; err != nil {
			report.Mistake(at+".regex", "%v", err)
			path = nil
		}
	}
	if w.To == "" {
		return
	}
	to, err := CompileTemplate(w.Template())
	switch {
	case err != nil:
		report.Mistake(at+".to", "%v", err)
	case !strings.HasPrefix(w.To, "/") && !strings.HasPrefix(w.To, "${path}"):
		report.Mistake(at+".to", "%s must begin with a slash", cut(w.To))
	case strings.ContainsAny(w.To, " ?#\\") || !isASCII(w.To):
		report.Mistake(at+".to", "%s must be a path as the origin gets it: no query, and spaces, # and what is not ASCII %%-encoded", cut(w.To))
	case w.Prefix == "" && (to.Uses("query") || to.Uses("host")):
		report.Mistake(at+".to", "only ${path} and $1, $2, … can be used here; the query of the request follows by itself")
	case w.Prefix == "" && path != nil:
		checkGroups(report, at+".to", to, path)
	}
}

// checkGroups reports a template that refers to more than a match gives.
func checkGroups(report *document.Report, at string, to *Template, path *Path) {
	if n := path.Groups(); to.Groups() > n {
		report.Mistake(at, "refers to $%d, but the match has %d such parts", to.Groups(), n)
	}
}

// check reports what is wrong with a redirect; path is the rule's condition, nil if
// that is wrong.
func (r *Redirect) check(report *document.Report, at string, path *Path) {
	if !slices.Contains([]int{301, 302, 307, 308}, r.Status) {
		report.Mistake(at+".status", "%d is none of 301, 302, 307 and 308", r.Status)
	}
	if r.To == "" {
		return
	}
	to, err := CompileTemplate(r.To)
	switch {
	case err != nil:
		report.Mistake(at+".to", "%v", err)
	case strings.ContainsAny(r.To, " \\\"<>") || !isASCII(r.To):
		report.Mistake(at+".to", "%s must be a URL as clients get it: spaces and what is not ASCII %%-encoded", cut(r.To))
	default:
		if err := checkPlace(r.To); err != nil {
			report.Mistake(at+".to", "%v", err)
		} else if path != nil {
			checkGroups(report, at+".to", to, path)
		}
	}
}

var errPlace = errors.New("must begin with a slash, ${path}, or http(s)://host")

// checkPlace says what is wrong with where a redirect leads. What a client sends must
// not be able to choose the host.
func checkPlace(to string) error {
	scheme, rest, absolute := strings.Cut(to, "://")
	switch {
	case strings.HasPrefix(to, "//"):
		return errors.New("must name the scheme: https:" + to)
	case strings.HasPrefix(to, "/"), strings.HasPrefix(to, "${path}"):
		return nil
	case !absolute || scheme != "http" && scheme != "https":
		return errPlace
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	if after, ok := strings.CutPrefix(rest, "${host}"); ok {
		if after != "" && !strings.ContainsAny(after[:1], "/?#") && !strings.HasPrefix(after, "${path}") {
			return errors.New("want a slash or ${path} after ${host}")
		}
		return nil
	}
	authority = strings.TrimSuffix(authority, "${path}")
	if strings.ContainsAny(authority, "$") {
		return errors.New("only ${host} can be used for the host, and a slash or ${path} must follow the host: what clients send must not choose it")
	}
	return document.CheckBaseURL(scheme + "://" + authority)
}

// check reports what is wrong with a cross-origin policy.
func (c *CORS) check(report *document.Report, at string) {
	checkCount(report, at+".origins", len(c.Origins), MaxListed)
	for i, origin := range c.Origins {
		here := document.Index(at+".origins", i)
		switch err := checkOrigin(origin); {
		case origin == "*" && len(c.Origins) > 1:
			report.Mistake(here, "* is everybody: it stands alone")
		case origin == "*" && c.Credentials:
			report.Mistake(here, "with credentials the origins must be named, not *")
		case err != nil:
			report.Mistake(here, "%v", err)
		case slices.Contains(c.Origins[:i], origin):
			report.Mistake(here, "%s is listed twice", origin)
		}
	}
	checkCount(report, at+".methods", len(c.Methods), MaxListed)
	for i, method := range c.Methods {
		if !isToken(method) || method != strings.ToUpper(method) || method == "*" && c.Credentials {
			report.Mistake(document.Index(at+".methods", i), "%s is no method: they are in upper case", cut(method))
		}
	}
	for name, list := range map[string][]string{"headers": c.Headers, "expose": c.Expose} {
		checkCount(report, at+"."+name, len(list), MaxListed)
		for i, field := range list {
			if !isToken(field) || field == "*" && c.Credentials {
				report.Mistake(document.Index(at+"."+name, i), "%s is no field name", cut(field))
			}
		}
	}
}

// checkOrigin says what is wrong with a web origin (RFC 6454 §6.2), whose host may
// begin with "*." for any name below.
func checkOrigin(origin string) error {
	if origin == "*" {
		return nil
	}
	plain := strings.Replace(origin, "://*.", "://", 1)
	if err := document.CheckBaseURL(plain); err != nil {
		return err
	}
	if u, err := url.Parse(plain); err == nil && (u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443") {
		return errors.New("browsers leave the default port out: so must an origin here")
	}
	return nil
}

// Allows reports whether the web origin may read answers.
func (c *CORS) Allows(origin string) bool {
	for _, allowed := range c.Origins {
		if allowed == origin || allowed == "*" && origin != "" {
			return true
		}
		before, after, wildcard := strings.Cut(allowed, "*")
		name, ok := strings.CutPrefix(origin, before)
		if !wildcard || !ok {
			continue
		}
		if name, ok = strings.CutSuffix(name, after); ok && document.CheckHost(name) == nil {
			return true
		}
	}
	return false
}

// Everybody reports whether any web origin may.
func (c *CORS) Everybody() bool { return len(c.Origins) == 1 && c.Origins[0] == "*" }

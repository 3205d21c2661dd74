package distributor

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"freshet/distributor/client"
	"freshet/internal/command"
	"freshet/internal/site"
)

// maxNamed is how many hosts or sites an error names.
const maxNamed = 8

// mistake is one thing wrong with a request, at a place in it.
type mistake struct {
	location string
	err      error
}

// Errors of a request's scopes.
var (
	errUnknown = errors.New("unknown") // a host or site that there is not
	errBadURL  = errors.New("not a URL that clients could ask for")
)

// scopesOf lists what a request covers, or all that is wrong with it.
func scopesOf(snap *site.Snapshot, req client.CommandRequest) ([]command.Scope, []mistake) {
	var scopes []command.Scope
	var mistakes []mistake
	add := func(location string, s command.Scope, err error) {
		switch {
		case err != nil:
			mistakes = append(mistakes, mistake{location, err})
		case !slices.Contains(scopes, s):
			scopes = append(scopes, s)
		}
	}
	for i, raw := range req.URLs {
		s, err := urlScope(snap, raw)
		add(fmt.Sprintf("body.urls[%d]", i), s, err)
	}
	for i, name := range req.Sites {
		s, err := siteScope(snap, name)
		add(fmt.Sprintf("body.sites[%d]", i), s, err)
	}
	if req.All {
		var err error
		if req.Confirm != client.ConfirmAll {
			err = fmt.Errorf("a command on everything must be confirmed with the word %q", client.ConfirmAll)
		}
		add("body.confirm", command.Scope{Kind: command.ScopeAll}, err)
	}
	switch {
	case len(req.URLs)+len(req.Sites) == 0 && !req.All:
		mistakes = append(mistakes, mistake{"body", errors.New("it covers nothing: name urls, sites, or all")})
	case len(scopes) > command.MaxScopes:
		mistakes = append(mistakes, mistake{"body", fmt.Errorf("it covers %d things, at most %d fit in one command", len(scopes), command.MaxScopes)})
	}
	return scopes, mistakes
}

// urlScope maps an absolute URL to a site and the path and query in it. errBadURL,
// errUnknown.
func urlScope(snap *site.Snapshot, raw string) (command.Scope, error) {
	u, target, err := splitURL(raw)
	if err != nil {
		return command.Scope{}, fmt.Errorf("%.200q is %w: %w", raw, errBadURL, err)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	doc := snap.ByHost(host)
	if doc == nil {
		return command.Scope{}, fmt.Errorf("%w host %s: no site has it%s", errUnknown, host, known("hosts", hosts(snap)))
	}
	return command.Scope{Kind: command.ScopeURL, Site: doc.Site, Value: target}, nil
}

// splitURL parses an absolute URL and cuts its request target out (RFC 9112 §3.2.1):
// path and query as they are written, "/" for an empty path, without the fragment.
// The target is cut from the text, not put together from the parsed URL, because the
// cache key is what clients send: %7E and ~ are two keys.
func splitURL(raw string) (*url.URL, string, error) {
	if len(raw) > command.MaxScopeBytes {
		return nil, "", fmt.Errorf("it has %d bytes, at most %d fit", len(raw), command.MaxScopeBytes)
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c >= 0x7f {
			return nil, "", errors.New("spaces and what is not ASCII must be percent-encoded, a host name in punycode, as clients send them")
		}
	}
	raw, _, _ = strings.Cut(raw, "#")
	u, err := url.Parse(raw)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // the rest repeats the URL
		}
		return nil, "", err
	}
	_, rest, ok := strings.Cut(raw, "://")
	switch {
	case !ok || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, "", errors.New("it must begin with http:// or https://")
	case u.Hostname() == "":
		return nil, "", errors.New("it has no host")
	case u.User != nil:
		return nil, "", errors.New("it has user information")
	}
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return u, "/", nil
	case rest[i] == '?':
		return u, "/" + rest[i:], nil
	}
	return u, rest[i:], nil
}

// siteScope is a whole site. errUnknown.
func siteScope(snap *site.Snapshot, name string) (command.Scope, error) {
	if snap.ByName(name) == nil {
		names := make([]string, 0, len(snap.Sites()))
		for _, doc := range snap.Sites() {
			names = append(names, doc.Site)
		}
		return command.Scope{}, fmt.Errorf("%w site %.63q%s", errUnknown, name, known("sites", names))
	}
	return command.Scope{Kind: command.ScopeSite, Site: name}, nil
}

func hosts(snap *site.Snapshot) []string {
	var all []string
	for _, doc := range snap.Sites() {
		all = append(all, doc.Hosts...)
	}
	return all
}

// known names what there is, up to a few.
func known(what string, names []string) string {
	if len(names) == 0 {
		return "; there are no sites yet: store one with 'freshet site apply FILE'"
	}
	more := ""
	if len(names) > maxNamed {
		more = fmt.Sprintf(" and %d more", len(names)-maxNamed)
		names = names[:maxNamed]
	}
	return fmt.Sprintf("; known %s: %s%s", what, strings.Join(names, ", "), more)
}

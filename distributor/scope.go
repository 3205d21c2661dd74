package distributor

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"freshet/distributor/client"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
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

// commandOf makes the command that a request asks for, or lists all that is wrong with it.
func commandOf(snap *site.Snapshot, req client.CommandRequest) (command.Command, []mistake) {
	c := command.Command{Version: command.Version, Kind: command.Kind(req.Kind), Soft: req.Soft}
	var mistakes []mistake
	wrong := func(location string, err error) { mistakes = append(mistakes, mistake{location, err}) }
	c.Scopes, mistakes = scopesOf(snap, req)
	if req.NoStore != "" {
		var err error
		if c.NoStore, err = noStoreOf(req.NoStore); err != nil {
			wrong("body.no_store", err)
		} else if !c.Hard() {
			wrong("body.no_store", errors.New("it is of a purge, or a ban that is not soft, alone"))
		}
	}
	if c.Soft && c.Kind != command.Ban {
		wrong("body.soft", fmt.Errorf("it is of a ban alone; the soft kind of a purge is %s", command.Invalidate))
	}
	switch {
	case c.Kind == command.Prefetch:
		c.For.Role = "edge"
		if req.For != nil {
			c.For = command.Target{Role: cmp.Or(req.For.Role, c.For.Role), PoP: req.For.PoP}
		}
	case req.For != nil:
		wrong("body.for", errors.New("it is of a prefetch alone"))
	}
	return c, mistakes
}

// noStoreOf reads a duration, in seconds at least and rounded up to them.
func noStoreOf(text string) (command.Seconds, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > command.MaxNoStore.Duration() {
		return 0, fmt.Errorf("%q should be a duration such as 10m, up to %s", text, command.MaxNoStore.Duration())
	}
	return command.Seconds((d + time.Second - 1) / time.Second), nil
}

// scopesOf lists what a request covers, or all that is wrong with it.
func scopesOf(snap *site.Snapshot, req client.CommandRequest) ([]command.Scope, []mistake) {
	var scopes []command.Scope
	var mistakes []mistake
	kind := command.Kind(req.Kind)
	add := func(location string, s command.Scope, err error) {
		if err == nil && !kind.Takes(s.Kind) {
			err = fmt.Errorf("a %s takes no %s, but %s", kind, s.Kind, takes(kind))
		}
		if err == nil {
			err = s.Validate()
		}
		switch {
		case err != nil:
			mistakes = append(mistakes, mistake{location, err})
		case !slices.Contains(scopes, s):
			scopes = append(scopes, s)
		}
	}
	for i, raw := range req.URLs {
		s, base, err := urlScope(snap, raw)
		if kind == command.Refresh || kind == command.Prefetch {
			s.Base = base
		}
		add(fmt.Sprintf("body.urls[%d]", i), s, err)
	}
	for i, text := range req.Keys {
		s, err := keyScope(snap, text)
		add(fmt.Sprintf("body.keys[%d]", i), s, err)
	}
	for i, raw := range req.Prefixes {
		s, err := prefixScope(snap, raw)
		add(fmt.Sprintf("body.prefixes[%d]", i), s, err)
	}
	for i, tag := range req.Tags {
		s, err := siteScope(snap, tag.Site)
		s.Kind, s.Value = command.ScopeTag, tag.Tag
		add(fmt.Sprintf("body.tags[%d]", i), s, err)
	}
	for i, m := range req.Match {
		location := fmt.Sprintf("body.match[%d]", i)
		matched, err := matchScopes(snap, m, req.Confirm)
		if err != nil {
			add(location, command.Scope{}, err)
		}
		for _, s := range matched {
			add(location, s, nil)
		}
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
	case len(req.URLs)+len(req.Keys)+len(req.Prefixes)+len(req.Tags)+len(req.Match)+len(req.Sites) == 0 && !req.All:
		mistakes = append(mistakes, mistake{"body", fmt.Errorf("it covers nothing: name %s", takes(kind))})
	case len(scopes) > command.MaxScopes:
		mistakes = append(mistakes, mistake{"body", fmt.Errorf("it covers %d things, at most %d fit in one command", len(scopes), command.MaxScopes)})
	}
	return scopes, mistakes
}

// fields are where the scopes of each kind stand in a request.
var fields = []struct {
	kind  command.ScopeKind
	field string
}{
	{command.ScopeURL, "urls"}, {command.ScopeKey, "keys"}, {command.ScopePrefix, "prefixes"}, {command.ScopeTag, "tags"},
	{command.ScopeSite, "sites"}, {command.ScopeAll, "all"}, {command.ScopeMatch, "match"},
}

// takes names what a kind of command may cover.
func takes(kind command.Kind) string {
	var names []string
	for _, f := range fields {
		if kind.Takes(f.kind) {
			names = append(names, f.field)
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// urlScope maps an absolute URL to a site and the path and query in it, and tells its
// scheme and authority. errBadURL, errUnknown.
func urlScope(snap *site.Snapshot, raw string) (s command.Scope, base string, err error) {
	u, target, err := splitURL(raw)
	if err != nil {
		return command.Scope{}, "", fmt.Errorf("%.200q is %w: %w", raw, errBadURL, err)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	doc := snap.ByHost(host)
	if doc == nil {
		return command.Scope{}, "", fmt.Errorf("%w host %s: no site has it%s", errUnknown, host, known("hosts", hosts(snap)))
	}
	return command.Scope{Kind: command.ScopeURL, Site: doc.Site, Value: target}, u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// prefixScope is all below a URL whose path ends in a slash. errBadURL, errUnknown.
func prefixScope(snap *site.Snapshot, raw string) (command.Scope, error) {
	s, _, err := urlScope(snap, raw)
	s.Kind = command.ScopePrefix
	return s, err
}

// keyScope is a cache key by its text. errUnknown.
func keyScope(snap *site.Snapshot, text string) (command.Scope, error) {
	name, rest, ok := strings.Cut(text, "\n")
	if !ok || rest == "" {
		return command.Scope{}, fmt.Errorf("%.200q is no cache key: copy its lines from 'freshet explain --json URL', the first is the site", text)
	}
	s, err := siteScope(snap, name)
	s.Kind, s.Value = command.ScopeKey, text
	return s, err
}

// matchScopes are the sites that a predicate may cover, each with it; or every site, which
// has to be confirmed. errUnknown.
func matchScopes(snap *site.Snapshot, m client.Match, confirm string) ([]command.Scope, error) {
	p := predicate.Match{Host: strings.ToLower(m.Host), Path: m.Path, PathRE: m.PathRE}
	for _, h := range m.Headers {
		p.Headers = append(p.Headers, predicate.Header{Name: h.Name, Value: h.Value, ValueRE: h.ValueRE})
	}
	matcher, err := p.Compile()
	if err != nil {
		return nil, err
	}
	s := command.Scope{Kind: command.ScopeMatch, Match: &p}
	switch {
	case m.Site != "":
		named, err := siteScope(snap, m.Site)
		s.Site = named.Site
		return []command.Scope{s}, err
	case m.Host != "":
		var scopes []command.Scope
		for _, doc := range snap.Sites() {
			if matcher.MatchesHosts(doc.Hosts) {
				s.Site = doc.Site
				scopes = append(scopes, s)
			}
		}
		switch {
		case len(scopes) == 0:
			return nil, fmt.Errorf("%w host %s: no site has one like it%s", errUnknown, m.Host, known("hosts", hosts(snap)))
		case len(scopes) <= command.MaxMatches:
			return scopes, nil
		}
		s.Site = ""
	}
	if confirm != client.ConfirmAll {
		return nil, fmt.Errorf("a predicate over all sites must be confirmed with the word %q", client.ConfirmAll)
	}
	return []command.Scope{s}, nil
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

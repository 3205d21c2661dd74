package site

import "reflect"

// Rekeyed reports whether what is stored under one version of a site may be wrong under
// another: what makes up the key of a response, or what the origin is asked for it, has
// changed.
func Rekeyed(before, after *Document) bool {
	part := func(d *Document) any {
		o := &d.Origin
		return []any{d.Hosts, o.Outside(), o.Host, o.PathPrefix, o.Headers, d.Cache.Key, d.Cache.PassCookies, d.AmbiguousPaths, d.Rules}
	}
	return !reflect.DeepEqual(part(before), part(after)) || !before.Origin.SharesServers(&after.Origin)
}

package site

import "freshet/internal/document"

// Lone is the site of a node without a cluster: every host, from one origin, by RFC
// 9111 as it stands. Cookies reach the origin and clients may demand validation, as
// with any reverse proxy; Vary, private and Set-Cookie keep users apart.
func Lone(upstream string) *Document {
	d := new(Document)
	document.SetDefaults(d)
	d.Site, d.Hosts, d.Origin.URL = "upstream", []string{"*"}, upstream
	d.Cache.Targets = DefaultTargets
	d.Cache.PassCookies, d.Cache.HonourRequest, d.Cache.PassTargets = true, true, true
	return d
}

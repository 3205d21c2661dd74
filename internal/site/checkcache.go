package site

import (
	"slices"
	"strconv"
	"strings"

	"freshet/internal/document"
)

// maxTargets is how many targeted fields a site may have.
const maxTargets = 8

// check reports what the tags cannot say of a caching policy.
func (c *Cache) check(report *document.Report, hosts []string) {
	checkCount(report, "cache.status_lifetimes", len(c.StatusLifetimes), MaxListed)
	for status := range c.StatusLifetimes {
		if !storedStatus(status) {
			report.Mistake("cache.status_lifetimes."+strconv.Itoa(status), "answers with that status are never stored: want a final status from 200 to 599, other than 206, 304, 428, 429, 431 and 511")
		}
	}
	checkFieldNames(report, "cache.targets", c.Targets, maxTargets, []string{"Cache-Control"}, framing, passage)
	for _, x := range []struct {
		field string
		value document.Duration
	}{{"max_log_lag", c.MaxLogLag}, {"purge_lease", c.PurgeLease}} {
		if x.value > 0 && x.value < leastLag {
			report.Mistake("cache."+x.field, "at least 5s, or 0s: nodes look at the command log every two seconds")
		}
	}
	c.Key.check(report, "cache.key", hosts)
}

func storedStatus(status int) bool {
	return status >= 200 && status <= 599 && !slices.Contains([]int{206, 304, 428, 429, 431, 511}, status)
}

// check reports what the tags cannot say of a key policy.
func (k *Key) check(report *document.Report, path string, hosts []string) {
	k.Query.check(report, path+".query")
	checkFieldNames(report, path+".headers", k.Headers, MaxKeyFields, conditional, framing, passage)
	for i, name := range k.Headers {
		if containsName([]string{"Cookie"}, name) {
			report.Mistake(document.Index(path+".headers", i), "Cookie differs for every client: name the cookies that count in %s.cookies", path)
		}
	}
	checkCount(report, path+".cookies", len(k.Cookies), MaxKeyFields)
	for i, name := range k.Cookies {
		at := document.Index(path+".cookies", i)
		if !isToken(name) {
			report.Mistake(at, "%s is no name of a cookie", cut(name))
		} else if slices.Contains(k.Cookies[:i], name) {
			report.Mistake(at, "%s is listed twice", name)
		}
	}
	wildcard := func(host string) bool { return strings.HasPrefix(host, "*") }
	if k.Host != nil && !*k.Host && !slices.ContainsFunc(hosts, func(h string) bool { return !wildcard(h) }) {
		report.Mistake(path+".host", "false needs a host without wildcard in hosts, which stands for all when the origin is asked")
	}
}

func (q *Query) check(report *document.Report, path string) {
	named := q.Mode == QueryAllow || q.Mode == QueryDeny
	switch {
	case named && len(q.Names) == 0:
		report.Mistake(path+".mode", "%s needs names", q.Mode)
	case !named && len(q.Names) > 0:
		report.MistakeHint(path+".names", "did you mean mode: allow?", "names are for the modes allow and deny")
	case q.Mode == QueryNone && q.Sort:
		report.Mistake(path+".sort", "there is nothing to sort with mode: none")
	}
	checkCount(report, path+".names", len(q.Names), MaxListed)
	for i, name := range q.Names {
		at := document.Index(path+".names", i)
		switch {
		case name == "" || len(name) > MaxPattern || strings.ContainsAny(name, "&=#? ") || !isASCII(name):
			report.Mistake(at, "%s is no name of a parameter as clients send it: without &, =, # and ?, and %%-encoded where need be", cut(name))
		case slices.Contains(q.Names[:i], name):
			report.Mistake(at, "%s is listed twice", name)
		}
	}
}

// isASCII reports whether s has printing ASCII characters alone.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

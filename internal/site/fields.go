package site

import (
	"fmt"
	"slices"
	"strings"

	"freshet/internal/document"
	"freshet/internal/header"
)

// Fields that no document may name for some use, and why.
var (
	// conditional fields are the client's own affair, and do not reach a parent.
	conditional = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"}
	// framing fields are made anew for every message.
	framing = []string{"Content-Length", "Host", "Expect"}
	// passage fields are how nodes know one another.
	passage = []string{"Via", "CDN-Loop"}
	// told fields are what this cache itself says of an answer, or what the validity of
	// a stored response hangs on.
	told = []string{"Age", "Date", "Cache-Status", "Proxy-Status", "ETag", "Vary", "Content-Range", "Content-Encoding"}
)

// checkFieldName says what is wrong with the name of a field that a document speaks
// of, besides those that it must not name.
func checkFieldName(name string, not ...[]string) error {
	h := new(header.Block)
	if err := h.Add(name, ""); err != nil {
		return fmt.Errorf("%s is no field name", cut(name))
	}
	if header.HasPrefixName(name, "Freshet-") {
		return fmt.Errorf("%s belongs to the nodes of the cluster", name)
	}
	h.RemoveHopByHop()
	if h.Len() == 0 {
		return fmt.Errorf("%s belongs to one connection, and is not passed on", name)
	}
	for _, names := range not {
		if containsName(names, name) {
			return fmt.Errorf("%s cannot be used here", name)
		}
	}
	return nil
}

// checkFieldNames checks a list of field names: their number, each, and that none is
// there twice.
func checkFieldNames(report *document.Report, path string, names []string, most int, not ...[]string) {
	checkCount(report, path, len(names), most)
	for i, name := range names {
		at := document.Index(path, i)
		if err := checkFieldName(name, not...); err != nil {
			report.Mistake(at, "%v", err)
		} else if containsName(names[:i], name) {
			report.Mistake(at, "%s is listed twice", name)
		}
	}
}

func checkCount(report *document.Report, path string, n, most int) {
	if n > most {
		report.Mistake(path, "has %d entries, at most %d are allowed", n, most)
	}
}

func containsName(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return header.EqualName(n, name) })
}

// isToken reports whether s is a token (RFC 9110 §5.6.2), such as a method.
func isToken(s string) bool { return new(header.Block).Add(s, "") == nil }

// isValue reports whether s can be the value of a field.
func isValue(s string) bool { return len(s) <= 4*MaxPattern && new(header.Block).Add("X", s) == nil }

// cut shortens a foreign text for a mistake.
func cut(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

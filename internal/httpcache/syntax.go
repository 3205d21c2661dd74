package httpcache

import (
	"iter"
	"strings"
	"time"
)

// directive is one member of a Cache-Control field (RFC 9111 §5.2).
type directive struct {
	name, arg string // arg without its quotes; escapes are left in
	hasArg    bool
	broken    bool // what follows the name has no form that an argument has
	delta     time.Duration
	typed     bool // delta is the argument: an Integer of a structured field
}

func (x directive) is(name string) bool { return strings.EqualFold(x.name, name) }

// seconds stores the argument as delta-seconds unless a value stands already;
// malformed is stored where there is no number.
func (x directive) seconds(into *time.Duration, malformed time.Duration) {
	if *into != Absent {
		return
	}
	v, ok := ParseDelta(x.arg)
	switch {
	case x.typed:
		v = x.delta
	case !ok || x.broken:
		v = malformed
	}
	*into = v
}

// ParseDelta reads delta-seconds (RFC 9111 §1.2.2): digits only, capped at MaxDelta.
func ParseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), MaxDelta)
	}
	return time.Duration(n) * time.Second, true
}

// parseDirective reads one member of a list. A name is a name even if what follows
// it is malformed, so that a restriction is not lost.
func parseDirective(text string) (x directive) {
	n := 0
	for n < len(text) && isTokenByte(text[n]) {
		n++
	}
	x.name, text = text[:n], text[n:]
	switch {
	case text == "":
	case text[0] != '=':
		x.hasArg, x.broken = true, true // "max-age =5", "no-store; private"
	default:
		x.hasArg, x.arg = true, text[1:]
		if quoted := strings.HasPrefix(x.arg, `"`); quoted && quotedEnd(x.arg) == len(x.arg) {
			x.arg = x.arg[1 : len(x.arg)-1]
		} else {
			x.broken = x.arg != "" && !isToken(x.arg)
		}
	}
	return x
}

// memberList is what is left of a comma-separated list in which quoted strings
// stand.
type memberList struct {
	rest  string
	plain bool // a quote that is not closed was met: from there on they are ordinary
}

// next cuts off the first member, trimmed. Commas inside a quoted string do not
// separate; a quoted string that does not end is not one, so that what follows its
// quote is not swallowed. It is linear in the list, whatever stands there: a quote
// behind one that is not closed is not closed either.
func (l *memberList) next() string {
	s := l.rest
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ',':
			l.rest = s[i+1:]
			return trimSpace(s[:i])
		case s[i] == '"' && !l.plain:
			n := quotedEnd(s[i:])
			l.plain = n == 0
			i += max(n-1, 0)
		}
	}
	l.rest = ""
	return trimSpace(s)
}

// quotedEnd is the length of the quoted string at the start of s (RFC 9110
// §5.6.4), 0 if it does not end.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// members walks the members of a simple comma-separated list, trimmed, the empty
// ones passed over (RFC 9110 §5.6.1.2).
func members(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s != "" {
			var m string
			m, s, _ = strings.Cut(s, ",")
			if m = trimSpace(m); m != "" && !yield(m) {
				return
			}
		}
	}
}

// isToken: RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// trimSpace removes OWS (RFC 9110 §5.6.3).
func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

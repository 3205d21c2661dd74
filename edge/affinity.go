package edge

import (
	"net/netip"
	"strings"

	"freshet/edge/response"
	"freshet/edge/upstream"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/site"
)

// asker is the client that a request is from, where its site binds clients to servers; else
// it is zero.
type asker struct {
	client netip.Addr
	server string // to which a cookie binds it
	stale  bool   // what is stored is wanted alone, stale or not
}

// asker is who asks, for a request whose answer is for nobody else.
func (w *walk) asker() (a asker) {
	o := &w.site.Document().Origin
	switch {
	case o.Affinity == site.AffinityCookie:
		a.server = hop.Affinity(w.req.Header)
	case o.Affinity == site.AffinityAddress && w.trusted:
		a.client = hop.Client(w.req.Header)
	case o.Affinity == site.AffinityAddress:
		a.client = w.req.Remote.Addr()
	}
	return a
}

// tell says it to a tier above.
func (a asker) tell(h *header.Block) error {
	if err := hop.SetClient(h, a.client); err != nil {
		return err
	}
	if a.stale {
		if err := hop.AskStale(h); err != nil {
			return err
		}
	}
	return hop.SetAffinity(h, a.server)
}

// takeAffinity moves the site's cookie of affinity out of Cookie, into the field by which the
// tiers speak of it: it is no part of any key, no variant is told apart by it, and no origin
// gets it. The field of a stranger who sends it is worth what his cookie would be.
func takeAffinity(h *header.Block, name string) {
	if !strings.Contains(h.Get("Cookie"), name) && !strings.Contains(h.Joined("Cookie"), name) {
		return
	}
	server, found := "", false
	var kept []string
	for line := range h.Values("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			n, value, _ := strings.Cut(pair, "=")
			switch {
			case strings.TrimRight(n, " \t") == name:
				if !found {
					server = strings.Trim(value, " \t\"")
				}
				found = true
			case pair != "":
				kept = append(kept, pair)
			}
		}
	}
	if !found {
		return
	}
	server, rest := strings.Clone(server), strings.Join(kept, "; ")
	h.Del("Cookie")
	if rest != "" {
		_ = h.Add("Cookie", rest) // it fitted before
	}
	_ = hop.SetAffinity(h, server)
}

// bind has the client's next requests go to the server that has answered: by a cookie, and
// where a tier below asks by a word to it. Nothing is bound by an answer that is stored, here or by others.
func (w *walk) bind(reply *upstream.Reply, r *response.Response) {
	w.bound = ""
	if !w.passed && !w.alone || r != nil && !r.Transient {
		return
	}
	if server := reply.Affinity(); server != "" && reply.Status < 500 {
		w.bound = server
	}
}

// addAffinity adds to an answer what bind has found.
func (w *walk) addAffinity(answered *header.Block) {
	if w.bound == "" {
		return
	}
	if w.trusted {
		_ = hop.SetAffinity(&w.extra, w.bound)
		return
	}
	o := &w.site.Document().Origin
	if o.Affinity != site.AffinityCookie || hop.Affinity(w.req.Header) == w.bound || isPublic(answered) {
		return
	}
	cookie := o.AffinityCookie + "=" + w.bound + "; Path=/; HttpOnly; SameSite=Lax"
	if w.req.Scheme == "https" {
		cookie += "; Secure"
	}
	_ = w.extra.Add("Set-Cookie", cookie)
}

// isPublic reports whether an answer says that caches on its way may store it for all, who
// would get the cookie, too.
func isPublic(h *header.Block) bool {
	for value := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.Trim(directive, " \t"), "=")
			if strings.EqualFold(name, "public") || strings.EqualFold(name, "s-maxage") {
				return true
			}
		}
	}
	return false
}

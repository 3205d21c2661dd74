package policy

import (
	"strconv"
	"strings"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// answer is what is done to the answer to a client.
type answer struct {
	edits   bool   // some matched rule edits it
	targets bool   // targeted fields are left out
	cors    *rule  // nil for none
	origin  string // who may read it; "" for nobody
}

// decideAnswer settles what is done to the answer to a client, or answers a
// preflight.
func (d *Decision) decideAnswer(cors *rule, req *exchange.Request) {
	d.answer.targets = !d.site.doc.Cache.PassTargets && len(d.site.doc.Cache.Targets) > 0
	if cors == nil {
		return
	}
	c := cors.doc.CORS
	d.answer.cors = cors
	if origin := req.Header.Get("Origin"); c.Everybody() {
		d.answer.origin = "*" // also where nobody asks: the client's cache has one copy for all
	} else if c.Allows(origin) {
		d.answer.origin = origin
	}
	if req.Method == "OPTIONS" && req.Header.Has("Origin") && req.Header.Has("Access-Control-Request-Method") {
		d.Preflight = d.preflight(c)
	}
}

func (d *Decision) preflight(c *site.CORS) *header.Block {
	var draft header.Draft
	d.addCORS(&draft)
	h := draft.Block()
	if d.answer.origin == "" {
		return h
	}
	if len(c.Methods) > 0 {
		_ = h.Add("Access-Control-Allow-Methods", strings.Join(c.Methods, ", "))
	}
	if len(c.Headers) > 0 {
		_ = h.Add("Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	}
	_ = h.Add("Access-Control-Max-Age", strconv.FormatInt(int64(time.Duration(c.MaxAge)/time.Second), 10))
	return h
}

// addCORS adds who may read the answer; a document bounds what that needs.
func (d *Decision) addCORS(h *header.Draft) {
	c := d.answer.cors.doc.CORS
	if !c.Everybody() {
		_ = h.Add("Vary", "Origin")
	}
	if d.answer.origin == "" {
		return
	}
	_ = h.Add("Access-Control-Allow-Origin", d.answer.origin)
	if c.Credentials {
		_ = h.Add("Access-Control-Allow-Credentials", "true")
	}
	if d.answer.cors.expose != "" {
		_ = h.Add("Access-Control-Expose-Headers", d.answer.cors.expose)
	}
}

// ClientHeader is h as the client gets it: h itself where nothing is changed, else a
// copy, which is in draft. For a tier of ours it is always h: the tier that answers the
// client edits.
func (d *Decision) ClientHeader(h *header.Block, draft *header.Draft) (*header.Block, error) {
	tags := !d.fromTier && h.HasAny(tagFields)
	if !tags && !d.answer.edits && d.answer.cors == nil && !(d.answer.targets && h.HasAny(d.site.targets)) {
		return h, nil
	}
	draft.Begin(h, func(name, _ string) bool {
		return !(tags && contains(httpcache.TagFields, name)) && !(d.answer.targets && contains(d.site.doc.Cache.Targets, name)) &&
			!(d.answer.cors != nil && header.HasPrefixName(name, "Access-Control-"))
	})
	if d.answer.cors != nil {
		d.addCORS(draft)
	}
	for i := range d.site.rules {
		if d.matched[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		if err := d.site.rules[i].response.apply(draft); err != nil {
			return nil, err
		}
	}
	return draft.Block(), nil
}

package invalidate

import (
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
	"freshet/internal/hop"
)

// Bounds of the bans that are held. Beyond them the oldest becomes a mark on its site, or
// on everything: what it has not been held against by then is dead, or stale.
const (
	MaxBans     = 64
	MaxBanBytes = 256 << 10 // of their texts
)

// Ban marks what a predicate matches, at a sequence. A response is held against it when it
// is used for the first time after that.
type Ban struct {
	Seq   command.Seq
	Since int64 // when it was appended, in Unix milliseconds
	Until int64 // up to then nothing is stored that it covers; zero: it may be
	Soft  bool  // what it covers is stale, not dead
	Site  string
	Match *predicate.Match

	matcher *predicate.Matcher
}

// banText is the form of a ban's predicate in a journal.
type banText struct {
	Site  string           `json:"site,omitempty"`
	Match *predicate.Match `json:"match,omitempty"`
}

// Text is the predicate as ReadBan takes it.
func (b *Ban) Text() []byte {
	text, err := json.Marshal(banText{b.Site, b.Match})
	if err != nil {
		panic("predicate as JSON: " + err.Error()) // plain data
	}
	return text
}

// SetText is the opposite of Text. A text that makes no sense covers everything.
func (b *Ban) SetText(text []byte) {
	var t banText
	if json.Unmarshal(text, &t) == nil {
		b.Site, b.Match = t.Site, t.Match
	}
}

// ready compiles the predicate; false if there is none that can be.
func (b *Ban) ready() bool {
	if b.Match == nil {
		return false
	}
	m, err := b.Match.Compile()
	b.matcher = m
	return err == nil
}

// Wide is the scope of all that the ban may cover.
func (b *Ban) Wide() response.ScopeHash {
	if b.Site == "" {
		return Everything
	}
	return response.HashScope(command.Scope{Kind: command.ScopeSite, Site: b.Site})
}

// Hosts are those of a site, as its document has them; nil if it is not known.
type Hosts func(site string) []string

// SetHosts says how the hosts of a site are found, before anything is tested. Without it a
// ban's host covers every site.
func (t *Table) SetHosts(hosts Hosts) { t.hosts = hosts }

// subject is what is stored under a key, as bans see it.
type subject struct {
	site string
	predicate.Subject
}

// anyHost stands for the hosts of a site that is not known.
var anyHost = []string{"*"}

// subjectOf is what is stored under a key. values are those of its header, nil where that is
// not known: then conditions on the header count as met.
func subjectOf(key string, hosts Hosts, values func(string) iter.Seq[string]) (s subject) {
	site, rest, _ := strings.Cut(key, "\n")
	s.site, s.Hosts, s.Values = site, anyHost, values
	if hosts != nil {
		if known := hosts(site); known != nil {
			s.Hosts = known
		}
	}
	rest, _, _ = strings.Cut(rest, "\n")
	rest, _, _ = strings.Cut(rest, "?")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		s.Path = rest[i:]
	}
	return s
}

// covers reports whether the ban covers what is stored.
func (b *Ban) covers(s *subject) bool {
	return (b.Site == "" || b.Site == s.site) && b.matcher.Matches(s.Subject)
}

// valuesOf are those of a response's header.
func valuesOf(r *response.Response) func(string) iter.Seq[string] {
	if r.Header == nil {
		return nil
	}
	return r.Header.Values
}

// banned tests a response against the bans above asOf and up to limit: whether a hard one
// covers it, else the first soft one that does.
func (t *Table) banned(r *response.Response, asOf, limit command.Seq) (hard bool, first hop.Soft) {
	bans := t.bans.Load()
	if bans == nil || len(*bans) == 0 || (*bans)[len(*bans)-1].Seq <= asOf {
		return false, first
	}
	s := subjectOf(r.Key.Text, t.hosts, valuesOf(r))
	for i := range *bans {
		b := &(*bans)[i]
		if b.Seq <= asOf || b.Seq > limit || b.Soft && first.Seq != 0 || !b.covers(&s) {
			continue
		}
		if !b.Soft {
			return true, first
		}
		first = hop.Soft{Seq: b.Seq, Since: b.Since}
	}
	return false, first
}

// FenceOf is Fence of what is stored under a key given as text, or any of its variants, in
// regard of bans, too: scopes are those of the key, and of any copy held.
func (t *Table) FenceOf(key string, scopes ...[]response.ScopeHash) hop.Fence {
	var f hop.Fence
	for i, list := range scopes {
		if g := t.Fence(list); i == 0 {
			f = g
		} else {
			f = f.Max(g)
		}
	}
	bans := t.bans.Load()
	if bans == nil || len(*bans) == 0 {
		return f
	}
	applied, s := t.now.Load().clock, subjectOf(key, t.hosts, nil)
	for i := range *bans {
		b := &(*bans)[i]
		if f.Log != applied.Log || b.Seq > applied.Seq || !b.covers(&s) {
			continue
		}
		if b.Soft {
			f.Soft = max(f.Soft, b.Seq)
		} else {
			f.Hard = max(f.Hard, b.Seq)
		}
	}
	return f
}

// barredByBan reports whether a ban covers a response that says that nothing such is stored.
func (t *Table) barredByBan(r *response.Response, now int64) bool {
	bans := t.bans.Load()
	if bans == nil || len(*bans) == 0 {
		return false
	}
	s := subjectOf(r.Key.Text, t.hosts, valuesOf(r))
	return slices.ContainsFunc(*bans, func(b Ban) bool { return b.Until > now && b.covers(&s) })
}

// Bans is the number of bans that are held.
func (t *Table) Bans() int {
	if bans := t.bans.Load(); bans != nil {
		return len(*bans)
	}
	return 0
}

// setBans adds bans, which are above all others or were added before. Those for which there
// is no room become marks.
func (t *Table) setBans(add []Ban) {
	if len(add) == 0 {
		return
	}
	var all []Ban
	if bans := t.bans.Load(); bans != nil {
		all = slices.DeleteFunc(slices.Clone(*bans), func(b Ban) bool { return b.Seq == add[0].Seq })
	}
	for _, b := range add {
		if b.ready() {
			all = append(all, b)
		} else {
			t.widen(&b)
		}
	}
	slices.SortStableFunc(all, func(a, b Ban) int { return int(min(1, max(-1, int64(a.Seq-b.Seq)))) })
	size := 0
	for i := range all {
		size += len(all[i].Text())
	}
	for len(all) > 0 && (len(all) > MaxBans || size > t.banBytes) {
		size -= len(all[0].Text())
		t.widen(&all[0])
		all = all[1:]
	}
	t.bans.Store(&all)
}

// widen makes a ban a mark on all that it may cover.
func (t *Table) widen(b *Ban) {
	scope := []response.ScopeHash{b.Wide()}
	if b.Soft {
		t.setSoft(scope[0], hop.Soft{Seq: b.Seq, Since: b.Since})
	} else {
		t.setHard(scope[0], b.Seq)
	}
	if b.Until > 0 {
		t.windows.set(scope, b.Until, b.Since)
	}
}

// keepWindows has what bans say of storing outlive them: for all that they may cover.
func (t *Table) keepWindows() {
	if bans := t.bans.Load(); bans != nil {
		for i := range *bans {
			if b := &(*bans)[i]; b.Until > 0 {
				t.windows.set([]response.ScopeHash{b.Wide()}, b.Until, b.Since)
			}
		}
	}
}

// dropBans forgets those that a floor stands for. One that bars from storing stays.
func (t *Table) dropBans(floor command.Seq) {
	if bans := t.bans.Load(); bans != nil {
		left := slices.DeleteFunc(slices.Clone(*bans), func(b Ban) bool { return b.Seq <= floor && b.Until == 0 })
		t.bans.Store(&left)
	}
}

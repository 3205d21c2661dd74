package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/edge"
)

// Bounds of an explanation.
const (
	explainTimeout = 25 * time.Second // above what a node waits for a parent
	maxExplanation = 4 << 20          // bytes; a key and its fields are far below
)

// defaultAdmin is where a node has its admin listener unless its node file says
// otherwise.
const defaultAdmin = "127.0.0.1:9101"

// newExplainCommand is freshet explain with what it can explain.
func newExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say why: what an edge does with a request",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fail(exitUsage, "there is no '%s %s'; see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExplainURLCommand())
	return cmd
}

// explainURL are the flags of freshet explain url.
type explainURL struct {
	admin, method string
	headers       []string
	fetch         bool
}

func newExplainURLCommand() *cobra.Command {
	var x explainURL
	cmd := &cobra.Command{
		Use:   "url URL",
		Short: "Why a request for URL is a hit or a miss at one edge or mid",
		Long: `Explain asks one edge or mid what it would do with a request for URL just now, and why:
site, rules and key; what is stored, how long it lives and whether a purge has
killed it; who would be asked. Nothing is changed, and no parent is asked unless
--fetch says so: then one GET shows what would be stored of the answer, for how
long, or why not. The node does not store that answer; a mid above it may.

The node is asked on its admin address, 'admin' in its node file ('freshet nodes
--json' lists them all). Exit code 3: no site has the host.`,
		Example: `  freshet explain url https://www.example.com/logo.svg
  freshet explain url http://www.example.com/ --header 'Accept-Language: de' --fetch
  freshet explain url http://www.example.com/ --admin 10.0.0.7:9101 --json`,
		Args: exactArg("URL"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&x.admin, "admin", defaultAdmin, "admin `address` of the node to ask: host:port")
	f.StringVar(&x.method, "method", http.MethodGet, "method of the request")
	f.StringArrayVar(&x.headers, "header", nil, "`'Name: value'`, a field of the request; can be repeated")
	f.BoolVar(&x.fetch, "fetch", false, "ask a parent what it answers")
	f.Bool("json", false, "print JSON")
	return cmd
}

func (x *explainURL) run(cmd *cobra.Command, target string) error {
	_, port, err := net.SplitHostPort(x.admin)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return fail(exitUsage, "--admin is %q: it should be host:port, such as %s", x.admin, defaultAdmin)
	}
	q := url.Values{"url": {target}, "method": {x.method}, "header": x.headers}
	if x.fetch {
		q.Set("fetch", "true")
	}
	e, err := x.ask(cmd.Context(), q)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd, e)
	} else {
		err = printTable(cmd, explanationRows(e))
	}
	if err == nil && e.Site == "" {
		return fail(exitNotFound, "%s; 'freshet site list' shows the sites and their hosts", plain(e.Why))
	}
	return err
}

// ask gets the explanation from the node.
func (x *explainURL) ask(ctx context.Context, q url.Values) (*edge.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+x.admin+"/explain?"+q.Encode(), nil)
	if err != nil {
		return nil, fail(exitUsage, "--admin is %q: it should be host:port, such as %s", x.admin, defaultAdmin)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	var text []byte
	if err == nil {
		defer res.Body.Close()
		text, err = io.ReadAll(io.LimitReader(res.Body, maxExplanation))
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return nil, fail(exitTimeout, "%s did not answer in time; is it a node's admin address?", x.admin)
	case err != nil:
		var conn *url.Error
		if errors.As(err, &conn) {
			err = conn.Err // without the whole query
		}
		return nil, fail(exitError, "cannot reach a node at %s: %w; name the admin address of an edge or mid with --admin ('freshet nodes --json' lists them)", x.admin, err)
	}
	said := plain(strings.TrimSpace(string(text)))
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge:
		return nil, fail(exitUsage, "%s", said)
	case http.StatusNotFound:
		return nil, fail(exitError, "%s explains nothing: it is not the admin address of an edge or mid ('freshet nodes --json' lists those)", x.admin)
	default:
		return nil, fail(exitError, "%s answers %s: %s", x.admin, res.Status, said)
	}
	e := new(edge.Explanation)
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fail(exitError, "%s answers something else than an explanation: %w", x.admin, err)
	}
	return e, nil
}

// rows are labelled lines; what is empty is left out.
type rows [][]string

func (r *rows) add(label, value string) {
	if value != "" {
		*r = append(*r, []string{label, value})
	}
}

// explanationRows is an explanation for people: first why.
func explanationRows(e *edge.Explanation) [][]string {
	var r rows
	r.add("why", e.Why)
	outcome := string(e.Outcome)
	if e.Status != 0 {
		outcome += fmt.Sprintf(", status %d", e.Status)
	}
	r.add("outcome", outcome)
	r.add("location", e.Location)
	r.add("Cache-Status", e.CacheStatus)
	r.add("Proxy-Status", e.ProxyStatus)
	r.add("request", e.Method+" "+e.URL)
	r.add("node", e.Node+", "+article(e.Role))
	r.add("site", e.Site)
	r.add("rules", strings.Join(e.Rules, ", "))
	r.add("key", strings.ReplaceAll(e.Key, "\n", " | "))
	r.add("variant by", strings.Join(e.Vary, ", "))
	r.add("variant", strings.Join(strings.Fields(e.Variant), " "))
	r.add("origin gets", e.OriginTarget)
	r.add("purged by", strings.Join(e.Scopes, ", "))
	clock := fmt.Sprintf("log %s, applied %s, floor %s", e.Clock.Log, e.Clock.Applied, e.Clock.Floor)
	if e.Clock.Mark != "" {
		clock += ", last purge of this " + e.Clock.Mark
	}
	if e.Clock.Soft != "" {
		clock += ", last invalidation " + e.Clock.Soft
	}
	r.add("clock", clock)
	r.stored(e.Stored)
	for i, p := range e.Parents {
		r.parent(i+1, p)
	}
	r.fetched(e.Fetched)
	return r
}

// parent says who a parent is, and what holds for it now.
func (r *rows) parent(n int, p edge.ParentNow) {
	r.add(fmt.Sprintf("parent %d", n), strings.TrimSpace(p.Kind+" "+named(p)))
	if p.Problem != "" {
		r.add("  problem", plain(p.Problem))
	}
	if p.Breaker == "" {
		return // the node is older
	}
	now := fmt.Sprintf("%d of %d requests under way, %d waiting", p.Open, p.Limit, p.Queued)
	if p.P95 > 0 {
		now += ", 95 % begin within " + secs(p.P95)
	}
	if p.Slow {
		now += "; much slower than others, asked last"
	}
	r.add("  load", now)
	breaker := p.Breaker
	if p.Retry > 0 {
		breaker += ", asked again in " + secs(p.Retry)
	}
	if p.LastError != "" {
		breaker += ": " + plain(p.LastError)
	}
	r.add("  breaker", breaker)
}

func (r *rows) stored(s *edge.StoredNow) {
	if s == nil {
		return
	}
	about := s.Kind
	if s.Status != 0 {
		about += fmt.Sprintf(", status %d", s.Status)
	}
	about += fmt.Sprintf(", %d bytes", s.Bytes)
	if s.Whole > 0 {
		about += fmt.Sprintf(" of %d", s.Whole)
	}
	r.add("stored", about)
	if s.Dead == "" {
		r.add("  true", fmt.Sprintf("fetched at %s, true as of %s", s.Born, s.AsOf))
	} else {
		r.add("  dead", fmt.Sprintf("%s; fetched at %s, true as of %s of log %s", s.Dead, s.Born, s.AsOf, s.Log))
	}
	r.life(&s.LifeNow)
	r.add("  stale by", s.Soft)
	r.add("  groups", strings.Join(s.Groups, ", "))
	r.add("  tags", strings.Join(s.Tags, ", "))
}

func (r *rows) fetched(f *edge.FetchedNow) {
	switch {
	case f == nil:
		return
	case f.Error != "":
		r.add("fetched", fmt.Sprintf("nothing, after %s: %s", secs(f.Took), f.Error))
		return
	}
	about := fmt.Sprintf("status %d from %s in %s", f.Status, f.Parent, secs(f.Took))
	if f.Bytes >= 0 {
		about += fmt.Sprintf(", %d bytes", f.Bytes)
	}
	r.add("fetched", about)
	if f.Stored {
		r.add("  storable", "yes")
	} else {
		r.add("  storable", "no, "+f.Reason+": "+f.Why)
	}
	r.life(&f.LifeNow)
	r.add("  Vary", strings.Join(f.Vary, ", "))
	r.add("  withheld", strings.Join(f.Withheld, ", "))
	r.add("  tiers above", f.Above)
}

func (r *rows) life(l *edge.LifeNow) {
	r.add("  life", fmt.Sprintf("%s: age %s of %s (from %s), ttl %s", l.State, secs(l.Age), secs(l.Lifetime), l.LifetimeFrom, secs(l.TTL)))
	if l.NoStale {
		r.add("  when stale", "never used without validation")
	} else {
		r.add("  when stale", fmt.Sprintf("usable for %s while it is validated, for %s when no parent answers", secs(l.StaleWhileRevalidate), secs(l.StaleIfError)))
	}
	r.add("  ETag", l.ETag)
	r.add("  modified", l.LastModified)
}

// secs is a number of seconds as people read it.
func secs(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d.Abs() < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second / 10).String()
}

// named is a parent by name and URL, which mostly has the name of an outside one.
func named(p edge.ParentNow) string {
	if p.Name == p.URL || strings.HasSuffix(p.URL, "://"+p.Name) {
		return p.URL
	}
	return p.Name + " " + p.URL
}

func article(role string) string {
	if role == "edge" {
		return "an edge"
	}
	return "a " + role
}

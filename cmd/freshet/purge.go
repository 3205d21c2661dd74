package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
	"freshet/internal/command"
)

// Bounds of what is read from the standard input.
const (
	maxURLs    = 1_000_000
	maxURLLine = command.MaxScopeBytes + 1024
)

// newPurgeCommand is freshet purge.
func newPurgeCommand() *cobra.Command {
	v := &removal{kind: command.Purge}
	cmd := v.command(`Make stored responses unusable, everywhere, now`,
		`Purge makes stored responses unusable on every edge and mid: of URLs and cache
keys (every variant of each), of all below a URL, of surrogate keys, of whole
sites, or all of them. It waits until every live node has applied it, says how
long each took, and names those that have not. - reads URLs from the standard
input, one a line.`,
		`  freshet purge http://demo.freshet.example/index.html
  freshet purge --prefix http://demo.freshet.example/images/
  freshet purge --tag product-7 --site demo
  freshet purge --site demo --no-store 10m
  freshet purge --all --confirm everything
  find-changed | freshet purge -`)
	cmd.Flags().StringVar(&v.req.NoStore, "no-store", "", "for so long nothing that is covered is stored (30s, 10m; at most 720h)")
	return cmd
}

// newInvalidateCommand is freshet invalidate.
func newInvalidateCommand() *cobra.Command {
	v := &removal{kind: command.Invalidate}
	return v.command(`Make stored responses stale, everywhere, now`,
		`Invalidate makes stored responses stale on every edge and mid, from the moment at
which it was given: they are validated with the origin before they are served as
fresh, which costs no body where nothing has changed, and until then served as
stale only as their stale-while-revalidate and stale-if-error allow. It covers
what purge covers, and waits and reports in the same way.`,
		`  freshet invalidate http://demo.freshet.example/index.html
  freshet invalidate --tag product-7 --site demo
  freshet invalidate --site demo`)
}

// removal is a verb that gives a command over what may be stored.
type removal struct {
	kind command.Kind
	req  client.CommandRequest
	tags []string
	wait bool
}

// takes reports whether the verb has a flag for a kind of scope.
func (v *removal) takes(s command.ScopeKind) bool { return v.kind.Takes(s) }

func (v *removal) command(short, long, example string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   string(v.kind) + " [URL...|-]",
		Short: short,
		Long: long + `

Exit codes: 0 every node has applied it; 6 some node is late or unknown; 3 no such
host or site; 7 the API did not answer in time.`,
		Example: example,
		Args:    func(cmd *cobra.Command, args []string) error { return v.check(cmd, args) },
		RunE:    func(cmd *cobra.Command, args []string) error { return v.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&v.req.URLs, "url", nil, "a URL, like an argument (may be given several times, as all that follow)")
	if v.takes(command.ScopeKey) {
		f.StringArrayVar(&v.req.Keys, "key", nil, "a cache key as 'freshet explain URL' shows it")
	}
	if v.takes(command.ScopePrefix) {
		f.StringArrayVar(&v.req.Prefixes, "prefix", nil, "a URL whose path ends in a slash: all below it")
	}
	if v.takes(command.ScopeTag) {
		f.StringArrayVar(&v.tags, "tag", nil, "a surrogate key of the sites that --site names")
	}
	if v.takes(command.ScopeSite) {
		f.StringSliceVar(&v.req.Sites, "site", nil, "all of a site; with --tag, the site whose surrogate key it is")
		f.BoolVar(&v.req.All, "all", false, "everything; needs --confirm "+client.ConfirmAll)
		f.StringVar(&v.req.Confirm, "confirm", "", "the word that --all asks for")
	}
	addWaitFlags(cmd, &v.req, &v.wait)
	addAPIFlags(cmd)
	return cmd
}

// addWaitFlags gives a verb the flags of those that wait for receipts.
func addWaitFlags(cmd *cobra.Command, req *client.CommandRequest, wait *bool) {
	f := cmd.Flags()
	f.DurationVar(&req.Timeout, "timeout", client.DefaultWait, "how long to wait for the nodes")
	f.BoolVar(wait, "wait", true, "wait until every live node has applied it")
	f.BoolVar(&req.NoWait, "no-wait", false, "return when it stands in the command log")
}

// check refuses on the spot what the API would refuse.
func (v *removal) check(cmd *cobra.Command, args []string) error {
	r := &v.req
	if len(args)+len(r.URLs)+len(r.Keys)+len(r.Prefixes)+len(v.tags)+len(r.Sites) == 0 && !r.All {
		return fail(exitUsage, "nothing to %s: name URLs, %s; see '%s --help'", v.kind, v.flags(), cmd.CommandPath())
	}
	if r.All && r.Confirm != client.ConfirmAll {
		return fail(exitUsage, "--all is everything that the CDN has stored; add --confirm %s if you mean it", client.ConfirmAll)
	}
	if len(v.tags) > 0 && len(r.Sites) == 0 {
		return fail(exitUsage, "--tag is a surrogate key of a site: name that with --site")
	}
	if err := checkWait(r); err != nil {
		return err
	}
	for _, raw := range slices.Concat(args, r.URLs, r.Prefixes) {
		if raw == "-" {
			continue
		}
		if err := checkURL(raw); err != nil {
			return err
		}
	}
	return nil
}

// flags names the flags that say what is covered.
func (v *removal) flags() string {
	if v.takes(command.ScopeSite) {
		return "--key, --prefix, --tag, --site or --all"
	}
	if v.takes(command.ScopeKey) {
		return "or --key"
	}
	return "or - for the standard input"
}

func checkWait(r *client.CommandRequest) error {
	if r.Timeout <= 0 || r.Timeout > client.MaxWait {
		return fail(exitUsage, "--timeout is %s: it should be above 0 and at most %s", r.Timeout, client.MaxWait)
	}
	return nil
}

func checkURL(raw string) error {
	if u, err := url.Parse(raw); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fail(exitUsage, "%q is not a URL: write it in full, such as http://www.example.com/page", raw)
	}
	return nil
}

// run gives the commands.
func (v *removal) run(cmd *cobra.Command, args []string) error {
	req, err := v.request(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	return give(cmd, req)
}

// request is what the command line asks for.
func (v *removal) request(stdin io.Reader, args []string) (client.CommandRequest, error) {
	req := v.req
	req.Kind = string(v.kind)
	req.NoWait = req.NoWait || !v.wait
	var urls []string
	for _, arg := range slices.Concat(args, req.URLs) {
		if arg != "-" {
			urls = append(urls, arg)
			continue
		}
		read, err := readURLs(stdin)
		if err != nil {
			return req, err
		}
		urls = append(urls, read...)
	}
	req.URLs = urls
	for i, key := range req.Keys { // lines are printed side by side
		req.Keys[i] = strings.ReplaceAll(key, " | ", "\n")
	}
	if len(v.tags) > 0 {
		for _, site := range req.Sites {
			for _, tag := range v.tags {
				req.Tags = append(req.Tags, client.Tag{Site: site, Tag: tag})
			}
		}
		req.Sites = nil
	}
	return req, nil
}

// readURLs reads a URL from each line but empty ones and comments.
func readURLs(r io.Reader) ([]string, error) {
	var urls []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxURLLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := checkURL(line); err != nil {
			return nil, fail(exitUsage, "line %d: %w", n, err)
		}
		if urls = append(urls, line); len(urls) > maxURLs {
			return nil, fail(exitUsage, "more than %d URLs", maxURLs)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fail(exitUsage, "a line has more than %d bytes", maxURLLine)
	case err != nil:
		return nil, fmt.Errorf("read URLs: %w", err)
	case len(urls) == 0:
		return nil, fail(exitUsage, "there are no URLs on the standard input")
	}
	return urls, nil
}

// give gives a request to the API, in several commands if it has too many URLs for one, and
// prints the receipts.
func give(cmd *cobra.Command, req client.CommandRequest) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	receipts, err := giveAll(cmd.Context(), c, req)
	if err != nil {
		if len(receipts) > 0 {
			return fail(exitPartial, "%d commands stand in the log, the last at %s, and then: %w",
				len(receipts), receipts[len(receipts)-1].Sequence, apiFailure(c, err))
		}
		return apiFailure(c, err)
	}
	return printReceipts(cmd, receipts)
}

// giveAll gives as many commands as it takes. Nodes apply commands in order: who has the
// last has all of them, and only that is waited for.
func giveAll(ctx context.Context, c *client.Client, req client.CommandRequest) ([]client.Receipt, error) {
	others := len(req.Keys) + len(req.Prefixes) + len(req.Tags) + len(req.Sites) + len(req.Match)
	if req.All {
		others++
	}
	var receipts []client.Receipt
	urls := req.URLs
	for first := true; first || len(urls) > 0; first = false {
		batch := req
		room := command.MaxScopes
		if first {
			room = max(room-others, min(1, len(urls)))
		} else {
			batch = client.CommandRequest{Kind: req.Kind, For: req.For, NoStore: req.NoStore, NoWait: req.NoWait, Timeout: req.Timeout}
		}
		n := min(room, len(urls))
		batch.URLs, urls = urls[:n], urls[n:]
		if len(urls) > 0 {
			batch.NoWait = true
		}
		r, err := c.Command(ctx, batch)
		if err != nil {
			return receipts, err
		}
		receipts = append(receipts, r)
	}
	return receipts, nil
}

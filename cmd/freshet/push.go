package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/origin/object"
	"freshet/origin/publish"
)

// push is one run of freshet push.
type push struct {
	cmd    *cobra.Command
	client *client.Client

	what, site, path string // path: of the object, or the prefix of a tree
	tree             bool   // what is a directory
	exclude          []string
	origin           string
	options          publish.Options
	noPurge          bool
}

// newPushCommand is freshet push.
func newPushCommand() *cobra.Command {
	p := &push{}
	var prefix string
	cmd := &cobra.Command{
		Use:   "push FILE|DIR [SITE:/PATH]",
		Short: "Publish a file or a directory, and purge what it has changed",
		Long: `Push makes the objects of a site equal to a file, or to all files of a directory:
what the origin has already is not sent again, and objects that are not in the
directory are left alone. When all is durable on the origin, exactly the URLs that
have changed are purged, and push waits until every live node has applied that.

The origin is found through the management API, unless --origin names it. Links
that lead out of the directory are refused. A pattern of --exclude without a slash
excludes files and directories of that name at any depth; one with a slash is
compared with the whole path below DIR.

Exit codes: 0 all is published and purged; 6 some files failed, or some node has
not applied the purge; 3 no such site or file; 4 the token is not the right one.`,
		Example: `  freshet push public/ --site demo
  freshet push public/ demo:/v2 --exclude .git --exclude '*.map'
  freshet push logo.svg demo:/img/logo.svg --cache-control 'public, max-age=3600'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			p.cmd = cmd
			if err := p.parse(args, prefix); err != nil {
				return err
			}
			return p.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.site, "site", "", "the site to publish to")
	f.StringVar(&prefix, "prefix", "", "path that the files are put under (default /)")
	f.StringVar(&p.origin, "origin", "", "URL of the origin (default: as the management API says)")
	f.StringArrayVar(&p.exclude, "exclude", nil, "leave out what matches the glob `pattern` (may be given several times)")
	f.StringVar(&p.options.CacheControl, "cache-control", "", "Cache-Control of the objects (default: the origin's, by kind of file)")
	f.BoolVar(&p.options.DryRun, "dry-run", false, "say what would be published, and publish nothing")
	f.BoolVar(&p.noPurge, "no-purge", false, "do not purge what has changed")
	addAPIFlags(cmd)
	return cmd
}

// parse reads the command line: where to push may be said as SITE:/PATH or by
// --site and --prefix.
func (p *push) parse(args []string, prefix string) error {
	if len(args) < 1 || len(args) > 2 {
		return fail(exitUsage, "push takes a file or a directory, and where to: see '%s --help'", p.cmd.CommandPath())
	}
	p.what = args[0]
	info, err := os.Stat(p.what)
	if errors.Is(err, os.ErrNotExist) {
		return fail(exitNotFound, "push: %w", err)
	}
	if err != nil {
		return fail(exitError, "push: %w", err)
	}
	p.tree = info.IsDir()
	switch {
	case len(args) == 2 && (p.site != "" || prefix != ""):
		return fail(exitUsage, "say where to either as %s or by --site and --prefix, not both", args[1])
	case len(args) == 2:
		var ok bool
		if p.site, p.path, ok = strings.Cut(args[1], ":"); !ok || p.site == "" || !strings.HasPrefix(p.path, "/") {
			return fail(exitUsage, "%q should be SITE:/PATH, such as demo:/img/logo.svg", args[1])
		}
	case p.site == "":
		return fail(exitUsage, "say where to: SITE:/PATH, or --site SITE")
	default:
		p.path = "/" + strings.Trim(prefix, "/")
		if !p.tree && p.path != "/" {
			p.path += "/"
		}
	}
	if !p.tree && strings.HasSuffix(p.path, "/") {
		p.path += filepath.Base(p.what)
	}
	if clean := strings.TrimSuffix(p.path, "/"); clean != "" {
		if err := object.CheckPath(clean); err != nil {
			return fail(exitUsage, "%w", err)
		}
	}
	return nil
}

func (p *push) run(ctx context.Context) (err error) {
	if p.client, err = apiClient(p.cmd); err != nil {
		return err
	}
	defer p.client.Close()
	src, err := p.source()
	if errors.Is(err, publish.ErrPattern) {
		return fail(exitUsage, "--exclude: %w", err)
	}
	if err != nil {
		return fail(exitError, "nothing was pushed: %w", err)
	}
	defer src.Close()
	if p.origin == "" {
		if p.origin, err = p.findOrigin(ctx); err != nil {
			return err
		}
	}
	token, err := apiToken(p.cmd)
	if err != nil {
		return err
	}
	show := newPushProgress(p.cmd)
	publisher, err := publish.New(publish.Config{Origin: p.origin, Token: token, Progress: show.update})
	if err != nil {
		return fail(exitUsage, "--origin: %w", err)
	}
	defer publisher.Close()
	report, pushErr := publisher.Push(ctx, p.site, src, p.options)
	show.finish()

	s := newPushSummary(p, report)
	// What has changed is purged even if the push did not come to its end.
	purgeErr := p.purge(ctx, s)
	if pushErr == nil || s.Skipped < len(s.Files) { // else nothing has happened
		if err := s.print(p.cmd); err != nil {
			return err
		}
	}
	return p.verdict(s, pushErr, purgeErr)
}

func (p *push) source() (*publish.Source, error) {
	if p.tree {
		return publish.OpenTree(p.what, p.path, p.exclude)
	}
	return publish.OpenFile(p.what, p.path)
}

// findOrigin asks the management API for a ready origin.
func (p *push) findOrigin(ctx context.Context) (string, error) {
	nodes, err := p.client.Nodes(ctx)
	if err != nil {
		return "", apiFailure(p.client, err)
	}
	known := ""
	for _, n := range nodes {
		if n.Role != string(cluster.Origin) {
			continue
		}
		if n.Ready && len(n.Addrs) > 0 {
			return "http://" + n.Addrs[0], nil
		}
		known += fmt.Sprintf("; %s: %s", n.Name, n.Reason)
	}
	return "", fail(exitError, "the cluster has no origin that is ready%s; name one with --origin, or see 'freshet nodes'", known)
}

// verdict is the error that the command ends with.
func (p *push) verdict(s *pushSummary, pushErr, purgeErr error) error {
	switch {
	case errors.Is(pushErr, publish.ErrDenied):
		return fail(exitDenied, "not authorised by the origin at %s: %w\nset --token-file, FRESHET_TOKEN_FILE or FRESHET_TOKEN", p.origin, pushErr)
	case errors.Is(pushErr, publish.ErrNoSite):
		return fail(exitNotFound, "%w", pushErr)
	case errors.Is(pushErr, context.DeadlineExceeded):
		return fail(exitTimeout, "%w", pushErr)
	case pushErr != nil && s.Created+s.Replaced > 0:
		return fail(exitPartial, "the push ended early: %w", pushErr)
	case pushErr != nil:
		return fail(exitError, "%w", pushErr)
	case s.Failed > 0:
		return fail(exitPartial, "%d of %d files were not published", s.Failed, len(s.Files))
	case purgeErr != nil:
		return fail(exitPartial, "the files are published, but what they replace may still be served: %w", purgeErr)
	}
	return nil
}

// changedTargets are the request targets that have other content than before: of each
// path, and of the directory whose index it is.
func changedTargets(paths []string) []string {
	targets := make([]string, 0, len(paths))
	for _, p := range paths {
		targets = append(targets, object.EscapePath(p))
		if path.Base(p) == "index.html" {
			targets = append(targets, object.EscapePath(strings.TrimSuffix(p, "index.html")))
		}
	}
	return targets
}

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
)

// newBanCommand is freshet ban.
func newBanCommand() *cobra.Command {
	req := client.CommandRequest{Kind: string(command.Ban)}
	var m client.Match
	var sites, headers, expressions []string
	wait := true
	cmd := &cobra.Command{
		Use:   "ban",
		Short: "Make unusable what matches: by host, path and header of the stored responses",
		Long: `Ban makes stored responses unusable (with --soft: stale) for which everything
holds that is named: globs, in which * stands for any run of characters, over the
whole; regular expressions (RE2) anywhere in it unless they are anchored. Paths
are matched as clients write them, without the query. The nodes apply a ban at
once, whatever they have stored: each response is held against it before it is
used again. Like purge it waits for them.

Exit codes: 0 every node has applied it; 6 some node is late or unknown; 3 no such
host or site; 7 the API did not answer in time.`,
		Example: `  freshet ban --site demo --path '/images/*.jpg'
  freshet ban --host '*.example.com' --path-re '^/v[0-9]+/'
  freshet ban --site demo --header 'Content-Type: image/*' --soft
  freshet ban --header-re 'Server: ^old' --confirm everything`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if err = noArgs(cmd, args); err != nil {
				return err
			}
			if m.Headers, err = matchHeaders(headers, expressions); err != nil {
				return err
			}
			p := predicate.Match{Host: strings.ToLower(m.Host), Path: m.Path, PathRE: m.PathRE}
			for _, h := range m.Headers {
				p.Headers = append(p.Headers, predicate.Header{Name: h.Name, Value: h.Value, ValueRE: h.ValueRE})
			}
			if err := p.Validate(); err != nil {
				return fail(exitUsage, "%w: name --host, --path, --path-re, --header or --header-re; see '%s --help'", err, cmd.CommandPath())
			}
			if len(sites) == 0 && m.Host == "" && req.Confirm != client.ConfirmAll {
				return fail(exitUsage, "that is over all sites: name --site or --host, or add --confirm %s if you mean it", client.ConfirmAll)
			}
			if req.Soft && req.NoStore != "" {
				return fail(exitUsage, "--no-store and --soft exclude each other")
			}
			return checkWait(&req)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.NoWait = req.NoWait || !wait
			if len(sites) == 0 {
				sites = []string{""}
			}
			for _, site := range sites {
				of := m
				of.Site = site
				req.Match = append(req.Match, of)
			}
			return give(cmd, req)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&sites, "site", nil, "only of this site (may be given several times)")
	f.StringVar(&m.Host, "host", "", "a glob over the hosts of the site")
	f.StringVar(&m.Path, "path", "", "a glob over the path")
	f.StringVar(&m.PathRE, "path-re", "", "a regular expression over the path")
	f.StringArrayVar(&headers, "header", nil, "'Name' or 'Name: GLOB', a field of the stored response (may be given several times, like the next)")
	f.StringArrayVar(&expressions, "header-re", nil, "'Name: RE2', a field of the stored response")
	f.BoolVar(&req.Soft, "soft", false, "what matches is stale, and not removed")
	f.StringVar(&req.NoStore, "no-store", "", "for so long nothing that matches is stored (30s, 10m; at most 720h)")
	f.StringVar(&req.Confirm, "confirm", "", "the word "+client.ConfirmAll+", for a ban over all sites")
	addWaitFlags(cmd, &req, &wait)
	addAPIFlags(cmd)
	return cmd
}

// matchHeaders reads the flags of conditions on the header.
func matchHeaders(globs, expressions []string) ([]client.MatchHeader, error) {
	var headers []client.MatchHeader
	for _, text := range globs {
		name, value, _ := strings.Cut(text, ":")
		headers = append(headers, client.MatchHeader{Name: name, Value: strings.TrimSpace(value)})
	}
	for _, text := range expressions {
		name, value, ok := strings.Cut(text, ":")
		if value = strings.TrimSpace(value); !ok || value == "" {
			return nil, fail(exitUsage, "--header-re is %q: it should be 'Name: RE2'", text)
		}
		headers = append(headers, client.MatchHeader{Name: name, ValueRE: value})
	}
	return headers, nil
}

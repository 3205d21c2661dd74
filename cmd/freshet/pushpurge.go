package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

// purgeGrace is how long a push that was interrupted may still take to purge what
// it has changed.
const purgeGrace = 15 * time.Second

// purge purges what the push has changed, and waits for the nodes. It fills in the
// summary's part about that.
func (p *push) purge(ctx context.Context, s *pushSummary) error {
	targets := changedTargets(s.changed)
	if len(targets) == 0 || p.options.DryRun {
		return nil
	}
	if p.noPurge {
		s.setURLs("", targets)
		return nil
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), purgeGrace)
		defer cancel()
	}
	site, err := p.client.Site(ctx, p.site, 0)
	if err != nil {
		return apiFailure(p.client, err)
	}
	host := hostToName(site.Hosts)
	s.setURLs(host+p.edgePort(ctx), targets)
	for batch := range slices.Chunk(targets, command.MaxScopes) {
		req := client.CommandRequest{Kind: string(command.Purge), Timeout: client.DefaultWait}
		for _, target := range batch {
			req.URLs = append(req.URLs, "http://"+host+target)
		}
		// Nodes apply commands in order: who has the last has all of them.
		req.NoWait = s.Purged+len(batch) < len(targets)
		receipt, err := p.client.Purge(ctx, req)
		if err != nil {
			return apiFailure(p.client, err)
		}
		s.Purged += len(batch)
		s.Purge = &receipt
	}
	if !s.Purge.Complete {
		var late []string
		for _, n := range s.Purge.Nodes {
			if n.State != client.Applied {
				late = append(late, n.Node+" ("+n.State+")")
			}
		}
		return fmt.Errorf("these nodes have not applied the purge: %s", strings.Join(late, ", "))
	}
	return nil
}

// hostToName picks the host under which URLs of a site are named: a plain one if
// there is any. All hosts of a site share their content.
func hostToName(hosts []string) string {
	for _, h := range hosts {
		if !strings.Contains(h, "*") {
			return h
		}
	}
	for _, h := range hosts {
		if suffix, ok := strings.CutPrefix(h, "*."); ok {
			return "www." + suffix
		}
	}
	return "any.invalid" // the site has every host
}

// edgePort is ":port" if all edges that are ready share one that clients must name.
func (p *push) edgePort(ctx context.Context) string {
	nodes, err := p.client.Nodes(ctx)
	if err != nil {
		return "" // the URLs are only for show
	}
	port := ""
	for _, n := range nodes {
		if n.Role != string(cluster.Edge) || !n.Ready || len(n.Addrs) == 0 {
			continue
		}
		_, this, err := net.SplitHostPort(n.Addrs[0])
		if err != nil || (port != "" && this != port) {
			return ""
		}
		port = this
	}
	if port == "" || port == "80" {
		return ""
	}
	return ":" + port
}

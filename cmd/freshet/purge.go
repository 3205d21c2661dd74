package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

// newPurgeCommand is freshet purge.
func newPurgeCommand() *cobra.Command {
	var req client.CommandRequest
	cmd := &cobra.Command{
		Use:   "purge [URL...]",
		Short: "Make stored responses unusable, everywhere, now",
		Long: `Purge makes stored responses unusable on every edge and mid: of URLs (every
variant of each), of whole sites, or all of them. It waits until every live node
has applied it, says how long each took, and names those that have not.

Exit codes: 0 every node has applied it; 6 some node is late or unknown; 3 no such
host or site; 7 the API did not answer in time.`,
		Example: `  freshet purge http://demo.freshet.example/index.html
  freshet purge --site demo
  freshet purge --all --confirm everything`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(req.Sites) == 0 && !req.All {
				return fail(exitUsage, "nothing to purge: name URLs, --site or --all; see '%s --help'", cmd.CommandPath())
			}
			return checkPurge(args, req)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.URLs = args
			return purge(cmd, req)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&req.Sites, "site", nil, "purge all of a site (may be given several times)")
	f.BoolVar(&req.All, "all", false, "purge everything; needs --confirm "+client.ConfirmAll)
	f.StringVar(&req.Confirm, "confirm", "", "the word that --all asks for")
	f.DurationVar(&req.Timeout, "timeout", client.DefaultWait, "how long to wait for the nodes")
	f.BoolVar(&req.NoWait, "no-wait", false, "return when the purge stands in the command log")
	addAPIFlags(cmd)
	return cmd
}

// checkPurge refuses on the spot what the API would refuse.
func checkPurge(urls []string, req client.CommandRequest) error {
	if req.All && req.Confirm != client.ConfirmAll {
		return fail(exitUsage, "--all purges everything that the CDN has stored; add --confirm %s if you mean it", client.ConfirmAll)
	}
	if req.Timeout <= 0 || req.Timeout > client.MaxWait {
		return fail(exitUsage, "--timeout is %s: it should be above 0 and at most %s", req.Timeout, client.MaxWait)
	}
	for _, raw := range urls {
		if u, err := url.Parse(raw); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fail(exitUsage, "%q is not a URL: write it in full, such as http://www.example.com/page", raw)
		}
	}
	return nil
}

func purge(cmd *cobra.Command, req client.CommandRequest) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Purge(cmd.Context(), req)
	if err != nil {
		return apiFailure(c, err)
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd, r)
	} else {
		err = printReceipt(cmd, r)
	}
	if err != nil || !r.Waited || r.Complete {
		return err
	}
	late := 0
	for _, n := range r.Nodes {
		if n.State != client.Applied {
			late++
		}
	}
	return fail(exitPartial, "%d of %d nodes have not applied the purge: they may serve what was purged until they do", late, len(r.Nodes))
}

// printReceipt prints a line for each node, then a summary.
func printReceipt(cmd *cobra.Command, r client.Receipt) error {
	if !r.Waited {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "purge %s stands in the command log at %s\n", r.ID, r.Sequence)
		return err
	}
	var slowest time.Duration
	applied := 0
	rows := [][]string{{"NODE", "ROLE", "POP", "STATE", "TOOK", "REASON"}}
	for _, n := range r.Nodes {
		took := ""
		if n.State == client.Applied {
			d := time.Duration(n.TookMS * float64(time.Millisecond))
			took = fmt.Sprintf("%.1f ms", n.TookMS)
			slowest = max(slowest, d)
			applied++
		}
		rows = append(rows, []string{n.Node, n.Role, n.PoP, n.State, took, n.Reason})
	}
	if len(r.Nodes) > 0 {
		if err := printTable(cmd, rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "purge %s at %s: applied by %d of %d nodes in %s\n",
		r.ID, r.Sequence, applied, len(r.Nodes), slowest.Round(100*time.Microsecond))
	return err
}

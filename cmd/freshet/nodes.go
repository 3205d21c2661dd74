package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

// newNodesCommand is freshet nodes.
func newNodesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of the CDN: whether they are ready, and how far they follow the command log",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAPI(cmd, func(c *client.Client) (any, [][]string, error) {
				list, err := c.Nodes(cmd.Context())
				return list, nodeRows(list), err
			})
		},
	}
	addAPIFlags(cmd)
	return cmd
}

func nodeRows(list []client.Node) [][]string {
	rows := [][]string{{"NODE", "ROLE", "POP", "REGION", "ADDRESS", "READY", "APPLIED", "LAG", "VERSION", "NOTE"}}
	for _, n := range list {
		ready, note := "yes", n.Alarm
		if !n.Ready {
			ready, note = "no", strings.TrimPrefix(n.Reason+"; "+n.Alarm, "; ")
			note = strings.TrimSuffix(note, "; ")
		}
		lag := ""
		if n.Lag != nil {
			lag = strconv.FormatUint(*n.Lag, 10)
		}
		rows = append(rows, []string{n.Name, n.Role, n.PoP, n.Region, strings.Join(n.Addrs, ","), ready, n.Applied, lag, n.Version, note})
	}
	return rows
}

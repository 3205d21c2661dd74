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
	rows := [][]string{{"NODE", "ROLE", "POP", "REGION", "ADDRESS", "READY", "APPLIED", "LAG", "REQ/S", "HITS", "OUT/S", "LOAD", "CAPACITY", "VERSION", "NOTE"}}
	for _, n := range list {
		ready, note := "yes", n.Alarm
		if !n.Ready {
			ready, note = "no", strings.TrimPrefix(n.Reason+"; "+n.Alarm, "; ")
			note = strings.TrimSuffix(note, "; ")
		}
		if n.Note != "" {
			note = strings.TrimPrefix(note+"; "+n.Note, "; ")
		}
		lag := ""
		if n.Lag != nil {
			lag = strconv.FormatUint(*n.Lag, 10)
		}
		row := []string{n.Name, n.Role, n.PoP, n.Region, strings.Join(n.Addrs, ","), ready, n.Applied, lag}
		rows = append(rows, append(append(row, loadCells(n.Load)...), n.Version, note))
	}
	return rows
}

// loadCells is the load of a node in five cells: requests a second, share of hits, bytes a
// second, utilisation and capacity. They are empty for a node that tells of no load, and
// question marks where what it told is too old to say anything of now.
func loadCells(l *client.Load) []string {
	switch {
	case l == nil:
		return []string{"", "", "", "", ""}
	case !l.Current:
		return []string{"?", "?", "?", "?", "?"}
	}
	capacity := ""
	if l.Capacity > 0 {
		capacity = rounded(l.Capacity)
	}
	return []string{rounded(l.Requests), percent(l.Hits), inUnits(l.Bytes), percent(l.Utilisation), capacity}
}

// rounded shows a rate: small ones with a digit behind the point.
func rounded(rate float64) string {
	if rate > 0 && rate < 10 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return strconv.FormatFloat(rate, 'f', 0, 64)
}

// inUnits shows bytes, with three digits or so.
func inUnits(bytes float64) string {
	units := []string{"B", "kB", "MB", "GB"}
	for bytes >= 1000 && len(units) > 1 {
		bytes, units = bytes/1000, units[1:]
	}
	return rounded(bytes) + " " + units[0]
}

// percent shows a share, which is negative where it is not known.
func percent(share float64) string {
	if share < 0 {
		return ""
	}
	return strconv.FormatFloat(100*share, 'f', 0, 64) + " %"
}

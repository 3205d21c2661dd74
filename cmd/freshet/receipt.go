package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
	"freshet/internal/command/predicate"
)

// printReceipts prints what came of commands, of which the last tells how far the nodes
// are, and returns an error if not all of them have applied it.
func printReceipts(cmd *cobra.Command, receipts []client.Receipt) error {
	r := receipts[len(receipts)-1]
	var err error
	switch {
	case wantsJSON(cmd) && len(receipts) > 1:
		err = printJSON(cmd, receipts)
	case wantsJSON(cmd):
		err = printJSON(cmd, r)
	default:
		for _, earlier := range receipts[:len(receipts)-1] {
			if err := printPlace(cmd, earlier); err != nil {
				return err
			}
		}
		err = printReceipt(cmd, r)
	}
	if err != nil || !r.Waited || r.Complete {
		return err
	}
	return notComplete(r)
}

// notComplete says that nodes have not applied a command.
func notComplete(r client.Receipt) error {
	var late, unknown []string
	for _, n := range r.Nodes {
		switch n.State {
		case client.Late:
			late = append(late, n.Node)
		case client.Unknown:
			unknown = append(unknown, n.Node)
		}
	}
	var parts []string
	if len(late) > 0 {
		parts = append(parts, "late: "+strings.Join(late, ", "))
	}
	if len(unknown) > 0 {
		parts = append(parts, "unknown, and perhaps serving: "+strings.Join(unknown, ", "))
	}
	return fail(exitPartial, "%d of %d nodes have not applied the %s (%s): they may serve what it covers until they do",
		len(late)+len(unknown), len(r.Nodes), r.Kind, plain(strings.Join(parts, "; ")))
}

func printPlace(cmd *cobra.Command, r client.Receipt) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s stands in the command log at %s\n", r.Kind, r.ID, r.Sequence)
	return err
}

// printReceipt prints a line for each node, then a summary.
func printReceipt(cmd *cobra.Command, r client.Receipt) error {
	if !r.Waited {
		return printPlace(cmd, r)
	}
	return printNodes(cmd, r)
}

func printNodes(cmd *cobra.Command, r client.Receipt) error {
	var slowest time.Duration
	applied, lapsed := 0, 0
	rows := [][]string{{"NODE", "ROLE", "POP", "STATE", "TOOK", "REASON"}}
	for _, n := range r.Nodes {
		took := ""
		if n.State == client.Lapsed {
			lapsed++
		}
		if n.State == client.Applied {
			applied++
			if n.TookMS > 0 {
				took = fmt.Sprintf("%.1f ms", n.TookMS)
				slowest = max(slowest, time.Duration(n.TookMS*float64(time.Millisecond)))
			}
		}
		rows = append(rows, []string{n.Node, n.Role, n.PoP, n.State, took, n.Reason})
	}
	if len(r.Nodes) > 0 {
		if err := printTable(cmd, rows); err != nil {
			return err
		}
	}
	took := ""
	if slowest > 0 {
		took = " in " + slowest.Round(100*time.Microsecond).String()
	}
	if lapsed > 0 {
		took += fmt.Sprintf(", %d cut off and serving nothing that it covers", lapsed)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s at %s: applied by %d of %d nodes%s\n", r.Kind, r.ID, r.Sequence, applied, len(r.Nodes), took)
	return err
}

// scopeText names a scope on one line.
func scopeText(s client.Scope) string {
	switch {
	case s.Match != nil:
		m := predicate.Match{Host: s.Match.Host, Path: s.Match.Path, PathRE: s.Match.PathRE}
		for _, h := range s.Match.Headers {
			m.Headers = append(m.Headers, predicate.Header{Name: h.Name, Value: h.Value, ValueRE: h.ValueRE})
		}
		if s.Site == "" {
			return "match: " + m.String()
		}
		return "match " + s.Site + ": " + m.String()
	case s.Site == "":
		return "everything"
	case s.Base != "":
		return s.Kind + " " + s.Base + s.Value + " of " + s.Site
	case s.Value == "":
		return s.Kind + " " + s.Site
	case s.Kind == "key": // its first line is the site
		return "key " + strings.ReplaceAll(s.Value, "\n", " | ")
	case s.Kind == "tag":
		return "tag " + s.Site + ": " + s.Value
	}
	return s.Kind + " " + s.Site + s.Value
}

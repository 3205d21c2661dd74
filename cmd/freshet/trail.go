package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

// newTrailCommand is freshet command.
func newTrailCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "command",
		Short: "Look commands up: who gave which when, and who has applied it",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTrailListCommand(), newTrailShowCommand())
	return cmd
}

func newTrailListCommand() *cobra.Command {
	var f client.CommandFilter
	var since string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the commands that the log still holds, newest first",
		Example: `  freshet command list --since 24h --site demo
  freshet command list --kind purge --by ann -n 200`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if err = noArgs(cmd, args); err != nil {
				return err
			}
			if f.Limit < 1 {
				return fail(exitUsage, "-n is %d: it should be at least 1", f.Limit)
			}
			f.Since, err = sinceOf(since, time.Now())
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return listTrail(cmd, f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.Kind, "kind", "", "this kind alone: purge, invalidate, refresh, prefetch or ban")
	fs.StringVar(&f.Site, "site", "", "those that cover something of this site, or everything")
	fs.StringVar(&f.By, "by", "", "those whose author contains this")
	fs.StringVar(&since, "since", "", "those of this time: 24h, or since 2026-11-21T12:00:00Z")
	fs.StringVar(&f.Before, "before", "", "those with a lower sequence, such as 1.127")
	fs.IntVarP(&f.Limit, "number", "n", 20, "how many at most")
	addAPIFlags(cmd)
	return cmd
}

// sinceOf reads a time, or how long ago it is.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, fail(exitUsage, "--since is %q: it should be a duration such as 24h or a time such as 2026-11-21T12:00:00Z", text)
}

// maxPage is how many commands the API gives in one answer at most.
const maxPage = 500

// listTrail reads as many pages as are asked for.
func listTrail(cmd *cobra.Command, f client.CommandFilter) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	all := client.Commands{Commands: []client.Record{}}
	for wanted := f.Limit; len(all.Commands) < wanted; {
		f.Limit = min(wanted-len(all.Commands), maxPage)
		page, err := c.Commands(cmd.Context(), f)
		if err != nil {
			return apiFailure(c, err)
		}
		all.Commands = append(all.Commands, page.Commands...)
		all.Next, all.Kept = page.Next, page.Kept
		if f.Before = page.Next; page.Next == "" {
			break
		}
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, all)
	}
	rows := [][]string{{"SEQUENCE", "AT", "KIND", "COVERS", "BY", "ID"}}
	for _, r := range all.Commands {
		rows = append(rows, []string{r.Sequence, r.At.Format(time.RFC3339), kindText(r), coversText(r), r.By, r.ID})
	}
	if err := printTable(cmd, rows); err != nil || all.Next == "" {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "there may be more: --before %s\n", all.Next)
	return err
}

// kindText is the kind of a command with what changes it.
func kindText(r client.Record) string {
	text := r.Kind
	if r.Soft {
		text = "soft " + text
	}
	if r.NoStore != "" {
		text += ", no-store " + r.NoStore
	}
	if r.Unknown != "" {
		text += " (unknown record)"
	}
	return text
}

// coversText is the first scope of a command, and how many there are beside it.
func coversText(r client.Record) string {
	if len(r.Scopes) == 0 {
		return ""
	}
	const most = 60 // characters
	text := []rune(scopeText(r.Scopes[0]))
	if len(text) > most {
		text = append(text[:most-1], '…')
	}
	if n := len(r.Scopes) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more", string(text), n)
	}
	return string(text)
}

func newTrailShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one command, by its id or sequence, and who has applied it by now",
		Long: `Show looks a command up in the log and says which nodes have applied it by now.

Exit codes: 0 every node has applied it; 6 some node is late or unknown; 3 the log
does not hold it.`,
		Example: "  freshet command show 1.127",
		Args:    exactArg("id"),
		RunE:    func(cmd *cobra.Command, args []string) error { return showCommand(cmd, args[0]) },
	}
	addAPIFlags(cmd)
	return cmd
}

func showCommand(cmd *cobra.Command, id string) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.FindCommand(cmd.Context(), id)
	var answer *client.Error
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return fail(exitNotFound, "%s", plain(answer.Detail))
	}
	if err != nil {
		return apiFailure(c, err)
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd, r)
	} else {
		err = printCommand(cmd, r)
	}
	if err != nil || r.Complete {
		return err
	}
	return notComplete(r)
}

// printCommand prints a command in full.
func printCommand(cmd *cobra.Command, r client.Receipt) error {
	rows := [][]string{{"command", r.ID}, {"kind", kindText(r.Record)}, {"at", r.At.Format(time.RFC3339Nano)}, {"by", r.By}, {"log", r.Log}, {"sequence", r.Sequence}}
	if r.For != nil {
		rows = append(rows, []string{"for", fmt.Sprintf("role %s, PoP %s", orAny(r.For.Role), orAny(r.For.PoP))})
	}
	if r.Unknown != "" {
		rows = append(rows, []string{"unknown", r.Unknown})
	}
	for i, s := range r.Scopes {
		name := ""
		if i == 0 {
			name = "covers"
		}
		rows = append(rows, []string{name + " ", scopeText(s)})
	}
	if err := printTable(cmd, rows); err != nil {
		return err
	}
	return printNodes(cmd, r)
}

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

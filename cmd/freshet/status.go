package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

// newStatusCommand is freshet status.
func newStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "The CDN in one page",
		Long: `Status sums the CDN up. Exit codes: 0 ok; 6 degraded: it works, and something needs
a look; 1 down: clients are not served, or no command can be given.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return status(cmd) },
	}
	addAPIFlags(cmd)
	return cmd
}

func status(cmd *cobra.Command) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(cmd.Context())
	if err != nil {
		return apiFailure(c, err)
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd, s)
	} else {
		err = printStatus(cmd, s)
	}
	switch {
	case err != nil:
		return err
	case s.State == client.Down:
		return fail(exitError, "the CDN is down: %s", plain(first(s.Alarms)))
	case s.State != client.OK:
		return fail(exitPartial, "the CDN is %s: %d alarms", plain(s.State), len(s.Alarms))
	}
	return nil
}

func first(alarms []string) string {
	if len(alarms) == 0 {
		return "the API does not say why"
	}
	return alarms[0]
}

func printStatus(cmd *cobra.Command, s client.Status) error {
	log := "none"
	if s.Log.ID != "" {
		log = fmt.Sprintf("%s, epoch %d, last %s", s.Log.ID, s.Log.Epoch, s.Log.Last)
	}
	leader := s.Leader.Node
	if s.Leader.API != "" {
		leader += " at " + s.Leader.API
	}
	rows := [][]string{{"state", s.State}, {"leader", leader}, {"log", log}, {"sites", strconv.Itoa(s.Sites)}}
	for _, r := range s.Roles {
		rows = append(rows, []string{r.Role, fmt.Sprintf("%d of %d ready", r.Ready, r.Total)})
	}
	for _, a := range s.Alarms {
		rows = append(rows, []string{"alarm", a})
	}
	return printTable(cmd, rows)
}

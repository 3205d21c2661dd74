package main

import (
	"github.com/spf13/cobra"

	"freshet/distributor/client"
	"freshet/internal/command"
)

// newRefreshCommand is freshet refresh.
func newRefreshCommand() *cobra.Command {
	v := &removal{kind: command.Refresh}
	return v.command(`Make stored responses stale, and have them validated now`,
		`Refresh makes the responses of URLs and cache keys stale on every edge and mid, as
invalidate does, and has those nodes validate them with the origin in the
background that hold them.`,
		`  freshet refresh http://demo.freshet.example/index.html
  find-changed | freshet refresh -`)
}

// newPrefetchCommand is freshet prefetch.
func newPrefetchCommand() *cobra.Command {
	v := &removal{kind: command.Prefetch}
	var target client.Target
	cmd := v.command(`Fetch URLs before clients ask for them`,
		`Prefetch has edges fetch URLs, in the background and a few at a time, that they do
not hold fresh. What it waits for is that they have taken the command, not that
they have fetched everything.`,
		`  freshet prefetch http://demo.freshet.example/film.mp4
  freshet prefetch --pop ams1 - <urls.txt
  freshet prefetch --role mid http://demo.freshet.example/film.mp4`)
	f := cmd.Flags()
	f.StringVar(&target.Role, "role", "", "edge or mid (default edge)")
	f.StringVar(&target.PoP, "pop", "", "only nodes of this PoP")
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if target.Role != "" && target.Role != "edge" && target.Role != "mid" {
			return fail(exitUsage, "--role is %q: it should be edge or mid", target.Role)
		}
		v.req.For = &target
		return check(cmd, args)
	}
	return cmd
}

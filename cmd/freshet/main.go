// Command freshet is a whole CDN in one binary: every role and every verb of the
// operator. It only wires; what it does stands in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/run"
)

// Exit codes, the same for every verb.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitNotFound = 3
	exitDenied   = 4
	exitInvalid  = 5 // a node file or site document is invalid
	exitPartial  = 6 // done in part: the output says what not
	exitTimeout  = 7
)

// exitCodes is what --help of the root says of them.
const exitCodes = `Exit codes:
  0  ok
  1  error
  2  usage: the command line is wrong
  3  not found
  4  not authorised
  5  invalid configuration
  6  partial failure
  7  timeout`

// codedError carries the exit code that its message should end with.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// fail makes an error that ends the process with code.
func fail(code int, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

// version is the binary's, set when it is linked.
var version = "dev"

func main() {
	os.Exit(execute(context.Background(), os.Args[1:]))
}

// execute runs one command line and returns its exit code. SIGTERM and SIGINT end
// its context.
func execute(ctx context.Context, args []string) int {
	ctx, stop := run.Signals(ctx)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "freshet: "+err.Error())
	var coded *codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	var mistakes document.Errors
	if errors.As(err, &mistakes) {
		return exitInvalid
	}
	return exitError
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "freshet",
		Version:       version,
		Short:         "A CDN that you run yourself: one binary whose roles form a whole CDN",
		Long:          "Freshet is a CDN that you run yourself: one binary whose roles form a whole CDN.\n\n" + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		cmd.SuggestionsMinimumDistance = 2
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = ", did you mean " + near[0] + "?"
		}
		return fail(exitUsage, "there is no command %q%s; see 'freshet --help'", args[0], hint)
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(exitUsage, "%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run a CDN:"}, &cobra.Group{ID: "operate", Title: "Operate it:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newDevCommand(), newEdgeCommand(), newRoleCommand(cluster.Mid), newRoleCommand(cluster.Origin),
		newRoleCommand(cluster.Router), newRoleCommand(cluster.Distributor), newCheckCommand())
	add("operate", newSiteCommand(), newSecretCommand(), newPushCommand(), newPurgeCommand(), newInvalidateCommand(), newBanCommand(), newRefreshCommand(), newPrefetchCommand(), newTrailCommand(), newNodesCommand(), newStatusCommand(), newExplainCommand(), newCacheCommand(), newCACommand())
	return root
}

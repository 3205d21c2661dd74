package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// roleAbout says what each role is, for --help.
var roleAbout = map[cluster.Role]string{
	cluster.Edge:        "Run an edge: the cache that clients talk to",
	cluster.Mid:         "Run a mid: the cache between the edges and the origin",
	cluster.Origin:      "Run an origin: the authority that content is pushed to",
	cluster.Router:      "Run a router: the name server that sends clients to edges",
	cluster.Distributor: "Run a distributor: sites, purges and the management API",
}

// newRoleCommand is the command that runs one role from its node file.
func newRoleCommand(role cluster.Role) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   string(role) + " -c FILE",
		Short: roleAbout[role],
		Long: roleAbout[role] + `, as its node file says.

'freshet check --schema node' prints what a node file may say, and 'freshet check
FILE' finds the mistakes in one. Any value in it can come from the environment as
${NAME}, and secrets from files. SIGTERM drains: the node is withdrawn, requests
under way are finished, and the process ends with exit code 0; a second one ends it
at once. SIGHUP, other than in a terminal, starts the binary anew with the same
arguments and listening sockets, and drains once that has read its node file: so a
new binary or node file comes into use, and one that is wrong changes nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return fail(exitUsage, "say with -c which node file to run; see '%s --help'", cmd.CommandPath())
			}
			f, err := readNodeFile(file)
			if err != nil {
				return err
			}
			if f.Role != role {
				return fail(exitInvalid, "%s: its role is %s: run 'freshet %s -c %s'", file, f.Role, f.Role, file)
			}
			return runReplaceable(cmd.Context(), f)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the node file")
	return cmd
}

// newEdgeCommand is the edge's command, which can do without a node file.
func newEdgeCommand() *cobra.Command {
	cmd := newRoleCommand(cluster.Edge)
	cmd.Use = "edge -c FILE | --listen ADDR --upstream URL"
	cmd.Example = `  freshet edge -c edge.yaml
  freshet edge --listen :8080 --upstream http://127.0.0.1:3000   # a caching reverse proxy, no cluster
  freshet edge --listen :80 --https :443 --cert site.crt --key site.key --upstream http://127.0.0.1:3000
  freshet edge --upstream http://127.0.0.1:3000 --disk /var/cache/freshet --disk-size 200GiB   # that stays warm over a restart`
	alone := node.New(cluster.Edge, "edge")
	var listen []string
	var memory string
	var disks, sizes, purgeFrom []string
	f := cmd.Flags()
	f.StringVar(&alone.Cache.Upstream, "upstream", "", "`URL` to cache for every host, without a cluster: http(s)://host[:port]")
	f.StringVar(&alone.Cache.Site, "site", "", "with --upstream: `FILE` with a site document that says how to cache")
	f.StringSliceVar(&listen, "listen", []string{":8080"}, "with --upstream: addresses to listen on")
	f.StringVar(&memory, "memory", "256MiB", "with --upstream: RAM for stored responses")
	f.StringArrayVar(&disks, "disk", nil, "with --upstream: `DIR` for stored responses, which survive a restart there; once for each disk")
	f.StringArrayVar(&sizes, "disk-size", nil, "with --upstream: `SIZE` that the files in DIR take at most; once for all, or once after each --disk (default "+defaultDiskSize+")")
	f.StringSliceVar(&purgeFrom, "purge-from", nil, "with --upstream: `addresses` from which the method PURGE is taken, such as 10.0.0.0/8; '' for none (default the machine's own)")
	f.StringVar(&alone.Name, "name", "edge", "with --upstream: name in Via and Cache-Status")
	f.StringVar(&alone.Admin, "admin", alone.Admin, "with --upstream: `address` of health, metrics and profiles")
	f.StringVar(&alone.Log.Level, "log-level", "info", "with --upstream: debug, info, warn or error")
	f.StringVar(&alone.Log.Format, "log-format", "text", "with --upstream: text or json")
	f.StringVar(&alone.Log.Access, "access-log", "", "with --upstream: `FILE` to which each request adds a line of JSON, or - for standard output")
	var https httpsFlags
	https.add(cmd)
	fromFile := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if alone.Cache.Upstream == "" {
			for _, name := range append([]string{"site", "listen", "memory", "disk", "disk-size", "purge-from", "name", "admin", "log-level", "log-format", "access-log"}, httpsFlagNames...) {
				if cmd.Flags().Changed(name) {
					return fail(exitUsage, "--%s goes with --upstream; with -c the node file says it", name)
				}
			}
			return fromFile(cmd, args)
		}
		if cmd.Flags().Changed("config") {
			return fail(exitUsage, "-c and --upstream exclude each other: a node file has cache.upstream")
		}
		if err := alone.Cache.Memory.UnmarshalText([]byte(memory)); err != nil {
			return fail(exitUsage, "--memory %s: %w", memory, err)
		}
		var err error
		if alone.Cache.Disk, err = disksOf(disks, sizes); err != nil {
			return err
		}
		alone.Listen = listen
		if cmd.Flags().Changed("purge-from") {
			alone.Cache.Purge = append(node.Addresses{}, purgeFrom...)
		}
		if err := https.apply(alone); err != nil {
			return err
		}
		checked, err := reread(alone)
		if err != nil {
			return err
		}
		return runReplaceable(cmd.Context(), checked)
	}
	return cmd
}

// defaultDiskSize is what --disk takes without --disk-size: enough to be of use, and
// little enough not to surprise.
const defaultDiskSize = "10GiB"

// disksOf pairs the directories of --disk with the sizes of --disk-size.
func disksOf(dirs, sizes []string) ([]node.Disk, error) {
	switch {
	case len(sizes) > 0 && len(dirs) == 0:
		return nil, fail(exitUsage, "--disk-size %s goes with --disk DIR", sizes[0])
	case len(sizes) > 1 && len(sizes) != len(dirs):
		return nil, fail(exitUsage, "--disk-size is given %d times for %d --disk: give it once for all, or once for each", len(sizes), len(dirs))
	case len(sizes) == 0:
		sizes = []string{defaultDiskSize}
	}
	var disks []node.Disk
	for i, dir := range dirs {
		if dir == "" {
			return nil, fail(exitUsage, "--disk needs a directory")
		}
		text := sizes[min(i, len(sizes)-1)]
		size, err := document.ParseSize(text)
		if err != nil {
			return nil, fail(exitUsage, "--disk-size %s: %w", text, err)
		}
		disks = append(disks, node.Disk{Dir: dir, Size: size})
	}
	return disks, nil
}

// reread writes a node file that flags have made and reads it back, so that it is
// checked as any other. A mistake is one of the command line.
func reread(f *node.File) (*node.File, error) {
	text, err := f.Text()
	if err != nil {
		return nil, err
	}
	read, err := node.Read("", text, os.LookupEnv)
	var mistakes document.Errors
	if errors.As(err, &mistakes) {
		return nil, fail(exitUsage, "%s: %s", mistakes[0].Path, mistakes[0].Message)
	}
	return read, err
}

// readNodeFile reads a node file and gives its errors their exit codes.
func readNodeFile(path string) (*node.File, error) {
	f, err := node.ReadFile(path)
	var mistakes document.Errors
	switch {
	case err == nil:
		return f, nil
	case errors.As(err, &mistakes):
		return nil, fail(exitInvalid, "%s is not valid:\n%w", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(exitNotFound, "%w; name an existing file with -c", err)
	}
	return nil, fail(exitError, "%w", err)
}

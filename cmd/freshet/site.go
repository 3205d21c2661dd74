package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

// maxSiteFile bounds what is read of a site document's file.
const maxSiteFile = 1 << 20

// newSiteCommand is freshet site with its verbs.
func newSiteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "site",
		Short: "Site documents: what the CDN serves",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fail(exitUsage, "there is no '%s %s'; see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSiteApplyCommand(), newSiteListCommand(), newSiteShowCommand(), newSiteHistoryCommand(), newSiteDeleteCommand(), newSiteRestoreCommand())
	return cmd
}

func newSiteApplyCommand() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "apply FILE...",
		Short: "Validate and store site documents ('-' is standard input)",
		Long: `Apply validates each document and stores it as the newest version of its site. Of
a document that is not valid every mistake is printed, with its line; nothing of it
is stored, and the exit code is 5.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fail(exitUsage, "name the files to apply; see '%s --help'", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error { return applySites(cmd, files, message) },
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "why, for the history")
	addAPIFlags(cmd)
	return cmd
}

// applySites applies one file after the other and goes on after one that is not
// valid, so that all mistakes are seen at once.
func applySites(cmd *cobra.Command, files []string, message string) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	stored := []client.Site{}
	for _, file := range files {
		var s client.Site
		text, err := readSiteFile(cmd, file)
		if err == nil {
			s, err = c.Apply(cmd.Context(), client.ApplyRequest{File: file, Text: text, Message: message, Expect: client.AnyVersion})
			err = apiFailure(c, err)
		}
		if err == nil {
			stored = append(stored, s)
			if !wantsJSON(cmd) {
				fmt.Fprintf(cmd.OutOrStdout(), "site %s is at version %d now\n", s.Name, s.Version)
			}
			continue
		}
		var coded *codedError
		if !errors.As(err, &coded) || coded.code != exitInvalid {
			return fmt.Errorf("apply %s: %w", file, err)
		}
		printMistakes(cmd.ErrOrStderr(), file, err)
	}
	if wantsJSON(cmd) {
		if err := printJSON(cmd, stored); err != nil {
			return err
		}
	}
	if wrong := len(files) - len(stored); wrong > 0 {
		return fail(exitInvalid, "%d of %d documents are not valid and were not stored", wrong, len(files))
	}
	return nil
}

// readInput reads a file, or standard input for "-": of one that is longer than most bytes,
// one byte more.
func readInput(cmd *cobra.Command, file string, most int64) ([]byte, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fail(exitNotFound, "%w", err)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return text, nil
}

// readSiteFile reads a site document.
func readSiteFile(cmd *cobra.Command, file string) ([]byte, error) {
	text, err := readInput(cmd, file, maxSiteFile)
	if err != nil {
		return nil, err
	}
	switch {
	case len(text) == 0:
		return nil, fail(exitInvalid, "the document is empty")
	case len(text) > maxSiteFile:
		return nil, fail(exitInvalid, "longer than %d bytes: it is no site document", maxSiteFile)
	}
	return text, nil
}

// printMistakes prints what the API found wrong in a document, one mistake a line.
func printMistakes(w io.Writer, file string, err error) {
	var answer *client.Error
	if !errors.As(err, &answer) || len(answer.Errors) == 0 {
		fmt.Fprintf(w, "%s: %s\n", file, plain(err.Error()))
		return
	}
	for _, d := range answer.Errors {
		if d.Location == "" {
			d.Location = file
		}
		fmt.Fprintln(w, plain(d.String()))
	}
}

func newSiteListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all sites",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAPI(cmd, func(c *client.Client) (any, [][]string, error) {
				list, err := c.Sites(cmd.Context())
				rows := [][]string{{"SITE", "VERSION", "HOSTS", "ORIGIN", "BY", "AT"}}
				for _, s := range list {
					rows = append(rows, []string{s.Name, strconv.Itoa(s.Version), strings.Join(s.Hosts, ","), s.Origin, s.Author, when(s.At)})
				}
				return list, rows, err
			})
		},
	}
	addAPIFlags(cmd)
	return cmd
}

func newSiteShowCommand() *cobra.Command {
	var version int
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Print a site document as it was written",
		Args:  exactArg("site"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if version < 0 {
				return fail(exitUsage, "--version is %d: versions count from 1", version)
			}
			c, err := apiClient(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Site(cmd.Context(), args[0], version)
			if err != nil {
				return apiFailure(c, err)
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, s)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), s.Text)
			return err
		},
	}
	cmd.Flags().IntVar(&version, "version", 0, "an older version (default the newest)")
	addAPIFlags(cmd)
	return cmd
}

func newSiteHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "List the versions of a site, newest first",
		Args:  exactArg("site"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(c *client.Client) (any, [][]string, error) {
				list, err := c.SiteHistory(cmd.Context(), args[0])
				rows := [][]string{{"VERSION", "AT", "BY", "MESSAGE"}}
				for _, s := range list {
					rows = append(rows, []string{strconv.Itoa(s.Version), when(s.At), s.Author, s.Message})
				}
				return list, rows, err
			})
		},
	}
	addAPIFlags(cmd)
	return cmd
}

func newSiteDeleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Take a site out of service; its history stays",
		Args:  exactArg("site"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return fail(exitUsage, "clients of site %s will be refused; add --yes if you mean it", args[0])
			}
			c, err := apiClient(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.DeleteSite(cmd.Context(), args[0], client.AnyVersion); err != nil {
				return apiFailure(c, err)
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, map[string]string{"deleted": args[0]})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "site %s is deleted\n", args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "delete it indeed")
	addAPIFlags(cmd)
	return cmd
}

// when prints a time for people.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func newSiteRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put back the sites that the cluster's store has lost",
		Long: `Restore puts back the site documents, and the secrets that they name, that the
cluster's store has lost and the leading distributor still knows, each at the version
that it had; their histories are gone. What was put there meanwhile is left alone. The
nodes serve lost sites in any case: 'freshet status' says so. A lost site that is not
wanted any more is taken out of service by 'freshet site delete'.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := apiClient(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			restored, err := c.RestoreSites(cmd.Context())
			if err != nil {
				return apiFailure(c, err)
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, restored)
			}
			for _, name := range restored.Sites {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s is restored\n", name); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d sites and %d secrets restored\n", len(restored.Sites), len(restored.Secrets))
			return err
		},
	}
	addAPIFlags(cmd)
	return cmd
}

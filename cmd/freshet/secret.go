package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

// newSecretCommand is freshet secret with its verbs.
func newSecretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Secrets that site documents name: keys of S3, client certificates",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fail(exitUsage, "there is no '%s %s'; see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSecretSetCommand(), newSecretListCommand(), newSecretRemoveCommand())
	return cmd
}

func newSecretSetCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Store a secret, read from standard input or a file",
		Long: `Set stores a secret in the cluster, encrypted under the cluster's own, in place of
what was there. Edges that need it learn it within a moment. Its value is read from
standard input, or from --file, and is never shown again: not by this program, not by
the API. A newline at the end of a single line is not part of it.`,
		Args: exactArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := readSecret(cmd, file)
			if err != nil {
				return err
			}
			return changeSecret(cmd, "stored", args[0], func(c *client.Client) error { return c.SetSecret(cmd.Context(), args[0], value) })
		},
	}
	cmd.Flags().StringVar(&file, "file", "-", "file that holds the value ('-' is standard input)")
	addAPIFlags(cmd)
	return cmd
}

// readSecret reads a value.
func readSecret(cmd *cobra.Command, file string) ([]byte, error) {
	value, err := readInput(cmd, file, client.MaxSecret)
	if err != nil {
		return nil, err
	}
	if line, ok := bytes.CutSuffix(value, []byte("\n")); ok && !bytes.Contains(line, []byte("\n")) {
		value = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch {
	case len(value) == 0:
		return nil, fail(exitInvalid, "the secret is empty")
	case len(value) > client.MaxSecret:
		return nil, fail(exitInvalid, "the secret is longer than %d bytes", client.MaxSecret)
	}
	return value, nil
}

// changeSecret makes one change and says so.
func changeSecret(cmd *cobra.Command, done, name string, change func(*client.Client) error) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := change(c); err != nil {
		return apiFailure(c, err)
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, map[string]string{done: name})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "secret %s is %s\n", name, done)
	return err
}

func newSecretListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the names of all secrets",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAPI(cmd, func(c *client.Client) (any, [][]string, error) {
				list, err := c.Secrets(cmd.Context())
				rows := [][]string{{"SECRET", "PROBLEM"}}
				for _, s := range list {
					rows = append(rows, []string{s.Name, s.Problem})
				}
				return list, rows, err
			})
		},
	}
	addAPIFlags(cmd)
	return cmd
}

func newSecretRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a secret; origins of sites that name it are no longer asked",
		Args:  exactArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeSecret(cmd, "removed", args[0], func(c *client.Client) error { return c.DeleteSecret(cmd.Context(), args[0]) })
		},
	}
	addAPIFlags(cmd)
	return cmd
}

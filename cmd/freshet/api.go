package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"freshet/distributor/client"
)

const defaultAPI = "http://127.0.0.1:7070"

// addAPIFlags gives a verb the flags of those that speak to the management API.
func addAPIFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("api", "", "URL of the management API (default $FRESHET_API, else "+defaultAPI+")")
	f.String("token-file", "", "file with the bearer token (default $FRESHET_TOKEN_FILE, else the token is $FRESHET_TOKEN)")
	f.Bool("json", false, "print JSON, like -o json")
	f.StringP("output", "o", "table", "how to print: table or json")
}

// apiClient makes the client that the flags of addAPIFlags and the environment
// describe.
func apiClient(cmd *cobra.Command) (*client.Client, error) {
	f := cmd.Flags()
	if output, _ := f.GetString("output"); output != "table" && output != "json" {
		return nil, fail(exitUsage, "-o is %q: it should be table or json", output)
	}
	api, _ := f.GetString("api")
	if api == "" {
		api = os.Getenv("FRESHET_API")
	}
	if api == "" {
		api = defaultAPI
	}
	u, err := url.Parse(api)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fail(exitUsage, "--api (or FRESHET_API) is %q: it should be a URL such as %s", api, defaultAPI)
	}
	token, err := apiToken(cmd)
	if err != nil {
		return nil, err
	}
	c := client.New(api, token)
	c.By = whoami()
	return c, nil
}

// apiToken is the bearer token, "" when none was given.
func apiToken(cmd *cobra.Command) (string, error) {
	file, _ := cmd.Flags().GetString("token-file")
	if file == "" {
		file = os.Getenv("FRESHET_TOKEN_FILE")
	}
	if file == "" {
		return os.Getenv("FRESHET_TOKEN"), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fail(exitUsage, "read the token: %w; set --token-file, FRESHET_TOKEN_FILE or FRESHET_TOKEN", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// whoami names the caller for the audit trail, as far as the machine knows.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// apiFailure says what an error of c means to the caller, and gives it the exit
// code that belongs to it. It is nil for nil.
func apiFailure(c *client.Client, err error) error {
	var answer *client.Error
	var conn *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return answerFailure(answer)
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return fail(exitTimeout, "%s did not answer in time; is it the management API (--api or FRESHET_API)?", c.URL())
	case errors.As(err, &conn):
		return fail(exitError, "cannot reach the management API at %s: %w; is a distributor running there? Set another address with --api or FRESHET_API", c.URL(), conn.Err)
	}
	return err
}

// answerFailure maps what the API answered.
func answerFailure(e *client.Error) error {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(exitDenied, "not authorised: %w; set --token-file, FRESHET_TOKEN_FILE or FRESHET_TOKEN", e)
	case http.StatusNotFound:
		return fail(exitNotFound, "%s", plain(oneLine(e)))
	case http.StatusUnprocessableEntity, http.StatusConflict:
		return fail(exitInvalid, "%w", e)
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return fail(exitTimeout, "%w", e)
	}
	return fail(exitError, "%w", e)
}

// oneLine is an answer without the places in the request that it speaks of, which
// the caller has not written.
func oneLine(e *client.Error) string {
	parts := []string{e.Detail}
	if e.Detail == "" {
		parts[0] = fmt.Sprintf("%d %s", e.Status, e.Title)
	}
	for _, d := range e.Errors {
		parts = append(parts, d.Message)
	}
	return strings.Join(parts, ": ")
}

// withAPI asks the API once and prints the answer: as it is with --json, else as a
// table.
func withAPI(cmd *cobra.Command, ask func(*client.Client) (any, [][]string, error)) error {
	c, err := apiClient(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	v, rows, err := ask(c)
	if err != nil {
		return apiFailure(c, err)
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, v)
	}
	return printTable(cmd, rows)
}

// wantsJSON reports whether --json or -o json is set.
func wantsJSON(cmd *cobra.Command) bool {
	v, _ := cmd.Flags().GetBool("json")
	output, _ := cmd.Flags().GetString("output")
	return v || output == "json"
}

// printJSON prints v for machines.
func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printTable prints rows for people, the first of them as headings. Control
// characters are replaced: what nodes and documents say must not steer a terminal.
func printTable(cmd *cobra.Command, rows [][]string) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = plain(cell); cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// plain replaces what is not printable.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fail(exitUsage, "%s takes no arguments; see '%s --help'", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// exactArg asks for one argument, which what names.
func exactArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(exitUsage, "%s takes one %s, not %d; see '%s --help'", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

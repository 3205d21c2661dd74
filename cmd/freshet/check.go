package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/site"
)

// The kinds of documents that check knows.
const (
	kindNode = "node"
	kindSite = "site"
)

// kindNames are the kinds in words.
var kindNames = map[string]string{kindNode: "node file", kindSite: "site document"}

func newCheckCommand() *cobra.Command {
	var kind, schema string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Validate node files and site documents: every mistake, with its line",
		Long: `Validate node files and site documents: every mistake, with its line.

A file with the key 'role' is read as a node file, one with the key 'site' as a site
document. Mistakes go to standard error, one a line; the exit code is then 5. Node
files are checked with the variables and secrets of this environment.

With --schema, print the JSON Schema of a kind instead, for editors.`,
		Example: "  freshet check edge.yaml shop.yaml\n  freshet check --schema site > site.schema.json",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case schema != "" && len(args) > 0:
				return fail(exitUsage, "--schema prints a schema and takes no FILE")
			case schema == "" && len(args) == 0:
				return fail(exitUsage, "name a FILE to check, or --schema site|node; see 'freshet check --help'")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if schema != "" {
				return printSchema(cmd.OutOrStdout(), schema)
			}
			if kind != "" && kindNames[kind] == "" {
				return fail(exitUsage, "--kind %s is unknown: node or site", kind)
			}
			results := make([]checkResult, len(args))
			for i, file := range args {
				results[i] = checkFile(file, kind)
			}
			if err := printResults(cmd.OutOrStdout(), cmd.ErrOrStderr(), results, asJSON); err != nil {
				return err
			}
			return checkOutcome(results)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "what the files are: node or site (default: told by their keys)")
	cmd.Flags().StringVar(&schema, "schema", "", "print the JSON Schema of a kind: node or site")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the results as JSON")
	for _, flag := range []string{"kind", "schema"} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions([]string{kindNode, kindSite}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag is defined right above
		}
	}
	return cmd
}

// checkResult is what was found about one file.
type checkResult struct {
	File     string          `json:"file"`
	Kind     string          `json:"kind,omitempty"` // "" where it could not be told
	Valid    bool            `json:"valid"`
	Mistakes document.Errors `json:"mistakes,omitempty"`
	Error    string          `json:"error,omitempty"` // why the file could not be read
	err      error
}

func checkFile(file, kind string) checkResult {
	r := checkResult{File: file, Kind: kind}
	text, err := document.ReadFile(file)
	if err == nil && kind == "" {
		r.Kind, err = detectKind(file, text)
	}
	if err == nil {
		switch r.Kind {
		case kindNode:
			_, err = node.Read(file, text, os.LookupEnv)
		case kindSite:
			_, err = site.Parse(file, text)
		}
	}
	r.Valid = err == nil
	if err != nil && !errors.As(err, &r.Mistakes) {
		r.err, r.Error = err, err.Error()
	}
	return r
}

// detectKind tells what a document is by its keys. The error is document.Errors.
func detectKind(file string, text []byte) (string, error) {
	keys, err := document.TopLevel(file, text)
	if err != nil {
		return "", err
	}
	isNode, isSite := slices.Contains(keys, "role"), slices.Contains(keys, "site")
	message := ""
	switch {
	case isNode && !isSite:
		return kindNode, nil
	case isSite && !isNode:
		return kindSite, nil
	case isNode:
		message = "this has the key 'role' of a node file and the key 'site' of a site document"
	default:
		message = "this has neither the key 'role' of a node file nor the key 'site' of a site document"
	}
	return "", document.Errors{{File: file, Message: message, Hint: "say which it is with --kind"}}
}

func printResults(out, errOut io.Writer, results []checkResult, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	for _, r := range results {
		var err error
		switch {
		case r.Valid:
			_, err = fmt.Fprintf(out, "%s: valid %s\n", r.File, kindNames[r.Kind])
		case r.err == nil:
			_, err = fmt.Fprintln(errOut, r.Mistakes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkOutcome is the command's error: nil if every file is valid.
func checkOutcome(results []checkResult) error {
	invalid, mistakes := 0, 0
	var unread []error
	for _, r := range results {
		if r.err != nil {
			unread = append(unread, r.err)
		} else if !r.Valid {
			invalid++
			mistakes += len(r.Mistakes)
		}
	}
	code := exitOK
	if len(unread) > 0 {
		code = exitError
		if errors.Is(unread[0], fs.ErrNotExist) {
			code = exitNotFound
		}
	}
	switch {
	case invalid > 0:
		err := fmt.Errorf("%s in %s", count(mistakes, "mistake"), count(invalid, "invalid file"))
		return &codedError{exitInvalid, errors.Join(append(unread, err)...)}
	case len(unread) > 0:
		return &codedError{code, errors.Join(unread...)}
	}
	return nil
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func printSchema(out io.Writer, kind string) error {
	var text []byte
	var err error
	switch kind {
	case kindNode:
		text, err = node.Schema()
	case kindSite:
		text, err = site.Schema()
	default:
		return fail(exitUsage, "--schema %s is unknown: node or site", kind)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/internal/authority"
)

// day is what lives of certificates are said in.
const day = 24 * time.Hour

// newCACommand is freshet ca and what stands under it.
func newCACommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make the cluster's own CA, and the certificates by which its nodes know each other",
		Long: `Make the cluster's own CA, and the certificates by which its nodes know each other.

The CA's directory holds its key: keep it where no node runs. A node gets its own
certificate and key, and the CA's certificate, which its node file names under
identity. Nodes read them again when they change, so a certificate is renewed by
'freshet ca issue --renew' and a copy to the node.`,
		Example: `  freshet ca init ./ca --name production
  freshet ca issue --ca ./ca --role edge --name edge-1 --out ./edge-1
  freshet ca show ./edge-1/edge-1.crt`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []*cobra.Command{newCAInitCommand(), newCAIssueCommand(), newCAShowCommand()} {
		c.Flags().Bool("json", false, "print the certificates as JSON")
		cmd.AddCommand(c)
	}
	return cmd
}

func newCAInitCommand() *cobra.Command {
	name := "freshet"
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a CA in DIR; one that is there is never overwritten",
		Args:  oneArg("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cert, err := authority.Create(args[0], name, time.Now())
			if err != nil {
				return caError(err, "choose another directory, or go on with what is there")
			}
			return printCertificates(cmd, []*x509.Certificate{cert})
		},
	}
	cmd.Flags().StringVar(&name, "name", name, "the `CLUSTER`'s name, as the certificate has it")
	return cmd
}

func newCAIssueCommand() *cobra.Command {
	var ca, out string
	var order authority.Order
	var days int
	var renew bool
	cmd := &cobra.Command{
		Use:   "issue --ca DIR --role ROLE --name NAME --out DIR",
		Short: "Issue a node's certificate, with a key of its own",
		Long: `Issue a node's certificate, with a key of its own: NAME.crt and NAME.key, and the CA's
ca.crt, are written to the directory of --out. The certificate stands for
freshet:ROLE/NAME, which must be the role and name of the node file that uses it, and
serves it towards nodes that it asks as well as those that it serves.`,
		Example: `  freshet ca issue --ca ./ca --role mid --name mid-1 --out ./mid-1
  freshet ca issue --ca ./ca --role mid --name mid-1 --out ./mid-1 --renew`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, flag := range []string{"ca", "role", "name", "out"} {
				if cmd.Flags().Lookup(flag).Value.String() == "" {
					return fail(exitUsage, "--%s is missing; see '%s --help'", flag, cmd.CommandPath())
				}
			}
			if _, err := authority.ParseURI(order.Name.URI()); err != nil {
				return fail(exitUsage, "--role %s --name %s: a role is one of %s, a name lower-case letters, digits and dashes", order.Name.Role, order.Name.Node, strings.Join(authority.Roles, ", "))
			}
			if days < 1 || days > 3650 {
				return fail(exitUsage, "--days %d: from 1 to 3650", days)
			}
			order.Life = time.Duration(days) * day
			files, cert, err := authority.Issue(ca, out, order, renew, time.Now())
			if err != nil {
				return caError(err, "--renew replaces it, with its key")
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, issuedCertificate{shown(cert), map[string]string{"ca": files.CA, "cert": files.Cert, "key": files.Key}})
			}
			if err := printCertificates(cmd, []*x509.Certificate{cert}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nidentity: {ca: %s, cert: %s, key: %s}\n", files.CA, files.Cert, files.Key)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&ca, "ca", "", "the CA's `DIR`")
	f.StringVar(&order.Name.Role, "role", "", "the node's `ROLE`: "+strings.Join(authority.Roles, ", "))
	f.StringVar(&order.Name.Node, "name", "", "the node's `NAME`")
	f.StringArrayVar(&order.Hosts, "host", nil, "a DNS name or IP address of the node, for clients other than nodes; can be given again")
	f.StringVar(&out, "out", "", "the `DIR` to write to")
	f.IntVar(&days, "days", int(authority.LeafLife/day), "how long it is valid, in days")
	f.BoolVar(&renew, "renew", false, "replace the certificate and key that are there")
	if err := cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(authority.Roles, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is defined right above
	}
	return cmd
}

func newCAShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE|DIR",
		Short: "Say whom the certificates in FILE, or of the CA in DIR, stand for, until when, and their fingerprints",
		Args:  oneArg("FILE or DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			certs, err := authority.Read(args[0])
			if err != nil {
				return caError(err, "")
			}
			return printCertificates(cmd, certs)
		},
	}
}

// oneArg accepts one argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(exitUsage, "name one %s; see '%s --help'", what, cmd.CommandPath())
		}
		return nil
	}
}

// caError gives an error its exit code; hint is for what is there already.
func caError(err error, hint string) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return fail(exitError, "%w; %s", err, hint)
	case errors.Is(err, fs.ErrNotExist):
		return fail(exitNotFound, "%w", err)
	}
	return fail(exitError, "%w", err)
}

// shownCertificate is a certificate as --json prints it.
type shownCertificate struct {
	For    string    `json:"for"`
	Issuer string    `json:"issuer"`
	Until  time.Time `json:"until"`
	SHA256 string    `json:"sha256"`
}

// issuedCertificate is one that was just issued.
type issuedCertificate struct {
	shownCertificate
	Identity map[string]string `json:"identity"` // as a node file has it
}

func shown(c *x509.Certificate) shownCertificate {
	s := shownCertificate{For: c.Subject.CommonName, Issuer: c.Issuer.CommonName, Until: c.NotAfter.UTC(), SHA256: authority.Fingerprint(c)}
	if name, err := authority.NameOf(c); err == nil {
		s.For = name.String()
	}
	return s
}

func printCertificates(cmd *cobra.Command, certs []*x509.Certificate) error {
	list := make([]shownCertificate, len(certs))
	rows := [][]string{{"FOR", "ISSUER", "UNTIL", "SHA-256"}}
	for i, c := range certs {
		s := shown(c)
		list[i] = s
		rows = append(rows, []string{s.For, s.Issuer, s.Until.Format(time.DateOnly), s.SHA256})
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, list)
	}
	return printTable(cmd, rows)
}

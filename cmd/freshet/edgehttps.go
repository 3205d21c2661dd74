package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"freshet/internal/node"
)

// httpsFlags are those of an edge without a cluster that say how it speaks HTTPS.
type httpsFlags struct {
	listen      []string
	certs, keys []string
	selfSigned  bool
}

// httpsFlagNames are their names.
var httpsFlagNames = []string{"https", "cert", "key", "self-signed"}

func (h *httpsFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&h.listen, "https", nil, "with --upstream: `addresses` for HTTPS (HTTP/2 and HTTP/1.1, and HTTP/3 over UDP)")
	f.StringArrayVar(&h.certs, "cert", nil, "with --https: PEM `FILE` with a certificate and its chain; once for each")
	f.StringArrayVar(&h.keys, "key", nil, "with --https: PEM `FILE` with the key of the --cert before it")
	f.BoolVar(&h.selfSigned, "self-signed", false, "with --https: sign certificates by a CA of this machine's own, for tests; its certificate is named at the start")
}

// apply writes what the flags say into a node file.
func (h *httpsFlags) apply(f *node.File) error {
	if len(h.listen) == 0 {
		switch {
		case len(h.certs) > 0:
			return fail(exitUsage, "--cert %s goes with --https ADDR", h.certs[0])
		case len(h.keys) > 0:
			return fail(exitUsage, "--key %s goes with --https ADDR", h.keys[0])
		case h.selfSigned:
			return fail(exitUsage, "--self-signed goes with --https ADDR")
		}
		return nil
	}
	if len(h.certs) != len(h.keys) {
		return fail(exitUsage, "--cert is given %d times and --key %d times: each certificate needs its key", len(h.certs), len(h.keys))
	}
	if len(h.certs) == 0 && !h.selfSigned {
		return fail(exitUsage, "--https needs a certificate: --cert FILE --key FILE, or for tests --self-signed")
	}
	f.HTTPS.Listen, f.HTTPS.SelfSigned = h.listen, h.selfSigned
	for i := range h.certs {
		f.HTTPS.Certificates = append(f.HTTPS.Certificates, node.Certificate{Cert: h.certs[i], Key: h.keys[i]})
	}
	if h.selfSigned {
		f.HTTPS.Dir = ownCADir(f.Name)
	}
	return nil
}

// ownCADir is where the CA of an edge with --self-signed is kept, so that whoever trusts
// it need not do so anew after a restart.
func ownCADir(name string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "freshet", name, "certs")
}

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/internal/authority"
	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
	"freshet/internal/run"
)

// devHost is the host of the demo site, in the zone that the demo router serves.
const (
	devZone = "freshet.test"
	devHost = "demo." + devZone
)

// newDevCommand is the command that runs the whole CDN in one process.
func newDevCommand() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the whole CDN in this process, with a demo site",
		Long: `Run the whole CDN in this process, with a demo site: a distributor with its bus, an
origin, a mid, two edges and a router, on loopback addresses.

It writes ordinary node files (under the data directory, in nodes/) and runs them
as 'freshet ROLE -c FILE' would. Without --data everything it keeps goes to a
temporary directory that is removed at the end; with it the caches lie on disk, too.`,
		Example: `  freshet dev
  freshet dev --listen-base 1000 --data ./state`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if runtime.GOOS != "linux" {
				return fail(exitError, "freshet dev needs Linux, where all of 127.0.0.0/8 is this machine")
			}
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.IntVar(&d.base, "listen-base", 0, "shift every port by `N`, so that several can run")
	f.StringVar(&d.data, "data", "", "`DIR` to keep the state in (default: a temporary one)")
	f.StringVar(&d.logLevel, "log-level", "warn", "debug, info, warn or error")
	return cmd
}

// dev is one run of freshet dev.
type dev struct {
	base     int
	data     string
	keep     bool // data is somebody's, not temporary
	logLevel string
	out      io.Writer

	token string
}

// The ports of DESIGN section 10, before they are shifted.
const (
	devOriginPort = 7080
	devMidPort    = 7081
	devEdgePort   = 8080
	devTLSPort    = 8443
	devDNSPort    = 5353
	devAPIPort    = 7070
	devBusPort    = 7071
	devTierPort   = 7443
	devAdminPort  = 9101
)

// devDisk is what the caches of a kept demo CDN take on disk, each.
const devDisk = 256 << 20

var devEdges = []string{"127.0.0.11", "127.0.0.12"}

func (d *dev) addr(ip string, port int) string {
	return net.JoinHostPort(ip, strconv.Itoa(port+d.base))
}

func (d *dev) api() string { return "http://" + d.addr("127.0.0.1", devAPIPort) }

func (d *dev) run(ctx context.Context) error {
	if top := devAdminPort + 10 + d.base; d.base < -devDNSPort+1024 || top > 65535 {
		return fail(exitUsage, "--listen-base %d moves ports out of 1024 to 65535: choose one from %d to %d",
			d.base, -devDNSPort+1024, 65535-devAdminPort-10)
	}
	d.keep = d.data != ""
	if !d.keep {
		dir, err := os.MkdirTemp("", "freshet-dev-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		d.data = dir
	}
	dir, err := filepath.Abs(d.data)
	if err != nil {
		return err
	}
	d.data = dir
	files, err := d.nodeFiles()
	if err != nil {
		return err
	}
	return run.Tasks(ctx, quiet,
		run.Task{Name: "nodes", Run: func(ctx context.Context) error { return runNodes(ctx, nil, files...) }},
		run.Task{Name: "demo site", Run: func(ctx context.Context) error {
			if err := d.provision(ctx); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}},
	)
}

// nodeFiles writes the node files and reads them back, as any process would.
func (d *dev) nodeFiles() ([]*node.File, error) {
	secrets := make(map[string]string)
	for _, name := range []string{"token", "cluster"} {
		path, err := d.secret(name)
		if err != nil {
			return nil, err
		}
		secrets[name] = path
	}
	token, err := os.ReadFile(secrets["token"])
	if err != nil {
		return nil, err
	}
	d.token = strings.TrimSpace(string(token))
	dir := filepath.Join(d.data, "nodes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var files []*node.File
	for i, f := range d.nodes() {
		if f.Identity, err = d.identity(f); err != nil {
			return nil, err
		}
		f.PoP, f.Region = "dev", "dev"
		f.Admin = d.addr("127.0.0.1", devAdminPort+i)
		f.Data = filepath.Join(d.data, f.Name)
		if d.keep && (f.Role == cluster.Edge || f.Role == cluster.Mid) {
			f.Cache.Disk = []node.Disk{{Dir: filepath.Join(f.Data, "cache"), Size: devDisk}}
		}
		f.Log.Level = d.logLevel
		f.Token = document.SecretFile(secrets["token"])
		f.Cluster.Secret = document.SecretFile(secrets["cluster"])
		if f.Role == cluster.Distributor {
			f.Bus.Listen = d.addr("127.0.0.1", devBusPort)
		} else {
			f.Bus.Address = "nats://" + d.addr("127.0.0.1", devBusPort)
		}
		text, err := f.Text()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, f.Name+".yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
		read, err := readNodeFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, read)
	}
	return files, nil
}

// nodes are the members of the demo CDN, less what they have in common.
func (d *dev) nodes() []*node.File {
	distributor := node.New(cluster.Distributor, "distributor-1")
	distributor.Listen = []string{d.addr("127.0.0.1", devAPIPort)}
	origin := node.New(cluster.Origin, "origin-1")
	origin.Listen = []string{d.addr("127.0.0.1", devOriginPort)}
	mid := node.New(cluster.Mid, "mid-1")
	mid.Listen = []string{d.addr("127.0.0.1", devMidPort)}
	origin.Tier, mid.Tier = []string{d.addr("127.0.0.1", devTierPort)}, []string{d.addr("127.0.0.1", devTierPort+1)}
	files := []*node.File{distributor, origin, mid}
	for i, ip := range devEdges {
		edge := node.New(cluster.Edge, fmt.Sprintf("edge-%d", i+1))
		edge.Listen = []string{d.addr(ip, devEdgePort)}
		edge.HTTPS.Listen, edge.HTTPS.SelfSigned = []string{d.addr(ip, devTLSPort)}, true
		edge.HTTPS.Dir = filepath.Join(d.data, "certs") // one CA for both
		files = append(files, edge)
	}
	router := node.New(cluster.Router, "router-1")
	router.Listen = []string{d.addr("127.0.0.1", devDNSPort)}
	router.Router.Zones = []node.Zone{{
		Name: devZone, Nameservers: []node.Nameserver{{Name: "ns1." + devZone, Addrs: []string{"127.0.0.1"}}},
	}}
	return append(files, router)
}

// secret returns the file of a secret, which is drawn when there is none yet.
func (d *dev) secret(name string) (string, error) {
	dir := filepath.Join(d.data, "secrets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(hex.EncodeToString(random[:])+"\n"), 0o600)
}

// devRenew is what a node's certificate has left when another is issued.
const devRenew = 60 * 24 * time.Hour

// identity is a node's certificate, by a CA of the demo CDN's own. What was issued before is
// kept as long as it is good.
func (d *dev) identity(f *node.File) (node.Identity, error) {
	ca, dir := filepath.Join(d.data, "ca"), filepath.Join(d.data, "identities")
	now := time.Now()
	if _, err := os.Stat(filepath.Join(ca, authority.CAKeyFile)); errors.Is(err, fs.ErrNotExist) {
		if _, err := authority.Create(ca, "dev", now); err != nil {
			return node.Identity{}, err
		}
	}
	name := authority.Name{Role: string(f.Role), Node: f.Name}
	files := authority.FilesOf(dir, name)
	if certs, err := authority.Read(files.Cert); err != nil || certs[0].NotAfter.Sub(now) < devRenew {
		if _, _, err := authority.Issue(ca, dir, authority.Order{Name: name, Life: authority.LeafLife}, true, now); err != nil {
			return node.Identity{}, err
		}
	}
	return node.Identity{CA: files.CA, Cert: files.Cert, Key: files.Key}, nil
}

// provisionTimeout is how long the CDN may take to come up.
const provisionTimeout = 60 * time.Second

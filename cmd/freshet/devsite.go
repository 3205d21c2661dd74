package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"freshet/cmd/freshet/demo"
	"freshet/distributor/client"
	"freshet/origin/publish"
)

// quiet is the logger of what has nothing to say: the nodes have their own.
var quiet = slog.New(slog.DiscardHandler)

// provision brings the demo site up through the CDN's own front doors, as an
// operator would, and says where everything is.
func (d *dev) provision(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	fmt.Fprintln(d.out, "Starting a distributor, an origin, a mid, two edges and a router …")
	api := client.New(d.api(), d.token)
	api.By = "freshet dev"
	defer api.Close()
	text := demo.Site(append([]string{devHost}, devEdges...)...)
	err := d.until(ctx, "the site document is stored", func() error {
		_, err := api.Apply(ctx, client.ApplyRequest{Text: text, Message: "the demo site", Expect: client.AnyVersion})
		return err
	})
	if err != nil {
		return err
	}
	if err := d.publish(ctx); err != nil {
		return err
	}
	err = d.until(ctx, "every node is ready", func() error {
		nodes, err := api.Nodes(ctx)
		if err != nil {
			return err
		}
		if want := len(d.nodes()); len(nodes) < want {
			return fmt.Errorf("%d of %d nodes are known", len(nodes), want)
		}
		for _, n := range nodes {
			if !n.Ready {
				return fmt.Errorf("%s is not ready: %s", n.Name, n.Reason)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.explain()
	return nil
}

// until tries a step until it succeeds or ctx ends.
func (d *dev) until(ctx context.Context, what string, try func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		case <-tick.C:
		}
	}
}

// publish writes the demo site to a directory and pushes that.
func (d *dev) publish(ctx context.Context) error {
	files, err := demo.Files(demo.Places{
		Host: devHost, Edge: d.addr(devEdges[0], devEdgePort), Router: "127.0.0.1", DNS: strconv.Itoa(devDNSPort + d.base),
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(d.data, "demo-site")
	var size int
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Body, 0o644); err != nil {
			return err
		}
		size += len(f.Body)
	}
	publisher, err := publish.New(publish.Config{Origin: "http://" + d.addr("127.0.0.1", devOriginPort), Token: d.token})
	if err != nil {
		return err
	}
	defer publisher.Close()
	err = d.until(ctx, "the demo site is pushed", func() error {
		src, err := publish.OpenTree(dir, "/", nil)
		if err != nil {
			return err
		}
		defer src.Close()
		_, err = publisher.Push(ctx, demo.Name, src, publish.Options{})
		return err
	})
	if err == nil {
		fmt.Fprintf(d.out, "Pushed the demo site: %d files, %.1f MB.\n", len(files), float64(size)/1e6)
	}
	return err
}

// explain says what runs where, and what to try.
func (d *dev) explain() {
	edge := d.addr(devEdges[0], devEdgePort)
	port := edge[strings.LastIndexByte(edge, ':'):]
	fmt.Fprintf(d.out, `
The CDN is up. Ctrl-C ends it.

  demo site     http://%[1]s/   (and http://%[2]s/)
  over HTTPS    https://%[12]s/   (HTTP/2, HTTP/3; its CA: %[13]s)
  DNS           dig @127.0.0.1 -p %[3]d %[4]s
  management    %[5]s/v1/status   (OpenAPI: %[5]s/openapi.json)
  push          http://%[6]s/v1/sites/%[7]s/objects/
  admin pages   http://%[8]s/ (distributor) and the next ports: origin, mid, edges, router
  node files    %[9]s

A miss, then a hit:

  curl -so /dev/null -D- http://%[1]s/style.css | grep -i -e cache-status -e '^age'
  curl -so /dev/null -D- http://%[1]s/style.css | grep -i -e cache-status -e '^age'

The same over TLS:

  curl -so /dev/null -D- --cacert %[13]s https://%[12]s/style.css

The operator's verbs:

  export FRESHET_API=%[5]s FRESHET_TOKEN=%[10]s
  freshet status
  freshet nodes
  freshet push FILE %[7]s:/hello.txt
  freshet purge http://%[4]s%[11]s/hello.txt

`, edge, d.addr(devEdges[1], devEdgePort), devDNSPort+d.base, devHost, d.api(), d.addr("127.0.0.1", devOriginPort),
		demo.Name, d.addr("127.0.0.1", devAdminPort), filepath.Join(d.data, "nodes"), d.token, port,
		d.addr(devEdges[0], devTLSPort), filepath.Join(d.data, "certs", "ca.crt"))
}

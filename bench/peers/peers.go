package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// peer is a server that is measured. command writes its configuration into its place and
// says how it is run in the foreground.
type peer struct {
	name    string
	about   string           // what it is, in the table
	program string           // that it needs; by path or by name
	pkg     string           // Debian's package with it
	units   []string         // of systemd that the package would start
	lacks   map[proto]string // protocols that it does not speak, and why it is left out there
	cache   bool             // false: it serves files
	logs    bool             // it writes an access log
	env     []string         // of its process
	version []string         // arguments with which it tells its version
	only    map[kind]bool    // the kinds that it is for; nil: hits and cold
	command func(place) ([]string, error)
}

// speaks says whether the peer takes part in a row, else why not; "" where nobody would
// expect it.
func (p *peer) speaks(r row) (ok bool, why string) {
	switch {
	case p.only != nil && !p.only[r.kind], p.only == nil && r.kind == logs:
		return false, ""
	case r.kind == cold && !p.cache:
		return false, ""
	}
	why, lacks := p.lacks[r.proto]
	return !lacks, why
}

const noHTTP3 = "HTTP/3 is compared with Caddy; Debian's release of this one has none"

func allPeers(freshet, caddy string) []*peer {
	return []*peer{
		{
			name: "freshet", about: "freshet edge, RAM", program: freshet, cache: true,
			version: []string{"version"},
			only:    map[kind]bool{hits: true, logs: true, cold: true},
			command: freshetCommand(freshet, false),
		},
		{
			name: "freshet-log", about: "freshet edge, RAM, JSON access log on", program: freshet, cache: true, logs: true,
			only:    map[kind]bool{logs: true},
			command: freshetCommand(freshet, true),
		},
		{
			name: "nginx", about: "nginx, proxy_cache", program: "nginx", pkg: "nginx", units: []string{"nginx"}, cache: true,
			version: []string{"-v"},
			lacks:   map[proto]string{h3: noHTTP3},
			command: func(p place) ([]string, error) {
				conf, err := p.write("nginx.conf", "nginx.conf")
				return []string{"nginx", "-p", p.Dir, "-c", conf, "-e", filepath.Join(p.Dir, "error.log")}, err
			},
		},
		{
			name: "varnish", about: "Varnish, malloc", program: "varnishd", pkg: "varnish",
			units: []string{"varnish", "varnishncsa"}, cache: true,
			version: []string{"-V"},
			lacks: map[proto]string{
				h1s: "Varnish has no TLS of its own (a TLS proxy in front, such as hitch, would be a second server)",
				h2:  "Varnish has no TLS of its own (a TLS proxy in front, such as hitch, would be a second server)",
				h3:  noHTTP3,
			},
			command: varnishCommand,
		},
		{
			name: "trafficserver", about: "Traffic Server, RAM cache", program: "traffic_server", pkg: "trafficserver",
			units: []string{"trafficserver"}, cache: true,
			version: []string{"-V"},
			lacks:   map[proto]string{h3: noHTTP3},
			command: trafficServerCommand,
		},
		{
			name: "h2o", about: "H2O, static file", program: "h2o", pkg: "h2o", units: []string{"h2o"},
			version: []string{"-v"},
			lacks:   map[proto]string{h3: noHTTP3},
			command: func(p place) ([]string, error) {
				conf, err := p.write("h2o.conf", "h2o.conf")
				return []string{"h2o", "-m", "worker", "-c", conf}, err
			},
		},
		{
			name: "caddy", about: "Caddy, static file", program: caddy,
			version: []string{"version"},
			env:     []string{"HOME=/nonexistent"}, // it would keep state there
			only:    map[kind]bool{hits: true},
			lacks: map[proto]string{
				h1: "", h1s: "", h2: "", // it is here for HTTP/3
			},
			command: func(p place) ([]string, error) {
				conf, err := p.write("Caddyfile", "Caddyfile")
				return []string{caddy, "run", "--config", conf, "--adapter", "caddyfile"}, err
			},
		},
	}
}

// freshetCommand is a lone edge with RAM only.
func freshetCommand(binary string, accessLog bool) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		p.Logs = accessLog
		file, err := p.write("node.yaml", "freshet.yaml")
		return []string{binary, "edge", "-c", file}, err
	}
}

// varnishCommand: storage in RAM; one pool, since there is one core, with a thread for
// each connection that the loader opens; and its own log, in shared memory, cut to
// nothing, as access logs are off everywhere.
func varnishCommand(p place) ([]string, error) {
	vcl, err := p.write("bench.vcl", "varnish.vcl")
	return []string{"varnishd", "-F", "-j", "none", "-n", filepath.Join(p.Dir, "run"), "-f", vcl,
		"-a", p.Plain, "-T", "none", "-s", "malloc,1g",
		"-p", "thread_pools=1", "-p", "thread_pool_min=300", "-p", "thread_pool_max=2000",
		"-p", "listen_depth=4096", "-p", "timeout_idle=300", "-p", "ping_interval=0",
		"-p", "vsl_mask=" + vslMask}, err
}

// vslMask leaves out what a request logs, as far as Varnish lets it.
var vslMask = func() string {
	var mask []string
	for _, tag := range strings.Fields(`Begin BereqAcct BereqHeader BereqMethod BereqProtocol BereqURL BerespHeader
		BerespProtocol BerespReason BerespStatus BackendOpen BackendReuse BackendClose End Error ExpBan ExpKill Fetch_Body
		FetchError Filters Hit HitMiss HitPass Length Link ReqAcct ReqHeader ReqMethod ReqProtocol ReqStart ReqUnset ReqURL
		RespHeader RespProtocol RespReason RespStatus RespUnset SessClose SessError SessOpen Storage TTL Timestamp VCL_acl
		VCL_call VCL_return VCL_use BereqUnset BerespUnset BogoHeader Gzip VCL_Log VCL_Error Proxy ProxyGarbage WorkThread`) {
		mask = append(mask, "-"+tag)
	}
	return strings.Join(mask, ",")
}()

// trafficServerCommand lays out a root of its own, so that nothing of /etc/trafficserver
// and /var is touched.
func trafficServerCommand(p place) ([]string, error) {
	for _, dir := range []string{"etc", "log", "run", "cache"} {
		if err := os.MkdirAll(filepath.Join(p.Dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	if _, err := p.write("etc/records.config", "records.config"); err != nil {
		return nil, err
	}
	in := func(dir string) string { return filepath.Join(p.Dir, dir) }
	root := []string{
		"prefix: " + p.Dir, "exec_prefix: /usr", "bindir: /usr/bin", "sbindir: /usr/bin", "includedir: /usr/include",
		"libdir: /usr/lib/trafficserver", "libexecdir: /usr/lib/trafficserver/modules",
		"sysconfdir: " + in("etc"), "datadir: " + in("cache"), "localstatedir: " + in("run"), "runtimedir: " + in("run"),
		"logdir: " + in("log"), "cachedir: " + in("cache"), "",
	}
	for name, text := range map[string]string{
		"runroot.yaml":             strings.Join(root, "\n"),
		"etc/remap.config":         fmt.Sprintf("map / http://%s/\n", p.Origin),
		"etc/storage.config":       in("cache") + " 1G\n",
		"etc/ssl_multicert.config": fmt.Sprintf("dest_ip=* ssl_cert_name=%s ssl_key_name=%s\n", filepath.Base(p.Cert), filepath.Base(p.Key)),
		"etc/plugin.config":        "",
		"etc/ip_allow.yaml":        "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n",
		"etc/logging.yaml":         "logging: {}\n",
		"etc/sni.yaml":             "",
		"etc/parent.config":        "",
		"etc/cache.config":         "",
		"etc/hosting.config":       "",
		"etc/volume.config":        "",
		"etc/splitdns.config":      "",
		"etc/socks.config":         "",
	} {
		if err := p.writeText(name, text); err != nil {
			return nil, err
		}
	}
	return []string{"traffic_server", "--run-root=" + in("runroot.yaml")}, nil
}

package node

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/document"
)

// lookup is an environment with secrets of every length that is needed.
func lookup(name string) (string, bool) {
	vars := map[string]string{
		"SHORT": "short", "TOKEN": "sixteen-chars-ok", "SECRET": "thirty-two-characters-are-enough",
		"NAME": "from-env", "MEMORY": "2GiB", "PASSWORD": "hunter2",
	}
	v, ok := vars[name]
	return v, ok
}

// Least files of each role.
const (
	leastEdge        = "role: edge\nname: e\nlisten: [127.0.0.1:80]\nbus: {address: 'nats://b:1'}\n"
	leastOrigin      = "role: origin\nname: o\nlisten: [127.0.0.1:80]\nbus: {address: 'nats://b:1'}\ndata: d\ntoken: {env: TOKEN}\n"
	leastRouter      = "role: router\nname: r\nlisten: [127.0.0.1:53]\nbus: {address: 'nats://b:1'}\n"
	leastDistributor = "role: distributor\nname: d\nlisten: [127.0.0.1:70]\ndata: d\ntoken: {env: TOKEN}\nbus: {password: {env: TOKEN}}\n"
	leastAlone       = "role: edge\nname: e\nlisten: [':80']\ncache: {upstream: 'http://o'}\n"
)

// leastLimits are the limits where nothing is said.
var leastLimits = Limits{
	HeaderBytes: 32 << 10, HeaderFields: 256, HeadTimeout: document.Duration(10 * time.Second), IdleTimeout: document.Duration(75 * time.Second),
	BodyTimeout: document.Duration(30 * time.Second), QuietTimeout: document.Duration(time.Hour), WriteTimeout: document.Duration(30 * time.Second), HandshakeTimeout: document.Duration(10 * time.Second),
	Streams: 128, Resets: 200, Controls: 1000,
}

func TestRead(t *testing.T) {
	t.Parallel()
	f, err := Read("/etc/f/node.yaml", []byte(leastEdge), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := &File{
		Role: cluster.Edge, Name: "e", PoP: "default", Region: "default", Listen: []string{"127.0.0.1:80"},
		Admin: "127.0.0.1:9101", Drain: document.Duration(10 * time.Second), Log: Log{Level: "info", Format: "text"},
		Cluster: Cluster{Kind: "local", Address: "127.0.0.1:8500", Prefix: "freshet"},
		Bus:     Bus{Address: "nats://b:1", Listen: "127.0.0.1:7071", Keep: document.Duration(30 * 24 * time.Hour), User: "freshet"},
		Cache:   Cache{Memory: 256 << 20, Scrub: 4 << 20},
		HTTPS:   HTTPS{MinVersion: "1.2"},
		Limits:  leastLimits,
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
	f, err = Read("/etc/f/node.yaml", []byte(leastEdge+"https: {listen: [':8443'], certificates: [{cert: c.pem, key: /k.pem}], dir: certs}\n"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if f.HTTPS.Certificates[0] != (Certificate{"/etc/f/c.pem", "/k.pem"}) || f.HTTPS.Dir != "/etc/f/certs" || f.HTTPS.Port() != 8443 {
		t.Errorf("https %+v, port %d", f.HTTPS, f.HTTPS.Port())
	}
	for role, text := range map[string]string{"origin": leastOrigin, "router": leastRouter, "distributor": leastDistributor, "alone": leastAlone} {
		f, err := Read("/etc/f/node.yaml", []byte(text), lookup)
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if f.Alone() != (role == "alone") {
			t.Errorf("%s: Alone is %v", role, f.Alone())
		}
		if (f.Router.Answers == 2) != (role == "router") || (f.Cache.Memory > 0) != (role == "alone") {
			t.Errorf("%s: sections of other roles are not empty: %+v, %+v", role, f.Router, f.Cache)
		}
	}
	f, err = Read("/etc/f/node.yaml", []byte(leastEdge+"data: d\ncache: {disk: [{dir: d/cache, size: 64MiB}, {dir: /x, size: 1GiB}], scrub: 0}\n"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Disk{{"/etc/f/d/cache", 64 << 20}, {"/x", 1 << 30}}; !reflect.DeepEqual(f.Cache.Disk, want) || f.Cache.Scrub != 0 {
		t.Errorf("cache %+v, want disks %v and no scrub", f.Cache, want)
	}
	f, err = Read("/etc/f/node.yaml", []byte(leastOrigin+"cluster: {tls: {ca: ca.pem, cert: /c.pem, key: sub/k.pem}}\npop: ${NAME}\n"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if f.Data != "/etc/f/d" || f.Cluster.TLS != (TLS{CA: "/etc/f/ca.pem", Cert: "/c.pem", Key: "/etc/f/sub/k.pem"}) || f.PoP != "from-env" || f.Token.Value() != "sixteen-chars-ok" {
		t.Errorf("got %+v", f)
	}
}

func TestReadMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		text string
		want []string // without "f:"
	}{
		{"nothing known", "nmae: x\n", []string{
			"1:1: nmae: there is no such field (did you mean \"name\"?)",
			"1:1: role: is missing: What this node does.",
			"1:1: name: is missing: Unique in the cluster: lower-case letters, digits and dashes, at most 63.",
			"1:1: listen: is missing: Addresses (host:port) of the service: HTTP for edge, mid and origin, DNS over UDP and TCP for a router, the management API for a distributor. An empty host means every address of the machine."}},
		{"role", "role: egde\nname: e\nlisten: [127.0.0.1:80]\n", []string{`1:7: role: "egde" is not allowed (did you mean "edge"?)`}},
		{"names", leastEdge + "pop: FRA 1\nregion: ''\n", []string{
			`5:6: pop: "FRA 1" is no name: lower-case letters, digits and dashes (not first or last), at most 63`,
			`6:9: region: "" is no name: lower-case letters, digits and dashes (not first or last), at most 63`}},
		{"listen", strings.Replace(leastEdge, "127.0.0.1:80", "127.0.0.1, '127.0.0.1:99999', ':80'", 1), []string{
			`3:10: listen[0]: "127.0.0.1" is no address: write host:port, or [address]:port for IPv6`,
			`3:21: listen[1]: "127.0.0.1:99999" has no valid port: a number up to 65535`,
			`3:40: listen[2]: ":80" names no single address: say under advertise where others reach it`}},
		{"listen on a name", strings.Replace(leastEdge, "127.0.0.1:80", "localhost:80", 1), []string{
			`3:10: listen[0]: "localhost:80" names no single address: say under advertise where others reach it`}},
		{"one address twice", leastEdge + "admin: 127.0.0.1:80\n", []string{"5:8: admin: 127.0.0.1:80 is taken by listen[0]"}},
		{"the bus on the address of the API", strings.Replace(leastDistributor, "bus: {", "bus: {listen: '127.0.0.1:70', ", 1), []string{"6:15: bus.listen: 127.0.0.1:70 is taken by listen[0]"}},
		{"advertise", leastEdge + "advertise: [':80', '0.0.0.0:80', 'e:80', '127.0.0.1:0']\n", []string{
			`5:13: advertise[0]: ":80" is no address that others can reach: write ip:port`,
			`5:20: advertise[1]: "0.0.0.0:80" is no address that others can reach: write ip:port`,
			`5:34: advertise[2]: "e:80" is no address that others can reach: write ip:port`,
			`5:42: advertise[3]: "127.0.0.1:0" is no address that others can reach: write ip:port`}},
		{"half an identity", leastEdge + "identity: {ca: a, cert: c}\n", []string{
			"5:1: identity.key: is missing: the file with the key of the certificate, from freshet ca issue"}},
		{"tiers without an identity", leastEdge + "tier: ['127.0.0.1:443']\n", []string{
			"1:1: identity: is missing: other nodes are served under tier by certificates of the cluster's CA"}},
		{"a mid that nobody can know", strings.Replace(leastEdge, "role: edge", "role: mid", 1) + "identity: {ca: a, cert: c, key: k}\n", []string{
			"1:1: tier: is missing: with an identity other nodes are known on those addresses alone, such as ['10.0.1.30:7443']"}},
		{"tiers of a distributor", leastDistributor + "identity: {ca: a, cert: c, key: k}\ntier: ['127.0.0.1:443']\n", []string{
			"8:1: tier: is for the roles edge, mid and origin; this is the role distributor"}},
		{"tiers nowhere", leastEdge + "identity: {ca: a, cert: c, key: k}\ntier: [':443', '127.0.0.1:80']\n", []string{
			`6:8: tier[0]: ":443" names no single address: say under tier_advertise where others reach it`,
			`6:16: tier[1]: 127.0.0.1:80 is taken by listen[0]`}},
		{"no bus", "role: mid\nname: m\nlisten: [127.0.0.1:80]\n", []string{"1:1: bus.address: is missing: the role mid reaches the bus there, such as nats://10.0.0.1:7071"}},
		{"bus by name alone", strings.Replace(leastEdge, "nats://b:1", "b:1", 1), []string{
			"4:16: bus.address: this is no list of buses: write nats://host:port, several separated by commas; the user and the password have fields of their own"}},
		{"bus without a port", strings.Replace(leastEdge, "nats://b:1", "nats://a:1,nats://b", 1), []string{
			`4:16: bus.address: "b" is no address: write host:port, or [address]:port for IPv6`}},
		{"bus with a password", strings.Replace(leastEdge, "nats://b:1", "nats://u:${PASSWORD}@b:1", 1), []string{
			"4:16: bus.address: this is no list of buses: write nats://host:port, several separated by commas; the user and the password have fields of their own"}},
		{"bus's password", strings.Replace(leastDistributor, "password: {env: TOKEN}", "password: {env: SHORT}", 1), []string{"6:7: bus.password: is too short: at least 16 characters"}},
		{"no secrets", "role: distributor\nname: d\nlisten: [127.0.0.1:70]\n", []string{
			"1:1: token: is missing: the role distributor needs it, at least 16 characters",
			"1:1: data: is missing: the role distributor needs a directory for what it keeps",
			"1:1: bus.password: is missing: the other roles show it to the embedded bus, at least 16 characters"}},
		{"secrets with mistakes of their own", "role: origin\nname: o\nlisten: [127.0.0.1:80]\ndata: d\nbus: {address: 'nats://b:1'}\ntoken: {env: NONE}\ncluster: {kind: consul, secret: word}\n", []string{
			"6:14: token.env: the environment variable NONE is not set",
			"7:33: cluster.secret: want a mapping with one of file, env and value (such as {file: secrets/token})"}},
		{"short token", strings.Replace(leastOrigin, "TOKEN", "SHORT", 1), []string{"6:1: token: is too short: at least 16 characters"}},
		{"consul", leastEdge + "cluster: {kind: consul, address: consul, prefix: a/b}\n", []string{
			"5:1: cluster.secret: is missing: a cluster on Consul needs it, at least 32 characters",
			`5:34: cluster.address: "consul" is no address: write host:port, or [address]:port for IPv6`,
			`5:50: cluster.prefix: "a/b" is no name: lower-case letters, digits and dashes (not first or last), at most 63`}},
		{"short secret", leastEdge + "cluster: {kind: consul, secret: {env: TOKEN}}\n", []string{"5:25: cluster.secret: is too short: at least 32 characters"}},
		{"TLS", leastEdge + "cluster: {tls: {cert: c}}\n" + "data: x\n", []string{"5:11: cluster.tls.key: is missing: the certificate in cert needs it"}},
		{"sections of other roles", leastOrigin + "cache: {memory: 1GiB}\nrouter: {answers: 1}\n", []string{
			"7:1: cache: is for the roles edge and mid; this is the role origin",
			"8:1: router: is for the role router; this is the role origin"}},
		{"disks", leastEdge + `data: d
cache:
  disk:
    - {dir: /a/b, size: 1GiB}
    - {dir: /a/b/, size: 63MiB}
    - {dir: /a/b/c, size: 1GiB}
    - {dir: /a/bc, size: 1GiB}
    - {dir: /a, size: 1GiB}
    - {size: 1GiB}
    - {dir: x}
    - {dir: ./d, size: 1GiB}
  scrub: -1
`, []string{
			"9:13: cache.disk[1].dir: /a/b/ is taken by cache.disk[0]",
			`9:26: cache.disk[1].size: "63MiB" must be at least 64MiB`,
			"10:13: cache.disk[2].dir: /a/b/c lies within /a/b, that of cache.disk[0]: choose directories side by side",
			"12:13: cache.disk[4].dir: /a contains /a/b, that of cache.disk[0]: choose directories side by side",
			"13:7: cache.disk[5].dir: is missing: The directory, for this node alone; made if it is missing. A relative path is taken from the node file's directory.",
			"14:7: cache.disk[6].size: is missing: What the files in it take at most, all of them counted. Without data, purge marks (marks/) may take a 32nd of the first one, at most 96 MiB.",
			"15:13: cache.disk[7].dir: ./d contains data, d: choose a directory within that, or beside it",
			`16:10: cache.scrub: "-1" is not a size such as "512", "64KiB", "256MiB" or "1.5GB"`}},
		{"listeners of other roles", leastOrigin + "https: {listen: [':443'], self_signed: true}\nproxy_protocol: [10.0.0.0/8]\nlimits: {streams: 1}\n", []string{
			"7:1: https: is for the roles edge and mid; this is the role origin",
			"8:1: proxy_protocol: is for the roles edge and mid; this is the role origin",
			"9:1: limits: is for the roles edge and mid; this is the role origin"}},
		{"HTTPS without certificates", leastEdge + "https: {listen: [':443', 'x:y', '127.0.0.1:80'], min_version: '1.1', public_port: 65536}\n", []string{
			"5:1: https: there is no certificate: name files under certificates, or order them with acme, or sign them with self_signed: true",
			`5:26: https.listen[1]: "x:y" has no valid port: a number up to 65535`,
			"5:33: https.listen[2]: 127.0.0.1:80 is taken by listen[0]",
			`5:63: https.min_version: "1.1" is not allowed (did you mean "1.2"?)`,
			"5:83: https.public_port: \"65536\" must be at most 65535"}},
		{"certificates without HTTPS", leastEdge + "https: {certificates: [{cert: c}], self_signed: true}\n", []string{
			"5:1: https.listen: is missing: say where HTTPS is spoken, such as [':443']",
			"5:1: https.dir: is missing: a directory for what is to be kept of certificates; or name one under data",
			"5:24: https.certificates[0].key: is missing: PEM file with the key."}},
		{"ACME", leastAlone + "https: {listen: [':443'], acme: {email: nobody, directory: 'http://acme/dir'}}\n", []string{
			"5:1: https.dir: is missing: a directory for what is to be kept of certificates; or name one under data",
			"5:27: https.acme.agree: must be true: certificates are ordered only from an authority whose terms of service you agree to",
			"5:27: https.acme: needs to know the hosts: name a site document with hosts under cache.site",
			`5:41: https.acme.email: "nobody" is no mail address`,
			`5:60: https.acme.directory: "http://acme/dir" is no URL of a directory: write https://host/path`}},
		{"prefixes", leastEdge + "proxy_protocol: [10.0.0.1, 10.0.0.1/8, lb.example, '::ffff:10.0.0.0/104']\nlimits: {trusted: ['2001:db8::/129']}\n", []string{
			`5:28: proxy_protocol[1]: "10.0.0.1/8" has bits beyond its length: write 10.0.0.0/8`,
			`5:40: proxy_protocol[2]: "lb.example" is no address or prefix: write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32`,
			`5:52: proxy_protocol[3]: "::ffff:10.0.0.0/104" is IPv4 written as IPv6: write the IPv4 prefix`,
			`6:20: limits.trusted[0]: "2001:db8::/129" is no address or prefix: write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32`}},
		{"limits", leastEdge + "limits: {header_bytes: 64KiB, header_fields: 0, head_timeout: 1ms, connections: -1, controls: 1}\n", []string{
			`5:24: limits.header_bytes: "64KiB" must be at most 65535`,
			"5:46: limits.header_fields: \"0\" must be at least 16",
			`5:63: limits.head_timeout: "1ms" must be at least 100ms`,
			"5:81: limits.connections: \"-1\" must be at least 0",
			"5:95: limits.controls: \"1\" must be at least 10"}},
		{"upstream", strings.Replace(leastAlone, "http://o", "o:80", 1), []string{`4:19: cache.upstream: "o:80" must begin with http:// or https://`}},
		{"zones", leastRouter + `router:
  zones:
    - name: a.example.
      hostmaster: nobody
      nameservers:
        - name: ns.a.example.
        - name: NS.b.example
          addrs: [10.0.0.1, x]
    - name: a.example
      nameservers: []
`, []string{
			`8:19: router.zones[0].hostmaster: "nobody" is no mail address`,
			"10:11: router.zones[0].nameservers[0].addrs: is missing: ns.a.example lies in the zone, so the zone must say its addresses",
			`11:17: router.zones[0].nameservers[1].name: "NS.b.example" must be in lower case: ns.b.example`,
			`12:29: router.zones[0].nameservers[1].addrs[1]: "x" is no IP address`,
			"13:13: router.zones[1].name: a.example is listed twice",
			"14:7: router.zones[1].nameservers: must not be empty"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Read("f", []byte(tt.text), lookup)
			var mistakes document.Errors
			if !errors.As(err, &mistakes) {
				t.Fatalf("got %v, want document.Errors", err)
			}
			var got []string
			for _, m := range mistakes {
				got = append(got, strings.TrimPrefix(m.Error(), "f:"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("a password shows")
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "node.yaml")
	if _, err := ReadFile(path); !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("got %v, want one that names the file once and is fs.ErrNotExist", err)
	}
	if _, err := ReadFile(dir); err == nil || errors.As(err, new(document.Errors)) {
		t.Errorf("a directory: %v", err)
	}
	if err := os.WriteFile(path, []byte(leastEdge), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := ReadFile(path); err != nil || f.Name != "e" {
		t.Errorf("got %+v, %v", f, err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("#"), document.MaxText+100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file that is too large: %v", err)
	}
}

func TestAdvertised(t *testing.T) {
	t.Parallel()
	addrs := func(texts ...string) []netip.AddrPort {
		var list []netip.AddrPort
		for _, text := range texts {
			list = append(list, netip.MustParseAddrPort(text))
		}
		return list
	}
	tests := []struct {
		name string
		file File
		want []netip.AddrPort
		err  bool
	}{
		{"listen", File{Listen: []string{"10.0.0.1:80", "[::1]:80"}}, addrs("10.0.0.1:80", "[::1]:80"), false},
		{"advertise", File{Listen: []string{":80"}, Advertise: []string{"10.0.0.1:80"}}, addrs("10.0.0.1:80"), false},
		{"every address", File{Listen: []string{":80"}}, nil, true},
		{"every address, written out", File{Listen: []string{"[::]:80"}}, nil, true},
		{"name", File{Listen: []string{"localhost:80"}}, nil, true},
	}
	for _, tt := range tests {
		got, err := tt.file.Advertised()
		if !slices.Equal(got, tt.want) || (err != nil) != tt.err {
			t.Errorf("%s: got %v, %v", tt.name, got, err)
		}
	}
}

func TestTextReadsBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"token": "a-token-of-some-length\n", "secret": "thirty-two-characters-are-enough\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	distributor := New(cluster.Distributor, "d")
	distributor.Listen = []string{"127.0.0.1:7070"}
	distributor.Data = dir
	distributor.Token = document.SecretFile(filepath.Join(dir, "token"))
	distributor.Bus.Password = document.SecretFile(filepath.Join(dir, "token"))
	distributor.Cluster.Kind = "consul"
	distributor.Cluster.Secret = document.SecretFile(filepath.Join(dir, "secret"))
	distributor.Drain = 0
	router := New(cluster.Router, "r")
	router.Listen = []string{"127.0.0.1:5353"}
	router.Bus.Address = "nats://127.0.0.1:7071"
	router.Router.TTL = 0
	router.Router.Zones = []Zone{{Name: "a.example.", Nameservers: []Nameserver{{"ns.a.example.", []string{"127.0.0.1"}}}}}
	edge := New(cluster.Edge, "e")
	edge.Listen = []string{"127.0.0.11:8080"}
	edge.Bus.Address = "nats://127.0.0.1:7071"
	edge.Cache.Memory = 1000_000_000
	edge.Cache.Disk = []Disk{{"/cache/a", 1 << 40}, {"/cache/b", 64 << 20}}
	edge.Cache.Scrub = 0
	no, most := false, 0
	edge.HTTPS = HTTPS{
		Listen: []string{"127.0.0.11:8443"}, HTTP3: &no, Certificates: []Certificate{{"/c.pem", "/k.pem"}}, SelfSigned: true, MinVersion: "1.3",
		ACME: &ACME{Email: "a@b.example", Directory: "https://acme.example/dir", CA: "/ca.pem", Agree: true}, PublicPort: 443, Dir: "/certs",
	}
	edge.ProxyProtocol, edge.Limits.Trusted, edge.Limits.ConnsPerAddr = []string{"10.0.0.0/8"}, []string{"::1"}, &most
	edge.Data = "/data/${NAME}/$${NAME}/$NAME"
	for _, f := range []*File{distributor, router, edge} {
		text, err := f.Text()
		if err != nil {
			t.Fatal(err)
		}
		read, err := Read(filepath.Join(dir, "node.yaml"), text, lookup)
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		if f.Role == cluster.Distributor {
			if read.Token.Value() != "a-token-of-some-length" || read.Bus.Password.Value() != "a-token-of-some-length" || len(read.Cluster.Secret.Value()) != 32 {
				t.Errorf("the secrets do not read back from\n%s", text)
			}
			// Now they are known; what they refer to is what was written.
			f.Token, f.Bus.Password, f.Cluster.Secret = read.Token, read.Bus.Password, read.Cluster.Secret
		}
		if !reflect.DeepEqual(f, read) {
			t.Errorf("wrote %+v\nread  %+v\n%s", f, read, text)
		}
		again, err := read.Text()
		if err != nil || string(again) != string(text) {
			t.Errorf("the second time it is\n%s\n%v", again, err)
		}
	}
}

// TestZeroIsWritten holds the rule behind the yaml tags: a field is left out of the
// text when it is zero, unless zero is a value other than the default.
func TestZeroIsWritten(t *testing.T) {
	t.Parallel()
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[document.Secret]() {
				walk(f.Type)
			}
			left := strings.HasSuffix(f.Tag.Get("yaml"), ",omitempty")
			zeroCounts := f.Tag.Get("default") != "" && strings.HasPrefix(f.Tag.Get("min"), "0")
			if left == zeroCounts {
				t.Errorf("%s.%s: omitempty is %v", typ.Name(), f.Name, left)
			}
		}
	}
	walk(reflect.TypeFor[File]())
	walk(reflect.TypeFor[Zone]())
	walk(reflect.TypeFor[Nameserver]())
}

func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../deploy/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cluster", "bus", "token"} {
		if err := os.WriteFile(filepath.Join(dir, "secrets", name), []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[cluster.Role]bool)
	for _, file := range files {
		if filepath.Base(file) == "site.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Read(filepath.Join(dir, filepath.Base(file)), text, lookup)
		if err != nil {
			t.Error(err)
			continue
		}
		seen[f.Role] = true
	}
	for _, role := range []cluster.Role{cluster.Edge, cluster.Mid, cluster.Origin, cluster.Router, cluster.Distributor} {
		if !seen[role] {
			t.Errorf("no example of the role %s", role)
		}
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"$id": "urn:freshet:schema:node"`, `"nameservers"`, `"#/$defs/variable"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{leastEdge, leastOrigin, leastRouter, leastDistributor, leastAlone} {
		f.Add([]byte(text))
	}
	f.Add([]byte(leastRouter + "router: {zones: [{name: a., nameservers: [{name: ns.a, addrs: ['::1']}]}]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("file")) {
			return // a secret's file would be one that the fuzzer names
		}
		file, err := Read("f", text, lookup)
		if (file == nil) == (err == nil) {
			t.Fatalf("file %v with error %v", file, err)
		}
		if err != nil || file.Alone() {
			return
		}
		if _, err := file.Advertised(); err != nil {
			t.Fatalf("a valid file has no address: %v", err)
		}
	})
}

package archtest

// room is a package of the plan, or a tree of them, and what it may import of this
// module. Patterns as of under; what is not listed may not be imported.
type room struct {
	path    string
	imports []string
}

// programs are the four that never import each other: they speak over the wire.
var programs = []string{"edge", "origin", "router", "distributor"}

// rooms is the plan of the house, with the rooms that are not built yet. Imports
// point down only: cmd, the programs, their own packages, internal. The first room
// that matches a package is its own.
//
// A program's root joins its own packages; these are leaves or import the siblings
// named here. Tests are freer: see importDirection.
var rooms = []room{
	// The binary wires everything. The demo site is data.
	{"cmd/freshet", []string{"..."}},
	{"cmd/freshet/demo", nil},

	// The edge.
	{"edge", []string{"edge/...", "internal/..."}},
	{"edge/exchange", []string{"internal/header"}},
	{"edge/accesslog", nil},
	{"edge/response", []string{"internal/header", "internal/httpcache", "internal/hop", "internal/command"}},
	{"edge/listener", []string{"edge/exchange", "edge/listener/...", "internal/header", "internal/run"}},
	{"edge/listener/limits", []string{"internal/header"}},
	{"edge/listener/outlet", nil},
	{"edge/listener/listenertest", []string{"edge/exchange", "internal/header"}},
	{"edge/listener/...", []string{"edge/exchange", "edge/listener/limits", "edge/listener/outlet", "internal/header", "internal/run"}},
	{"edge/policy", []string{"edge/exchange", "edge/response", "internal/command", "internal/header", "internal/httpcache", "internal/site", "internal/wildcard"}},
	{"edge/store", []string{"edge/response"}},
	{"edge/store/storetest", []string{"edge/store", "edge/response", "internal/command", "internal/header"}},
	{"edge/store/tiered", []string{"edge/store", "edge/store/memory", "edge/store/disk", "edge/response"}},
	{"edge/store/disk", []string{"edge/store", "edge/store/disk/...", "edge/response", "internal/command", "internal/files", "internal/header"}},
	{"edge/store/disk/index", nil},
	{"edge/store/disk/record", []string{"edge/response", "internal/command", "internal/header", "internal/httpcache"}},
	{"edge/store/...", []string{"edge/store", "edge/response", "internal/command", "internal/header"}},
	{"edge/invalidate/journal", []string{"edge/invalidate", "edge/response", "internal/command", "internal/command/predicate", "internal/files", "internal/hop"}},
	{"edge/invalidate", []string{"edge/response", "internal/command", "internal/command/predicate", "internal/hop"}},
	{"edge/upstream/guard", nil},
	{"edge/upstream", []string{"edge/exchange", "edge/upstream/guard", "edge/response", "internal/cluster", "internal/header", "internal/hop", "internal/httpcache", "internal/ring", "internal/site"}},
	{"edge/encode", []string{"edge/exchange", "edge/response", "internal/header", "internal/httpcache", "internal/site"}},
	{"edge/guard", []string{"edge/exchange", "internal/access", "internal/header", "internal/site"}},
	{"edge/demand", []string{"edge/exchange", "edge/response", "internal/bus", "internal/cluster"}},

	// The origin.
	{"origin", []string{"origin/...", "internal/..."}},
	{"origin/blob", nil},
	{"origin/blob/...", []string{"origin/blob"}},
	{"origin/object", []string{"origin/blob"}},
	{"origin/catalog", []string{"origin/blob", "origin/object"}},
	{"origin/depot", []string{"origin/blob", "origin/catalog", "origin/object"}},
	{"origin/release", []string{"origin/blob", "origin/object"}},
	{"origin/replica", []string{"origin/blob", "origin/catalog", "origin/depot", "origin/object", "origin/release", "internal/bus", "internal/cluster", "internal/command", "internal/command/follower"}},
	{"origin/publish", []string{"origin/blob", "origin/object", "origin/release"}},

	// The router.
	{"router", []string{"router/...", "internal/..."}},
	{"router/steer", []string{"internal/cluster", "internal/ring", "internal/site"}},
	{"router/footprint", []string{"internal/cluster"}},
	{"router/nameserver", []string{"internal/node", "internal/run", "internal/site"}},
	{"router/redirect", []string{"internal/run", "internal/site"}},

	// The distributor. Its client is all that cmd speaks to it by.
	{"distributor", []string{"distributor/...", "internal/..."}},
	{"distributor/client", nil},
	{"distributor/console", []string{"distributor/client"}},
	{"distributor/...", []string{"distributor/client", "internal/bus", "internal/cluster", "internal/command", "internal/site"}},

	// What the programs share.
	{"internal/access", nil},
	{"internal/archtest", nil},
	{"internal/authority", []string{"internal/document", "internal/reload"}},
	{"internal/bus", []string{"internal/command"}},
	{"internal/bus/...", []string{"internal/bus", "internal/command"}},
	{"internal/certs", []string{"internal/cluster", "internal/files", "internal/reload"}},
	{"internal/cluster", nil},
	{"internal/cluster/snapshot", []string{"internal/cluster", "internal/files"}},
	{"internal/cluster/...", []string{"internal/cluster"}},
	{"internal/command", []string{"internal/command/predicate"}},
	{"internal/command/predicate", []string{"internal/wildcard"}},
	{"internal/command/follower", []string{"internal/bus", "internal/command", "internal/telemetry"}},
	{"internal/document", nil},
	{"internal/files", nil},
	{"internal/files/filestest", []string{"internal/files"}},
	{"internal/header", nil},
	{"internal/hop", []string{"internal/command", "internal/header"}},
	{"internal/httpcache", []string{"internal/header"}},
	{"internal/load", []string{"internal/bus"}},
	{"internal/node", []string{"internal/authority", "internal/bus", "internal/cluster", "internal/cluster/snapshot", "internal/document", "internal/load", "internal/run", "internal/telemetry"}},
	{"internal/reload", nil},
	{"internal/ring", nil},
	{"internal/run", nil},
	{"internal/site", []string{"internal/cluster", "internal/document", "internal/header", "internal/wildcard"}},
	{"internal/telemetry", []string{"internal/run"}},
	{"internal/wildcard", nil},

	// Benchmarks drive the programs as strangers would: over the wire.
	{"bench/replay", []string{"bench/...", "edge/response", "edge/store", "edge/store/...", "internal/command", "internal/files", "internal/header"}},
	{"bench/...", []string{"bench/...", "internal/header", "internal/run"}},
}

// everywhere and testsOnly are owners of modules in owners.
var (
	everywhere = []string{"..."}
	testsOnly  = []string{}
)

// owners names, for each third-party module, the packages that may import it
// outside of tests. A module that is not here has no owner yet.
var owners = map[string][]string{
	"github.com/andybalholm/brotli":           {"edge/encode"},
	"github.com/KimMachineGun/automemlimit":   {"cmd/freshet"},
	"github.com/caddyserver/certmagic":        {"internal/certs"},
	"github.com/coder/websocket":              testsOnly,
	"github.com/coreos/go-systemd/v22":        {"internal/run"},
	"github.com/danielgtaylor/huma/v2":        {"distributor"},
	"github.com/dgraph-io/ristretto/v2":       {"edge/store/memory", "bench/replay"},
	"github.com/dunglas/httpsfv":              {"edge/...", "origin", "internal/hop", "internal/httpcache"},
	"github.com/fsnotify/fsnotify":            {"cmd/freshet", "internal/node", "internal/certs"},
	"github.com/golang-jwt/jwt/v5":            {"internal/access"},
	"github.com/hashicorp/consul/api":         {"internal/cluster/consul"},
	"github.com/klauspost/compress":           {"edge/encode"},
	"github.com/maypok86/otter/v2":            {"bench/replay"},
	"github.com/miekg/dns":                    {"router/nameserver"},
	"github.com/minio/minio-go/v7":            {"edge/upstream", "origin/blob/s3"},
	"github.com/nats-io/nats-server/v2":       {"internal/bus/jetstream"},
	"github.com/nats-io/nats.go":              {"internal/bus/jetstream"},
	"github.com/oschwald/maxminddb-golang/v2": {"router/footprint"},
	"github.com/prometheus/client_golang":     everywhere, // see metricsInOnePlace
	"github.com/quic-go/qpack":                testsOnly,
	"github.com/quic-go/quic-go":              {"edge/listener/...", "bench/h3load"},
	"github.com/rogpeppe/go-internal":         testsOnly,
	"github.com/schollz/progressbar/v3":       {"cmd/freshet"},
	"github.com/spf13/cobra":                  {"cmd/freshet"},
	"github.com/zeebo/xxh3":                   everywhere,
	"go.etcd.io/bbolt":                        {"internal/cluster/local", "origin/catalog"},
	"go.opentelemetry.io/otel":                {"internal/telemetry"},
	"go.uber.org/goleak":                      testsOnly,
	"go.uber.org/zap":                         {"internal/certs"},
	"go.yaml.in/yaml/v3":                      {"internal/document"},
	"golang.org/x/image":                      {"edge/encode"},
	"golang.org/x/net":                        {"edge/listener/...", "router/nameserver"},
	"golang.org/x/sync":                       everywhere,
	"golang.org/x/sys":                        everywhere,
	"golang.org/x/term":                       {"cmd/freshet"},
	"golang.org/x/time":                       everywhere,
	"google.golang.org/grpc":                  testsOnly,
	"pgregory.net/rapid":                      testsOnly,
}

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// partitionEnv says that this process has a network of its own, which nobody else sees.
const partitionEnv = "FRESHET_TEST_PARTITION"

// TestPartitions runs TestPartitionsWithin as root of a user namespace and a network
// namespace of its own.
func TestPartitions(t *testing.T) {
	if !treeLong {
		t.Parallel()
	}
	if out, err := exec.Command("unshare", "-Urn", "sh", "-ec",
		"ip link set lo up; ip link add probe0 type veth peer name probe1; ip link add probe2 type bridge; ip route add blackhole 192.0.2.1/32; nsenter --version >/dev/null").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces with veth, bridges and blackhole routes can be made here: %v: %s", err, out)
	}
	cmd := exec.Command("unshare", "-Urn", os.Args[0], "-test.run", "^TestPartitionsWithin$", "-test.count", "1", "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), partitionEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPartitionsWithin") {
		t.Fatalf("%v:\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "tree_partition_test.go:") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// partitioned is a tree whose edges and mids have network namespaces of their own. The rest
// is at hubIP, and the origin at originIP, on the bridge that connects them.
type partitioned struct {
	*tree
	holders map[string]int // of each namespace a process in it
}

const (
	hubIP    = "10.77.0.1"
	originIP = "10.77.0.2"
	clientIP = "10.77.0.3" // that nobody is cut from
)

// partIP is the address of an edge or mid.
func partIP(name string) string {
	role, number, _ := strings.Cut(name, "-")
	if role == "mid" {
		return "10.77.0.2" + number
	}
	return "10.77.0.1" + number
}

func ipCommand(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in runs ip in the namespace of a node.
func (p *partitioned) in(name string, args ...string) {
	p.t.Helper()
	args = append([]string{"-t", fmt.Sprint(p.holders[name]), "-n", "ip"}, args...)
	if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
		p.t.Fatalf("nsenter %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// hole makes what a node sends to an address vanish: so what comes from there is never
// answered, and never refused.
func (p *partitioned) hole(name, to string) { p.in(name, "route", "add", "blackhole", to+"/32") }

func (p *partitioned) fill(name, to string) { p.in(name, "route", "del", "blackhole", to+"/32") }

// namespace makes the network of a node.
func (p *partitioned) namespace(name string) {
	p.t.Helper()
	cmd := exec.Command("unshare", "-n", "cat") // until its input ends, or the test does
	input, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Wait()
	})
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		p.t.Fatal(err)
	}
	within(p.t, 5*time.Second, func() error {
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		if err == nil && its == own {
			err = fmt.Errorf("%s has no network of its own yet", name)
		}
		return err
	})
	p.holders[name] = cmd.Process.Pid
	ipCommand(p.t, "link", "add", "v-"+name, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(cmd.Process.Pid))
	ipCommand(p.t, "link", "set", "v-"+name, "master", "hub", "up")
	p.in(name, "link", "set", "lo", "up")
	p.in(name, "addr", "add", partIP(name)+"/24", "dev", "eth0")
	p.in(name, "link", "set", "eth0", "up")
}

// newPartitioned starts a tree of two edges and two mids in networks of their own.
func newPartitioned(t *testing.T, origin string) *partitioned {
	t.Helper()
	ipCommand(t, "link", "set", "lo", "up")
	ipCommand(t, "link", "add", "hub", "type", "bridge")
	for _, ip := range []string{hubIP, originIP, clientIP} {
		ipCommand(t, "addr", "add", ip+"/24", "dev", "hub")
	}
	ipCommand(t, "link", "set", "hub", "up")
	p := &partitioned{holders: make(map[string]int)}
	var consul *slowLink
	p.tree = newTree(t, treePlan{
		edges: 2, mids: 2, origin: origin, originIP: originIP,
		begin: func(tr *tree) {
			p.tree = tr
			for _, name := range []string{"edge-1", "edge-2", "mid-1", "mid-2"} {
				p.namespace(name)
			}
			consul = newSlowLink(t, hubIP+":8500", tr.agent.Address()) // the agent is on loopback alone
		},
		tune: func(f *node.File) {
			f.Bus.Address = strings.ReplaceAll(f.Bus.Address, "127.0.0.1", hubIP)
			f.Cluster.Address = consul.ln.Addr().String()
			switch f.Role {
			case cluster.Distributor:
				f.Bus.Listen = strings.ReplaceAll(f.Bus.Listen, "127.0.0.1", hubIP)
			case cluster.Edge, cluster.Mid:
				f.Listen = []string{net.JoinHostPort(partIP(f.Name), "8080")}
				f.Admin = net.JoinHostPort(partIP(f.Name), "9101")
				if f.Role == cluster.Mid {
					f.Tier = []string{net.JoinHostPort(partIP(f.Name), "7443")}
				}
			}
			f.Drain = document.Duration(time.Second)
		},
		within: func(name string) []string {
			if pid := p.holders[name]; pid != 0 {
				return []string{"nsenter", "-t", fmt.Sprint(pid), "-n"}
			}
			return nil
		},
	})
	return p
}

// TestPartitionsWithin is the test itself, in a network that TestPartitions has made.
func TestPartitionsWithin(t *testing.T) {
	if os.Getenv(partitionEnv) == "" {
		t.Skip("TestPartitions runs it in a network of its own")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const connect = time.Second
	p := newPartitioned(t, "  connect: 1s\n  first_byte: 3s\n")
	p.origin.short = time.Second
	load := p.load(&treeLoad{clients: 40, rate: treeRate(200, 100), keys: int(treeRate(200, 60)), seed: seed, path: shortPath})
	phase := treeShare(20*time.Second, 3*time.Second)
	begun := time.Now()
	<-time.After(phase)

	cut := time.Now()
	p.hole("mid-1", partIP("edge-1")) // what edge-1 sends to mid-1 is not answered
	<-time.After(phase)
	p.fill("mid-1", partIP("edge-1"))
	mended := time.Now()
	<-time.After(treeShare(10*time.Second, 2*time.Second))

	alone := time.Now()
	p.hole("mid-2", hubIP) // mid-2 has neither bus nor Consul
	<-time.After(treeShare(30*time.Second, 3*time.Second))
	from := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientIP)}}).DialContext}}
	mid2 := &treeLoad{t: t, addrs: p.files["mid-2"].Listen, host: treeHost, path: treePath}
	for i, want := range []bool{false, true} {
		if s := mid2.ask(from, 0, 1_000_001); s.err != nil || s.status != http.StatusOK || s.hit != want {
			t.Errorf("mid-2 without bus and Consul, request %d: status %d, hit %v, %v %s", i+1, s.status, s.hit, s.err, s.chain)
		}
	}
	rejoined := time.Now()
	p.fill("mid-2", hubIP)
	<-time.After(treeShare(10*time.Second, time.Second))
	ended := time.Now()
	all := load.end()
	<-time.After(time.Second / 2) // the access logs are written four times a second

	edge1 := func(s *sample) bool { return s.edge == 0 }
	edge2 := func(s *sample) bool { return s.edge == 1 }
	t.Logf("before:                          %s", figures(among(all, begun, cut, nil)))
	t.Logf("edge-1 cut from mid-1, its part: %s", figures(among(all, cut, mended, edge1)))
	t.Logf("  after the first second:        %s", figures(among(all, cut.Add(2*connect), mended, edge1)))
	t.Logf("  edge-2 meanwhile:              %s", figures(among(all, cut, mended, edge2)))
	t.Logf("mended:                          %s", figures(among(all, mended, alone, nil)))
	t.Logf("mid-2 without bus and Consul:    %s", figures(among(all, alone, rejoined, nil)))
	t.Logf("joined again:                    %s", figures(among(all, rejoined, ended, nil)))
	count := func(from, to time.Time) (n [2]int) {
		for _, mids := range p.midRequests(from, to) {
			for i, mid := range p.mids {
				n[i] += mids[mid]
			}
		}
		return n
	}
	t.Logf("requests to mid-1 and mid-2: before %v, cut %v, mended %v, mid-2 alone %v, joined again %v",
		count(begun, cut), count(cut, mended), count(mended, alone), count(alone, rejoined), count(rejoined, ended))
	complain(t, "partitions", all)
	for _, s := range among(all, begun, ended, (*sample).cut) {
		t.Errorf("key %d broke off after %s: %v", s.key, s.took, s.err)
	}
	for _, s := range slowest(among(all, cut.Add(2*connect), mended, edge1), 3) {
		t.Logf("%s after the cut: key %d, head after %s, end after %s %s", s.at.Sub(cut).Round(time.Millisecond), s.key, s.first, s.took, s.chain)
	}
	if !treeLong {
		return
	}
	longest := time.Duration(0)
	for _, s := range among(all, cut, mended, edge1) {
		longest = max(longest, s.took)
	}
	if longest > connect+3*time.Second {
		t.Errorf("a client waited for %s when its edge was cut from a mid", longest)
	}
	slow := among(all, cut.Add(10*time.Second), mended, func(s *sample) bool { return s.edge == 0 && s.took > connect/2 })
	if part := float64(len(slow)) / float64(len(among(all, cut.Add(10*time.Second), mended, edge1))); part > 0.01 {
		t.Errorf("10 s after the cut %.1f %% of requests still wait for the mid that is cut off", 100*part)
	}
}

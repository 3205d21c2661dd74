//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// caddyModule is what serves HTTP/3 beside us. It is built for itself and never becomes
// part of this module.
const caddyModule = "github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9"

// tools are what loads the servers, by Debian's packages.
var tools = []struct {
	program, pkg string
	protos       []proto
}{
	{"wrk", "wrk", []proto{h1, h1s}},
	{"h2load", "nghttp2-client", []proto{h2}},
}

// installer makes what is missing be there, where it can.
type installer struct {
	progress io.Writer
	allowed  bool // to install packages
	updated  bool // the list of packages is new
}

func have(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// packages installs those of Debian's packages whose program is missing. It returns why
// one is still missing, by program.
func (in *installer) packages(ctx context.Context, programs map[string]string, units map[string][]string) map[string]string {
	missing := make(map[string]string)
	for program, pkg := range programs {
		if have(program) {
			continue
		}
		if err := in.install(ctx, pkg, units[program]); err != nil {
			missing[program] = err.Error()
		} else if !have(program) {
			missing[program] = fmt.Sprintf("Debian's %s has no %s", pkg, program)
		}
	}
	return missing
}

func (in *installer) install(ctx context.Context, pkg string, units []string) error {
	hint := fmt.Errorf("it is missing: apt-get install --no-install-recommends %s", pkg)
	if !in.allowed || !have("apt-get") {
		return hint
	}
	var sudo []string
	if os.Geteuid() != 0 {
		if exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil {
			return hint
		}
		sudo = []string{"sudo", "-n"}
	}
	run := func(args ...string) error {
		args = append(sudo[:len(sudo):len(sudo)], args...)
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, last(string(out), 5))
		}
		return nil
	}
	if !in.updated {
		fmt.Fprintln(in.progress, "bench: apt-get update")
		if err := run("apt-get", "update"); err != nil {
			return err
		}
		in.updated = true
	}
	// Packages of servers start them. This is Debian's way to say that they must not:
	// invoke-rc.d and systemd's helpers both ask it.
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); os.IsNotExist(err) {
		file, err := os.CreateTemp("", "policy-rc.d")
		if err != nil {
			return err
		}
		defer os.Remove(file.Name())
		if _, err := file.WriteString("#!/bin/sh\nexit 101\n"); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
		if err := run("install", "-m", "755", file.Name(), policy); err != nil {
			return err
		}
		defer func() { _ = run("rm", "-f", policy) }()
	}
	fmt.Fprintln(in.progress, "bench: apt-get install", pkg)
	if err := run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", pkg); err != nil {
		return err
	}
	// Nor at the next boot, and not where a policy of the machine's own let them start.
	// These are units of what was not installed before.
	for _, unit := range units {
		if have("systemctl") {
			_ = run("systemctl", "disable", "--now", "--quiet", unit) // where systemd does not run there is nothing to do
		}
	}
	return nil
}

func last(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// caddy builds Caddy into the user's cache, once for each version.
func (in *installer) caddy(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	_, version, _ := strings.Cut(caddyModule, "@")
	dir := filepath.Join(cache, "freshet-bench", "caddy-"+version)
	binary := filepath.Join(dir, "caddy")
	if have(binary) {
		return binary, nil
	}
	if !in.allowed {
		return "", fmt.Errorf("it is missing: GOBIN=%s go install %s", dir, caddyModule)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintln(in.progress, "bench: go install", caddyModule, "(minutes)")
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", caddyModule)
	cmd.Dir = dir // outside of any module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w: %s", caddyModule, err, last(string(out), 5))
	}
	return binary, nil
}

// build builds a command of this module into the directory bin of dir.
func (in *installer) build(ctx context.Context, dir, pkg string) (string, error) {
	return in.buildIn(ctx, "", dir, pkg)
}

// buildIn builds it from another directory than this process's own.
func (in *installer) buildIn(ctx context.Context, from, dir, pkg string) (string, error) {
	binary := filepath.Join(dir, "bin", filepath.Base(pkg))
	fmt.Fprintln(in.progress, "bench: go build", pkg)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, pkg) // makes the directory
	cmd.Dir = from
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", pkg, err, last(string(out), 5))
	}
	return binary, nil
}

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// abilities are what a freshet can do: TLS, HTTP/3 and an access log are younger than
// the rest.
type abilities struct{ https, http3, accessLog bool }

// abilitiesOf asks the binary, by what may stand in a node file.
func abilitiesOf(ctx context.Context, binary string) (abilities, error) {
	text, err := exec.CommandContext(ctx, binary, "check", "--schema", "node").CombinedOutput()
	if err != nil {
		return abilities{}, fmt.Errorf("%s check --schema node: %w: %s", binary, err, text)
	}
	has := func(field string) bool { return strings.Contains(string(text), strconv.Quote(field)+":") }
	return abilities{has("https"), has("http3"), has("access")}, nil
}

// lacking says why freshet takes no part in a row; "" if it does.
func (b *bench) lacking(r row) string {
	switch {
	case r.proto != h1 && !b.can.https:
		return "this freshet has no https"
	case r.proto == h3 && !b.can.http3:
		return "this freshet has no https.http3"
	case r.kind == logs && !b.can.accessLog:
		return "this freshet has no log.access"
	}
	return ""
}

// takers are the peers that run in a row. Fewer than two are none: there is nothing to
// compare, unless freshet alone is wanted.
func (b *bench) takers(r row) (list []*peer) {
	for _, p := range b.peers {
		ok, _ := p.speaks(r)
		if ok && (p.program != b.peers[0].program || b.lacking(r) == "") && !slices.Contains(b.unloaded, r.proto) {
			list = append(list, p)
		}
	}
	if len(list) < 2 && len(b.peers) > 1 && r.kind != cold {
		return nil
	}
	return list
}

// explain says what is run, what is left out and why, and how long it takes.
func (b *bench) explain(w io.Writer, rows []row) error {
	for name, why := range b.left {
		fmt.Fprintf(w, "bench: left out: %s: %s\n", name, why)
	}
	for _, p := range b.unloaded {
		fmt.Fprintf(w, "bench: left out: rows of %s: their loader is missing\n", p)
	}
	said := make(map[string]bool)
	for _, r := range allRows() {
		if why := b.lacking(r); why != "" {
			text := fmt.Sprintf("%s in rows of %s (%s): %s", b.peers[0].name, r.kind, r.proto, why)
			if !said[text] {
				said[text] = true
				fmt.Fprintln(w, "bench: left out:", text)
			}
		}
	}
	for _, p := range b.peers {
		for _, r := range rows {
			ok, why := p.speaks(r)
			if text := fmt.Sprintf("%s on %s: %s", p.name, r.proto, why); !ok && why != "" && !said[text] {
				said[text] = true
				fmt.Fprintln(w, "bench: left out:", text)
			}
		}
	}
	if len(rows) == 0 {
		return fmt.Errorf("no row is left")
	}
	fmt.Fprintf(w, "bench: %d rows, %d runs of each on each of %v: about %v\n", len(rows), b.rounds, names(b.peers), b.estimate(rows).Round(10e9))
	return nil
}

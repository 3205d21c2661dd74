package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	stored "freshet/edge/response"
	"freshet/edge/store/disk"
)

// newCacheCommand is freshet cache.
func newCacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look into the disk cache of an edge or mid: what it holds, and whether it is sound",
		Long: `Cache looks into a directory in which an edge or a mid keeps stored responses. It only
reads, and the node may be running: what is written or evicted meanwhile is passed over.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheStatsCommand(), newCacheListCommand(), newCacheVerifyCommand())
	for _, c := range cmd.Commands() {
		c.Args = exactArg("DIR")
		c.Flags().Bool("json", false, "print JSON")
	}
	return cmd
}

// inspect opens a cache to look at.
func inspect(cmd *cobra.Command, dir string) (*disk.Inspection, error) {
	in, err := disk.Inspect(cmd.Context(), nil, dir)
	if errors.Is(err, disk.ErrNoCache) {
		return nil, &codedError{exitNotFound, err}
	}
	return in, err
}

func newCacheStatsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "stats DIR",
		Short:   "Sum up what a disk cache holds",
		Example: "  freshet cache stats /var/cache/freshet",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := inspect(cmd, args[0])
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, in.Summary)
			}
			return printTable(cmd, summaryRows(in.Summary))
		},
	}
}

func summaryRows(s disk.Summary) [][]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := [][]string{
		{"format", "version " + strconv.Itoa(s.Version)},
		{"cache", s.ID},
		{"files", byteCount(s.FileBytes)},
		{"segments", fmt.Sprintf("%d of %s: %d sealed, %d open; %d of them hot",
			s.Segments, byteCount(s.SegmentSize), s.Sealed, s.Segments-s.Sealed, s.Hot)},
		{"records", fmt.Sprintf("%d, %d of them tombstones", s.Records, s.Tombstones)},
		{"live", number(s.Live.Records) + ", " + byteCount(s.Live.Bytes)},
	}
	kinds := make([]string, 0, len(s.Kinds))
	for kind := range s.Kinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		rows = append(rows, []string{"  " + kind, number(s.Kinds[kind].Records) + ", " + byteCount(s.Kinds[kind].Bytes)})
	}
	if !s.Oldest.IsZero() {
		rows = append(rows,
			[]string{"oldest segment", s.Oldest.Local().Format(time.RFC3339)},
			[]string{"newest segment", s.Newest.Local().Format(time.RFC3339)})
	}
	return rows
}

func newCacheListCommand() *cobra.Command {
	var match string
	cmd := &cobra.Command{
		Use:   "ls DIR",
		Short: "List the stored responses of a disk cache, one a line",
		Long: `Ls lists the stored responses that a cache would find, in the order in which they lie on
disk: age and what is left of the lifetime in seconds (negative: stale), status, size of
the body, what it is, the position in the command log at which the origin was asked, and
the key: site, host and target, and what else the key has.

Exit codes: 0 ok; 3 there is no cache in DIR; 6 some could not be read: they were evicted
meanwhile, or are damaged, which 'freshet cache verify' tells.`,
		Example: "  freshet cache ls /var/cache/freshet --match /img/\n  freshet cache ls /var/cache/freshet --match 'shop www.example.org/*.css'",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := inspect(cmd, args[0])
			if err != nil {
				return err
			}
			return list(cmd, in, match)
		},
	}
	cmd.Flags().StringVar(&match, "match", "", "only keys that have this in them or, if it holds a *, that are like it as a whole: * is anything")
	return cmd
}

// listed is one stored response as ls shows it.
type listed struct {
	Key        string  `json:"key"`
	Kind       string  `json:"kind"`
	Status     int     `json:"status,omitempty"`
	Bytes      int64   `json:"bytes"` // of the body
	Age        float64 `json:"age_seconds"`
	TTL        float64 `json:"ttl_seconds"` // negative when stale
	Log        string  `json:"log"`
	Born       string  `json:"born"`
	Generation uint64  `json:"generation"`
}

func list(cmd *cobra.Command, in *disk.Inspection, match string) error {
	out, asJSON := bufio.NewWriter(cmd.OutOrStdout()), wantsJSON(cmd)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	now := time.Now()
	if !asJSON {
		fmt.Fprintf(out, "%8s %8s %6s %10s %-7s %8s  %s\n", "AGE", "TTL", "STATUS", "BYTES", "KIND", "BORN", "KEY")
	}
	unread, err := in.List(cmd.Context(), func(r *stored.Response, bodyLen int64) error {
		l := listed{
			Key: oneLineKey(r.Key.Text), Kind: disk.KindName(r.Kind), Status: r.Status, Bytes: bodyLen,
			Age: r.Age(now).Seconds(), TTL: r.TTL(now).Seconds(),
			Log: r.Log.String(), Born: r.Born.String(), Generation: r.Generation,
		}
		switch {
		case !like(match, l.Key):
			return nil
		case asJSON:
			return lines.Encode(l)
		}
		_, err := fmt.Fprintf(out, "%8.0f %8.0f %6d %10d %-7s %8s  %s\n", l.Age, l.TTL, l.Status, l.Bytes, l.Kind, l.Born, plain(l.Key))
		return err
	})
	if e := out.Flush(); err == nil {
		err = e
	}
	if err == nil && unread > 0 {
		return fail(exitPartial, "%d stored responses could not be read", unread)
	}
	return err
}

// oneLineKey is a key with its parts separated by spaces, which none of them holds but
// the values of header fields.
func oneLineKey(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// like reports whether s has pattern in it or, if the pattern has a *, is like it as a
// whole.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return strings.Contains(s, pattern)
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return true
}

func newCacheVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Read a whole disk cache and check every checksum",
		Long: `Verify reads every record of a cache, the superseded ones too, checks every checksum and
lists what is damaged. Damage costs hits and nothing else: a node drops what it finds
damaged, and never serves it.

Exit codes: 0 all is good; 3 there is no cache in DIR; 6 something is damaged.`,
		Example: "  freshet cache verify /var/cache/freshet",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := inspect(cmd, args[0])
			if err != nil {
				return err
			}
			return verify(cmd, in)
		},
	}
}

// verified is what verify prints with --json.
type verified struct {
	disk.Verification
	Damage []disk.Damage `json:"damage"` // the first maxDamage
}

// maxDamage bounds what of a wrecked disk is kept for --json.
const maxDamage = 100_000

func verify(cmd *cobra.Command, in *disk.Inspection) error {
	asJSON := wantsJSON(cmd)
	bar := newVerifyProgress(cmd)
	result := verified{Damage: []disk.Damage{}}
	var err error
	result.Verification, err = in.Verify(cmd.Context(), func(d disk.Damage) error {
		d.Key = oneLineKey(d.Key)
		if asJSON {
			if len(result.Damage) < maxDamage {
				result.Damage = append(result.Damage, d)
			}
			return nil
		}
		bar.clear()
		_, err := fmt.Fprintln(cmd.OutOrStdout(), damageLine(d))
		return err
	}, bar.update)
	bar.finish()
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(cmd, result)
	} else {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), verdict(result.Verification))
	}
	if err == nil && result.Damaged > 0 {
		return fail(exitPartial, "%s damaged", count(int(result.Damaged), "part"))
	}
	return err
}

func damageLine(d disk.Damage) string {
	line := fmt.Sprintf("%s: %s at %d", d.File, d.Part, d.Offset)
	if d.Length > 0 {
		line += fmt.Sprintf(", %d bytes", d.Length)
	}
	switch {
	case d.Live:
		line += ", a stored response"
	case d.Key != "":
		line += ", superseded"
	}
	if d.Key != "" {
		line += ": " + plain(d.Key)
	}
	return line
}

func verdict(v disk.Verification) string {
	line := fmt.Sprintf("%d of %s good, %s read", v.Good, count(int(v.Records), "record"), byteCount(v.Bytes))
	if v.Unfinished > 0 {
		line += fmt.Sprintf("; %s with an unfinished record at the end, which counts as never stored", count(int(v.Unfinished), "segment"))
	}
	if v.Skipped > 0 {
		line += fmt.Sprintf("; %s evicted meanwhile", count(int(v.Skipped), "segment"))
	}
	return line
}

// verifyProgress is a bar on a terminal, else nothing.
type verifyProgress struct{ bar *progressbar.ProgressBar }

func newVerifyProgress(cmd *cobra.Command) verifyProgress {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return verifyProgress{}
	}
	return verifyProgress{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription("reading"),
	)}
}

// Of a bar that cannot be drawn nobody needs to know.

func (p verifyProgress) update(done, total int64) {
	if p.bar == nil {
		return
	}
	if p.bar.GetMax64() != total {
		p.bar.ChangeMax64(total)
	}
	_ = p.bar.Set64(min(done, total))
}

func (p verifyProgress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p verifyProgress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

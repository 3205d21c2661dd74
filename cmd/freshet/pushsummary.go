package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"freshet/distributor/client"
	"freshet/origin/publish"
)

// maxShown is how many URLs and how many failures a summary for people shows.
const maxShown = 5

// pushSummary is what --json prints of a push.
type pushSummary struct {
	*publish.Report
	Origin    string          `json:"origin"`
	Created   int             `json:"created"`
	Replaced  int             `json:"replaced"`
	Unchanged int             `json:"unchanged"`
	Failed    int             `json:"failed"`
	Skipped   int             `json:"skipped"`
	Bytes     int64           `json:"bytes"`           // of what was created and replaced
	Purged    int             `json:"purged"`          // URLs
	Purge     *client.Receipt `json:"purge,omitempty"` // of the last purge; it came after the others
	URLs      []string        `json:"urls,omitempty"`  // the first that have changed

	changed []string
}

func newPushSummary(p *push, r *publish.Report) *pushSummary {
	s := &pushSummary{
		Report: r, Origin: p.origin,
		Created: r.Count(publish.Created), Replaced: r.Count(publish.Replaced),
		Unchanged: r.Count(publish.Unchanged), Failed: r.Count(publish.Failed), Skipped: r.Count(publish.Skipped),
		changed: r.Changed(),
	}
	for _, f := range r.Files {
		if f.Outcome == publish.Created || f.Outcome == publish.Replaced {
			s.Bytes += f.Size
		}
	}
	return s
}

// setURLs names the first targets by host, or by path alone if that is unknown.
func (s *pushSummary) setURLs(host string, targets []string) {
	if host != "" {
		host = "http://" + host
	}
	for _, target := range targets[:min(maxShown, len(targets))] {
		s.URLs = append(s.URLs, host+target)
	}
}

func (s *pushSummary) print(cmd *cobra.Command) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, s)
	}
	out := cmd.OutOrStdout()
	shown := 0
	for _, f := range s.Files {
		if f.Outcome == publish.Failed {
			if shown++; shown > maxShown {
				fmt.Fprintf(out, "and %d more failed\n", s.Failed-maxShown)
				break
			}
			fmt.Fprintf(out, "failed: %s: %s\n", plain(f.Path), plain(f.Error))
		}
	}
	verb := "pushed"
	if s.DryRun {
		verb = "would push"
		for i, f := range s.changed {
			if i == maxShown {
				fmt.Fprintf(out, "  and %d more\n", len(s.changed)-maxShown)
				break
			}
			fmt.Fprintf(out, "  %s\n", plain(f))
		}
	}
	_, err := fmt.Fprintf(out, "%s to %s: %d created, %d replaced, %d unchanged, %d failed; %s\n",
		verb, s.Site, s.Created, s.Replaced, s.Unchanged, s.Failed, byteCount(s.Bytes))
	if s.Purge != nil {
		fmt.Fprintf(out, "purged %d URLs on %d nodes\n", s.Purged, len(s.Purge.Nodes))
	}
	for _, u := range s.URLs {
		fmt.Fprintf(out, "  %s\n", u)
	}
	return err
}

// byteCount prints a number of bytes for people.
func byteCount(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// quietEvery is how often a push tells how far it is where there is no terminal.
const quietEvery = 10 * time.Second

// pushProgress shows how far a push is: a bar on a terminal, else a line now and
// then, both on standard error. With --json it is silent unless there is a terminal.
type pushProgress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar // nil: lines
	lines bool
	last  time.Time
}

func newPushProgress(cmd *cobra.Command) *pushProgress {
	s := &pushProgress{out: cmd.ErrOrStderr(), last: time.Now(), lines: !wantsJSON(cmd)}
	if f, ok := s.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(s.out),
			progressbar.OptionShowBytes(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(24),
			progressbar.OptionClearOnFinish(),
		)
	}
	return s
}

// update is publish.Config's Progress.
func (s *pushProgress) update(p publish.Progress) {
	switch {
	case s.bar != nil:
		if s.bar.GetMax64() != max(p.Bytes, 1) {
			s.bar.ChangeMax64(max(p.Bytes, 1))
		}
		if p.Last != nil {
			s.bar.Describe(fmt.Sprintf("%d of %d files", p.FilesDone, p.Files))
		}
		// Of a bar that cannot be drawn nobody needs to know.
		_ = s.bar.Set64(min(p.BytesDone, max(p.Bytes, 1)))
	case s.lines && time.Since(s.last) >= quietEvery:
		s.last = time.Now()
		fmt.Fprintf(s.out, "%d of %d files, %s of %s\n", p.FilesDone, p.Files, byteCount(p.BytesDone), byteCount(p.Bytes))
	}
}

func (s *pushProgress) finish() {
	if s.bar != nil {
		_ = s.bar.Finish()
	}
}

package follower

import (
	"context"
	"time"
)

// How often progress is reported.
const (
	publishEvery = time.Second            // at least
	publishLeast = time.Millisecond       // between any two reports
	publishShare = 250 * time.Microsecond // between two of any nodes, in the long run: 4,000 a second are little to the leader
	publishGap   = 20 * time.Millisecond  // between two of one node, in the long run, however many nodes there are
	publishBurst = 300                    // so many may come sooner, so that who waits for a command waits for that alone
)

// Among says how many nodes report; 0 for not known. The fewer there are, the more often
// each may.
func (f *Follower) Among(nodes int) { f.nodes.Store(int64(nodes)) }

// gap is the time between two reports in the long run.
func (f *Follower) gap() time.Duration {
	nodes := f.nodes.Load()
	if nodes <= 0 || nodes >= int64(publishGap/publishShare) {
		return publishGap
	}
	return max(publishLeast, time.Duration(nodes)*publishShare)
}

// pace says when the next report may be sent.
type pace struct {
	free time.Duration // by how much reports may come sooner
	last time.Time
}

// sent is told of a report and returns how long none may follow.
func (p *pace) sent(now time.Time, gap time.Duration) time.Duration {
	if p.last.IsZero() {
		p.free, p.last = publishBurst*gap, now
	}
	p.free = min(p.free+now.Sub(p.last), publishBurst*gap) - gap
	p.last = now
	return max(publishLeast, -p.free)
}

// publish reports progress until ctx ends.
func (f *Follower) publish(ctx context.Context) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for p := (pace{}); ; {
		select { // not too soon after the last
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-f.changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		f.report(false)
		wait.Reset(p.sent(time.Now(), f.gap()))
	}
}

package journal_test

import (
	"os"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
)

// TestPowerCutsAtEveryPoint cuts the power between any two changes that a journal has
// made to its disk, several ways each: every purge that was acknowledged by then is
// known, every unsafe request that was durable, and a generation that was given up
// never comes back.
func TestPowerCutsAtEveryPoint(t *testing.T) {
	ways := uint64(4)
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		ways = 100
	}
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	fs.Record(time.Now)

	// What must hold from a point on, until the log is restarted.
	type promise struct {
		from, until int
		dead        *response.Response // by a mark or touch,
		softly      int64              // or stale since this moment, by a soft mark; -1: it is dead
		seq         command.Seq
	}
	var promises []promise
	var first int // of this generation's
	type era struct {
		from       int // its first promise
		point      int // known to be over then
		generation uint64
	}
	var eras []era
	seq := start.Seq
	for step := range 150 {
		switch {
		case step%50 == 49:
			eras = append(eras, era{from: first, generation: r.table.Generation()})
			begun := fs.Points()
			seq = command.FirstOf(uint32(2 + step/50))
			r.restart(command.Clock{Log: command.LogID(8 + step), Seq: seq})
			eras[len(eras)-1].point = fs.Points()
			for i := first; i < len(promises); i++ {
				promises[i].until = begun
			}
			first = len(promises)
		case step%7 == 3:
			p := r.stored(step)
			r.table.Touch(hash(step))
			r.table.Tend()
			promises = append(promises, promise{from: fs.Points(), dead: p, softly: -1, seq: seq})
		case step%11 == 5:
			r.close() // the next one writes it anew
			r.open()
		default:
			n, softly := 1+step%3, step%5 < 2
			var held []*response.Response
			for i := range n {
				held = append(held, r.stored(step*10+i))
			}
			for i := range n {
				seq++
				e := purgeOf(hash(step*10 + i))
				e.Soft, e.At = softly, time.UnixMilli(int64(step))
				r.table.Apply(seq, e)
			}
			if err := r.table.Commit(); err != nil {
				t.Fatal(err)
			}
			since := int64(-1)
			if softly {
				since = int64(step)
			}
			for _, p := range held {
				promises = append(promises, promise{from: fs.Points(), dead: p, softly: since, seq: seq})
			}
		}
	}
	end := fs.Points()
	for i := first; i < len(promises); i++ {
		promises[i].until = end
	}
	checked, states := 0, 0
	for point := 0; point <= end; point++ {
		for way := range ways {
			later := newRig(t, fs.CrashState(point, way), "/a").open()
			states++
			for _, e := range eras {
				if point >= e.point && later.table.Generation() == e.generation {
					t.Fatalf("point %d, way %d: a generation is back that was given up", point, way)
				}
			}
			for _, p := range promises {
				if p.from > point || point > p.until {
					continue
				}
				checked++
				held := p.dead.WithBody(nil) // as it was stored
				if alive := later.table.Alive(held); alive && (p.softly < 0 || held.Soft().Seq == 0 || held.Soft().Since != p.softly) {
					t.Fatalf("point %d, way %d: alive, though its end was durable at %d", point, way, p.from)
				}
				if clock := later.table.Clock(); p.dead.Generation != later.table.Generation() || clock.Seq < p.seq {
					t.Fatalf("point %d, way %d: %v, was durable up to %v", point, way, clock, p.seq)
				}
			}
			later.close()
		}
	}
	if states < 1000 || checked < 10_000 {
		t.Errorf("%d states, %d promises", states, checked)
	}
	t.Logf("%d states, %d promises", states, checked)
	r.close()
}

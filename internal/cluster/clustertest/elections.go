package clustertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/internal/cluster"
)

// leaseTTL is how long a leader that the cluster no longer hears may go on.
const leaseTTL = 3 * time.Second

func elections(t *testing.T, h Harness) {
	tests := map[string]func(*testing.T, fixture){
		"one leader at a time":       oneLeader,
		"hand-over":                  handOver,
		"ctx ends":                   leadCtxEnds,
		"lead's error comes back":    leadError,
		"names are apart":            electionsApart,
		"invalid names are refused":  invalidElections,
		"a panic gives it up":        leadPanics,
		"waiting ends with ctx":      waitingEnds,
		"leader before any election": noLeader,
	}
	if h.Cut != nil {
		tests["lost lease"] = lostLease
	}
	parts(t, h, tests)
}

// untilEnd is a lead that holds on, and says so.
func untilEnd(led chan<- cluster.Term) func(context.Context, cluster.Term) error {
	return func(ctx context.Context, term cluster.Term) error {
		led <- term
		<-ctx.Done()
		return ctx.Err()
	}
}

func awaitTerm(t *testing.T, led <-chan cluster.Term) cluster.Term {
	t.Helper()
	select {
	case term := <-led:
		return term
	case <-time.After(patience):
		t.Fatal("nobody leads")
		return cluster.Term{}
	}
}

func awaitLeader(t *testing.T, c cluster.Cluster, name, want string) {
	t.Helper()
	ctx := within(t)
	for {
		got, err := c.Leader(ctx, name)
		must(t, err)
		if got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// oneLeader has candidates lead in turn, each for a moment.
func oneLeader(t *testing.T, f fixture) {
	const candidates, terms = 3, 2
	var leading atomic.Int32
	var mu sync.Mutex
	var tokens []uint64
	var group sync.WaitGroup
	for i := range candidates {
		c := f.open(t)
		group.Go(func() {
			for range terms {
				err := c.Lead(within(t), "e", fmt.Sprint("c", i), func(_ context.Context, term cluster.Term) error {
					if n := leading.Add(1); n != 1 {
						t.Errorf("%d leaders at a time", n)
					}
					defer leading.Add(-1)
					mu.Lock()
					defer mu.Unlock()
					tokens = append(tokens, term.Token)
					return nil
				})
				if err != nil {
					t.Errorf("candidate %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	if len(tokens) != candidates*terms {
		t.Errorf("%d terms, want %d", len(tokens), candidates*terms)
	}
	var last uint64
	for _, token := range tokens {
		if token <= last {
			t.Errorf("tokens %d do not grow", tokens)
			break
		}
		last = token
	}
}

func handOver(t *testing.T, f fixture) {
	first, second := f.open(t), f.open(t)
	ledFirst, ledSecond := make(chan cluster.Term, 1), make(chan cluster.Term, 1)
	one := start(t, func(ctx context.Context) error { return first.Lead(ctx, "e", "c1", untilEnd(ledFirst)) })
	term1 := awaitTerm(t, ledFirst)
	awaitLeader(t, second, "e", "c1")
	start(t, func(ctx context.Context) error { return second.Lead(ctx, "e", "c2", untilEnd(ledSecond)) })
	select {
	case <-ledSecond:
		t.Fatal("two leaders")
	case <-time.After(quiet):
	}
	must(t, one.stop(t))
	gone := time.Now()
	term2 := awaitTerm(t, ledSecond)
	if took := time.Since(gone); took > 2*time.Second {
		t.Errorf("the hand-over took %v", took)
	}
	if term2.Token <= term1.Token {
		t.Errorf("token %d after %d", term2.Token, term1.Token)
	}
	awaitLeader(t, first, "e", "c2")
}

func leadCtxEnds(t *testing.T, f fixture) {
	c := f.open(t)
	led := make(chan cluster.Term, 1)
	var returned atomic.Bool
	leading := start(t, func(ctx context.Context) error {
		return c.Lead(ctx, "e", "c1", func(ctx context.Context, term cluster.Term) error {
			led <- term
			<-ctx.Done()
			time.Sleep(quiet) // work that is still being finished
			returned.Store(true)
			return errors.New("cut short")
		})
	})
	awaitTerm(t, led)
	must(t, leading.stop(t))
	if !returned.Load() {
		t.Error("Lead returned before lead")
	}
	awaitLeader(t, c, "e", "")
}

func leadError(t *testing.T, f fixture) {
	c := f.open(t)
	for _, want := range []error{errors.New("no bus"), nil} {
		err := c.Lead(within(t), "e", "c1", func(context.Context, cluster.Term) error { return want })
		mustBe(t, err, want)
		awaitLeader(t, c, "e", "")
	}
}

func electionsApart(t *testing.T, f fixture) {
	c, other := f.open(t), f.Open(t, f.prefix+"-x")
	led := make(chan cluster.Term, 3)
	start(t, func(ctx context.Context) error { return c.Lead(ctx, "e", "c1", untilEnd(led)) })
	start(t, func(ctx context.Context) error { return c.Lead(ctx, "another", "c1", untilEnd(led)) })
	start(t, func(ctx context.Context) error { return other.Lead(ctx, "e", "c2", untilEnd(led)) })
	for range 3 {
		awaitTerm(t, led)
	}
	awaitLeader(t, c, "e", "c1")
	awaitLeader(t, other, "e", "c2")
	awaitLeader(t, other, "another", "")
	pairs, err := c.List(within(t), "", 0)
	must(t, err)
	if len(pairs.List) != 0 {
		t.Errorf("an election shows among the keys: %+v", pairs.List)
	}
}

func invalidElections(t *testing.T, f fixture) {
	c := f.open(t)
	lead := func(context.Context, cluster.Term) error { return errors.New("must not lead") }
	mustBe(t, c.Lead(within(t), "a/b", "c1", lead), cluster.ErrInvalid)
	mustBe(t, c.Lead(within(t), "e", "", lead), cluster.ErrInvalid)
	_, err := c.Leader(within(t), "")
	mustBe(t, err, cluster.ErrInvalid)
}

func leadPanics(t *testing.T, f fixture) {
	c := f.open(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = c.Lead(within(t), "e", "c1", func(context.Context, cluster.Term) error { panic("as expected") })
	}()
	led := make(chan cluster.Term, 1)
	start(t, func(ctx context.Context) error { return c.Lead(ctx, "e", "c2", untilEnd(led)) })
	awaitTerm(t, led)
}

func waitingEnds(t *testing.T, f fixture) {
	c := f.open(t)
	led := make(chan cluster.Term, 1)
	start(t, func(ctx context.Context) error { return c.Lead(ctx, "e", "c1", untilEnd(led)) })
	awaitTerm(t, led)
	short, cancel := context.WithTimeout(within(t), quiet)
	defer cancel()
	must(t, c.Lead(short, "e", "c2", func(context.Context, cluster.Term) error { return errors.New("must not lead") }))
}

func noLeader(t *testing.T, f fixture) {
	leader, err := f.open(t).Leader(within(t), "e")
	must(t, err)
	if leader != "" {
		t.Errorf("leader %q", leader)
	}
}

// lostLease cuts the leader off. Its context ends by its own clock, and only then
// does the next one lead, with a higher token.
func lostLease(t *testing.T, f fixture) {
	first, second := f.open(t), f.open(t)
	ledFirst, ledSecond := make(chan cluster.Term, 1), make(chan cluster.Term, 1)
	ended := make(chan time.Time, 1)
	start(t, func(ctx context.Context) error {
		return first.Lead(ctx, "e", "c1", func(ctx context.Context, term cluster.Term) error {
			ledFirst <- term
			<-ctx.Done()
			ended <- time.Now()
			return ctx.Err()
		})
	})
	term1 := awaitTerm(t, ledFirst)
	start(t, func(ctx context.Context) error {
		return second.Lead(ctx, "e", "c2", func(ctx context.Context, term cluster.Term) error {
			select {
			case at := <-ended:
				ended <- at
			default:
				t.Error("the second leads while the first still does")
			}
			return untilEnd(ledSecond)(ctx, term)
		})
	})
	f.Cut(t, first)
	cut := time.Now()
	term2 := awaitTerm(t, ledSecond)
	if took := (<-ended).Sub(cut); took > leaseTTL+time.Second {
		t.Errorf("the first led on for %v", took)
	}
	if took := time.Since(cut); took > 3*leaseTTL {
		t.Errorf("the next leader took %v", took)
	}
	if term2.Token <= term1.Token {
		t.Errorf("token %d after %d", term2.Token, term1.Token)
	}
	awaitLeader(t, second, "e", "c2")
}

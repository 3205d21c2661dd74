package distributor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

// epochKey is where the epochRecord stands in the cluster's store, which outlives
// the log.
const epochKey = "log/epoch"

// maxEpoch is the highest epoch that fits above the position in a command.Seq.
const maxEpoch = 1<<(64-command.EpochShift) - 1

// epochRecord is what the cluster knows about its command logs.
//
// It fences, too. Each leader writes the token of its term here before it appends
// anything, by compare-and-set, and stops when it finds a higher one. A deposed
// leader that does not know it yet may still add a record where the new leader has
// added none; that is in order and harmless. As soon as the new leader has appended,
// the old one's append conflicts (it names the last sequence that it knows), it
// looks here, and is through.
type epochRecord struct {
	Epoch uint32        `json:"epoch"` // the highest epoch ever taken; only grows
	Token uint64        `json:"token"` // fencing token of the newest term that wrote
	Log   command.LogID `json:"log"`   // the log that was in use last; 0 before the first
	Last  command.Seq   `json:"last"`  // a sequence that it has given out, about the newest
	// Replaced is set when a log took the place of another by mishap, not by order.
	Replaced *replacement `json:"replaced,omitempty"`
}

// replacement is a log that took the place of another.
type replacement struct {
	Old command.LogID `json:"old"`
	New command.LogID `json:"new"`
	At  time.Time     `json:"at"`
	Why string        `json:"why,omitempty"`
}

// believeRewound is how long a log must have been shorter than it was, until that is
// believed: a new epoch costs the cluster all that it has stored.
const believeRewound = 2 * time.Second

// Errors of keeping the epochs.
var (
	// errDeposed: a later term has begun, this one may not write any more.
	errDeposed = errors.New("deposed: another distributor leads")
	// errRewound: the log ends before a sequence that it gave out already. It is not
	// written any more: a node that has applied the first command of a sequence would
	// skip the second. A new epoch begins if that stays so.
	errRewound = errors.New("the command log went back")
)

// epochs reads and writes the epochRecord on behalf of one term.
type epochs struct {
	kv    cluster.KV
	bus   bus.Log
	token uint64
	now   func() time.Time

	rewound time.Time // since when the log is shorter than it was
}

// load reads the record with its version. errDeposed if a later term has written it.
func (e *epochs) load(ctx context.Context) (epochRecord, uint64, error) {
	var rec epochRecord
	pair, err := e.kv.Get(ctx, epochKey)
	if errors.Is(err, cluster.ErrNotFound) {
		return rec, cluster.Absent, nil
	}
	if err != nil {
		return rec, 0, fmt.Errorf("read the log's epoch: %w", err)
	}
	if err := json.Unmarshal(pair.Value, &rec); err != nil {
		return rec, 0, fmt.Errorf("read the log's epoch: key %s: %w", epochKey, err)
	}
	if rec.Token > e.token {
		return rec, 0, errDeposed
	}
	return rec, pair.Version, nil
}

// save writes the record if it has not changed since load.
func (e *epochs) save(ctx context.Context, rec epochRecord, version uint64) (uint64, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	version, err = e.kv.Put(ctx, epochKey, value, version)
	if err != nil {
		return 0, fmt.Errorf("write the log's epoch: %w", err)
	}
	return version, nil
}

// open returns the head of the command log, makes one in a new epoch if there is
// none, and keeps the record up to date. before is the head that the caller knows.
// errDeposed, errRewound.
func (e *epochs) open(ctx context.Context, before bus.Head) (bus.Head, error) {
	rec, version, err := e.load(ctx)
	if err != nil {
		return bus.Head{}, err
	}
	head, err := e.bus.Head(ctx)
	if errors.Is(err, bus.ErrNoLog) {
		rec, version, head, err = e.create(ctx, rec, version, 0)
	}
	if err != nil {
		return bus.Head{}, err
	}
	given := bus.Head{Log: rec.Log, Last: rec.Last}
	if before.Log == rec.Log {
		given.Last = max(given.Last, before.Last)
	}
	if head.Log != given.Log || head.Last >= given.Last {
		e.rewound = time.Time{}
		return head, e.keep(ctx, rec, version, head, "")
	}
	err = fmt.Errorf("%w from %s to %s, as if an old copy of it had been restored", errRewound, given.Last, head.Last)
	if e.rewound.IsZero() {
		e.rewound = e.now()
	}
	if e.now().Sub(e.rewound) < believeRewound {
		return bus.Head{}, fmt.Errorf("%w; if that stays so, a new epoch begins", err)
	}
	e.rewound = time.Time{}
	return e.renew(ctx, rec, version, head.Log, err.Error())
}

// replace seals a log and begins a new epoch, unless that is no longer the log.
func (e *epochs) replace(ctx context.Context, log command.LogID, why string) (done bool, err error) {
	rec, version, err := e.load(ctx)
	if err != nil {
		return false, err
	}
	head, err := e.bus.Head(ctx)
	if errors.Is(err, bus.ErrNoLog) || err == nil && head.Log != log {
		return false, nil
	}
	if err == nil {
		_, err = e.renew(ctx, rec, version, log, why)
	}
	return err == nil, err
}

// renew seals a log and begins a new epoch.
func (e *epochs) renew(ctx context.Context, rec epochRecord, version uint64, old command.LogID, why string) (bus.Head, error) {
	rec, version, head, err := e.create(ctx, rec, version, old)
	if err == nil {
		err = e.keep(ctx, rec, version, head, why)
	}
	if err != nil {
		return bus.Head{}, err
	}
	return head, nil
}

// keep brings the record up to date with the head; why says why the log is another, where
// that is known.
func (e *epochs) keep(ctx context.Context, rec epochRecord, version uint64, head bus.Head, why string) error {
	next := rec
	next.Token, next.Last = e.token, head.Last
	next.Epoch = max(rec.Epoch, head.Last.Epoch())
	if head.Log != rec.Log {
		next.Log = head.Log
		if rec.Log != 0 {
			next.Replaced = &replacement{Old: rec.Log, New: head.Log, At: e.now().UTC(), Why: why}
		}
	}
	if next == rec {
		return nil
	}
	_, err := e.save(ctx, next, version)
	return err
}

// create takes a new epoch, seals old unless it is 0, and makes a log in the epoch. The
// epoch is taken first, so that no two logs ever share one, and nobody whose term is over
// seals anything: if the rest fails, the epoch is left unused.
func (e *epochs) create(ctx context.Context, rec epochRecord, version uint64, old command.LogID) (epochRecord, uint64, bus.Head, error) {
	if rec.Epoch >= maxEpoch {
		return rec, version, bus.Head{}, fmt.Errorf("create the command log: all %d epochs are used up", maxEpoch)
	}
	rec.Epoch++
	rec.Token = e.token
	version, err := e.save(ctx, rec, version)
	if err != nil {
		return rec, version, bus.Head{}, err
	}
	if old != 0 {
		if err := e.bus.Seal(ctx, old); err != nil && !errors.Is(err, bus.ErrNoLog) {
			return rec, version, bus.Head{}, err
		}
	}
	head, err := e.bus.Create(ctx, command.FirstOf(rec.Epoch))
	if errors.Is(err, bus.ErrExists) { // somebody was faster
		head, err = e.bus.Head(ctx)
	}
	return rec, version, head, err
}

package invalidate

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
)

// MaxWindows is how many scopes there may be that nothing is stored of for a while. Beyond
// it nothing at all is stored until the last of them ends.
const MaxWindows = 1 << 15

// Everything is the scope that every response has.
var Everything = response.HashScope(command.Scope{Kind: command.ScopeAll})

// windows are the scopes that nothing may be stored of, each with the time in Unix
// milliseconds until which that holds.
type windows struct {
	max   int
	count atomic.Int64
	mu    struct {
		sync.RWMutex
		until map[response.ScopeHash]int64
	}
}

// set adds scopes. now is about the time: what has ended by then makes room.
func (w *windows) set(scopes []response.ScopeHash, until, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.until == nil {
		w.mu.until = make(map[response.ScopeHash]int64)
	}
	for _, scope := range scopes {
		w.mu.until[scope] = max(w.mu.until[scope], until)
	}
	if len(w.mu.until) > w.max {
		maps.DeleteFunc(w.mu.until, func(_ response.ScopeHash, until int64) bool { return until <= now })
	}
	if len(w.mu.until) > w.max {
		w.mu.until = map[response.ScopeHash]int64{Everything: Latest(w.mu.until)}
	}
	w.count.Store(int64(len(w.mu.until)))
}

// Latest is when the last of the windows ends.
func Latest(until map[response.ScopeHash]int64) (last int64) {
	for _, t := range until {
		last = max(last, t)
	}
	return last
}

// covers reports whether one of the scopes has a window that has not ended.
func (w *windows) covers(scopes []response.ScopeHash, now int64) bool {
	if w.count.Load() == 0 {
		return false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, scope := range scopes {
		if w.mu.until[scope] > now {
			return true
		}
	}
	return false
}

// end forgets the windows that have ended.
func (w *windows) end(now int64) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.mu.until, func(_ response.ScopeHash, until int64) bool { return until <= now })
	w.count.Store(int64(len(w.mu.until)))
}

// all is a copy of them; nil for none.
func (w *windows) all() map[response.ScopeHash]int64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return maps.Clone(w.mu.until)
}

// Barred reports whether a response may not be stored now: a command that covers it said
// so for a while that has not ended.
func (t *Table) Barred(r *response.Response, now time.Time) bool {
	ms := now.UnixMilli()
	return t.windows.covers(r.Scopes, ms) || t.barredByBan(r, ms)
}

// Windows is the number of scopes that nothing is stored of.
func (t *Table) Windows() int64 { return t.windows.count.Load() }

package tiered

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/edge/store/memory"
)

const (
	// smallBody is the longest body, in bytes, that lies in RAM when a disk has it too.
	// Larger ones are served from the disk: the kernel keeps what is hot of them, and
	// RAM is left to what is small and asked for often.
	smallBody = 256 << 10
	// stripes is how many keys can be changed at once.
	stripes = 256
)

// Config says what the store is made of.
type Config struct {
	Memory int64         // size of the store in RAM, in bytes
	Disks  []disk.Config // none: RAM alone; Log is filled in
	Log    *slog.Logger
}

// Store is a store.Store of several tiers.
type Store struct {
	memory  *memory.Store
	volumes []*volume
	max     int64
	stripes [stripes]stripe
	offers  *offers
	counts  counts
}

// stripe is what the keys whose sums fall into it share.
type stripe struct {
	sync.Mutex                    // held while RAM or disk changes
	changes    atomic.Uint64      // rises at the end of every Put and Delete
	reads      singleflight.Group // reads from disk under way
}

// Open opens every tier, the disks at the same time. A store starts goroutines that
// Close waits for.
func Open(cfg Config) (*Store, error) {
	ram, err := memory.New(cfg.Memory)
	if err != nil {
		return nil, err
	}
	volumes := make([]*volume, len(cfg.Disks))
	var group errgroup.Group
	for i, d := range cfg.Disks {
		d.Log = cfg.Log
		group.Go(func() error {
			opened, err := disk.Open(d)
			if err != nil {
				return err
			}
			stats := opened.Stats()
			cfg.Log.Info("cache opened", "dir", d.Dir, "responses", stats.Entries, "bytes", stats.Bytes, "size", opened.Capacity(), "dur", stats.OpenedIn)
			volumes[i] = newVolume(d.Dir, opened.Capacity(), opened)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		for _, v := range volumes {
			if v != nil {
				v.Close()
			}
		}
		ram.Close()
		return nil, err
	}
	return join(ram, volumes), nil
}

func join(ram *memory.Store, volumes []*volume) *Store {
	s := &Store{memory: ram, volumes: volumes, max: ram.MaxSize()}
	if len(volumes) > 0 {
		least := volumes[0].MaxSize()
		for _, v := range volumes[1:] {
			least = min(least, v.MaxSize())
		}
		s.max = max(s.max, least)
		s.offers = newOffers(s)
	}
	return s
}

// Get is the response under key, or nil. A hit in RAM takes no lock that others of
// another key take, and allocates nothing.
func (s *Store) Get(key response.Key) *response.Response {
	if r := s.GetInRAM(key); r != nil {
		return r
	}
	if len(s.volumes) > 0 {
		if disk := s.home(key); disk.Has(key) {
			if r := s.read(key, disk); r != nil {
				disk.served.Add(1)
				return r
			}
		}
	}
	s.counts.misses.add(key)
	return nil
}

// GetInRAM is Get for who cannot wait: what lies on disk alone is not found, and that is
// not counted as a miss.
func (s *Store) GetInRAM(key response.Key) *response.Response {
	r, first := s.memory.Hit(key)
	if r == nil {
		return nil
	}
	if first && s.offers != nil {
		s.offers.add(key)
	}
	s.counts.memoryHits.add(key)
	return r
}

// read gets a response from its disk, and copies it to RAM if it is small. Those who
// ask for one key at the same time share one read.
func (s *Store) read(key response.Key, disk *volume) *response.Response {
	st := s.stripe(key)
	got, _, _ := st.reads.Do(key.Text, func() (any, error) {
		if s.memory.Has(key) {
			if r := s.memory.Get(key); r != nil {
				return r, nil // another reader has just copied it
			}
		}
		before := st.changes.Load()
		r := small(disk.Get(key))
		if r == nil || !inRAM(r) {
			return r, nil
		}
		// Not worth waiting for: who changes a key of the stripe may be writing to disk.
		if st.TryLock() {
			defer st.Unlock()
			if st.changes.Load() == before {
				s.memory.Put(r)
				s.counts.promoted.add(key)
			}
		}
		return r, nil
	})
	return got.(*response.Response)
}

// small is r with its body in RAM if that is small, else r. It is nil if the body
// turns out not to be readable.
func small(r *response.Response) *response.Response {
	if r == nil || inRAM(r) || r.Body.Len() > smallBody {
		return r
	}
	content := make([]byte, r.Body.Len())
	reader, err := r.Body.Open(0, r.Body.Len())
	if err != nil {
		return nil // the disk has noted it
	}
	defer reader.Close()
	if _, err := io.ReadFull(reader, content); err != nil {
		return nil
	}
	return r.WithBody(response.Memory(content))
}

// inRAM reports whether all of r lies in RAM.
func inRAM(r *response.Response) bool {
	return r.Body == nil || r.Body.Len() == 0 || r.Body.Bytes() != nil
}

// Has reports whether Get is likely to find something.
func (s *Store) Has(key response.Key) bool {
	return s.memory.Has(key) || len(s.volumes) > 0 && s.home(key).Has(key)
}

// Put keeps r in RAM and on disk, as each of them will have it.
func (s *Store) Put(r *response.Response) {
	if len(s.volumes) == 0 {
		s.memory.Put(r)
		return
	}
	st, disk := s.stripe(r.Key), s.home(r.Key)
	st.Lock()
	defer st.Unlock()
	if held := s.memory.Get(r.Key); held != nil && r.OlderThan(held) {
		return
	}
	if disk.Has(r.Key) {
		if held := disk.Get(r.Key); held != nil && r.OlderThan(held) {
			return
		}
	}
	defer st.changed(r.Key)
	if r.Body != nil && r.Body.Len() > smallBody {
		if disk.Offer(r) {
			s.memory.Delete(r.Key)
		} else {
			disk.drop(r.Key)
			s.keepInMemory(r)
		}
		return
	}
	if r = small(r); r == nil {
		return
	}
	s.keepInMemory(r) // first, for those who wait for r
	if !disk.Offer(r) {
		disk.drop(r.Key)
	}
}

// keepInMemory puts r into RAM, which then holds r or nothing under its key.
func (s *Store) keepInMemory(r *response.Response) {
	if inRAM(r) {
		if s.memory.Put(r); s.memory.Get(r.Key) == r {
			return
		}
	}
	s.memory.Delete(r.Key)
}

// Delete drops what stands under key on every tier.
func (s *Store) Delete(key response.Key) {
	if len(s.volumes) == 0 {
		s.memory.Delete(key)
		return
	}
	st := s.stripe(key)
	st.Lock()
	defer st.Unlock()
	defer st.changed(key)
	s.memory.Delete(key)
	s.home(key).drop(key)
}

// Capacity is what all tiers hold together.
func (s *Store) Capacity() int64 {
	n := s.memory.Capacity()
	for _, v := range s.volumes {
		n += v.Capacity()
	}
	return n
}

// MaxSize is the largest response that RAM takes, or that every disk takes.
func (s *Store) MaxSize() int64 { return s.max }

// ReleaseDisks closes the disks, for another process to open, while the store is in use.
// What lies in RAM stays, and what comes lies nowhere else from then on.
func (s *Store) ReleaseDisks() {
	for _, v := range s.volumes {
		v.Close()
	}
}

// Close closes every tier. Nobody may use the store any more, nor a body that it gave.
func (s *Store) Close() {
	if s.offers != nil {
		s.offers.close()
	}
	s.ReleaseDisks()
	s.memory.Close()
}

// changed ends a Put or Delete: what a read that has begun before gives may be what was
// replaced. Callers hold the stripe.
func (st *stripe) changed(key response.Key) {
	st.changes.Add(1)
	st.reads.Forget(key.Text)
}

func (s *Store) stripe(key response.Key) *stripe { return &s.stripes[key.Sum.Hi%stripes] }

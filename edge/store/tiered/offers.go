package tiered

import (
	"strings"

	"freshet/edge/response"
)

// offerQueue is how many keys may wait to be offered to a disk. Beyond that the disk is
// too slow for the offers to be worth waiting for; the next hit tries again.
const offerQueue = 4096

// offers takes what RAM has had a hit of to the disk that refused it when it was new.
// The keys wait, not the responses, so that what waits holds no memory.
type offers struct {
	store *Store
	keys  chan response.Key
	quit  chan struct{} // closed by close; keys never is: a request that outlasts the drain may still add
	done  chan struct{}
}

func newOffers(s *Store) *offers {
	o := &offers{store: s, keys: make(chan response.Key, offerQueue), quit: make(chan struct{}), done: make(chan struct{})}
	go o.run()
	return o
}

// add has key offered soon, if there is room.
func (o *offers) add(key response.Key) {
	key.Text = strings.Clone(key.Text) // it may lie in memory that a request leaves to the next
	select {
	case o.keys <- key:
	default:
		o.store.memory.Unhit(key)
	}
}

// close ends the offering. What is added then or later is not offered.
func (o *offers) close() {
	close(o.quit)
	<-o.done
}

func (o *offers) run() {
	defer close(o.done)
	for {
		select {
		case <-o.quit:
			return
		case key := <-o.keys:
			o.offer(key)
		}
	}
}

func (o *offers) offer(key response.Key) {
	s := o.store
	disk := s.home(key)
	if disk.Has(key) {
		return // it was taken when it was put, or comes from there
	}
	st := s.stripe(key)
	st.Lock()
	defer st.Unlock()
	if r := s.memory.Get(key); r != nil {
		s.counts.offered.add(key)
		disk.Offer(r)
	}
}

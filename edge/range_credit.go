package edge

import (
	"sync/atomic"

	"freshet/edge/response"
)

// The range credit of a content bounds what ranges of it cost the origin: two bytes for
// every byte that clients have received by range, and one slice. Every byte received
// adds two, every byte that is asked for above subtracts one, and a fetch of n bytes is
// free to be larger than what the client wants only as long as that leaves no less than
// minus a slice. When the credit is used up, nothing is fetched but what somebody wants
// next and is there to receive.

// creditSlots is how many credits there are. Contents that share one by chance are
// bounded together: the sum of what they cost by the sum of what was received.
const creditSlots = 1 << 14

// leastFetch is what may be asked for on no credit at all, in bytes, if a client wants
// it. It is as little as comes with the head of the answer in one packet: who receives
// that has received it. So the credit is exceeded only by what is asked for those who go
// away before they have had the head.
const leastFetch = 1 << 10

// credits are the range credits of a node.
type credits [creditSlots]credit

func (c *credits) of(key response.Key) *credit { return &c[key.Sum.Hi%creditSlots] }

// credit is one of them, in bytes.
type credit struct{ bytes atomic.Int64 }

// reserve takes n bytes, if the credit allows it.
func (c *credit) reserve(n int64) bool {
	for {
		has := c.bytes.Load()
		if has-n < -response.SliceSize {
			return false
		}
		if c.bytes.CompareAndSwap(has, has-n) {
			return true
		}
	}
}

// reserveSome takes as many of n bytes as the credit allows, but leastFetch of them in
// any case, and says how many.
func (c *credit) reserveSome(n int64) int64 {
	for {
		has := c.bytes.Load()
		some := min(n, max(has+response.SliceSize, leastFetch))
		if c.bytes.CompareAndSwap(has, has-some) {
			return some
		}
	}
}

// refund gives back n bytes that were reserved and not used; it takes more where n is
// negative.
func (c *credit) refund(n int64) { c.bytes.Add(n) }

// earn is told that a client has received n bytes by range.
func (c *credit) earn(n int64) { c.bytes.Add(2 * n) }

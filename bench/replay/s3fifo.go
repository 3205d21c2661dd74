package main

// s3FIFO is S3-FIFO (Yang et al., SOSP 2023) counted in bytes: a small queue of a tenth
// of the size that everything new goes through, a main queue in which what was asked
// for again goes round, and a ghost queue of the names that the small queue has dropped
// lately, as many as would fill the main queue.
type s3FIFO struct {
	small, main, ghost queue
	held               map[uint64]*s3Entry
	ghosts             map[uint64]*s3Entry
}

type s3Entry struct {
	entry
	asked int // since it came or went round, at most 3
}

// queue is a FIFO with the bytes of what is in it.
type queue struct {
	of         []*s3Entry
	head       int
	size, used int64
}

func (q *queue) push(e *s3Entry) {
	q.of = append(q.of, e)
	q.used += e.cost
}

func (q *queue) pop() *s3Entry {
	e := q.of[q.head]
	q.of[q.head] = nil
	q.head++
	q.used -= e.cost
	if q.head > 1024 && q.head > len(q.of)/2 {
		q.of = append(q.of[:0], q.of[q.head:]...)
		q.head = 0
	}
	return e
}

func (q *queue) empty() bool { return q.head == len(q.of) }

func newS3FIFO(size int64) *s3FIFO {
	return &s3FIFO{
		small: queue{size: size / 10}, main: queue{size: size - size/10}, ghost: queue{size: size - size/10},
		held: make(map[uint64]*s3Entry), ghosts: make(map[uint64]*s3Entry),
	}
}

func (c *s3FIFO) request(id uint64, cost int64) bool {
	if e := c.held[id]; e != nil {
		e.asked = min(e.asked+1, 3)
		return true
	}
	if cost > c.main.size {
		return false
	}
	for c.small.used+c.main.used+cost > c.small.size+c.main.size {
		c.evict()
	}
	e := &s3Entry{entry: entry{id, cost}}
	c.held[id] = e
	if c.ghosts[id] != nil {
		delete(c.ghosts, id) // its place in the ghost queue runs out by itself
		c.main.push(e)
	} else {
		c.small.push(e)
	}
	return false
}

// evict drops one object.
func (c *s3FIFO) evict() {
	for !c.small.empty() && (c.small.used > c.small.size || c.main.empty()) {
		e := c.small.pop()
		if e.asked > 1 {
			e.asked = 0
			c.main.push(e)
			continue
		}
		delete(c.held, e.id)
		c.remember(e)
		return
	}
	c.evictMain()
}

// evictMain drops the first of the main queue that was not asked for.
func (c *s3FIFO) evictMain() {
	for !c.main.empty() {
		e := c.main.pop()
		if e.asked > 0 {
			e.asked--
			c.main.push(e)
			continue
		}
		delete(c.held, e.id)
		return
	}
}

func (c *s3FIFO) remember(e *s3Entry) {
	for !c.ghost.empty() && c.ghost.used+e.cost > c.ghost.size {
		if g := c.ghost.pop(); c.ghosts[g.id] == g {
			delete(c.ghosts, g.id)
		}
	}
	c.ghosts[e.id] = e
	c.ghost.push(e)
}

func (c *s3FIFO) close() {}

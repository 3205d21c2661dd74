package filestest

// pageSize is how files are cut in RAM; copies of a file share pages.
const pageSize = 16 << 10

// owner is who may change a page in place; everybody else copies it first. A layer and
// what is rebuilt from it share pages, each with an owner of its own.
type owner struct{ _ byte }

type page struct {
	owner *owner
	data  [pageSize]byte
}

// content is the bytes of a file: nil pages, and what lies past the last one, are
// zeros. So are the bytes of a page past size.
type content struct {
	pages []*page
	size  int64
}

// clone shares the pages. Both sides need new owners before they write again.
func (c *content) clone() content {
	return content{append([]*page(nil), c.pages...), c.size}
}

// each cuts the n bytes from off at the bounds of pages.
func each(off, n int64, do func(number int, from, to int, done int64)) {
	for done := int64(0); done < n; {
		number, from := int((off+done)/pageSize), (off+done)%pageSize
		to := min(pageSize, from+n-done)
		do(number, int(from), int(to), done)
		done += to - from
	}
}

// readAt fills p, which must lie within size.
func (c *content) readAt(p []byte, off int64) {
	each(off, int64(len(p)), func(number, from, to int, done int64) {
		into := p[done : done+int64(to-from)]
		if number >= len(c.pages) || c.pages[number] == nil {
			clear(into)
			return
		}
		copy(into, c.pages[number].data[from:to])
	})
}

// mine is the page as by may change it.
func (c *content) mine(number int, by *owner) *page {
	for len(c.pages) <= number {
		c.pages = append(c.pages, nil)
	}
	was := c.pages[number]
	if was != nil && was.owner == by {
		return was
	}
	p := &page{owner: by}
	if was != nil {
		p.data = was.data
	}
	c.pages[number] = p
	return p
}

// writeAt writes p, and makes the file longer if need be.
func (c *content) writeAt(p []byte, off int64, by *owner) {
	each(off, int64(len(p)), func(number, from, to int, done int64) {
		copy(c.mine(number, by).data[from:to], p[done:])
	})
	c.size = max(c.size, off+int64(len(p)))
}

// resize cuts the file or lets it grow by zeros.
func (c *content) resize(size int64, by *owner) {
	if size < c.size {
		whole := int((size + pageSize - 1) / pageSize)
		c.pages = c.pages[:min(whole, len(c.pages))]
		if last, rest := int(size/pageSize), size%pageSize; rest != 0 && last < len(c.pages) && c.pages[last] != nil {
			clear(c.mine(last, by).data[rest:])
		}
	}
	c.size = size
}

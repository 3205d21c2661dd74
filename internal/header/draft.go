package header

// Draft is a copy of a block that is changed and keeps its memory for the next one: once
// it has been used it makes blocks without allocating. The zero value is ready.
type Draft struct {
	blocks [2]Block
	at     int
}

// Begin makes the draft a copy of from, without the fields for which keep says no.
// from may be the draft as it is.
func (d *Draft) Begin(from *Block, keep func(name, value string) bool) {
	d.at = 1 - d.at
	from.Copy(d.Block(), keep)
}

// Block is the draft as it is; its strings are valid until the next change.
func (d *Draft) Block() *Block { return &d.blocks[d.at] }

// Add is Block.Add.
func (d *Draft) Add(name, value string) error { return d.Block().Add(name, value) }

// Set is Block.Set.
func (d *Draft) Set(name, value string) error {
	if !d.Block().Has(name) {
		return d.Add(name, value)
	}
	next := &d.blocks[1-d.at]
	next.Reset()
	if err := d.Block().setInto(next, name, value); err != nil {
		return err
	}
	d.at = 1 - d.at
	return nil
}

// Del is Block.Del.
func (d *Draft) Del(name string) {
	if d.Block().Has(name) {
		d.Block().Copy(&d.blocks[1-d.at], func(n, _ string) bool { return !EqualName(n, name) })
		d.at = 1 - d.at
	}
}

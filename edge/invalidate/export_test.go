package invalidate

// SetMax bounds the marks that a table holds.
func (t *Table) SetMax(n int64) { t.max = n }

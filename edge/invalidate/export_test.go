package invalidate

// SetMax bounds the marks and the touched scopes that a table holds.
func (t *Table) SetMax(marks int64, touched int) { t.max, t.touches.max = marks, touched }

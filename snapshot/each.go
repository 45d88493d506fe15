package snapshot

import (
	"context"

	"canalgo/mapping"
)

// Each calls chunk with what the mapping makes of all rows of the table, in the order of its key, and writes nothing.
func (r *Reader) Each(ctx context.Context, chunk func([]mapping.Change) error) error {
	if err := RequireKey(r.Table); err != nil {
		return err
	}
	var key []string
	for limit := r.firstRows(); ; {
		c, err := r.next(ctx, 0, key, limit)
		if err != nil {
			return err
		}
		if err := chunk(c.changes); err != nil {
			return err
		}
		if c.end {
			return nil
		}
		key, limit = c.lastKey, r.nextRows(c)
	}
}

package snapshot

import (
	"context"
	"fmt"
	"slices"

	"canalgo/event"
	"canalgo/sqltext"
)

// Among reads the rows of a table that have one of some primary keys, each given as its literals, once the server shows the
// transactions before at; lock is for one without GTIDs. Values stand where t.Columns has them, in no order of rows. It ends early, and
// says so, with the row behind which values have cutBytes.
func Among(ctx context.Context, s Selector, at event.Position, t *event.Table, columns []int, keys [][]string, lock bool, row func([]any)) (cut bool, err error) {
	query := chunkQuery{table: t, columns: columns, lock: lock}
	announced := make([]event.Column, len(columns))
	for i, k := range columns {
		announced[i] = t.Columns[k]
	}
	size := 0
	err = s.Select(ctx, at, query.among(keys), announced, func(values []any) error {
		row(widen(t, columns, values))
		if size += bytesOf(values); size >= cutBytes {
			cut = true
			return errCut
		}
		return nil
	})
	if err != nil && !cut {
		return false, fmt.Errorf("read rows of %s: %w", t.Name, err)
	}
	return cut, nil
}

func (q chunkQuery) among(keys [][]string) string {
	return q.selectFrom() + " WHERE " + sqltext.In(q.keyExprs(), keys) + q.suffix()
}

// widen puts the values of the columns that were read where a table has them.
func widen(t *event.Table, columns []int, values []any) []any {
	row, same := values, len(columns) == len(t.Columns)
	for i := 0; same && i < len(columns); i++ {
		same = columns[i] == i
	}
	if !same { // the key's may stand behind the others
		row = make([]any, len(t.Columns))
		for i, k := range columns {
			row[k] = values[i]
		}
	}
	return row
}

// WithKey returns the columns that a mapping reads of a table, and those of the primary key.
func WithKey(m interface {
	Columns(*event.Table) ([]int, error)
}, t *event.Table) ([]int, error) {
	columns, err := m.Columns(t)
	if err != nil {
		return nil, err
	}
	for _, k := range t.Key {
		if !slices.Contains(columns, k) {
			columns = append(columns, k)
		}
	}
	return columns, nil
}

package binlog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"canalgo/event"
)

// Indexed reports whether an index of a table begins with the columns, in any order, and estimates the table's rows.
func (s *Source) Indexed(ctx context.Context, table event.TableName, columns []string) (indexed bool, rows uint64, err error) {
	conn, _, err := s.Connect(ctx, "")
	if err != nil {
		return false, 0, err
	}
	defer conn.Close()
	r, err := conn.Execute("SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND sub_part IS NULL "+
		"ORDER BY index_name, seq_in_index", table.Schema, table.Name)
	if err != nil {
		return false, 0, fmt.Errorf("list the indexes of %s: %w", table, err)
	}
	indexes := make(map[string][]string)
	for i := range r.Values {
		name, _ := r.GetString(i, 0)
		column, _ := r.GetString(i, 1)
		indexes[name] = append(indexes[name], strings.ToLower(column))
	}
	for _, have := range indexes {
		leading := have[:min(len(have), len(columns))]
		if len(leading) == len(columns) && !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(leading, strings.ToLower(c)) }) {
			return true, 0, nil
		}
	}
	rows, err = s.Rows(ctx, table)
	return false, rows, err
}

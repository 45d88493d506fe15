package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/snapshot"
)

func TestKeyLiterals(t *testing.T) {
	for _, c := range []struct {
		column event.Column
		value  any
		want   string
	}{
		{event.Column{Type: event.BigInt, Unsigned: true}, uint64(1 << 63), "9223372036854775808"},
		{event.Column{Type: event.TinyInt}, int8(-3), "-3"},
		{event.Column{Type: event.Char}, `a'b`, "_utf8mb4 X'612762'"},
		{event.Column{Type: event.Binary}, []byte{0, 255}, "X'00ff'"},
		{event.Column{Type: event.Char, Charset: "cp932"}, "中", "_utf8mb4 X'e4b8ad'"},
		{event.Column{Type: event.Char, Charset: "gbk"}, []byte("\xa2\xab"), "_gbk X'a2ab'"},
		{event.Column{Type: event.Decimal}, "1.50", "1.50"},
		{event.Column{Type: event.Date}, "2024-02-29", "'2024-02-29'"},
		{event.Column{Type: event.Enum, Labels: []string{"a", "b"}}, "b", "2"},
		{event.Column{Type: event.Set, Labels: []string{"a", "b", "c"}}, "a,c", "5"},
	} {
		one := &event.Table{Columns: []event.Column{c.column}, Key: []int{0}}
		got, err := snapshot.Key(one, []any{c.value})
		if err != nil || got[0] != c.want {
			t.Errorf("%s %v: got %v, %v, want %s", c.column.Type, c.value, got, err, c.want)
		}
	}
}

// TestKeyOfTwoCodes: the server would look for the character's other code, in another place of the key's order.
func TestKeyOfTwoCodes(t *testing.T) {
	one := &event.Table{Columns: []event.Column{{Name: "k", Type: event.Char, Charset: "cp932"}}, Key: []int{0}}
	var stop *event.StopError
	if got, err := snapshot.Key(one, []any{"\u2252"}); !errors.As(err, &stop) || !strings.Contains(err.Error(), "column k has a character that its character set cp932 has twice") {
		t.Errorf("got %v, %v, want a StopError", got, err)
	}
}

// TestColumnsInAnyOrder reads a table of which the mapping needs all columns but the key, which is read behind them.
func TestColumnsInAnyOrder(t *testing.T) {
	b := newBench(0)
	b.reader.Columns, b.reader.Selector = []int{1, 0}, swapped{}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil || b.dest.docs["1"] != "row" {
		t.Errorf("got %v, %v", b.dest.docs, err)
	}
}

// swapped gives one row, its columns as they are asked for.
type swapped struct{}

func (swapped) Select(_ context.Context, _ event.Position, _ string, columns []event.Column, row func([]any) error) error {
	if columns[0].Name != "name" {
		return fmt.Errorf("asked for %v", columns)
	}
	return row([]any{"row", int64(1)})
}

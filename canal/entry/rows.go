package entry

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/event"
)

// A table is what the columns of rows have in common.
type table struct{ columns []column }

// A column is what its values have in common.
type column struct {
	event.Column
	key      bool
	fixed    bool   // a CHAR
	name     []byte // the field as it is written
	declared []byte // the field as it is written
}

// table returns what is known of a definition; rows of equal definitions share it.
func (m *Maker) table(t *event.Table) *table {
	if known := m.tables[t]; known != nil {
		return known
	}
	if len(m.tables) >= maxTables {
		clear(m.tables)
	}
	out := &table{columns: make([]column, len(t.Columns))}
	var now *event.Table
	if m.Describe != nil {
		now = m.Describe(t.Name)
	}
	for i, c := range t.Columns {
		if now != nil {
			if n := now.Column(c.Name); n >= 0 && plain(now.Columns[n].Declared) == plain(c.Declared) {
				c.Declared = now.Columns[n].Declared
			}
		}
		field := func(number protowire.Number, text string) []byte {
			var w buffer
			w.text(number, valid(text))
			return w.b[w.at:]
		}
		out.columns[i] = column{Column: c, key: slices.Contains(t.Key, i), fixed: strings.HasPrefix(c.Declared, "char("),
			name: field(3, c.Name), declared: field(10, c.Declared)}
	}
	m.tables[t] = out
	return out
}

// shown is what the declared type of a number has that changes nothing of what is stored: how it is to be shown.
var shown = regexp.MustCompile(`^((?:tiny|small|medium|big)?int|year|float|double)(\([0-9,]+\))?( unsigned)?( zerofill)?$`)

// plain leaves that out of a declared type.
func plain(declared string) string { return shown.ReplaceAllString(declared, "$1$3") }

// maxTables bounds how many definitions are remembered.
const maxTables = 1000

// rows makes the entry of a rows event.
func (m *Maker) rows(e *event.Event) (Entry, bool, error) {
	rows, err := m.decoder.Decode([]event.Event{*e})
	if err != nil || len(rows) == 0 {
		return Entry{}, false, err
	}
	t := m.table(rows[0].Table)
	w := &m.buffer
	for i := range slices.Backward(rows) {
		row := &rows[i]
		before := w.size()
		if err := m.image(fieldAfter, t, row, row.After); err != nil {
			return Entry{}, false, err
		}
		if err := m.image(fieldBefore, t, row, row.Before); err != nil {
			return Entry{}, false, err
		}
		w.message(12, before)
	}
	what := map[event.Op]int64{event.Insert: typeInsert, event.Update: typeUpdate, event.Delete: typeDelete}[rows[0].Op]
	w.boolean(10, false)
	w.number(2, what)
	w.number(1, int64(binary.LittleEndian.Uint64(append(slices.Clone(e.Raw[eventHeader:eventHeader+6]), 0, 0))))
	return m.finish(e, RowData, rows[0].Table.Name, what, len(rows)), true, nil
}

// The images in RowData.
const (
	fieldBefore protowire.Number = 1
	fieldAfter  protowire.Number = 2
)

// image writes the columns of one image of a row. Those that the log does not have (binlog_row_image) leave a gap between the numbers of
// the others, as in canal.
func (m *Maker) image(field protowire.Number, t *table, row *event.Row, values []any) error {
	for i, v := range slices.Backward(values) {
		if v == event.Absent {
			continue
		}
		updated := field == fieldAfter && (row.Before == nil || !same(row.Before[i], v))
		if err := m.column(field, t, i, v, updated); err != nil {
			return &event.StopError{Reason: fmt.Sprintf("%s, column %s: %s", row.Table.Name, row.Table.Columns[i].Name, err),
				Fix: "check the server's log with mysqlbinlog"}
		}
	}
	return nil
}

// eventHeader is how many bytes head an event; a rows event's table id follows in 6.
const eventHeader = 19

// column writes one value of a row.
func (m *Maker) column(field protowire.Number, t *table, i int, v any, updated bool) error {
	c, w := &t.columns[i], &m.buffer
	before := w.size()
	w.raw(c.declared)
	if v != nil {
		if err := m.value(c, v); err != nil {
			return err
		}
	}
	w.boolean(6, v == nil)
	w.boolean(5, updated)
	w.boolean(4, c.key)
	w.raw(c.name)
	w.number(2, int64(sqlType(c, v)))
	w.number(1, int64(i))
	w.message(field, before)
	return nil
}

// same reports whether two values have the same text.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if x, ok := a.([]byte); ok {
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	return a == b
}

package binlog

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"canalgo/event"
)

// mapped is a table map.
type mapped struct {
	name   event.TableName
	raw    []byte
	body   []byte // of raw, to recognise it
	wanted bool
	piece  int // the last piece that holds it

	columns []byte // their types
	named   bool   // it has the names of the columns
}

// tableMap notes which table an id stands for:
//
//	id:6 | flags:u16 | schema length:u8 | schema | 0 | table length:u8 | table | 0 | ...
func (t *tracker) tableMap(raw []byte) (kept bool, err error) {
	t.tx.open = true
	body := raw[headerSize:]
	id := tableID(body)
	m := t.tables[id]
	if m == nil || !bytes.Equal(m.body, body) {
		rest := body[8:]
		schema, rest, ok := shortText(rest)
		var table []byte
		if ok {
			table, rest, ok = shortText(rest)
		}
		if !ok {
			return false, t.stop("a malformed table map", "")
		}
		m = &mapped{name: event.TableName{Schema: string(schema), Name: string(table)}, raw: raw, body: body}
		m.columns, m.named = columnsOf(rest)
		t.tables[id] = m
		kept = true
	}
	m.wanted = t.want(m.name)
	return kept, nil
}

// shortText reads a text with its length before it and a zero behind.
func shortText(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 2+int(b[0]) {
		return nil, nil, false
	}
	n := int(b[0])
	return b[1 : 1+n], b[2+n:], true
}

// rows takes a rows event: table id:6 | flags:u16 | ...
func (t *tracker) rows(ctx context.Context, raw []byte) (kept bool, err error) {
	t.tx.open = true
	if err := t.step(); err != nil {
		return false, err
	}
	id := tableID(raw[headerSize:])
	m := t.tables[id]
	switch {
	case m == nil && id == 0xffffff: // ends a statement all of whose rows were filtered out
		return false, nil
	case m == nil:
		return false, t.stop(fmt.Sprintf("rows of the table with id %d, which nothing has described", id), "")
	case !m.wanted:
		t.filtered++
		return false, nil
	}
	t.touch(m.name)
	if t.tx.unkept {
		return false, nil
	}
	if t.formatted != t.piece { // a statement may stand before the first rows: CREATE TABLE ... SELECT
		t.formatted = t.piece
		t.add(event.Event{Kind: event.FormatDescription, Raw: t.format})
	}
	if m.piece != t.piece {
		m.piece = t.piece
		if !m.named && t.history != nil {
			if err := t.defined(ctx, m); err != nil {
				return false, err
			}
			t.add(event.Event{Kind: event.Defined, Table: m.name})
		}
		t.add(event.Event{Kind: event.TableMap, Table: m.name, Raw: m.raw})
	}
	t.add(event.Event{Kind: event.Rows, Table: m.name, Version: t.version(), Raw: raw, Origin: t.origin()})
	return true, t.cut(ctx)
}

// oversized takes the head of an event above maxEvent. Whoever does not want its table does not mind it.
func (t *tracker) oversized(ctx context.Context, raw []byte) error {
	h := readHeader(raw)
	t.events++
	if h.end != 0 {
		t.offset = extend(t.offset, h.end)
	}
	if t.offset <= t.passTo || h.kind == typeRowsQuery || h.kind == typeAnnotateRows || h.flags&flagIgnorable != 0 {
		return nil
	}
	if isRows(h.kind) {
		t.count++
		if m := t.tables[tableID(raw[headerSize:])]; m != nil && !m.wanted {
			t.filtered++
			return nil
		} else if m != nil {
			t.statement(&event.Stmt{Action: event.Missing, Tables: []event.TableName{m.name},
				Text: fmt.Sprintf("the event has %d bytes, more than the %d that are taken", h.size, maxEvent)})
			return nil
		}
	}
	return t.stop(fmt.Sprintf("an event of type %d with %d bytes, more than the %d that are taken", h.kind, h.size, maxEvent), "")
}

// touch notes that the transaction has something of a table that is wanted.
func (t *tracker) touch(table event.TableName) {
	t.tx.work = true
	if !slices.Contains(t.tx.tables, table) {
		t.tx.tables = append(t.tx.tables, table)
	}
}

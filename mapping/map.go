package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"unicode/utf8"

	"canalgo/event"
)

// maxIDBytes is the longest document id that Elasticsearch takes.
const maxIDBytes = 512

// Map turns rows into changes, in order; rows of other tables are ignored. A row of which no document can be made gives
// a Change with Err. Map itself fails when a row's definition does not fit the rule: *event.StopError.
//
// A row leaves its document when its id changes or its WHERE no longer holds: that is a Delete of the old document before
// the Write of the new, both at the row's version. A row whose old image has an id that no document can have (NULL, empty,
// too long), or that was a child without a parent, deletes nothing: its Delete is Nowhere.
func (m *Mapping) Map(rows []event.Row) ([]Change, error) {
	w := writer{m: m, rows: len(rows), changes: make([]Change, 0, len(rows))}
	for i := range rows {
		r := &rows[i]
		if r.Table == nil || r.Table.Name != m.table && !(r.Op == event.DropTable && r.Table.Name == event.TableName{Schema: m.table.Schema}) {
			continue // another table, nor the whole schema
		}
		if r.Op == event.DeleteAll || r.Op == event.DropTable {
			w.add(Change{Op: Clear, Index: m.index, Version: r.Version, Row: r}, nil)
			continue
		}
		b, err := m.binding(r.Table)
		if err == nil && m.rule == nil {
			err = m.accept(r.Table)
		}
		if err != nil {
			return nil, err
		}
		if err := w.row(b, r); err != nil {
			return nil, fmt.Errorf("mapping %s: %s %s: %w", m.name, r.Op, m.table, err)
		}
	}
	if m.rule != nil {
		return once(w.finish()), nil
	}
	return w.finish(), nil
}

// once leaves each document once: several rows of a rule's answer for one document cannot all be it.
func once(all []Change) []Change {
	given := make(map[string]int, len(all)) // where the document stands in changes
	times := make(map[string]int)
	changes := all[:0]
	for _, c := range all {
		k, again := given[c.ID]
		if !again || c.Op == Clear {
			given[c.ID] = len(changes)
			changes = append(changes, c)
			continue
		}
		if times[c.ID] == 0 && changes[k].Err != nil {
			continue // no document can be made of any of them
		}
		times[c.ID]++
		changes[k].Err = fmt.Errorf("the SQL gives %d rows for this document; join so that there is one, or group", times[c.ID]+1)
	}
	return changes
}

// A writer collects the changes of one Map call. Bodies lie one behind the other in chunks, ids in one string.
type writer struct {
	m       *Mapping
	rows    int // of this call
	changes []Change
	free    []byte // unused rest of the present chunk; length 0
	ids     []byte
	ends    []int // where each change's id ends in ids
	scratch []byte
	leaves  string // the routing that the document of the next write had until now
	bytes   int    // of all bodies
	bodies  int
	changed changed
}

// row adds what an Insert, Update or Delete means.
func (w *writer) row(b *binding, r *event.Row) error {
	columns := len(r.Table.Columns)
	if r.Op != event.Insert && len(r.Before) != columns || r.Op != event.Delete && len(r.After) != columns {
		return fmt.Errorf("an image does not have the table's %d columns", columns)
	}
	if r.Partial {
		return w.partial(b, r)
	}
	switch r.Op {
	case event.Insert:
		if matched, err := b.matches(r.After); matched || err != nil {
			w.write(b, r, err)
		}
	case event.Update:
		had := b.hadDocument(r.Before)
		matched, err := b.matches(r.After)
		if had && err == nil && !(matched && w.sameID(b, r)) {
			w.delete(b, r)
		} else if had && b.relation != nil {
			w.leaves, _ = b.relation.routing(r.Before) // without a parent it was nowhere
		}
		if matched || err != nil {
			w.write(b, r, err)
		}
	case event.Delete:
		if b.hadDocument(r.Before) {
			w.delete(b, r)
		}
	default:
		return fmt.Errorf("unknown operation %d", r.Op)
	}
	return nil
}

// sameID reports whether both images of an update have the same document.
func (w *writer) sameID(b *binding, r *event.Row) bool {
	before, errBefore := b.appendID(w.scratch[:0], r.Before)
	split := len(before)
	both, errAfter := b.appendID(before, r.After)
	w.scratch = both
	return errBefore == nil && errAfter == nil && checkID(both[:split]) == nil && bytes.Equal(both[:split], both[split:])
}

// delete adds the Delete of a row's old document. Where no id can be made, or there is no parent, no document was, but the row may be set
// aside.
func (w *writer) delete(b *binding, r *event.Row) {
	c := Change{Op: Delete, Index: w.m.index, Version: r.Version, Row: r}
	id, err := b.appendID(w.ids, r.Before)
	if err == nil {
		err = checkID(id[len(w.ids):])
	}
	if err != nil {
		c.Nowhere, id = true, w.appendName(b, r.Table, r.Before)
	} else if c.Routing, err = b.relation.routing(r.Before); err != nil {
		c.Nowhere = true
	}
	w.ids = id
	w.add(c, nil)
}

// write adds the Write of a row's new document, or the reason why there is none.
func (w *writer) write(b *binding, r *event.Row, why error) {
	start := len(w.ids)
	id, err := b.appendID(w.ids, r.After)
	if err == nil {
		err = checkID(id[start:])
	}
	if err != nil {
		why = errors.Join(why, err)
		w.ids = w.appendName(b, r.Table, r.After)
	} else {
		w.ids = id
	}
	c := Change{Op: Write, Index: w.m.index, Version: r.Version, Row: r}
	routing, err := b.relation.routing(r.After)
	c.Routing, why = routing, errors.Join(why, err)
	if why == nil {
		c.Body, why = w.body(b, r.After, routing)
	}
	if w.leaves != "" && w.leaves != routing {
		c.Left = []string{w.leaves}
	}
	w.leaves = ""
	w.add(c, why)
}

// body encodes a document into the present chunk.
func (w *writer) body(b *binding, row []any, routing string) ([]byte, error) {
	if cap(w.free) == 0 {
		mean := int(w.m.bodySize.Load())
		if w.bodies > 0 {
			mean = w.bytes / w.bodies
		}
		w.free = make([]byte, 0, max(512, (w.rows-w.bodies)*(mean+mean/8)))
	}
	body, err := b.appendBody(w.free, row, routing, &w.changed)
	if err != nil {
		return nil, err
	}
	w.bodies++
	w.bytes += len(body)
	if cap(body) == cap(w.free) {
		w.free = body[len(body):]
	} else {
		w.free = nil // the body did not fit and lies in memory of its own
	}
	return body[:len(body):len(body)], nil
}

func (w *writer) add(c Change, err error) {
	c.Err = err
	w.changes = append(w.changes, c)
	if w.ends == nil {
		w.ends = make([]int, 0, w.rows)
	}
	w.ends = append(w.ends, len(w.ids))
}

// finish hands the ids out and remembers what the next call needs to know.
func (w *writer) finish() []Change {
	ids := string(w.ids)
	start := 0
	for i, end := range w.ends {
		w.changes[i].ID = ids[start:end]
		start = end
	}
	if w.bodies > 0 {
		w.m.bodySize.Store(int64(w.bytes / w.bodies))
	}
	if w.changed != (changed{}) {
		w.m.nulled.Add(w.changed.nulled)
		w.m.clipped.Add(w.changed.clipped)
	}
	return w.changes
}

// matches reports whether WHERE holds for an image.
func (b *binding) matches(row []any) (bool, error) {
	if b.where == nil {
		return true, nil
	}
	v, err := b.where.eval(row)
	return v == yes, err
}

// hadDocument reports whether an old image may have a document. Deleting one that is not there does no harm, so doubt
// counts as yes.
func (b *binding) hadDocument(row []any) bool {
	matched, err := b.matches(row)
	return matched || err != nil
}

// checkID says why Elasticsearch would refuse the id.
func checkID(id []byte) error {
	if len(id) == 0 {
		return errors.New("the document's id is empty")
	}
	if len(id) > maxIDBytes {
		return fmt.Errorf("the document's id has %d bytes, Elasticsearch takes %d", len(id), maxIDBytes)
	}
	return nil
}

// appendName appends what a row without an id is called: what there is of an id and, so that no other row is called the same, its key. The
// rows of a rule's answer have no other key than their ids.
func (w *writer) appendName(b *binding, t *event.Table, row []any) []byte {
	key := t.Key
	if w.m.rule != nil {
		key = nil
	}
	return appendName(w.ids, b.id, key, row)
}

func appendName(dst []byte, parts []idPart, key []int, row []any) []byte {
	start := len(dst)
	for _, p := range parts {
		next, err := p.append(dst, row)
		if err != nil {
			next = append(dst, "NULL"...)
			if v := row[p.column]; v != nil {
				next = fmt.Appendf(dst, "%q", v)
			}
		}
		dst = next
	}
	if len(dst) == start {
		dst = append(dst, `""`...)
	}
	for i, k := range key {
		dst = append(dst, ' ')
		if i == 0 {
			dst = append(dst, '(')
		}
		if text, ok := row[k].(string); ok {
			dst = fmt.Appendf(dst, "%q", text)
		} else {
			dst = fmt.Append(dst, row[k])
		}
	}
	if len(key) > 0 {
		dst = append(dst, ')')
	}
	if len(dst)-start > maxIDBytes {
		whole := fnv.New64a()
		whole.Write(dst[start:])
		rest := fmt.Sprintf("... %016x", whole.Sum64())
		dst = dst[:start+maxIDBytes-len(rest)]
		for !utf8.Valid(dst[start:]) {
			dst = dst[:len(dst)-1]
		}
		dst = append(dst, rest...)
	}
	return dst
}

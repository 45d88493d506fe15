package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"canalgo/event"
	"canalgo/sqltext"
)

// A Key is what a rule's document is known by.
type Key struct {
	ID       string
	Literals []string // of the columns of the anchor that make the id
	values   []any
	// routings are where the document of a child was or is, as far as rows say it: none for others, and where it has no parent.
	routings []string
}

// at returns the key with one more place where its document was or is.
func (k Key) at(routings ...string) Key {
	for _, r := range routings {
		if r != "" && !slices.Contains(k.routings, r) {
			k.routings = append(k.routings[:len(k.routings):len(k.routings)], r)
		}
	}
	return k
}

// Touched is which documents rows touch: those of the anchor's own rows by their keys, and by columns of other tables' rows those
// that the server has to be asked for. The zero value touches nothing.
type Touched struct {
	Keys  map[string]Key        // by document id
	Links map[int][][]string    // by element, the literals of the columns that lead to the anchor
	At    map[int]event.Version // by element, of the newest row of Links
	All   bool                  // every document may have changed
	Bad   []Change              // rows of which no document can be made
	Null  []Change              // those that would have NULL as their id, if the SQL gives such a row
	Last  event.Version         // of the newest row

	linked map[string]bool
}

// Empty reports whether no document is touched.
func (t *Touched) Empty() bool {
	return len(t.Keys) == 0 && len(t.Links) == 0 && !t.All && len(t.Bad) == 0 && len(t.Null) == 0
}

// Touch adds what a row touches. Clear says that every document that is older than the row, once what is touched is rendered, has no row any
// more: the anchor's table was emptied, or one that gives ids of a group. The error is an *event.StopError.
func (r *Rule) Touch(row *event.Row, t *Touched) (clear bool, err error) {
	if row.Table == nil {
		return false, nil
	}
	for i, e := range r.elements {
		if r.branches != nil && e == r.anchor {
			continue // no table has its rows
		}
		whole := row.Op == event.DropTable && row.Table.Name == event.TableName{Schema: e.table.Schema}
		if row.Table.Name != e.table && !whole {
			continue
		}
		switch {
		case row.Op == event.DropTable && e != r.anchor:
			return false, &event.StopError{Reason: fmt.Sprintf("mapping %s: the table %s of its SQL was dropped", r.src.mapping, e.table), Fix: "create it again, or change the mapping"}
		case row.Op == event.DropTable || row.Op == event.DeleteAll && e == r.anchor:
			clear = true
			continue
		}
		t.Last = max(t.Last, row.Version)
		if row.Op == event.DeleteAll {
			t.All = true
			clear = clear || e.id != nil // the documents that only this table's rows made are in no other
			continue
		}
		b, err := r.bound(e, row.Table)
		if err == nil {
			err = errors.Join(r.mapping.accept(row.Table), r.mapping.known(row, b.columns, b.what), r.mapping.known(row, b.parent.columns(), givesParent))
		}
		if err != nil {
			return false, err
		}
		if row.Op == event.Update && b.same(row) {
			continue
		}
		if b.id != nil {
			r.touchKeys(b, row, t)
		} else if err := r.touchLinks(i, b, row, t); err != nil {
			return false, err
		}
	}
	return clear, nil
}

// Clear is the change that a row makes which says that all of the anchor's are gone.
func (r *Rule) Clear(row *event.Row) Change {
	return Change{Op: Clear, Index: r.mapping.index, Version: row.Version, Row: row}
}

// Name returns the mapping's name.
func (r *Rule) Name() string { return r.mapping.name }

// A boundElement is an element applied to one definition of its table.
type boundElement struct {
	table   *event.Table
	columns []int  // the key's, of the anchor; else those that lead to it
	what    string // they are for
	id      []idPart
	parent  *boundRelation // of the anchor, nil where it has no parent
	reads   []int          // what of it the SQL names
	// opposites are what columns are compared with, where they lead to the anchor.
	opposites []event.Column
}

func (r *Rule) bound(e *element, t *event.Table) (*boundElement, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.bounds[e]; b != nil && b.table == t {
		return b, nil
	}
	names, what := r.finds(e)
	b := &boundElement{table: t, what: what}
	id := e.id
	if e == r.anchor {
		id = r.id
	}
	for _, name := range names {
		k, err := r.column(t, name)
		if err != nil {
			return nil, err
		}
		b.columns = append(b.columns, k)
	}
	if id != nil {
		var err error
		if b.id, err = r.idParts(t, id); err != nil {
			return nil, err
		}
		if r.parent != nil && e == r.anchor {
			b.parent = &boundRelation{}
			if b.parent.parent, err = r.idParts(t, r.parent); err != nil {
				return nil, err
			}
		}
	} else {
		b.opposites = r.opposites(e)
	}
	for i, c := range t.Columns {
		if e.reads == nil || e.reads[strings.ToLower(c.Name)] {
			b.reads = append(b.reads, i)
		}
	}
	if r.bounds == nil {
		r.bounds = make(map[*element]*boundElement)
	}
	r.bounds[e] = b
	return b, nil
}

func (r *Rule) column(t *event.Table, name string) (int, error) {
	k := t.Column(name)
	if k < 0 {
		return 0, &event.StopError{Reason: fmt.Sprintf("mapping %s: column %q is not in %s", r.src.mapping, name, t.Name), Fix: "change the SQL, or the table"}
	}
	return k, nil
}

// idParts says how an id is made of the anchor's columns.
func (r *Rule) idParts(t *event.Table, parts []part) ([]idPart, error) {
	var out []idPart
	for _, p := range parts {
		if p.isText {
			out = append(out, idPart{text: p.text, column: -1})
			continue
		}
		k, err := r.column(t, p.column.name)
		if err != nil {
			return nil, err
		}
		c := &t.Columns[k]
		if !isIDType(c.Type) || c.Type == event.Enum || c.Type == event.Set {
			return nil, &event.StopError{Reason: fmt.Sprintf("mapping %s: column %s of %s is a %s and cannot be part of the id of a document that the server renders", r.src.mapping, c.Name, t.Name, strings.ToUpper(c.Type.String())),
				Fix: "use the columns of a key"}
		}
		out = append(out, idPart{column: k, form: formOf(c), name: c.Name})
	}
	return out, nil
}

// same reports whether an update changed no column that the SQL reads. Of one that neither image has nobody knows: a MariaDB's REPLACE
// is an update whose images have only the columns that it names, and the others get their defaults.
func (b *boundElement) same(row *event.Row) bool {
	for _, i := range b.reads {
		if row.After[i] == event.Absent || !sameValue(row.Before[i], row.After[i]) {
			return false
		}
	}
	return true
}

func sameValue(a, b any) bool {
	x, ok1 := a.([]byte)
	y, ok2 := b.([]byte)
	if ok1 && ok2 {
		return bytes.Equal(x, y)
	}
	return ok1 == ok2 && a == b
}

func (r *Rule) touchKeys(b *boundElement, row *event.Row, t *Touched) {
	if t.Keys == nil {
		t.Keys = make(map[string]Key)
	}
	if row.Before != nil {
		if key, err := b.key(row.Before); err == nil { // else it had no document
			t.Keys[key.ID] = key.at(t.Keys[key.ID].routings...)
		}
	}
	if row.After == nil {
		return
	}
	key, err := b.key(row.After)
	if err == nil {
		t.Keys[key.ID] = key.at(t.Keys[key.ID].routings...)
		return
	}
	bad := Change{Op: Write, Index: r.mapping.index, ID: string(appendName(nil, b.id, nil, row.After)), Version: row.Version, Row: row, Err: err}
	if b.null(row.After) {
		t.Null = append(t.Null, bad)
	} else {
		t.Bad = append(t.Bad, bad)
	}
}

// null reports whether a column of the key is NULL.
func (b *boundElement) null(image []any) bool {
	return slices.ContainsFunc(b.columns, func(k int) bool { return image[k] == nil })
}

// key returns the key of an image of the anchor's table. When the image has no id, the error comes with what else the key has.
func (b *boundElement) key(image []any) (Key, error) {
	var k Key
	literals, err := b.literals(image)
	if err != nil {
		return k, err
	}
	k.Literals = literals
	for _, i := range b.columns {
		k.values = append(k.values, image[i])
	}
	id, err := appendParts(nil, b.id, image)
	if err == nil {
		err = checkID(id)
	}
	k.ID = string(id)
	if routing, err := b.parent.routing(image); err == nil { // else it had no document
		k = k.at(routing)
	}
	return k, err
}

// literals returns an image's columns as literals; nil when one of them is NULL.
func (b *boundElement) literals(image []any) ([]string, error) {
	if b.null(image) {
		return nil, nil
	}
	out := make([]string, len(b.columns))
	for i, k := range b.columns {
		var err error
		if b.id != nil {
			out[i], err = sqltext.Literal(b.table.Columns[k], image[k])
		} else {
			out[i], err = linkLiteral(b.table.Columns[k], image[k], b.opposites[i])
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *Rule) touchLinks(i int, b *boundElement, row *event.Row, t *Touched) error {
	for _, image := range [][]any{row.Before, row.After} {
		if image == nil {
			continue
		}
		literals, err := b.literals(image)
		if err != nil {
			return err
		}
		if literals == nil {
			continue // NULL is equal to nothing
		}
		seen := fmt.Sprint(i, " ", strings.Join(literals, ","))
		if t.linked[seen] {
			t.At[i] = max(t.At[i], row.Version)
			continue
		}
		if t.linked == nil {
			t.linked, t.Links, t.At = make(map[string]bool), make(map[int][][]string), make(map[int]event.Version)
		}
		t.linked[seen] = true
		t.At[i] = max(t.At[i], row.Version)
		t.Links[i] = append(t.Links[i], literals)
	}
	return nil
}

// Tables returns the tables that the SQL reads, each once.
func (r *Rule) Tables() []event.TableName {
	var out []event.TableName
	for _, e := range r.elements {
		if !slices.Contains(out, e.table) {
			out = append(out, e.table)
		}
	}
	return out
}

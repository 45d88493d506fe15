package mapping

import (
	"errors"
	"fmt"

	"canalgo/event"
)

// What a column that a row must have gives.
const (
	givesID     = "its document's id"
	givesParent = "its document's parent"
	givesLinks  = "the documents that it is part of"
)

// partial adds what a row means that lacks columns. Whether a document was there is not asked: deleting one that is not does no harm.
func (w *writer) partial(b *binding, r *event.Row) error {
	if err := errors.Join(w.m.known(r, columnsOf(b.id), givesID), w.m.known(r, b.relation.columns(), givesParent)); err != nil {
		return err
	}
	if r.Op == event.Delete {
		w.delete(b, r)
		return nil
	}
	whole := event.Lacks(r.After, b.columns) < 0
	matched, err := true, error(nil) // as far as is known
	if whole {
		matched, err = b.matches(r.After)
	}
	if r.Op == event.Update && err == nil && !(matched && w.sameID(b, r)) {
		w.delete(b, r)
	} else if r.Op == event.Update {
		w.leaves, _ = b.relation.routing(r.Before) // without a parent it was nowhere
	}
	switch {
	case !whole:
		w.lookUp(b, r)
	case matched || err != nil:
		w.write(b, r, err)
	}
	return nil
}

// lookUp adds that the source has to be asked what a row's new document is.
func (w *writer) lookUp(b *binding, r *event.Row) {
	start := len(w.ids)
	id, err := b.appendID(w.ids, r.After)
	if err == nil {
		err = checkID(id[start:])
	}
	routing, orphan := b.relation.routing(r.After)
	if err != nil || orphan != nil {
		w.write(b, r, nil) // it says why there is no document
		return
	}
	w.ids = id
	c := Change{Op: LookUp, Index: w.m.index, Routing: routing, Version: r.Version, Row: r}
	w.add(c.leaves([]string{w.leaves}), nil)
	w.leaves = ""
}

// columnsOf are the columns that an id is made of.
func columnsOf(parts []idPart) []int {
	var out []int
	for _, p := range parts {
		if p.column >= 0 {
			out = append(out, p.column)
		}
	}
	return out
}

// columns are those that give a child's parent.
func (r *boundRelation) columns() []int {
	if r == nil {
		return nil
	}
	return columnsOf(r.parent)
}

// A Find is the columns of a table without which a row does not say which documents it is about.
type Find struct {
	Table   event.TableName
	Columns []string
	Gives   string
}

// Finds returns what each row must have, whatever its image. The mapping is bound.
func (m *Mapping) Finds() []Find {
	named := func(t *event.Table, columns []int) []string {
		var names []string
		for _, i := range columns {
			names = append(names, t.Columns[i].Name)
		}
		return names
	}
	if m.rule == nil {
		b := m.bound.Load()
		return []Find{{m.table, named(b.table, columnsOf(b.id)), givesID}, {m.table, named(b.table, b.relation.columns()), givesParent}}
	}
	var out []Find
	for _, e := range m.rule.elements {
		if m.rule.branches != nil && e == m.rule.anchor {
			continue // no table has its rows
		}
		columns, gives := m.rule.finds(e)
		out = append(out, Find{e.table, columns, gives})
	}
	var parents []string
	for _, p := range m.rule.parent {
		if !p.isText {
			parents = append(parents, p.column.name)
		}
	}
	return append(out, Find{m.table, parents, givesParent})
}

// finds returns the columns of an element that lead to documents, and to what.
func (r *Rule) finds(e *element) (columns []string, gives string) {
	switch {
	case e == r.anchor:
		return r.key, givesID
	case e.id != nil:
		return e.idColumns, givesID
	}
	return e.path[0].fromCols, givesLinks
}

// known returns an *event.StopError when an image of a row lacks one of some columns, and says what they are for.
func (m *Mapping) known(r *event.Row, columns []int, what string) error {
	if !r.Partial {
		return nil
	}
	for _, image := range [][]any{r.Before, r.After} {
		if image == nil {
			continue
		}
		if i := event.Lacks(image, columns); i >= 0 {
			return LacksColumn(m.name, r, i, what)
		}
	}
	return nil
}

// LacksColumn is the error that a row lacks a column without which nobody can tell which document, or which row, it is about.
func LacksColumn(mapping string, r *event.Row, column int, what string) error {
	return &event.StopError{
		Reason: fmt.Sprintf("mapping %s: the %s %s of %s lacks column %s, which gives %s: it was written with a partial row image",
			mapping, r.Op, r.Version, r.Table.Name, r.Table.Columns[column].Name, what),
		Fix: "set binlog_row_image = FULL and reconnect the sessions that have another value, or use columns of the primary key there; then canalgo load"}
}

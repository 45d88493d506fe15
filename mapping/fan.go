package mapping

import (
	"slices"
	"strings"

	"canalgo/sqltext"
)

// A Fan is the documents that rows of a joined table are part of, found by the columns which lead to the anchor; the zero Fan is all
// documents of the rule. It can be kept, and used with another SQL of the same mapping.
type Fan struct {
	Element string     // by which the SQL calls the joined table; "" for all documents
	Columns []string   // of it
	Links   [][]string // their values, as literals
}

// Fan returns the documents that rows of the i-th element with these columns may be part of.
func (r *Rule) Fan(i int, links [][]string) Fan {
	e := r.elements[i]
	return Fan{e.name, e.path[0].fromCols, links}
}

// Reached is the SELECT of at most limit keys of a fan's documents behind one, up to another; nil is the start, or the end.
func (r *Rule) Reached(f Fan, key, last []string, limit int) string {
	e := r.fanned(f)
	if e == nil && r.branches != nil {
		return r.nextIDs(key, last, limit)
	}
	own, from, condition := r.reach(e, f)
	return keys(own, from, condition+between(own, key, last), limit)
}

// Count is the SELECT of how many documents a fan has.
func (r *Rule) Count(f Fan) string {
	own, from, condition := r.reach(r.fanned(f), f)
	return "SELECT COUNT(DISTINCT " + strings.Join(own, ", ") + ")" + from + " WHERE " + condition + "TRUE"
}

// fanned returns the element whose rows a fan is of. Where the SQL does not join that table in that way, as it did when the fan was made, it
// is nil: the fan then is all documents.
func (r *Rule) fanned(f Fan) *element {
	for _, e := range r.elements {
		if e != r.anchor && e.id == nil && e.name == f.Element && slices.Equal(e.path[0].fromCols, f.Columns) {
			return e
		}
	}
	return nil
}

// reach returns what stands for the key's columns, the FROM and the beginning of a condition that give the documents which rows of an element
// lead to; nil leads to all.
func (r *Rule) reach(e *element, f Fan) (own []string, from, condition string) {
	if e == nil {
		return r.keyExprs(), r.from([]link{{}}), ""
	}
	path := e.path
	condition = sqltext.In(exprs(path[0].to.name, path[0].toCols), f.Links) + " AND "
	if r.branches == nil {
		return r.keyExprs(), r.from(path), condition
	}
	last := path[len(path)-1] // the table that gives the ids knows them
	return exprs(last.from.name, last.fromCols), joined(last.from, path[:len(path)-1]), condition
}

package mapping

import (
	"fmt"
	"slices"
	"strings"

	"canalgo/event"
	"canalgo/sqltext"
)

// KeyColumns returns the columns of the anchor's definition that make the id, for Result and Key.
func (r *Rule) KeyColumns(anchor *event.Table) ([]event.Column, error) {
	b, err := r.bound(r.anchor, anchor)
	if err != nil {
		return nil, err
	}
	out := make([]event.Column, len(b.columns))
	for i, k := range b.columns {
		out[i] = anchor.Columns[k]
		if r.branches != nil && isInteger(&out[i]) && !isUnsignedLong(&out[i]) {
			out[i].Type, out[i].Unsigned = event.BigInt, false // the union's has room for those of all tables
		}
	}
	return out, nil
}

// Result returns the table that a rendered row is one of, for Bind and Map: columns, as the server tells those of the SELECT, with
// the key's as the anchor's definition has them.
func (r *Rule) Result(anchor *event.Table, columns []event.Column) (*event.Table, error) {
	r.define(anchor)
	own, err := r.KeyColumns(anchor)
	if err != nil {
		return nil, err
	}
	made := "concat(...)"
	if len(r.id) == 1 {
		made = r.id[0].column.name
	}
	if err := r.mapping.checkKey(anchor, made); err != nil {
		return nil, err
	}
	if len(columns) < len(own) {
		return nil, fmt.Errorf("the server's answer has %d columns", len(columns))
	}
	t := &event.Table{Name: anchor.Name, Columns: append([]event.Column(nil), columns...)}
	for i, c := range own {
		k := len(columns) - len(own) + i
		c.Name = keyName(c.Name)
		t.Columns[k] = c
		t.Key = append(t.Key, k)
	}
	return t, nil
}

// Routes is the SELECT that tells, for some keys, of which parents their rows are children now, and how else they are spelled there, as rows for
// RouteOf; "" when the documents have no parents, and each has one spelling.
func (r *Rule) Routes(keys [][]string) string {
	if r.parent == nil && !r.respelled() {
		return ""
	}
	if r.branches != nil {
		var selects []string
		for _, b := range r.branches {
			selects = append(selects, r.spelled(quoted(b.columns), nil, " FROM "+sqltext.Table(b.table), keys))
		}
		return strings.Join(selects, " UNION ALL ")
	}
	var parent []string
	for _, p := range r.parent {
		if !p.isText {
			parent = append(parent, exprs(r.anchor.name, []string{p.column.name})...)
		}
	}
	return r.spelled(r.keyExprs(), parent, r.from([]link{{}}), keys)
}

// spelled is the SELECT of each spelling of some keys, with what else is told of their rows. DISTINCT would leave one spelling.
func (r *Rule) spelled(key, more []string, from string, keys [][]string) string {
	list := slices.Concat(key, more)
	told := strings.Join(list, ", ")
	return "SELECT " + told + from + " WHERE " + sqltext.In(key, keys) + " GROUP BY " + told + ", HEX(" + strings.Join(list, "), HEX(") + ")"
}

// respelled reports whether rows whose ids are spelled otherwise can make one document: by GROUP BY, or as parts of it. What the server calls it may
// then change with any of them.
func (r *Rule) respelled() bool {
	r.mu.Lock()
	t := r.defined[r.anchor.table]
	r.mu.Unlock()
	return t != nil && (r.merges || r.branches != nil) && slices.ContainsFunc(r.key, func(name string) bool {
		k := t.Column(name)
		return k >= 0 && hasCollation(t.Columns[k]) && t.Columns[k].Collation != "utf8mb4_0900_bin"
	})
}

// RouteColumns are the columns of Routes.
func (r *Rule) RouteColumns(anchor *event.Table) ([]event.Column, error) {
	columns, err := r.KeyColumns(anchor)
	if err != nil {
		return nil, err
	}
	b, err := r.bound(r.anchor, anchor)
	if err != nil {
		return nil, err
	}
	for _, k := range b.parent.columns() {
		columns = append(columns, anchor.Columns[k])
	}
	return columns, nil
}

// RouteOf adds to the keys, by document id, what a row of Routes tells. A key in another spelling is one more.
func (r *Rule) RouteOf(anchor *event.Table, values []any, keys map[string]Key) error {
	b, err := r.bound(r.anchor, anchor)
	if err != nil {
		return err
	}
	image := make([]any, len(anchor.Columns))
	for i, k := range b.columns {
		image[k] = values[i]
	}
	for i, k := range b.parent.columns() {
		image[k] = values[len(b.columns)+i]
	}
	key, err := b.key(image)
	if err != nil {
		return nil // such a row has no document
	}
	if known, ok := keys[key.ID]; ok {
		key = known.at(key.routings...)
	}
	keys[key.ID] = key
	return nil
}

// KeyOf returns the key that the values of the key's columns make. When they make no id, the error comes with the literals.
func (r *Rule) KeyOf(anchor *event.Table, values []any) (Key, error) {
	b, err := r.bound(r.anchor, anchor)
	if err != nil {
		return Key{}, err
	}
	image := make([]any, len(anchor.Columns))
	for i, k := range b.columns {
		image[k] = values[i]
	}
	return b.key(image)
}

// place is where the i-th column of an answer stands in the SQL; behind a * that is not known.
func (r *Rule) place(i int) int {
	if i < len(r.items) {
		return r.items[i].at
	}
	return 0
}

// bindResult binds a mapping to the answer of its rule: every column but the key's is a field.
func (b *binder) bindResult() (*binding, error) {
	out := &binding{table: b.table}
	r := b.m.rule
	end := len(b.table.Columns) - len(r.key)
	var parent []idPart
	seen, skipped := map[string]bool{}, map[string]bool{}
	for i := range b.table.Columns[:end] {
		c := &b.table.Columns[i]
		it := item{name: c.Name, at: r.place(i)}
		if seen[it.name] {
			return nil, b.stop(fmt.Sprintf("the select list gives %q twice", it.name), "give one of them an alias")
		}
		seen[it.name] = true
		if b.m.relation != nil && it.name == b.m.relation.parent {
			parent = []idPart{{column: i, form: formOf(c), name: c.Name}}
		}
		if b.m.skips[it.name] {
			skipped[it.name] = true
			continue
		}
		f, err := b.encoder(it, i, len(out.fields) == 0)
		if err != nil {
			return nil, err
		}
		out.fields = append(out.fields, f)
	}
	for skip := range b.m.skips {
		if !skipped[skip] {
			return nil, b.stop(fmt.Sprintf("skips: the select list gives no %q", skip), "take it out of skips")
		}
	}
	if key, reason := b.m.badSetting(seen); reason != "" {
		return nil, b.stop(key+": "+reason, "take it out")
	}
	for _, p := range r.id {
		if p.isText {
			out.id = append(out.id, idPart{text: p.text, column: -1})
			continue
		}
		for i, name := range r.key {
			if strings.EqualFold(name, p.column.name) {
				c := &b.table.Columns[end+i]
				out.id = append(out.id, idPart{column: end + i, form: formOf(c), name: name})
			}
		}
	}
	for i := range b.table.Columns {
		out.columns = append(out.columns, i)
	}
	if err := b.checkNames(out.fields); err != nil {
		return nil, err
	}
	return out, b.bindRelation(out, parent)
}

// Rendered turns the server's answer for some keys into changes at a version: the documents that it gives, and deletes of those
// that it does not give any more. t is a Result, each row its values.
func (r *Rule) Rendered(t *event.Table, rows [][]any, keys map[string]Key, version event.Version) ([]Change, error) {
	images := make([]event.Row, len(rows))
	for i, values := range rows {
		images[i] = event.Row{Table: t, Op: event.Insert, Version: version, After: values}
	}
	changes, err := r.mapping.Map(images)
	if err != nil {
		return nil, err
	}
	given := make(map[string]bool, len(changes))
	for i, c := range changes {
		given[c.ID] = true
		changes[i] = c.leaves(keys[c.ID].routings)
	}
	for id, key := range keys {
		if given[id] {
			continue
		}
		image := make([]any, len(t.Columns))
		for i, k := range t.Key {
			image[k] = key.values[i]
		}
		c := Change{Op: Delete, Index: r.mapping.index, ID: id, Version: version, Row: &event.Row{Table: t, Op: event.Delete, Version: version, Before: image}}
		if r.parent != nil {
			c.Nowhere = len(key.routings) == 0 // it never had a place
			if !c.Nowhere {
				c.Routing = key.routings[0]
			}
		}
		changes = append(changes, c.leaves(key.routings))
	}
	return changes, nil
}

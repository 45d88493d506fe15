package mapping

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"canalgo/charset"
	"canalgo/event"
	"canalgo/nearest"
)

// A binding is a mapping applied to one definition of its table.
type binding struct {
	table   *event.Table
	fields  []field
	id      []idPart
	where   condition // nil without
	columns []int     // what all of these read, ascending
	// relation is what the documents are in the index's join field, nil without.
	relation *boundRelation
}

// A field is one name of the document.
type field struct {
	prefix  []byte // `{"name":`, or `,"name":` behind the first
	name    string
	column  int
	form    form
	choices choices
	source  *event.Column
}

// An idPart is a column of the document's id, or text between columns.
type idPart struct {
	text   string // when column is below 0
	column int
	form   form
	name   string // of the column
}

// Bind checks every name and type of the mapping against a definition of its table. The error is an *event.StopError.
// Map binds by itself.
func (m *Mapping) Bind(t *event.Table) error {
	_, err := m.binding(t)
	return err
}

// Columns returns the indexes of the columns that the mapping reads, ascending: the select list, the id and WHERE. The
// others may be nil in the rows that are given to Map. Columns that on_new_column stops at are an *event.StopError, as in Map.
func (m *Mapping) Columns(t *event.Table) ([]int, error) {
	b, err := m.binding(t)
	if err == nil && m.rule == nil {
		err = m.accept(t)
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(b.columns), nil
}

// binding returns the mapping bound to t. Rows come with few definitions, so only the newest is kept.
func (m *Mapping) binding(t *event.Table) (*binding, error) {
	last := m.bound.Load()
	if last != nil && last.table == t {
		return last, nil
	}
	if last != nil && reflect.DeepEqual(last.table, t) {
		same := *last
		same.table = t
		m.bound.Store(&same)
		return &same, nil
	}
	b := &binder{m: m, table: t, reads: make([]bool, len(t.Columns))}
	bound, err := b.bind()
	if err != nil {
		return nil, err
	}
	m.meet(bound.fields)
	m.bound.Store(bound)
	return bound, nil
}

// A binder looks a mapping's names up in a definition.
type binder struct {
	m     *Mapping
	table *event.Table
	reads []bool // by column
}

// bind looks everything up.
func (b *binder) bind() (*binding, error) {
	if b.m.rule != nil {
		return b.bindResult()
	}
	items, err := b.expand()
	if err != nil {
		return nil, err
	}
	out := &binding{table: b.table}
	var parent []idPart
	for _, it := range items {
		if it.name == b.m.id {
			if out.id, err = b.idParts(it); err != nil {
				return nil, err
			}
			if !b.m.pk {
				continue
			}
			if err := b.m.checkKey(b.table, it.parts[0].column.name); err != nil {
				return nil, err
			}
		}
		if b.m.relation != nil && it.name == b.m.relation.parent {
			if parent, err = b.idParts(it); err != nil {
				return nil, err
			}
		}
		if b.m.skips[it.name] {
			continue
		}
		f, err := b.field(it, len(out.fields) == 0)
		if err != nil {
			return nil, err
		}
		out.fields = append(out.fields, f)
	}
	if out.id == nil {
		return nil, b.stop(fmt.Sprintf("the select list gives no document id: %s has no column %q", b.table.Name, b.m.id), b.keyExample())
	}
	if err := b.checkNames(out.fields); err != nil {
		return nil, err
	}
	if err := b.bindRelation(out, parent); err != nil {
		return nil, err
	}
	if b.m.where != nil {
		if out.where, err = b.m.where.bind(b); err != nil {
			return nil, err
		}
	}
	for i, reads := range b.reads {
		if reads {
			out.columns = append(out.columns, i)
		}
	}
	return out, nil
}

// checkKey says whether a column is the table's key, as pk has it. The error is an *event.StopError.
func (m *Mapping) checkKey(t *event.Table, column string) error {
	if !m.pk || len(t.Key) == 1 && strings.EqualFold(t.Columns[t.Key[0]].Name, column) {
		return nil
	}
	var key []string
	for _, k := range t.Key {
		key = append(key, t.Columns[k].Name)
	}
	has := "has no primary key"
	if len(key) > 0 {
		has = "has the key " + strings.Join(key, ", ")
	}
	return &event.StopError{Reason: fmt.Sprintf("mapping %s: pk: %s is column %s of %s, which %s: a document is found by its id alone, and the id of pk is the table's key", m.name, m.id, column, t.Name, has),
		Fix: "name the one column of the key; or say what makes the id in the select list, as _id"}
}

// keyExample proposes an id made of the primary key.
func (b *binder) keyExample() string {
	if len(b.table.Key) == 0 {
		return fmt.Sprintf("%s has no primary key; name the column that identifies its rows as %s", b.table.Name, b.m.id)
	}
	var names []string
	for _, i := range b.table.Key {
		names = append(names, b.table.Columns[i].Name)
	}
	if len(names) == 1 {
		return fmt.Sprintf("add %s as %s", names[0], b.m.id)
	}
	return fmt.Sprintf("add concat(%s) as %s", strings.Join(names, ", '-', "), b.m.id)
}

// expand replaces * by the table's columns, and checks that each name is there once and skips name something.
func (b *binder) expand() ([]item, error) {
	var items []item
	for _, it := range b.m.items {
		if it.name != "" {
			items = append(items, it)
			continue
		}
		for _, c := range b.table.Columns {
			if b.m.leavesOut(b.table, c.Name) {
				continue
			}
			name := c.Name
			if strings.EqualFold(name, b.m.id) {
				name = b.m.id
			}
			items = append(items, item{name: name, parts: []part{{column: columnRef{c.Name, it.at}}}, at: it.at})
		}
	}
	seen := map[string]bool{}
	for _, it := range items {
		if seen[it.name] {
			return nil, b.stop(fmt.Sprintf("the select list gives %q twice", it.name), "give one of them an alias")
		}
		seen[it.name] = true
	}
	for skip := range b.m.skips {
		if !seen[skip] {
			return nil, b.stop(fmt.Sprintf("skips: the select list gives no %q", skip), "take it out of skips")
		}
	}
	if key, reason := b.m.badSetting(seen); reason != "" {
		return nil, b.stop(key+": "+reason, "take it out")
	}
	return items, nil
}

// column looks a column up and notes that it is read.
func (b *binder) column(ref columnRef) (int, *event.Column, error) {
	i := b.table.Column(ref.name)
	if i < 0 {
		names := make([]string, len(b.table.Columns))
		for i, c := range b.table.Columns {
			names[i] = c.Name
		}
		fix := "its columns are " + strings.Join(names, ", ")
		if near := nearest.Name(ref.name, names); near != "" {
			fix = fmt.Sprintf("did you mean %q? %s", near, fix)
		}
		return 0, nil, b.stopAt(ref.at, fmt.Sprintf("column %q is not in %s", ref.name, b.table.Name), fix)
	}
	c := &b.table.Columns[i]
	b.reads[i] = true
	if isText(c.Type) && c.Charset != "binary" && charset.Lookup(c.Charset) == nil {
		return 0, nil, b.stopAt(ref.at, fmt.Sprintf("column %s of %s has the character set %q, which is not known", c.Name, b.table.Name, c.Charset),
			"leave the column out, or convert it to one of "+strings.Join(charset.Names(), ", "))
	}
	return i, c, nil
}

func isText(t event.Type) bool {
	return t == event.Char || t == event.Text || t == event.Enum || t == event.Set
}

// field makes the encoder of one name of the document.
func (b *binder) field(it item, first bool) (field, error) {
	i, _, err := b.column(it.parts[0].column)
	if err != nil {
		return field{}, err
	}
	return b.encoder(it, i, first)
}

// encoder makes the encoder of the i-th column.
func (b *binder) encoder(it item, i int, first bool) (field, error) {
	c := &b.table.Columns[i]
	if reason := badFieldName(it.name); reason != "" {
		return field{}, b.stopAt(it.at, fmt.Sprintf("the name %q cannot stand in a document: %s", it.name, reason), "give the column an alias")
	}
	open := byte(',')
	if first {
		open = '{'
	}
	prefix, err := appendString([]byte{open}, it.name)
	if err != nil {
		return field{}, b.stopAt(it.at, fmt.Sprintf("the name %q cannot stand in a document: %v", it.name, err), "give the column an alias")
	}
	choices, err := b.choices(it, c)
	if err != nil {
		return field{}, err
	}
	return field{prefix: append(prefix, ':'), name: it.name, column: i, form: formOf(c), choices: choices, source: c}, nil
}

// badFieldName says why Elasticsearch refuses a field of that name, or "".
func badFieldName(name string) string {
	switch name {
	case "_id", "_index", "_type", "_source", "_routing", "_field_names", "_ignored", "_version", "_seq_no", "_doc_count", "_tier", "_nested_path", "_data_stream_timestamp":
		return "Elasticsearch keeps it for itself"
	}
	if strings.TrimSpace(name) == "" {
		return "it is empty"
	}
	for piece := range strings.SplitSeq(name, ".") {
		if strings.TrimSpace(piece) == "" {
			return "a dot makes an object, and there is nothing on one side of it"
		}
	}
	return ""
}

// checkNames refuses a name that is a value and, by a dot in another name, also an object.
func (b *binder) checkNames(fields []field) error {
	names := map[string]bool{}
	for _, f := range fields {
		names[f.name] = true
	}
	if r := b.m.relation; r != nil {
		names[r.field] = true
	}
	for _, f := range fields {
		for i := range len(f.name) {
			if f.name[i] == '.' && names[f.name[:i]] {
				return b.stop(fmt.Sprintf("field %q makes an object of %q, which is also a field", f.name, f.name[:i]), "give one of them an alias")
			}
		}
	}
	return nil
}

// isIDType reports whether values of a type have one text each, which can be in an id.
func isIDType(t event.Type) bool {
	switch t {
	case event.Float, event.Double, event.JSON, event.Geometry, event.Vector:
		return false
	}
	return true
}

// idParts makes the encoders of the document's id.
func (b *binder) idParts(it item) ([]idPart, error) {
	var parts []idPart
	for _, p := range it.parts {
		if p.isText {
			parts = append(parts, idPart{text: p.text, column: -1})
			continue
		}
		i, c, err := b.column(p.column)
		if err != nil {
			return nil, err
		}
		if !isIDType(c.Type) {
			return nil, b.stopAt(p.column.at, fmt.Sprintf("column %s of %s is a %s and cannot be part of a document's id", c.Name, b.table.Name, strings.ToUpper(c.Type.String())),
				"use the columns of a key; "+b.keyExample())
		}
		parts = append(parts, idPart{column: i, form: formOf(c), name: c.Name})
	}
	return parts, nil
}

// append appends the part of the id.
func (p *idPart) append(dst []byte, row []any) ([]byte, error) {
	if p.column < 0 {
		return append(dst, p.text...), nil
	}
	v := row[p.column]
	if v == nil {
		return dst, fmt.Errorf("the document's id would be NULL: column %s is NULL", p.name)
	}
	out, err := p.form.appendKey(dst, v)
	if err != nil {
		return dst, fmt.Errorf("the document's id: column %s: %w", p.name, err)
	}
	return out, nil
}

// appendID appends the document's id of an image.
func (b *binding) appendID(dst []byte, row []any) ([]byte, error) { return appendParts(dst, b.id, row) }

func appendParts(dst []byte, parts []idPart, row []any) ([]byte, error) {
	var err error
	for i := range parts {
		if dst, err = parts[i].append(dst, row); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// stop says that the mapping does not fit the definition.
func (b *binder) stop(reason, fix string) error {
	return &event.StopError{Reason: "mapping " + b.m.name + ": " + reason, Fix: fix}
}

// stopAt is stop with the place in the SQL.
func (b *binder) stopAt(at int, reason, fix string) *event.StopError {
	place := b.m.src.errorAt(at, "")
	return &event.StopError{Reason: "mapping " + b.m.name + ": sql " + strconv.Itoa(place.Line) + ":" + strconv.Itoa(place.Column) + ": " + reason, Fix: fix}
}

package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"canalgo/event"
)

// RelationConfig says what a document is in Elasticsearch's join field: canal's relations.
type RelationConfig struct {
	Name   string `toml:"name" json:"name"`     // of the relation: what the document is
	Parent string `toml:"parent" json:"parent"` // the name in the select list that holds the parent's id; "" when it has none
}

// A relation is what the documents of a mapping are in a join field. A child is kept on its parent's shard: it is found by its id and the
// parent's, its routing.
type relation struct {
	field, name string
	parent      string // a name of the select list, "" for a parent
}

// validateRelations says what is wrong with the settings by themselves, each error beginning with its key.
func (c Config) validateRelations() []error {
	var errs []error
	names := slices.Sorted(maps.Keys(c.Relations))
	for i, name := range names {
		key, r := settingKey("relations", name), c.Relations[name]
		if i > 0 {
			errs = append(errs, fmt.Errorf("%s: there is %s already; an index has one join field", key, settingKey("relations", names[0])))
		}
		if reason := badFieldName(name); reason != "" {
			errs = append(errs, fmt.Errorf("%s: the name of a field cannot be %q: %s", key, name, reason))
		}
		if r.Name == "" {
			errs = append(errs, fmt.Errorf("%s.name: missing; it names what the document is in the index's join field, for example \"order\"", key))
		}
		if r.Parent == c.idName() {
			errs = append(errs, fmt.Errorf("%s.parent: %q is the document's own id; name the column that holds the parent's", key, r.Parent))
		}
	}
	return errs
}

// relationOf returns the one relation of the settings, nil without.
func relationOf(c Config) *relation {
	for field, r := range c.Relations {
		return &relation{field: field, name: r.Name, parent: r.Parent}
	}
	return nil
}

// Own returns which documents of the index are the mapping's.
func (m *Mapping) Own() Own {
	o := Own{Index: m.index}
	if m.relation != nil {
		o.Field, o.Value = m.relation.field, m.relation.name
	}
	return o
}

// IDText returns the text that every id of the mapping begins with, "" when it begins with a column.
func (m *Mapping) IDText() string {
	var parts []part
	if m.rule != nil {
		parts = m.rule.id
	}
	for _, it := range m.items {
		if it.name == m.id {
			parts = it.parts
		}
	}
	text := ""
	for _, p := range parts {
		if !p.isText {
			break
		}
		text += p.text
	}
	return text
}

// skipsParent reports whether a name is that of the parent's id, and not stored.
func (m *Mapping) skipsParent(name string) bool {
	return m.relation != nil && name == m.relation.parent && m.skips[name]
}

// badRelation finds what of the relation does not fit the select list: its key, and what is wrong.
func (m *Mapping) badRelation(selected map[string]bool) (key, reason string) {
	r := m.relation
	if r == nil {
		return "", ""
	}
	key = settingKey("relations", r.field)
	switch {
	case selected[r.field]:
		return key, "is a name in the select list too; the join field is written by itself, give the column an alias"
	case r.parent != "" && !selected[r.parent]:
		return key + ".parent", r.parent + " is not a name in the select list"
	}
	return "", ""
}

// A boundRelation is a relation for one definition.
type boundRelation struct {
	prefix []byte   // `,"field":"name"`, or `,"field":{"name":"name","parent":` of a child
	parent []idPart // nil for a parent
}

// bindRelation makes the encoder of the join field; parent is what makes the parent's id.
func (b *binder) bindRelation(out *binding, parent []idPart) error {
	r := b.m.relation
	if r == nil {
		return nil
	}
	if err := b.checkApart(out.id); err != nil {
		return err
	}
	open := byte(',')
	if len(out.fields) == 0 {
		open = '{'
	}
	prefix, err1 := appendString([]byte{open}, r.field)
	name, err2 := appendString(nil, r.name)
	if err := errors.Join(err1, err2); err != nil {
		return b.stop(fmt.Sprintf("%s: %v", settingKey("relations", r.field), err), "give it another name")
	}
	prefix = append(prefix, ':')
	if parent != nil {
		prefix = append(prefix, `{"name":`...)
	}
	prefix = append(prefix, name...)
	if parent != nil {
		prefix = append(prefix, `,"parent":`...)
	}
	out.relation = &boundRelation{prefix, parent}
	return nil
}

// routing returns where the document of an image is: "" where its id says it.
func (r *boundRelation) routing(row []any) (string, error) {
	if r == nil || r.parent == nil {
		return "", nil
	}
	for _, p := range r.parent {
		if p.column >= 0 && row[p.column] == nil {
			return "", fmt.Errorf("its parent would be NULL, as column %s is: a child without a parent has no place in the index; leave such rows out by WHERE", p.name)
		}
	}
	id, err := appendParts(nil, r.parent, row)
	if err == nil {
		err = checkID(id)
	}
	if err != nil {
		return "", fmt.Errorf("of its parent: %w", err)
	}
	return string(id), nil
}

// append appends the join field.
func (r *boundRelation) append(dst []byte, routing string) ([]byte, error) {
	dst = append(dst, r.prefix...)
	if r.parent == nil {
		return dst, nil
	}
	dst, err := appendString(dst, routing)
	return append(dst, '}'), err
}

// checkApart refuses an id that could be another's of the same index: parents and children of one id on one shard are one document.
func (b *binder) checkApart(id []idPart) error {
	begins := ""
	for _, p := range id {
		switch {
		case p.column >= 0 && p.form == integerForm:
			return nil
		case p.column >= 0:
			begins = "column " + p.name + ", which is no integer,"
		case p.text != "" && strings.ContainsAny(p.text[:1], "-0123456789"):
			begins = fmt.Sprintf("%q", p.text)
		case p.text != "":
			return nil
		}
		if begins != "" {
			break
		}
	}
	return b.stop(fmt.Sprintf("its id begins with %s and could be that of a document of another relation of the index", begins),
		fmt.Sprintf("begin it with a word: concat('%s-', ...) as %s", b.m.relation.name, b.m.id))
}

// joinRelations are the children of each parent in an index's join field, which has one name or a list.
func joinRelations(field indexField) map[string][]string {
	out := make(map[string][]string)
	for parent, children := range field.Relations {
		switch children := children.(type) {
		case string:
			out[parent] = append(out[parent], children)
		case []any:
			for _, child := range children {
				out[parent] = append(out[parent], fmt.Sprint(child))
			}
		}
	}
	return out
}

// CheckRelation compares the mapping's relation with an index that exists: mappings is its {"properties": {...}}. The error is an
// *event.StopError.
func (m *Mapping) CheckRelation(mappings []byte) error {
	r := m.relation
	if r == nil {
		return nil
	}
	field, err := fieldOf(mappings, r.field)
	if err != nil {
		return err
	}
	stop := func(reason string) error {
		return &event.StopError{Reason: fmt.Sprintf("mapping %s: relations: the index %s %s", m.name, m.index, reason), Fix: "create the index with " + r.example()}
	}
	if field.Type != "join" {
		return stop(fmt.Sprintf("has no join field %q", r.field))
	}
	relations := joinRelations(field)
	parent := ""
	known := relations[r.name] != nil
	for p, children := range relations {
		if slices.Contains(children, r.name) {
			parent, known = p, true
		}
	}
	switch {
	case !known:
		return stop(fmt.Sprintf("has no relation %q in its join field %s", r.name, r.field))
	case r.parent == "" && parent != "":
		return &event.StopError{Reason: fmt.Sprintf("mapping %s: relations: %q is a child of %q in the index %s", m.name, r.name, parent, m.index), Fix: "say in " + settingKey("relations", r.field) + ".parent which name holds the parent's id"}
	case r.parent != "" && parent == "":
		return &event.StopError{Reason: fmt.Sprintf("mapping %s: relations: %q is no child in the index %s", m.name, r.name, m.index), Fix: "leave " + settingKey("relations", r.field) + ".parent out"}
	}
	for p, children := range relations {
		if slices.Contains(children, parent) {
			return &event.StopError{Reason: fmt.Sprintf("mapping %s: relations: %q is a grandchild, of %q, in the index %s: it would need the routing of its grandparent, which its parent's id does not tell", m.name, r.name, p, m.index),
				Fix: "map it as a child of " + p}
		}
	}
	return nil
}

// example is the field of an index as the relation needs it.
func (r *relation) example() string {
	if r.parent == "" {
		return fmt.Sprintf(`"%s": {"type": "join", "relations": {"%s": "CHILD"}}`, r.field, r.name)
	}
	return fmt.Sprintf(`"%s": {"type": "join", "relations": {"PARENT": "%s"}}`, r.field, r.name)
}

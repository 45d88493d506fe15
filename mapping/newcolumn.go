package mapping

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"canalgo/event"
)

// What becomes of a column that a table gets while the mapping is followed.
const (
	ignoreNew = "ignore" // it is left out
	addNew    = "add"    // it comes into the documents, its field into the index before them
	pauseNew  = "pause"  // the mapping stops before the first row that has it
)

var newColumnChoices = []string{ignoreNew, addNew, pauseNew}

// newColumns is what a mapping does about columns that come later.
type newColumns struct {
	choice string // one of the three
	given  bool   // by the file, not by the SQL alone
	// known are the columns that are none: by table. A table that is not in it has no new columns.
	known map[event.TableName][]string
}

// chooseNew settles what becomes of new columns: * gives them to the documents, a list of names does not.
func (m *Mapping) chooseNew(choice string) error {
	all := m.takesAll()
	refuse := func(why string) error {
		return &configError{mapping: m.name, err: fmt.Errorf("on_new_column: %s", why)}
	}
	switch {
	case choice == addNew && !all:
		return refuse(`"add" has no meaning beside a list of names, which says what the documents have; write * instead of it, or "pause" to be told`)
	case choice == ignoreNew && all && m.rule != nil:
		return refuse(`"ignore" cannot leave columns out of the * of SQL that the server answers; name the columns instead of *`)
	}
	m.fresh.given = choice != ""
	m.fresh.choice = cmp.Or(choice, map[bool]string{true: addNew, false: ignoreNew}[all])
	return nil
}

// takesAll reports whether the select list has a *.
func (m *Mapping) takesAll() bool {
	items := m.items
	if m.rule != nil {
		items = m.rule.items
	}
	return slices.ContainsFunc(items, func(it item) bool { return it.name == "" })
}

// RemembersColumns reports whether the mapping has to be told by Know which columns are not new.
func (m *Mapping) RemembersColumns() bool {
	return m.fresh.choice == pauseNew || m.fresh.choice == ignoreNew && m.takesAll()
}

// ExtendsIndex reports whether the index gets the fields of new columns because the mapping says so; else it gets those that it would
// make up by itself.
func (m *Mapping) ExtendsIndex() bool { return m.fresh.given && m.fresh.choice != ignoreNew }

// Know tells the mapping which columns of its tables are not new. Without it none is. It is called before the mapping is used.
func (m *Mapping) Know(columns map[event.TableName][]string) { m.fresh.known = columns }

// isNew reports whether a column of a table came later.
func (m *Mapping) isNew(t *event.Table, column string) bool {
	known, ok := m.fresh.known[t.Name]
	return ok && !slices.Contains(known, column)
}

// leavesOut reports whether * does not stand for a column.
func (m *Mapping) leavesOut(t *event.Table, column string) bool {
	return m.fresh.choice == ignoreNew && m.isNew(t, column)
}

// accept stops at a definition with columns that the operator wants to hear of. The error is an *event.StopError.
func (m *Mapping) accept(t *event.Table) error {
	if m.fresh.choice != pauseNew || m.accepted.Load() == t {
		return nil
	}
	var fresh []string
	for _, c := range t.Columns {
		if m.isNew(t, c.Name) && !m.names(t.Name, c.Name) {
			fresh = append(fresh, c.Name)
		}
	}
	if len(fresh) == 0 {
		m.accepted.Store(t)
		return nil
	}
	fix := fmt.Sprintf("canalgo resume mapping %s goes on without; to have it in the documents, write it into sql and canalgo apply before that", m.name)
	if m.takesAll() {
		fix = fmt.Sprintf(`canalgo resume mapping %s takes it into the documents; on_new_column = "ignore" leaves it out`, m.name)
	}
	return &event.StopError{Reason: fmt.Sprintf(`mapping %s: %s has a new column %s, and on_new_column is "pause"`, m.name, t.Name, strings.Join(fresh, ", ")), Fix: fix}
}

// names reports whether the SQL names a column, so that it is not news.
func (m *Mapping) names(table event.TableName, column string) bool {
	if m.rule != nil {
		return slices.ContainsFunc(m.rule.elements, func(e *element) bool { return e.table == table && e.reads[strings.ToLower(column)] })
	}
	return slices.ContainsFunc(m.items, func(it item) bool {
		return slices.ContainsFunc(it.parts, func(p part) bool { return !p.isText && strings.EqualFold(p.column.name, column) })
	})
}

// A Field is one name of the documents and its type in the index, as JSON.
type Field struct{ Name, Type string }

// meet notes the fields of a definition that the mapping is bound to.
func (m *Mapping) meet(fields []field) {
	m.metLock.Lock()
	defer m.metLock.Unlock()
	for i := range fields {
		f := Field{fields[i].name, fields[i].indexType()}
		k := slices.IndexFunc(m.met, func(other Field) bool { return other.Name == f.Name })
		switch {
		case k < 0:
			m.met = append(m.met, f)
		case m.met[k] != f:
			m.met[k] = f
		default:
			continue
		}
		m.meetings.Add(1)
	}
}

// Met returns a number that rises whenever the documents get a field, or one of another type.
func (m *Mapping) Met() uint64 { return m.meetings.Load() }

// Fields returns all fields that documents may have had until now, and Met.
func (m *Mapping) Fields() ([]Field, uint64) {
	m.metLock.Lock()
	defer m.metLock.Unlock()
	return slices.Clone(m.met), m.meetings.Load()
}

// Properties returns the properties of an index that has these fields, as JSON.
func Properties(fields []Field) string {
	list := make([]property, len(fields))
	for i, f := range fields {
		list[i] = property{f.Name, f.Type}
	}
	return nest(list)
}

package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func childTable() *event.Table {
	return &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Key: []int{0},
		Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "up", Type: event.Int}, {Name: "v", Type: event.Text, Charset: "utf8mb4", Collation: "utf8mb4_bin"}}}
}

// places maps rows and returns each change with where its document is and what it leaves.
func places(t *testing.T, m *mapping.Mapping, rows ...event.Row) []string {
	t.Helper()
	changes, err := m.Map(rows)
	if err != nil {
		t.Fatal(err)
	}
	return placed(changes)
}

func placed(changes []mapping.Change) []string {
	var out []string
	for _, c := range changes {
		text := fmt.Sprintf("write %s at %q leaves %q %s", c.ID, c.Routing, c.Left, c.Body)
		if c.Op == mapping.Delete {
			text = fmt.Sprintf("delete %s at %q leaves %q", c.ID, c.Routing, c.Left)
		}
		if c.Err != nil {
			text = fmt.Sprintf("write %s leaves %q error: %v", c.ID, c.Left, c.Err)
		}
		if c.Nowhere {
			text += " nowhere"
		}
		out = append(out, text)
	}
	return out
}

func TestRelations(t *testing.T) {
	table := childTable()
	row := func(op event.Op, before, after []any) event.Row {
		return event.Row{Table: table, Op: op, Version: 7, Before: before, After: after}
	}
	image := func(id, up any, v string) []any { return []any{id, up, v} }
	parent := mapping.Config{SQL: "select id as _id, v from t", Relations: map[string]mapping.RelationConfig{"kind": {Name: "a\"b"}}}
	child := mapping.Config{SQL: "select concat('c', id) as _id, up, v from t where v <> 'out'", Skips: []string{"up"}, Relations: map[string]mapping.RelationConfig{"kind": {Name: "child", Parent: "up"}}}
	stored := child
	stored.Skips = nil
	text := mapping.Config{SQL: "select concat('c', id) as _id, concat('p-', up) as parent from t", Skips: []string{"parent"}, Relations: map[string]mapping.RelationConfig{"kind": {Name: "child", Parent: "parent"}}}
	const noParent = "its parent would be NULL, as column up is: a child without a parent has no place in the index; leave such rows out by WHERE"
	for _, tt := range []struct {
		name string
		cfg  mapping.Config
		row  event.Row
		want []string
	}{
		{"parent", parent, row(event.Insert, nil, image(int32(1), nil, "x")), []string{`write 1 at "" leaves [] {"v":"x","kind":"a\"b"}`}},
		{"parent goes", parent, row(event.Delete, image(int32(1), nil, "x"), nil), []string{`delete 1 at "" leaves []`}},
		{"child", child, row(event.Insert, nil, image(int32(1), int32(7), "x")), []string{`write c1 at "7" leaves [] {"v":"x","kind":{"name":"child","parent":"7"}}`}},
		{"stored", stored, row(event.Insert, nil, image(int32(1), int32(7), "x")), []string{`write c1 at "7" leaves [] {"up":7,"v":"x","kind":{"name":"child","parent":"7"}}`}},
		{"of text", text, row(event.Insert, nil, image(int32(1), int32(7), "x")), []string{`write c1 at "p-7" leaves [] {"kind":{"name":"child","parent":"p-7"}}`}},
		{"change", child, row(event.Update, image(int32(1), int32(7), "x"), image(int32(1), int32(7), "y")), []string{`write c1 at "7" leaves [] {"v":"y","kind":{"name":"child","parent":"7"}}`}},
		{"another parent", child, row(event.Update, image(int32(1), int32(7), "x"), image(int32(1), int32(8), "x")), []string{`write c1 at "8" leaves ["7"] {"v":"x","kind":{"name":"child","parent":"8"}}`}},
		{"another parent and id", child, row(event.Update, image(int32(1), int32(7), "x"), image(int32(2), int32(8), "x")), []string{`delete c1 at "7" leaves []`, `write c2 at "8" leaves [] {"v":"x","kind":{"name":"child","parent":"8"}}`}},
		{"out of where", child, row(event.Update, image(int32(1), int32(7), "x"), image(int32(1), int32(8), "out")), []string{`delete c1 at "7" leaves []`}},
		{"into where", child, row(event.Update, image(int32(1), int32(7), "out"), image(int32(1), int32(8), "x")), []string{`write c1 at "8" leaves [] {"v":"x","kind":{"name":"child","parent":"8"}}`}},
		{"goes", child, row(event.Delete, image(int32(1), int32(7), "x"), nil), []string{`delete c1 at "7" leaves []`}},
		{"no parent", child, row(event.Insert, nil, image(int32(1), nil, "x")), []string{`write c1 leaves [] error: ` + noParent}},
		{"loses its parent", child, row(event.Update, image(int32(1), int32(7), "x"), image(int32(1), nil, "x")), []string{`write c1 leaves ["7"] error: ` + noParent}},
		{"gets a parent", child, row(event.Update, image(int32(1), nil, "x"), image(int32(1), int32(7), "x")), []string{`write c1 at "7" leaves [] {"v":"x","kind":{"name":"child","parent":"7"}}`}},
		{"goes without a parent", child, row(event.Delete, image(int32(1), nil, "x"), nil), []string{`delete c1 at "" leaves [] nowhere`}},
		{"out of where without a parent", child, row(event.Update, image(int32(1), nil, "x"), image(int32(1), nil, "out")), []string{`delete c1 at "" leaves [] nowhere`}},
	} {
		equal(t, tt.name, places(t, compile(t, tt.cfg), tt.row), tt.want)
	}
	own := compile(t, child).Own()
	if own.Field != "kind" || own.Value != "child" || own.Index == "" {
		t.Errorf("own %+v", own)
	}
}

// TestChildWithoutAParentGoes: what it leaves is deleted, when one change says that it lost its parent and is gone.
func TestChildWithoutAParentGoes(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select concat('c', id) as _id, up from t", Relations: map[string]mapping.RelationConfig{"kind": {Name: "child", Parent: "up"}}})
	changes, err := m.Map([]event.Row{
		{Table: childTable(), Op: event.Update, Version: 7, Before: []any{int32(1), int32(7), "x"}, After: []any{int32(1), nil, "x"}},
		{Table: childTable(), Op: event.Delete, Version: 8, Before: []any{int32(1), nil, "x"}}})
	if err != nil || len(changes) != 2 {
		t.Fatal(changes, err)
	}
	both := changes[1].After(changes[0])
	equal(t, "both", placed([]mapping.Change{changes[1], both}), []string{`delete c1 at "" leaves [] nowhere`, `delete c1 at "7" leaves []`})
}

// TestRelationsOfARule: what the server renders is where its anchor's row says, and leaves where it was.
func TestRelationsOfARule(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select concat('c', t.id) as _id, t.up, u.n from t join u on u.id = t.v",
		Relations: map[string]mapping.RelationConfig{"kind": {Name: "child", Parent: "up"}}})
	r, table := m.Rule(), childTable()
	result, err := r.Result(table, []event.Column{{Name: "up", Type: event.Int}, {Name: "n", Type: event.Int}, {Name: "key id", Type: event.Int}})
	if err != nil {
		t.Fatal(err)
	}
	var touched mapping.Touched
	for _, row := range []event.Row{
		{Op: event.Update, Version: 5, Before: []any{int32(1), int32(7), "x"}, After: []any{int32(1), int32(8), "x"}},
		{Op: event.Update, Version: 6, Before: []any{int32(1), int32(8), "x"}, After: []any{int32(1), int32(9), "x"}},
		{Op: event.Delete, Version: 6, Before: []any{int32(2), int32(7), "x"}},
		{Op: event.Insert, Version: 6, After: []any{int32(3), nil, "x"}},
		{Op: event.Update, Version: 6, Before: []any{int32(4), int32(7), "x"}, After: []any{int32(4), nil, "x"}},
		{Op: event.Insert, Version: 6, After: []any{int32(5), nil, "x"}},
		{Op: event.Insert, Version: 6, After: []any{int32(6), int32(7), "x"}},
	} {
		row.Table = table
		if _, err := r.Touch(&row, &touched); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.RouteOf(table, []any{int32(6), int32(8)}, touched.Keys); err != nil { // it has another parent since
		t.Fatal(err)
	}
	changes, err := r.Rendered(result, [][]any{{int32(9), int32(10), int32(1)}, {nil, int32(10), int32(3)}, {nil, int32(10), int32(4)}}, touched.Keys, 6)
	if err != nil {
		t.Fatal(err)
	}
	got := placed(changes)
	want := []string{`write c1 at "9" leaves ["8" "7"] {"up":9,"n":10,"kind":{"name":"child","parent":"9"}}`,
		"write c3 leaves [] error: its parent would be NULL", `write c4 leaves ["7"] error: its parent would be NULL`, `delete c2 at "7" leaves []`, `delete c5 at "" leaves [] nowhere`, `delete c6 at "7" leaves ["8"]`}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("no %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d changes, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	if got := r.Routes([][]string{{"1"}, {"2"}}); got != "SELECT `t`.`id`, `t`.`up` FROM `shop`.`t` AS `t` WHERE `t`.`id` IN (1, 2) GROUP BY `t`.`id`, `t`.`up`, HEX(`t`.`id`), HEX(`t`.`up`)" {
		t.Errorf("routes: %s", got)
	}
}

func TestRelationsThatAreRefused(t *testing.T) {
	relation := func(name, parent string) map[string]mapping.RelationConfig {
		return map[string]mapping.RelationConfig{"kind": {Name: name, Parent: parent}}
	}
	two := relation("a", "")
	two["other"] = mapping.RelationConfig{Name: "b"}
	for _, tt := range []struct {
		sql       string
		relations map[string]mapping.RelationConfig
		skips     []string
		want      string
	}{
		{"select id as _id from t", relation("", ""), nil, `relations.kind.name: missing; it names what the document is in the index's join field, for example "order"`},
		{"select id as _id from t", two, nil, "relations.other: there is relations.kind already; an index has one join field"},
		{"select id as _id from t", map[string]mapping.RelationConfig{"_id": {Name: "a"}}, nil, `the name of a field cannot be "_id"`},
		{"select id as _id from t", relation("a", "_id"), nil, `relations.kind.parent: "_id" is the document's own id; name the column that holds the parent's`},
		{"select id as _id from t", relation("a", "up"), nil, "relations.kind.parent: up is not a name in the select list"},
		{"select id as _id, v as kind from t", relation("a", ""), nil, "relations.kind: is a name in the select list too"},
		{"select id as _id, v as `kind.x` from t", relation("a", ""), nil, `field "kind.x" makes an object of "kind", which is also a field`},
		{"select v as _id from t", relation("a", ""), nil, "its id begins with column v, which is no integer, and could be that of a document of another relation of the index; begin it with a word: concat('a-', ...) as _id"},
		{"select concat('7-', id) as _id from t", relation("a", ""), nil, `its id begins with "7-" and could be`},
		{"select t.id as _id, u.n as up from t join u on u.id = t.v", relation("a", "up"), nil, "the parent has columns of t and of u: it must be a column, or concat of columns and text, of the table that makes the id"},
		{"select t.id as _id, t.up + 1 as up from t", relation("a", "up"), nil, "the operator + as the document's parent: it must be a column"},
		{"select t.*, t.id as _id, upper(v) as w from t", relation("a", "up"), nil, "relations.kind.parent: up is not a name in the select list"},
	} {
		m, err := mapping.Compile("m", mapping.Config{SQL: tt.sql, Index: "i", Skips: tt.skips, Relations: tt.relations}, "shop")
		if err == nil {
			err = m.Bind(childTable())
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v\nwant %s", tt.sql, err, tt.want)
		}
	}
}

func TestRelationOfAnIndex(t *testing.T) {
	const join = `{"properties":{"kind":{"type":"join","relations":{"a":["b","x"],"b":"c"}}}}`
	for _, tt := range []struct{ name, parent, mappings, want string }{
		{"a", "", join, ""},
		{"b", "up", join, ""},
		{"x", "up", join, ""},
		{"a", "up", join, `"a" is no child in the index users; leave relations.kind.parent out`},
		{"x", "", join, `"x" is a child of "a" in the index users; say in relations.kind.parent which name holds the parent's id`},
		{"d", "", join, `the index users has no relation "d" in its join field kind; create the index with "kind": {"type": "join", "relations": {"d": "CHILD"}}`},
		{"c", "up", join, `"c" is a grandchild, of "a", in the index users: it would need the routing of its grandparent`},
		{"b", "up", `{"properties":{"kind":{"type":"keyword"}}}`, `the index users has no join field "kind"; create the index with "kind": {"type": "join", "relations": {"PARENT": "b"}}`},
		{"b", "up", `{}`, `has no join field "kind"`},
	} {
		m := compile(t, mapping.Config{SQL: "select concat('m', id) as _id, up from t", Relations: map[string]mapping.RelationConfig{"kind": {Name: tt.name, Parent: tt.parent}}})
		err := m.CheckRelation([]byte(tt.mappings))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if _, err := m.IndexBody(childTable()); err == nil || !strings.Contains(err.Error(), "there is no index users") {
			t.Errorf("a body for an index: %v", err)
		}
	}
}

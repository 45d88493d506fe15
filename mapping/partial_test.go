package mapping_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// TestMapPartial maps rows that lack columns where they say enough, and else asks for them.
func TestMapPartial(t *testing.T) {
	table := userTable()
	none := event.Absent
	row := func(id, name, age any) []any { return []any{id, name, age, none, none, none} }
	const plain = "select u.id as _id, u.name, u.age from user u"
	const adults = plain + " where u.age >= 18"
	for _, tt := range []struct {
		name string
		sql  string
		row  event.Row
		want []string
	}{
		{"insert with all", plain, event.Row{Op: event.Insert, After: row(int64(1), "a", nil)}, []string{`write 1 {"name":"a","age":null}`}},
		{"insert with defaults", plain, event.Row{Op: event.Insert, After: row(int64(1), "a", none)}, []string{"look up 1"}},
		{"update", plain, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(1), "b", none)}, []string{"look up 1"}},
		{"update of all", plain, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(1), "b", int32(2))}, []string{`write 1 {"name":"b","age":2}`}},
		{"update of the key", plain, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(2), none, none)}, []string{"delete 1", "look up 2"}},
		{"update of all with the key", plain, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(2), "b", int32(2))}, []string{"delete 1", `write 2 {"name":"b","age":2}`}},
		{"delete", plain, event.Row{Op: event.Delete, Before: row(int64(1), none, none)}, []string{"delete 1"}},
		{"insert that may match", adults, event.Row{Op: event.Insert, After: row(int64(1), "a", none)}, []string{"look up 1"}},
		{"insert outside where", adults, event.Row{Op: event.Insert, After: row(int64(1), "a", int32(17))}, nil},
		{"update that may match", adults, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(1), none, int32(20))}, []string{"look up 1"}},
		{"update out of where", adults, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(1), "a", int32(17))}, []string{"delete 1"}},
		{"update into where", adults, event.Row{Op: event.Update, Before: row(int64(1), none, none), After: row(int64(1), "a", int32(18))}, []string{`write 1 {"name":"a","age":18}`}},
		{"delete that may have matched", adults, event.Row{Op: event.Delete, Before: row(int64(1), none, none)}, []string{"delete 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.row.Table, tt.row.Version, tt.row.Partial = table, event.NewVersion(7, 9), true
			equal(t, tt.sql, mapRows(t, compile(t, mapping.Config{SQL: tt.sql}), tt.row), tt.want)
		})
	}
}

// TestPartialWithoutID stops by name where a row does not say which document it is about.
func TestPartialWithoutID(t *testing.T) {
	table := userTable()
	id := event.Row{Op: event.Delete, Before: []any{int64(1), event.Absent, event.Absent, event.Absent, event.Absent, event.Absent}}
	created := event.Row{Op: event.Insert, After: []any{event.Absent, "a", nil, event.Absent, event.Absent, nil}}
	item := &event.Table{Name: event.TableName{Schema: "shop", Name: "item"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "owner", Type: event.Int}}, Key: []int{0}}
	const joined = "select u.id as _id, i.owner from user u left join item i on i.owner = u.id"
	for _, tt := range []struct {
		name  string
		sql   string
		row   event.Row
		table *event.Table
		want  string
	}{
		{"another column", "select name as _id, age from user", id, table, "the delete 7:9 of shop.user lacks column name, which gives its document's id"},
		{"part of it", "select concat(id, name) as _id, age from user", id, table, "lacks column name"},
		{"a default", "select id as _id, age from user", created, table, "the insert 7:9 of shop.user lacks column id"},
		{"an anchor", joined, created, table, "lacks column id, which gives its document's id"},
		{"a joined table", joined, event.Row{Op: event.Update, Before: []any{int32(1), event.Absent}, After: []any{int32(2), event.Absent}}, item,
			"the update 7:9 of shop.item lacks column owner, which gives the documents that it is part of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.row.Table, tt.row.Version, tt.row.Partial = tt.table, event.NewVersion(7, 9), true
			m := compile(t, mapping.Config{SQL: tt.sql})
			var err error
			if m.Rule() != nil {
				_, err = m.Rule().Touch(&tt.row, &mapping.Touched{})
			} else {
				_, err = m.Map([]event.Row{tt.row})
			}
			var stop *event.StopError
			if !errors.As(err, &stop) || !strings.Contains(strings.ReplaceAll(stop.Reason, event.NewVersion(7, 9).String(), "7:9"), tt.want) || !strings.Contains(stop.Fix, "binlog_row_image = FULL") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestTouchPartial finds the documents of rows that lack what does not lead to them. A column that no image has may have changed: of a
// MariaDB's REPLACE the images have only what it names. One that both have, the same, has not.
func TestTouchPartial(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select u.id as _id, u.name, c.title from user u left join company c on c.id = u.age"})
	company := &event.Table{Name: event.TableName{Schema: "shop", Name: "company"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "title", Type: event.Char}, {Name: "seen", Type: event.Int}}, Key: []int{0}}
	for _, tt := range []struct {
		after []any
		want  string
	}{
		{[]any{int32(5), "new", event.Absent}, "map[1:[[5]]]"},
		{[]any{int32(5), event.Absent, int32(9)}, "map[1:[[5]]]"},
		{[]any{int32(5), "old", int32(9)}, "map[]"},
		{[]any{int32(6), event.Absent, event.Absent}, "map[1:[[5] [6]]]"},
	} {
		row := event.Row{Table: company, Op: event.Update, Version: 1, Partial: true, Before: []any{int32(5), before(tt.after[1]), event.Absent}, After: tt.after}
		var touched mapping.Touched
		if _, err := m.Rule().Touch(&row, &touched); err != nil || fmt.Sprint(touched.Links) != tt.want {
			t.Errorf("after %v: got %v, %v, want %s", tt.after, touched.Links, err, tt.want)
		}
	}
}

// TestPartialChild asks for a child's document where it is, and names where it was; without its parent nobody knows either.
func TestPartialChild(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select concat('c', id) as _id, up, v from t", Relations: map[string]mapping.RelationConfig{"kind": {Name: "child", Parent: "up"}}})
	row := event.Row{Table: childTable(), Op: event.Update, Version: 7, Partial: true, Before: []any{int32(1), int32(7), event.Absent}, After: []any{int32(1), int32(8), event.Absent}}
	changes, err := m.Map([]event.Row{row})
	if err != nil || len(changes) != 1 || changes[0].Op != mapping.LookUp || changes[0].ID != "c1" || changes[0].Routing != "8" || fmt.Sprint(changes[0].Left) != "[7]" {
		t.Errorf("got %+v, %v", changes, err)
	}
	row.After = []any{int32(1), int32(8), "all"}
	if got := places(t, m, row); len(got) != 1 || got[0] != `write c1 at "8" leaves ["7"] {"up":8,"v":"all","kind":{"name":"child","parent":"8"}}` {
		t.Errorf("got %v", got)
	}
	row.Before[1], row.After = event.Absent, []any{int32(1), event.Absent, "x"}
	if _, err := m.Map([]event.Row{row}); err == nil || !strings.Contains(err.Error(), "lacks column up, which gives its document's parent") {
		t.Errorf("got %v", err)
	}
}

// before is what an image before has of a column: the old text, if that is what it has afterwards.
func before(after any) any {
	if after == "old" {
		return after
	}
	return event.Absent
}

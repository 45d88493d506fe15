package mapping_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// A column that a table got later is ignored, added or stopped at, as on_new_column says.
func TestNewColumns(t *testing.T) {
	const all, named = "select u.id as _id, u.* from user u", "select id as _id, name from user"
	before := &event.Table{Name: event.TableName{Schema: "shop", Name: "user"}, Columns: userTable().Columns[:2], Key: []int{0}}
	after := &event.Table{Name: before.Name, Columns: userTable().Columns[:3], Key: []int{0}}
	for _, test := range []struct {
		name, sql, choice, want string
		stops                   []string
		knows                   bool // the mapping is told which columns are not new
	}{
		{"* takes it", all, "", `write 2 {"id":2,"name":"b","age":3}`, nil, false},
		{"names leave it out", named, "", `write 2 {"name":"b"}`, nil, false},
		{"added", all, "add", `write 2 {"id":2,"name":"b","age":3}`, nil, false},
		{"* without it", all, "ignore", `write 2 {"id":2,"name":"b"}`, nil, true},
		{"names without it", named, "ignore", `write 2 {"name":"b"}`, nil, false},
		{"stopped at *", all, "pause", "", []string{"shop.user has a new column age", "canalgo resume mapping users", "ignore"}, true},
		{"stopped beside names", named, "pause", "", []string{"shop.user has a new column age", "canalgo resume mapping users", "canalgo apply"}, true},
		{"named", "select id as _id, name, age from user", "pause", `write 2 {"name":"b","age":3}`, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := compile(t, mapping.Config{SQL: test.sql, OnNewColumn: test.choice})
			if m.RemembersColumns() != test.knows {
				t.Errorf("remembers columns: %v, want %v", m.RemembersColumns(), test.knows)
			}
			if test.knows {
				m.Know(map[event.TableName][]string{before.Name: {"id", "name"}})
			}
			if test.name != "named" {
				if _, err := m.Map([]event.Row{{Table: before, Op: event.Insert, Version: 1, After: []any{int64(1), "a"}}}); err != nil {
					t.Fatal(err)
				}
			}
			changes, err := m.Map([]event.Row{{Table: after, Op: event.Insert, Version: 2, After: []any{int64(2), "b", int32(3)}}})
			if len(test.stops) > 0 {
				var stop *event.StopError
				if !errors.As(err, &stop) {
					t.Fatalf("got %v, want a stop", err)
				}
				for _, part := range test.stops {
					if !strings.Contains(stop.Reason+stop.Fix, part) {
						t.Errorf("%q does not say %q", stop.Reason+"; "+stop.Fix, part)
					}
				}
				if _, err := m.Columns(after); !errors.As(err, &stop) {
					t.Errorf("a load is told %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := show(changes[0]); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// The rows of every table of a join stop a mapping that wants to hear of new columns.
func TestNewColumnsOfJoinedTables(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select o.id as _id, u.name from orders o left join user u on u.id = o.user_id", OnNewColumn: "pause"})
	m.Know(map[event.TableName][]string{userTable().Name: {"id", "name"}, {Schema: "shop", Name: "orders"}: {"id", "user_id"}})
	var touched mapping.Touched
	before := &event.Table{Name: userTable().Name, Columns: userTable().Columns[:2], Key: []int{0}}
	if _, err := m.Rule().Touch(&event.Row{Table: before, Op: event.Insert, Version: 1, After: []any{int64(1), "a"}}, &touched); err != nil {
		t.Fatal(err)
	}
	after := &event.Table{Name: before.Name, Columns: userTable().Columns[:3], Key: []int{0}}
	_, err := m.Rule().Touch(&event.Row{Table: after, Op: event.Insert, Version: 2, After: []any{int64(1), "a", int32(3)}}, &touched)
	var stop *event.StopError
	if !errors.As(err, &stop) || !strings.Contains(stop.Reason, "shop.user has a new column age") {
		t.Errorf("got %v", err)
	}
}

func TestNewColumnsRefused(t *testing.T) {
	for _, test := range []struct{ sql, choice, want string }{
		{"select id as _id, name from user", "add", `"add" has no meaning beside a list of names`},
		{"select o.id as _id, o.*, u.name from orders o left join user u on u.id = o.user_id", "ignore", "name the columns instead of *"},
		{"select u.id as _id, u.* from user u", "stop", `on_new_column: want one of ignore, add, pause, got "stop"`},
	} {
		_, err := mapping.Compile("users", mapping.Config{SQL: test.sql, Index: "users", OnNewColumn: test.choice}, "shop")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s of %s: got %v, want %s", test.choice, test.sql, err, test.want)
		}
	}
}

// Fields has the fields of every definition that the mapping was bound to, with the type that they had last.
func TestFieldsOfAllDefinitions(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select u.id as _id, u.* from user u", Skips: []string{"id"}})
	if m.Met() != 0 {
		t.Errorf("met %d before the first definition", m.Met())
	}
	table := userTable()
	bind := func(columns ...event.Column) uint64 {
		t.Helper()
		if err := m.Bind(&event.Table{Name: table.Name, Columns: columns, Key: []int{0}}); err != nil {
			t.Fatal(err)
		}
		return m.Met()
	}
	first := bind(table.Columns[:3]...)
	second := bind(table.Columns[0], table.Columns[4])
	if again := bind(table.Columns[:2]...); first == 0 || second <= first || again != second {
		t.Errorf("met %d, %d, then %d", first, second, again)
	}
	wide := table.Columns[2]
	wide.Type = event.BigInt
	if bind(table.Columns[0], wide) == second {
		t.Error("another type is not news")
	}
	fields, _ := m.Fields()
	slices.SortFunc(fields, func(a, b mapping.Field) int { return strings.Compare(a.Name, b.Name) })
	const want = `{"age":{"type":"long"},"created":{"type":"date","format":"strict_date_optional_time"},"name":{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}}}`
	if got := mapping.Properties(fields); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

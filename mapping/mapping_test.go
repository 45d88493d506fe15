package mapping_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// userTable is shop.user, the table that most tests map.
func userTable() *event.Table {
	text := func(name string) event.Column {
		return event.Column{Name: name, Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_bin"}
	}
	return &event.Table{
		Name: event.TableName{Schema: "shop", Name: "user"},
		Columns: []event.Column{
			{Name: "id", Type: event.BigInt},
			text("name"),
			{Name: "age", Type: event.Int},
			{Name: "balance", Type: event.Decimal, Length: 10, Scale: 2},
			{Name: "created", Type: event.DateTime, Length: 3},
			text("city"),
		},
		Key: []int{0},
	}
}

func compile(t *testing.T, cfg mapping.Config) *mapping.Mapping {
	t.Helper()
	if cfg.Index == "" {
		cfg.Index = "users"
	}
	m, err := mapping.Compile("users", cfg, "shop")
	if err != nil {
		t.Fatalf("compile %q: %v", cfg.SQL, err)
	}
	return m
}

// show prints a change as one line.
func show(c mapping.Change) string {
	op := map[mapping.Op]string{mapping.Write: "write", mapping.Delete: "delete", mapping.Clear: "clear", mapping.LookUp: "look up"}[c.Op]
	parts := []string{op}
	if c.Nowhere {
		parts = append(parts, "nowhere")
	}
	if c.ID != "" {
		parts = append(parts, c.ID)
	}
	if c.Body != nil {
		parts = append(parts, string(c.Body))
	}
	if c.Err != nil {
		parts = append(parts, "error: "+c.Err.Error())
	}
	return strings.Join(parts, " ")
}

func mapRows(t *testing.T, m *mapping.Mapping, rows ...event.Row) []string {
	t.Helper()
	changes, err := m.Map(rows)
	if err != nil {
		t.Fatalf("map: %v", err)
	}
	var got []string
	for _, c := range changes {
		if c.Index != m.Index() || c.Row == nil || c.Version != c.Row.Version {
			t.Errorf("change %s lacks index, row or version: %+v", show(c), c)
		}
		if c.Body != nil && !json.Valid(c.Body) {
			t.Errorf("body is not JSON: %s", c.Body)
		}
		got = append(got, show(c))
	}
	return got
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestMapOperations(t *testing.T) {
	table := userTable()
	row := func(id int64, name string, age any) []any {
		return []any{id, name, age, "12.50", "2024-02-29 23:59:59.120", nil}
	}
	const plain = "select u.id as _id, u.name, u.age from user u"
	const adults = plain + " where u.age >= 18"
	tests := []struct {
		name string
		sql  string
		row  event.Row
		want []string
	}{
		{"insert", plain, event.Row{Op: event.Insert, After: row(1, "a", int32(20))}, []string{`write 1 {"name":"a","age":20}`}},
		{"update", plain, event.Row{Op: event.Update, Before: row(1, "a", int32(20)), After: row(1, "b", nil)}, []string{`write 1 {"name":"b","age":null}`}},
		{"update of the key", plain, event.Row{Op: event.Update, Before: row(1, "a", int32(20)), After: row(2, "a", int32(20))},
			[]string{`delete 1`, `write 2 {"name":"a","age":20}`}},
		{"delete", plain, event.Row{Op: event.Delete, Before: row(1, "a", int32(20))}, []string{`delete 1`}},
		{"truncate", plain, event.Row{Op: event.DeleteAll}, []string{`clear`}},
		{"drop", plain, event.Row{Op: event.DropTable}, []string{`clear`}},
		{"insert outside where", adults, event.Row{Op: event.Insert, After: row(1, "a", int32(17))}, nil},
		{"insert with unknown where", adults, event.Row{Op: event.Insert, After: row(1, "a", nil)}, nil},
		{"update into where", adults, event.Row{Op: event.Update, Before: row(1, "a", int32(17)), After: row(1, "a", int32(18))}, []string{`write 1 {"name":"a","age":18}`}},
		{"update out of where", adults, event.Row{Op: event.Update, Before: row(1, "a", int32(18)), After: row(1, "a", int32(17))}, []string{`delete 1`}},
		{"update out of where with another key", adults, event.Row{Op: event.Update, Before: row(1, "a", int32(18)), After: row(2, "a", int32(17))}, []string{`delete 1`}},
		{"update outside where", adults, event.Row{Op: event.Update, Before: row(1, "a", int32(16)), After: row(1, "a", int32(17))}, nil},
		{"delete outside where", adults, event.Row{Op: event.Delete, Before: row(1, "a", int32(17))}, nil},
		{"where and key change at once", adults, event.Row{Op: event.Update, Before: row(1, "a", int32(17)), After: row(2, "a", int32(18))}, []string{`write 2 {"name":"a","age":18}`}},
		{"composite id", "select concat(id, '-', name) as _id, age from user",
			event.Row{Op: event.Update, Before: row(1, "a", int32(1)), After: row(1, "b", int32(1))}, []string{`delete 1-a`, `write 1-b {"age":1}`}},
		{"deleting a row for which where cannot be told", plain + " where u.name = 'a'", event.Row{Op: event.Delete, Before: row(1, "a\xff", nil)},
			[]string{`delete 1`}},
		{"only an id", "select id as _id from user", event.Row{Op: event.Insert, After: row(1, "a", nil)}, []string{`write 1 {}`}},
		{"star", "select *, id as _id from user", event.Row{Op: event.Insert, After: row(1, "a", nil)},
			[]string{`write 1 {"id":1,"name":"a","age":null,"balance":12.50,"created":"2024-02-29T23:59:59.120","city":null}`}},
		{"NULL in the id", "select city as _id, age from user", event.Row{Op: event.Insert, After: row(1, "a", nil)},
			[]string{"write NULL (1) error: the document's id would be NULL: column city is NULL"}},
		{"deleting a row whose id is NULL", "select city as _id, age from user", event.Row{Op: event.Delete, Before: row(1, "a", nil)}, []string{"delete nowhere NULL (1)"}},
		{"another key of a row whose id is NULL", "select city as _id, age from user", event.Row{Op: event.Update, Before: row(1, "a", nil), After: row(2, "a", nil)},
			[]string{"delete nowhere NULL (1)", "write NULL (2) error: the document's id would be NULL: column city is NULL"}},
		{"empty id", "select name as _id from user", event.Row{Op: event.Insert, After: row(1, "", nil)}, []string{`write "" (1) error: the document's id is empty`}},
		{"long id", "select name as _id from user", event.Row{Op: event.Insert, After: row(1, strings.Repeat("ä", 257), nil)},
			[]string{"write " + strings.Repeat("ä", 246) + "... 93f55e76318fe198 error: the document's id has 514 bytes, Elasticsearch takes 512"}},
		{"longest id", "select name as _id from user", event.Row{Op: event.Insert, After: row(1, strings.Repeat("a", 512), nil)},
			[]string{"write " + strings.Repeat("a", 512) + " {}"}},
		{"text that is not UTF-8", plain, event.Row{Op: event.Insert, After: row(1, "a\xff", nil)}, []string{"write 1 error: column name: invalid UTF-8"}},
		{"id that is not UTF-8", "select name as _id from user", event.Row{Op: event.Insert, After: row(1, "a\xff", nil)},
			[]string{`write "a\xff" (1) error: the document's id: column name: invalid UTF-8`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := compile(t, mapping.Config{SQL: tt.sql})
			tt.row.Table = table
			tt.row.Version = event.NewVersion(7, 9)
			equal(t, tt.sql, mapRows(t, m, tt.row), tt.want)
		})
	}
}

func TestMapIgnoresOtherTables(t *testing.T) {
	other := userTable()
	other.Name.Name = "customer"
	m := compile(t, mapping.Config{SQL: "select id as _id from user"})
	equal(t, "row of another table", mapRows(t, m, event.Row{Table: other, Op: event.Insert, After: make([]any, 6)}), nil)
}

func TestMapManyRows(t *testing.T) {
	table := userTable()
	m := compile(t, mapping.Config{SQL: "select id as _id, name from user"})
	for range 2 { // the second call knows how large bodies are
		var rows []event.Row
		for i := range 1000 {
			rows = append(rows, event.Row{Table: table, Op: event.Insert, After: []any{int64(i), strings.Repeat("x", i%300), nil, nil, nil, nil}})
		}
		changes, err := m.Map(rows)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range changes {
			want, _ := json.Marshal(map[string]string{"name": strings.Repeat("x", i%300)})
			if string(c.Body) != string(want) {
				t.Fatalf("body %d: got %s, want %s", i, c.Body, want)
			}
			if want, _ := json.Marshal(i); c.ID != string(want) {
				t.Fatalf("id %d: got %s", i, c.ID)
			}
		}
	}
}

func TestMapStopsAtABrokenDefinition(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select id as _id, name from user"})
	if err := m.Bind(userTable()); err != nil {
		t.Fatal(err)
	}
	changed := userTable()
	changed.Columns[1].Name = "full_name"
	_, err := m.Map([]event.Row{{Table: changed, Op: event.Insert, After: make([]any, 6)}})
	var stop *event.StopError
	if !errors.As(err, &stop) {
		t.Fatalf("got %v, want a StopError", err)
	}
	equal(t, "reason", []string{stop.Reason}, []string{`mapping users: sql 1:19: column "name" is not in shop.user`})
}

func BenchmarkMap(b *testing.B) {
	table := userTable()
	m, err := mapping.Compile("users", mapping.Config{SQL: "select id as _id, name, age, balance, created, city from user", Index: "users"}, "shop")
	if err != nil {
		b.Fatal(err)
	}
	rows := make([]event.Row, 500)
	for i := range rows {
		rows[i] = event.Row{Table: table, Op: event.Insert, Version: event.NewVersion(1, uint64(i)),
			After: []any{int64(1000000 + i), "some name of a user", int32(i), "1234.50", "2024-02-29 23:59:59.120", "Somewhere"}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Map(rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/row")
}

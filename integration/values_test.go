//go:build integration

package integration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/integration/golden"
	"canalgo/mapping"
	"canalgo/sqltext"
)

// TestValues makes documents of the rows of each folder of testdata/values: table.sql is run first, then rows.sql, whose changes the stream
// has, and in the end a load reads the table. Both must give the documents in want, byte for byte. mapping.toml, if there, is the
// mapping; without one, all columns of t become fields. The folders are named by the project's lists of types (T) and character sets (C).
func TestValues(t *testing.T) {
	db := ownServer(t)
	golden.Each(t, "testdata/values", func(t *testing.T, c golden.Case) {
		streamed := valuesOf(t, db, c, func(file string) string { return c.Read(t, file) })
		c.Compare(t, streamed)
	})
}

// TestValuesOfMariaDB is TestValues on MariaDB. What differs there stands in files with .mariadb behind their names; refused.mariadb is why it
// has no such table.
func TestValuesOfMariaDB(t *testing.T) {
	db := ownMariaDB(t)
	golden.Each(t, "testdata/values", func(t *testing.T, c golden.Case) {
		read := func(file string) string { return cmp.Or(c.Read(t, file+".mariadb"), c.Read(t, file)) }
		if refused := strings.TrimSpace(c.Read(t, "refused.mariadb")); refused != "" {
			if err := db.Exec("CREATE DATABASE IF NOT EXISTS refused", "USE refused", strings.TrimSuffix(read("table.sql"), ";\n")); err == nil || !strings.Contains(err.Error(), refused) {
				t.Errorf("the server says %v, want %s", err, refused)
			}
			return
		}
		if streamed := valuesOf(t, db, c, read); streamed != c.Read(t, "want") {
			c.CompareFile(t, "want.mariadb", streamed)
		}
	})
}

// valuesOf returns the documents that the stream gives, and a load as well.
func valuesOf(t *testing.T, db *component.MySQL, c golden.Case, file func(name string) string) string {
	t.Helper()
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	schema := strings.ReplaceAll(c.Name, "-", "_")
	run := func(sql string) {
		t.Helper()
		for statement := range strings.SplitSeq(sql, ";\n") {
			if statement = strings.TrimSpace(statement); statement == "" {
				continue
			}
			if _, err := conn.Execute(statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	cfg := mapping.Config{SQL: "select id as _id, t.* from t", Index: "t", Skips: []string{"id"}}
	if text := file("mapping.toml"); text != "" {
		cfg = mapping.Config{Index: "t"}
		if _, err := toml.Decode(text, &cfg); err != nil {
			t.Fatal(err)
		}
	}
	m, err := mapping.Compile(c.Name, cfg, schema)
	if err != nil {
		t.Fatal(err)
	}
	run("SET NAMES utf8mb4;\nSET sql_mode = '';\nCREATE DATABASE " + schema + ";\nUSE " + schema)
	run(file("table.sql"))
	s := newSource(t, db, nil)
	from := resolve(t, s, "current")
	run(file("rows.sql"))
	streamed := documents{}
	streamed.change(t, m, decode(t, read(t, s, from, resolve(t, s, "current"), inSchema(schema))))

	table, err := s.Describe(t.Context(), event.TableName{Schema: schema, Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	loaded, all := documents{}, make([]string, len(table.Columns))
	for i, column := range table.Columns {
		all[i] = sqltext.Quote(column.Name)
	}
	if err := s.Select(t.Context(), event.Position{}, "SELECT "+strings.Join(all, ", ")+" FROM "+schema+".t", table.Columns, func(values []any) error {
		loaded.change(t, m, []event.Row{{Table: table, Op: event.Insert, Version: 1, After: values}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if streamed.String() != loaded.String() {
		t.Errorf("the stream gives\n%s\na load\n%s", streamed, loaded)
	}
	return streamed.String()
}

// documents are what a destination has, by id.
type documents map[string]string

func (d documents) change(t *testing.T, m *mapping.Mapping, rows []event.Row) {
	t.Helper()
	changes, err := m.Map(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		switch {
		case c.Err != nil:
			d[c.ID] = "set aside: " + c.Err.Error()
		case c.Op == mapping.Delete:
			delete(d, c.ID)
		default:
			d[c.ID] = string(c.Body)
		}
	}
}

// String returns a line for each document.
func (d documents) String() string {
	var out strings.Builder
	for _, id := range slices.Sorted(maps.Keys(d)) {
		fmt.Fprintf(&out, "%s %s\n", id, d[id])
	}
	return out.String()
}

//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// newColumnExample is the mapping that docs/mapping.md shows for on_new_column.
func newColumnExample(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## New columns\n")
	_, section, _ = strings.Cut(section, "```toml\n")
	example, _, found := strings.Cut(section, "```")
	if !found {
		t.Fatal("docs/mapping.md has no example of on_new_column")
	}
	return example
}

var (
	exampleHeader = regexp.MustCompile(`\[mapping\.\w+\]`)
	exampleIndex  = regexp.MustCompile(`_index = "\w+"`)
	exampleSQL    = regexp.MustCompile(`sql = ".*"`)
	exampleChoice = regexp.MustCompile(`on_new_column = "\w+"`)
)

// TestNewColumns gives a table columns while each choice of on_new_column follows it, with canalgo there all the time, away before the change
// and back in the middle of it, and away until after it. What is ignored is in no document, what is added has its type in the index before
// the first document has it, and what pauses the mapping is named, comes after all that was before, and goes on when it is told to.
func TestNewColumns(t *testing.T) {
	r := newRig(t, "newcolumns", oracle.WorkloadConfig{}, "")
	r.must(r.db.Exec("USE newcolumns", "CREATE TABLE product (id INT PRIMARY KEY, name VARCHAR(20))", "CREATE TABLE stock (id INT PRIMARY KEY, n INT)"))
	example := newColumnExample(t)
	sections := r.endpoints()
	mappings := map[string]struct{ sql, choice string }{
		"nc_all":     {"select p.id as _id, p.* from product p", ""},
		"nc_add":     {"select p.id as _id, p.* from product p", "add"},
		"nc_ignore":  {"select p.id as _id, p.* from product p", "ignore"},
		"nc_pause":   {"select p.id as _id, p.* from product p", "pause"},
		"nc_named":   {"select id as _id, name from product", "pause"},
		"nc_joined":  {"select p.id as _id, p.* from product p left join stock s on s.id = p.id", "add"},
		"nc_joined2": {"select s.id as _id, p.name from stock s left join product p on p.id = s.id", "pause"},
	}
	for name, m := range mappings {
		text := exampleHeader.ReplaceAllString(example, "[mapping."+name+"]")
		text = exampleIndex.ReplaceAllString(text, `_index = "`+name+`"`)
		text = exampleSQL.ReplaceAllString(text, `sql = "`+m.sql+`"`)
		sections += "\n" + exampleChoice.ReplaceAllString(text, `on_new_column = "`+m.choice+`"`)
		t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), name)) })
	}
	r.must(r.node.Configure(sections))
	r.start()
	x := &newColumns{rig: r, mappings: mappings}

	// canalgo is there all the time
	x.insert(3)
	x.add("born", "DATE", "'2024-02-29'")
	x.insert(3)
	x.settle("born", `{"type":"date","format":"strict_date_optional_time"}`)

	// it is away when the column comes, and back while rows are written
	r.must(r.node.Kill())
	x.insert(3)
	x.add("digits", "DECIMAL(40,2)", "12345678901234567890123456789012345678.25")
	x.insert(2)
	r.must(r.node.Start())
	x.insert(2)
	x.settle("digits", `{"type":"keyword","fields":{"double":{"type":"double"}}}`)

	// and away until all is over
	r.must(r.node.Kill())
	x.insert(2)
	x.add("small", "BIGINT UNSIGNED", "18446744073709551615")
	x.insert(2)
	r.must(r.node.Start())
	x.settle("small", `{"type":"long","ignore_malformed":true,"fields":{"keyword":{"type":"keyword"}}}`)
	r.quiet()
}

// newColumns is a table that gets columns.
type newColumns struct {
	*rig
	mappings map[string]struct{ sql, choice string }
	columns  []string
	values   []string
	rows     int
}

// insert inserts rows, one transaction each, of both tables.
func (x *newColumns) insert(n int) {
	x.t.Helper()
	for range n {
		x.rows++
		x.must(x.db.Exec("USE newcolumns", fmt.Sprintf("INSERT INTO product (%s) VALUES (%s)", strings.Join(append([]string{"id", "name"}, x.columns...), ", "),
			strings.Join(append([]string{fmt.Sprint(x.rows), fmt.Sprintf("'n%d'", x.rows)}, x.values...), ", ")), fmt.Sprintf("INSERT INTO stock VALUES (%d, 1)", x.rows)))
	}
}

func (x *newColumns) add(column, kind, value string) {
	x.t.Helper()
	x.must(x.db.Exec("ALTER TABLE newcolumns.product ADD COLUMN " + column + " " + kind))
	x.columns, x.values = append(x.columns, column), append(x.values, value)
}

// settle wants what each mapping makes of the column that was added last, lets those go on that paused, and wants all rows written then.
func (x *newColumns) settle(column, kind string) {
	x.t.Helper()
	paused := func(d status.Duty) bool { return x.mappings[strings.TrimPrefix(d.ID, "shop/")].choice == "pause" }
	report := x.awaitReport("the mappings that pause", func(report status.Report) bool {
		for _, d := range report.Duties {
			if paused(d) != (d.Stage == status.Stopped) {
				return false
			}
		}
		return len(report.Duties) == len(x.mappings)
	})
	first := 0 // the first row that has the column
	for id := 1; id <= x.rows && first == 0; id++ {
		result, err := x.db.Query(fmt.Sprintf("SELECT 1 FROM newcolumns.product WHERE id = %d AND %s IS NOT NULL", id, column))
		x.must(err)
		if result.RowNumber() > 0 {
			first = id
		}
	}
	for _, d := range report.Duties {
		name := strings.TrimPrefix(d.ID, "shop/")
		if !paused(d) {
			continue
		}
		if want := "newcolumns.product has a new column " + column; !strings.Contains(d.LastError, want) || !strings.Contains(d.LastError, "canalgo resume mapping "+name) {
			x.t.Errorf("%s stops by %q, want %q", name, d.LastError, want)
		}
		if x.mappings[name].choice == "pause" && name != "nc_joined2" { // the others are rendered some rows at once
			x.await("what was before the column in "+name, func() error { return x.has(name, first-1, true) })
			x.must(x.has(name, first, false))
		}
		x.command(0, "resume", "mapping", name)
	}
	for name, m := range x.mappings {
		x.await("all rows in "+name, func() error { return x.has(name, x.rows, true) })
		doc, _, err := x.es.Get(context.Background(), name, fmt.Sprint(x.rows))
		x.must(err)
		inDocument := strings.Contains(string(doc.Source), `"`+column+`"`)
		if want := strings.Contains(m.sql, "p.*") && m.choice != "ignore"; inDocument != want {
			x.t.Errorf("%s: the column %s is in the document: %v, want %v: %s", name, column, inDocument, want, doc.Source)
		}
		answer, err := x.es.Request(context.Background(), "GET", "/"+name+"/_mapping", nil)
		x.must(err)
		got := gjson.GetBytes(answer, name+".mappings.properties."+column).Raw
		want := kind
		if !inDocument {
			want = ""
		}
		if got != want {
			x.t.Errorf("%s: the index has %s as %s, want %s", name, column, got, want)
		}
	}
}

// has wants a document to be there, or not.
func (x *newColumns) has(index string, id int, want bool) error {
	_, found, err := x.es.Get(context.Background(), index, fmt.Sprint(id))
	if err == nil && found != want {
		err = errors.New("document " + fmt.Sprint(id) + " of " + index + ": not as it should be")
	}
	return err
}

// TestARenamedColumn: a mapping that names a column which the table calls otherwise from then on stops there by name, and writes no null. What
// came before is written, other mappings go on, and so does this one when it says the new name.
func TestARenamedColumn(t *testing.T) {
	r := newRig(t, "renamedcolumn", oracle.WorkloadConfig{}, "")
	r.must(r.db.Exec("USE renamedcolumn", "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)"))
	other := "renamedcolumn_other"
	t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), other)) })
	file := func(column string) string {
		return r.endpoints() + r.mapping(r.name, "", "select id as _id, "+column+" as a from t") + r.mapping(other, "", "select id as _id, b from t")
	}
	r.must(r.node.Configure(file("a")))
	r.start()
	r.must(r.db.Exec("USE renamedcolumn", "INSERT INTO t VALUES (1, 10, 100)", "ALTER TABLE t RENAME COLUMN a TO renamed", "INSERT INTO t VALUES (2, 20, 200)"))
	report := r.awaitReport("the mapping's stop", func(report status.Report) bool {
		d, ok := report.Duty("shop/" + r.name)
		return ok && d.Stage == status.Stopped
	})
	if d, _ := report.Duty("shop/" + r.name); !strings.Contains(d.LastError, `column "a" is not in renamedcolumn.t`) || !strings.Contains(d.LastError, "renamed") {
		t.Errorf("stopped by %q", d.LastError)
	}
	r.document("1", func(doc component.Document, found bool) bool { return found && string(doc.Source) == `{"a":10}` })
	r.await("the other mapping", func() error {
		_, found, err := r.es.Get(context.Background(), other, "2")
		if err == nil && !found {
			err = errors.New("not there")
		}
		return err
	})
	if _, found, err := r.es.Get(t.Context(), r.name, "2"); found || err != nil {
		t.Errorf("the row behind the change is written: %v, %v", found, err)
	}
	r.must(os.WriteFile(r.node.Config(), []byte(file("renamed")), 0o600))
	r.command(0, "apply", r.node.Config())
	r.document("2", func(doc component.Document, found bool) bool { return found && string(doc.Source) == `{"a":20}` })
	r.quiet()
}

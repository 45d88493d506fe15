//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
)

// An altered is a table that a schema change tool alters while rows are written, each of whose values begins with the name of its column.
type altered struct {
	*rig
	pairs []oracle.Pair // what does not depend on the columns that come and go
	ids   atomic.Int64
}

// altersOnline are changes one after the other, none of which changes a value of a row that is there.
var altersOnline = []string{
	"ADD COLUMN c VARCHAR(60) FIRST, ADD KEY (a)",
	"MODIFY b TEXT FIRST, ADD COLUMN d INT INVISIBLE AFTER id",
	"DROP COLUMN c, DROP KEY a, MODIFY a VARCHAR(90) CHARACTER SET latin1 AFTER b",
}

// TestSchemaChangeTools lets gh-ost and pt-online-schema-change alter a mapped table that is written to, on a server whose log does not
// name columns, with canalgo there all the time, gone from before to the middle, and gone till after it.
func TestSchemaChangeTools(t *testing.T) {
	for name, tool := range map[string]component.SchemaChange{"ghost": component.GhOst, "ptosc": component.PtOnlineSchemaChange} {
		t.Run(name, func(t *testing.T) {
			x := newAltered(newRig(t, name, oracle.WorkloadConfig{}, ""))
			x.start()
			stop := x.run(x.write)
			x.progress(200)
			x.must(tool(t.Context(), x.db, x.name, "t", altersOnline[0]))
			x.progress(200)

			x.must(x.node.Kill())
			done := make(chan error, 1)
			go func() { done <- tool(t.Context(), x.db, x.name, "t", altersOnline[1]) }()
			x.await("rows in the copy", x.copied)
			x.start()
			x.must(<-done)
			x.progress(200)

			x.must(x.node.Kill())
			x.must(tool(t.Context(), x.db, x.name, "t", altersOnline[2]))
			x.start()
			x.progress(200)
			stop()
			x.check()
		})
	}
}

func newAltered(r *rig) *altered {
	r.t.Helper()
	x := &altered{rig: r}
	r.must(r.db.Exec("SET GLOBAL binlog_row_metadata = MINIMAL", "USE "+r.name, "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(60), b VARCHAR(60))",
		"CREATE TABLE other (id INT PRIMARY KEY, v INT)", "SET SESSION cte_max_recursion_depth = 10000",
		"INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, CONCAT('a', i), CONCAT('b', i) FROM n"))
	x.ids.Store(3000)
	sections := r.endpoints() + r.mapping(r.name, "initial", "select t.id as _id, t.* from t t")
	for suffix, sql := range map[string]string{"_named": "select id as _id, b, a from t", "_other": "select id as _id, v from other"} {
		sections += r.mapping(r.name+suffix, "initial", sql)
		x.pairs = append(x.pairs, oracle.Pair{SQL: sql, Index: r.name + suffix, Schema: r.name})
	}
	r.must(r.node.Configure(sections))
	r.t.Cleanup(func() {
		r.must(r.db.Exec("SET GLOBAL binlog_row_metadata = FULL"))
		for _, p := range x.pairs {
			r.must(r.es.DeleteIndex(context.Background(), p.Index))
		}
	})
	return x
}

// write changes rows of both tables until ctx ends.
func (x *altered) write(ctx context.Context) error {
	random := rand.New(rand.NewPCG(*seed, 9))
	conn, err := x.db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.UseDB(x.name); err != nil {
		return err
	}
	for turn := 0; ctx.Err() == nil; turn++ {
		id := 1 + random.Int64N(x.ids.Load()-10) // all below, up to id + 8, are given
		statements := []string{
			fmt.Sprintf("INSERT INTO t (id, a, b) VALUES (%d, 'a-new-%d', 'b-new')", x.ids.Add(1), turn),
			fmt.Sprintf("UPDATE t SET a = 'a-%d' WHERE id BETWEEN %d AND %d", turn, id, id+3),
			fmt.Sprintf("UPDATE t SET b = NULL, id = %d WHERE id = %d", x.ids.Add(1), id+5),
			fmt.Sprintf("DELETE FROM t WHERE id = %d", id+7),
			fmt.Sprintf("REPLACE INTO t (id, a, b) VALUES (%d, 'a', 'b%d')", id+8, turn),
			fmt.Sprintf("REPLACE INTO other VALUES (%d, %d)", id%50, turn),
		}
		for _, s := range statements {
			if _, err := conn.Execute(s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
	}
	return nil
}

// copied reports whether a tool's copy of the table has rows yet.
func (x *altered) copied() error {
	result, err := x.db.Query("SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_name IN ('_t_gho', '_t_new')", x.name)
	if err != nil {
		return err
	}
	if result.RowNumber() == 0 {
		return errors.New("no copy")
	}
	name, err := result.GetString(0, 0)
	if err != nil {
		return err
	}
	if result, err = x.db.Query("SELECT 1 FROM " + x.name + "." + name + " LIMIT 1"); err == nil && result.RowNumber() == 0 {
		err = errors.New("no rows")
	}
	return err
}

// check wants that each document is its row, that no value ever stood under another name, and that nothing stopped or was set aside.
func (x *altered) check() {
	x.t.Helper()
	x.quiet()
	for _, p := range x.pairs {
		result, err := p.Compare(context.Background(), x.db, x.es)
		x.must(err)
		x.must(result.Err())
		if result.Documents < 20 {
			x.t.Errorf("%s has %d documents", p.Index, result.Documents)
		}
	}
	x.must(x.es.Refresh(context.Background(), x.name))
	x.must(x.es.Scan(context.Background(), x.name, func(doc component.Document) error {
		var columns map[string]any
		if err := json.Unmarshal(doc.Source, &columns); err != nil {
			return err
		}
		for name, value := range columns {
			if text, ok := value.(string); ok && !strings.HasPrefix(text, name) || !slices.Contains([]string{"id", "a", "b", "c", "d"}, name) {
				return fmt.Errorf("document %s has %v as %s", doc.ID, value, name)
			}
		}
		return nil
	}))
	report, err := x.on.Status(context.Background())
	x.must(err)
	for _, d := range report.Duties {
		if d.Stage.Stuck() {
			x.t.Errorf("%s is %s: %s", d.ID, d.Stage, d.LastError)
		}
	}
	if report.Quarantine != 0 {
		x.t.Errorf("%d documents are set aside", report.Quarantine)
	}
	// A load writes what the log has no rows for: the columns that were added.
	x.command(0, "load", "shop/"+x.name)
	x.awaitReport("the load's end", loaded)
	x.quiet()
	result, err := oracle.Pair{SQL: "select id as _id, id, a, b, d from t", Index: x.name, Schema: x.name}.Compare(context.Background(), x.db, x.es)
	x.must(err)
	x.must(result.Err())
}

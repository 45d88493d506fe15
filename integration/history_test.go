//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// A renamed is a table whose columns change while rows are inserted, each of whose values names its column as it was called then. So a
// document tells by itself whether a value stands under a wrong name, whatever has become of the table since.
type renamed struct {
	*rig
	ids     atomic.Int64
	other   string // another mapping, of a table that nothing changes
	columns []string
	turn    int  // of change
	behind  bool // nobody reads as fast as the table changes
}

// newRenamed makes the table, and lets the server write the metadata of table maps.
func newRenamed(r *rig, metadata string) *renamed {
	r.t.Helper()
	x := &renamed{rig: r, other: r.name + "_other", columns: []string{"a", "b"}}
	r.must(r.db.Exec("SET GLOBAL binlog_row_metadata = "+metadata, "CREATE TABLE "+r.name+".t (id INT PRIMARY KEY, a VARCHAR(40), b VARCHAR(40))",
		"CREATE TABLE "+r.name+".other (id INT PRIMARY KEY, v INT)"))
	r.t.Cleanup(func() {
		r.must(r.db.Exec("SET GLOBAL binlog_row_metadata = FULL"))
		r.must(r.es.DeleteIndex(context.Background(), x.other))
	})
	return x
}

func (x *renamed) file() string {
	return x.endpoints() + x.mapping(x.name, "", "select t.id as _id, t.* from t t") + x.mapping(x.other, "", "select o.id as _id, o.id, o.v from other o")
}

// insert inserts rows into both tables.
func (x *renamed) insert(n int) error {
	from := x.ids.Add(int64(n)) - int64(n) + 1
	values := make([]string, len(x.columns))
	for i, c := range x.columns {
		values[i] = fmt.Sprintf("CONCAT('%s', i)", c)
	}
	numbers := fmt.Sprintf("WITH RECURSIVE n (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i", from, from+int64(n)-1)
	return x.db.Exec("USE "+x.name, "SET SESSION cte_max_recursion_depth = 1000000",
		fmt.Sprintf("INSERT INTO t (id, %s) %s, %s FROM n", strings.Join(x.columns, ", "), numbers, strings.Join(values, ", ")),
		fmt.Sprintf("INSERT INTO other %s, 1 FROM n", numbers))
}

// change changes the table in the next of six ways, and others that nobody maps.
func (x *renamed) change() error {
	turn := x.turn
	x.turn++
	added := fmt.Sprintf("c%d", turn)
	var statements []string
	switch turn % 6 {
	case 0: // two columns change their names
		statements = []string{"ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a"}
	case 1: // and their places
		statements = []string{"ALTER TABLE t MODIFY b VARCHAR(40) FIRST"}
	case 2:
		statements, x.columns = []string{"ALTER TABLE t ADD COLUMN " + added + " VARCHAR(40) AFTER a"}, append(x.columns, added)
	case 3: // as gh-ost does
		statements = []string{"DROP TABLE IF EXISTS _t_del", "CREATE TABLE _t_gho LIKE t", "ALTER TABLE _t_gho MODIFY a VARCHAR(40) FIRST, ADD " + added + " VARCHAR(40) FIRST",
			"INSERT INTO _t_gho SELECT NULL, t.* FROM (SELECT * FROM t WHERE FALSE) t", "RENAME TABLE t TO _t_del, _t_gho TO t"}
		x.columns = append(x.columns, added)
	case 4: // only the server can tell, before the next change
		if x.behind {
			return nil
		}
		statements, x.columns = []string{"ALTER TABLE t ADD COLUMN " + added + " VARCHAR(40) INVISIBLE FIRST, ALTER COLUMN id SET VISIBLE"}, append(x.columns, added)
	case 5:
		statements, x.columns = []string{"ALTER TABLE t DROP COLUMN " + x.columns[2]}, append(x.columns[:2:2], x.columns[3:]...)
	}
	elsewhere := fmt.Sprintf("CREATE TABLE elsewhere%d (g GEOMETRY, i INT INVISIBLE)", turn)
	if err := x.db.Exec(append([]string{"USE " + x.name, elsewhere}, statements...)...); err != nil {
		return err
	}
	if turn%6 == 4 {
		x.quiet() // the server has been asked
	}
	return nil
}

// check wants each row as a document, its values under the names that they were inserted by.
func (x *renamed) check() {
	x.t.Helper()
	x.quiet()
	x.must(x.es.Refresh(context.Background(), x.name))
	documents, fields := int64(0), 0
	err := x.es.Scan(context.Background(), x.name, func(doc component.Document) error {
		documents++
		var columns map[string]any
		if err := json.Unmarshal(doc.Source, &columns); err != nil {
			return err
		}
		for name, value := range columns {
			if name == "id" || value == nil {
				continue
			}
			fields++
			if want := name + doc.ID; value != want {
				return fmt.Errorf("document %s has %q as %s, want %q", doc.ID, value, name, want)
			}
		}
		return nil
	})
	x.must(err)
	if want := x.ids.Load(); documents != want || fields < 2*int(want) {
		x.t.Errorf("%d documents with %d fields, want %d", documents, fields, want)
	}
	result, err := oracle.Pair{SQL: "select o.id as _id, o.id, o.v from " + x.name + ".other o", Index: x.other}.Compare(context.Background(), x.db, x.es)
	x.must(err)
	x.must(result.Err())
	x.t.Logf("%d documents, %d fields, %d changes", documents, fields, x.turn)
}

// TestChangesOfATable: what happens while canalgo runs, and while it does not, with 10,000 rows of lag between.
func TestChangesOfATable(t *testing.T) {
	for _, metadata := range []string{"FULL", "MINIMAL"} {
		t.Run(metadata, func(t *testing.T) {
			x := newRenamed(newRig(t, "changes_"+strings.ToLower(metadata), oracle.WorkloadConfig{}, ""), metadata)
			x.must(x.node.Configure(x.file()))
			x.start()
			for range 6 {
				x.must(x.insert(100))
				x.must(x.change())
			}
			x.must(x.insert(100))
			x.check()

			x.must(x.node.Kill())
			x.behind = true
			for range 4 {
				x.must(x.insert(2500))
				x.must(x.change())
			}
			x.must(x.insert(100))
			x.must(x.node.Start())
			x.check()
		})
	}
}

// TestChangesUnderKills kills leaders of three nodes while a table changes and rows are inserted.
func TestChangesUnderKills(t *testing.T) {
	c := &trio{rig: newServers(t, "changes_killed", oracle.WorkloadConfig{}, "127.0.0.1:0")}
	x := newRenamed(c.rig, "MINIMAL")
	x.behind = true
	var err error
	c.cluster, err = harness.NewCluster(filepath.Join(t.TempDir(), "canalgo"), 3, x.file())
	c.must(err)
	c.watchOver()
	c.begin()
	c.whole()
	stop := x.run(func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := errors.Join(x.insert(50), x.change()); err != nil {
				return err
			}
		}
		return nil
	})
	for range 4 {
		x.progress(500)
		leader := c.leader()
		x.must(leader.Kill())
		x.progress(200)
		c.startAgain(leader)
	}
	stop()
	x.check()
}

// TestAnUnknownDefinition: only the table whose definition nobody can tell stops, says so, and goes on after a load.
func TestAnUnknownDefinition(t *testing.T) {
	x := newRenamed(newRig(t, "changes_unknown", oracle.WorkloadConfig{}, ""), "MINIMAL")
	x.must(x.node.Configure(x.file()))
	x.start()
	x.must(x.insert(10))
	x.check()
	x.must(x.node.Kill())
	x.must(x.db.Exec("USE "+x.name, "ALTER TABLE t ADD COLUMN c VARCHAR(40) FIRST, ALTER COLUMN id SET VISIBLE"))
	x.must(x.insert(10))
	x.must(x.db.Exec("USE "+x.name, "ALTER TABLE t RENAME COLUMN a TO d"))
	x.columns = []string{"d", "b", "c"}
	x.must(x.insert(10))
	x.must(x.node.Start())
	report := x.awaitReport("that the mapping stops", func(report status.Report) bool {
		for _, d := range report.Duties {
			if d.ID == "shop/"+x.name && d.Stage == status.Stopped {
				return true
			}
		}
		return false
	})
	for _, d := range report.Duties {
		switch d.ID {
		case "shop/" + x.name:
			for _, part := range []string{x.name + ".t", "SET VISIBLE", "RENAME COLUMN a TO d", "load"} {
				if !strings.Contains(d.LastError, part) {
					t.Errorf("stopped by %q, which does not say %q", d.LastError, part)
				}
			}
		default:
			if d.Stage.Stuck() {
				t.Errorf("%s is %s: %s", d.ID, d.Stage, d.LastError)
			}
		}
	}
	x.await("the other mapping", func() error {
		_, found, err := x.es.Get(context.Background(), x.other, "30")
		if err == nil && !found {
			err = errors.New("not there")
		}
		return err
	})
	x.command(0, "load", "shop/"+x.name)
	x.must(x.insert(10))
	x.quiet()
	result, err := oracle.Pair{SQL: "select t.id as _id, t.id, t.b, t.c, t.d from " + x.name + ".t t", Index: x.name}.Compare(context.Background(), x.db, x.es)
	x.must(err)
	x.must(result.Err())
}

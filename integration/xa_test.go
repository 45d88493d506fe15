//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// xaTransactions are open at once in TestXA, and one large one.
const xaTransactions = 100

// TestXA prepares transactions, and ends them in other sessions after canalgo was killed, and after MySQL was: the rows of one that
// is committed are written then, with the last of several changes of a row, and those of one that is rolled back never (M7).
func TestXA(t *testing.T) {
	r := newRig(t, "xa", oracle.WorkloadConfig{Pace: 20 * time.Millisecond}, "initial")
	table := oracle.Pair{SQL: "select t.id as _id, t.id, t.v, t.note from xa.t t", Index: "xa_t"}
	r.must(r.db.Exec("CREATE TABLE xa.t (id INT PRIMARY KEY, v INT, note VARCHAR(1000))"))
	t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), table.Index)) })
	r.must(r.node.Configure(r.sections("initial") + r.mapping(table.Index, "", table.SQL)))
	r.start()
	stop := r.run(r.work.Run)
	has := func(id, v int) error {
		doc, found, err := r.es.Get(context.Background(), table.Index, fmt.Sprint(id))
		if err == nil && (!found || !strings.Contains(string(doc.Source), fmt.Sprintf(`"v":%d`, v))) {
			err = fmt.Errorf("document %d: found %v: %s", id, found, doc.Source)
		}
		return err
	}
	marks := 0
	passed := func() { // everything up to now was read and written; that a later row has its document does not say so
		t.Helper()
		marks++
		id := 1_000_000 + marks
		r.must(r.db.Exec(fmt.Sprintf("INSERT INTO xa.t VALUES (%d, 7, '')", id)))
		r.quiet()
		r.must(has(id, 7))
	}
	absent := func(from, to int) {
		t.Helper()
		for id := from; id <= to; id++ {
			if doc, found, err := r.es.Get(t.Context(), table.Index, fmt.Sprint(id)); err != nil || found {
				t.Fatalf("document %d of a transaction that is not committed: %v %s", id, err, doc.Source)
			}
		}
	}

	passed()
	for i := range xaTransactions {
		xaPrepare(r, i+1, fmt.Sprintf("INSERT INTO xa.t VALUES (%d, 1, 'one')", i+1), fmt.Sprintf("UPDATE xa.t SET v = 2 WHERE id = %d", i+1),
			fmt.Sprintf("UPDATE xa.t SET v = 3 WHERE id = %d", i+1))
	}
	const large = 2000 // rows of 1000 bytes: more than is kept in memory
	xaPrepare(r, xaTransactions+1, "SET SESSION cte_max_recursion_depth = 1000000",
		fmt.Sprintf("INSERT INTO xa.t WITH RECURSIVE n (i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, 3, REPEAT('x', 1000) FROM n", 1000+large))
	passed()
	absent(1, xaTransactions)
	r.awaitReport("what is open", func(report status.Report) bool {
		xa := report.Sources[0].XA
		return xa != nil && xa.Open == xaTransactions+1 && time.Since(xa.Since) < time.Hour && xa.At != ""
	})

	// Committed while the stream goes on, in another order; rolled back.
	for i := 10; i > 0; i-- {
		r.must(r.db.Exec(fmt.Sprintf("XA COMMIT 'xa%d'", i)))
	}
	r.must(r.db.Exec("XA ROLLBACK 'xa11'"))
	passed()
	for id := 1; id <= 10; id++ {
		r.must(has(id, 3))
	}
	absent(11, xaTransactions)

	// canalgo is killed between PREPARE and XA COMMIT.
	r.must(r.node.Kill())
	r.must(r.db.Exec("XA COMMIT 'xa12'"))
	r.must(r.node.Start())
	r.must(r.db.Exec("FLUSH BINARY LOGS", "XA COMMIT 'xa13'", "XA ROLLBACK 'xa14'"))
	passed()
	r.must(has(12, 3))
	r.must(has(13, 3))
	absent(14, xaTransactions)

	// MySQL is killed, and canalgo at the same time.
	r.must(r.node.Kill())
	stop()
	r.must(r.db.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	r.must(r.db.Start(ctx))
	r.must(r.node.Start())
	stop = r.run(r.work.Run)
	for i := 15; i <= xaTransactions+1; i++ {
		verb := "COMMIT"
		if i%10 == 0 {
			verb = "ROLLBACK"
		}
		r.must(r.db.Exec(fmt.Sprintf("XA %s 'xa%d'", verb, i)))
	}
	passed()
	r.must(has(1000+large, 3))
	r.awaitReport("that nothing is open", func(report status.Report) bool { return report.Sources[0].XA == nil })
	stop()
	r.equal()
	result, err := table.Compare(t.Context(), r.db, r.es)
	r.must(err)
	r.must(result.Err())
	if want := 10 + 2 + 77 + 1 + large + marks - 1; result.Rows != want {
		t.Errorf("%d rows, want %d", result.Rows, want)
	}
}

// xaPrepare prepares an XA transaction in a session that then ends.
func xaPrepare(r *rig, n int, statements ...string) {
	r.t.Helper()
	xid := fmt.Sprintf("'xa%d'", n)
	script := append([]string{"XA START " + xid}, statements...)
	r.must(r.db.Exec(append(script, "XA END "+xid, "XA PREPARE "+xid)...))
}

// TestXAUnderLoad runs small XA transactions of several sessions, compressed and not, among the workload's.
func TestXAUnderLoad(t *testing.T) {
	r := newRig(t, "xaload", oracle.WorkloadConfig{Pace: 20 * time.Millisecond}, "initial")
	table := oracle.Pair{SQL: "select t.id as _id, t.id, t.v from xaload.t t", Index: "xaload_t"}
	r.must(r.db.Exec("CREATE TABLE xaload.t (id INT PRIMARY KEY, v INT)"))
	t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), table.Index)) })
	r.must(r.node.Configure(r.sections("initial") + r.mapping(table.Index, "", table.SQL)))
	r.start()
	judge := r.sample()
	stops := []func(){r.run(r.work.Run)}
	for session := range 4 {
		stops = append(stops, r.run(func(ctx context.Context) error { return xaSession(ctx, r.db, session) }))
	}
	for range 2 {
		r.progress(1000)
		r.must(r.node.Kill())
		r.must(r.node.Start())
	}
	r.progress(1000)
	for _, stop := range stops {
		stop()
	}
	r.equal()
	judge()
	result, err := table.Compare(t.Context(), r.db, r.es)
	r.must(err)
	r.must(result.Err())
	if result.Rows == 0 {
		t.Error("no row was written by an XA transaction")
	}
}

// xaSession changes 100 rows of its own by XA transactions until ctx ends.
func xaSession(ctx context.Context, db *component.MySQL, session int) error {
	c, err := db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 0; ctx.Err() == nil; n++ {
		id := session*100 + n*7%100
		xid := fmt.Sprintf("'s%d-%d'", session, n%3) // is used again
		statements := []string{
			fmt.Sprintf("SET SESSION binlog_transaction_compression = %d", n%2),
			"XA START " + xid,
			fmt.Sprintf("REPLACE INTO xaload.t VALUES (%d, %d)", id, n),
			fmt.Sprintf("UPDATE xaload.t SET v = v + 1 WHERE id = %d", id),
			"XA END " + xid,
		}
		switch n % 5 {
		case 0:
			statements[2] = fmt.Sprintf("DELETE FROM xaload.t WHERE id = %d", id)
			statements = append(statements, "XA PREPARE "+xid, "XA COMMIT "+xid)
		case 1:
			statements = append(statements, "XA PREPARE "+xid, "XA ROLLBACK "+xid)
		case 2:
			statements = append(statements, "XA COMMIT "+xid+" ONE PHASE")
		default:
			statements = append(statements, "XA PREPARE "+xid, "XA COMMIT "+xid)
		}
		for _, statement := range statements {
			if _, err := c.Execute(statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
	}
	return nil
}

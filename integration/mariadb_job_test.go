//go:build integration

package integration_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestMariaDBJob is the main job from a MariaDB, its log's rows compressed and with the texts of statements: a load under writes of
// every kind, a joined mapping, a server that is killed, and a comparison of all rows.
func TestMariaDBJob(t *testing.T) {
	db, err := component.StartMariaDB(t.Context(), t.TempDir(), "--log-bin-compress=ON", "--log-bin-compress-min-len=64", "--binlog-annotate-row-events=ON")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Kill() })
	const rows = 5_000
	r := newRigOn(t, db, "maria", oracle.WorkloadConfig{Keys: rows, MaxRows: 1000, Pace: 20 * time.Millisecond, Truncates: true, XA: true, Commits: true}, "initial")
	r.must(r.work.Fill(t.Context(), rows))
	joined := oracle.Pair{SQL: "select o.id as _id, o.note, s.name as shop from maria.orders o left join maria.shops s on s.id = o.shop", Index: "mariajoined"}
	r.must(r.db.Exec("CREATE TABLE maria.shops (id INT PRIMARY KEY, name VARCHAR(40))", "CREATE TABLE maria.orders (id INT PRIMARY KEY, shop INT, note VARCHAR(40), INDEX (shop))",
		"INSERT INTO maria.shops VALUES (1, 'one'), (2, 'two')", "INSERT INTO maria.orders VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 0, 'c'), (4, NULL, 'd')"))
	whole := oracle.Pair{Index: "mariawhole", SQL: "select k.id as _id, o.note, x.many from (select id from maria.orders union select shop from maria.orders where shop is not null) k " +
		"left join maria.orders o on o.id = k.id left join (select shop, count(*) as many from maria.orders group by shop) x on x.shop = k.id"}
	r.must(r.node.Configure(r.sections("initial") + r.mapping(joined.Index, "initial", joined.SQL) +
		r.mapping(whole.Index, "initial", "select o.id as _id, o.note from maria.orders o") + "parts.shop = \"select shop as _id, count(*) as many from maria.orders group by shop\"\n"))
	for _, pair := range []oracle.Pair{joined, whole} {
		t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), pair.Index)) })
	}
	if out := r.command(0, "check", r.node.Config()); !strings.Contains(out, "10.11") {
		t.Errorf("check: %s", out)
	}
	stop := r.run(r.work.Run)
	r.start()
	judge := r.sample()
	r.awaitReport("the load's end", loaded)
	for range 2 {
		r.progress(500)
		r.must(r.db.Kill())
		r.awaitReport("the source's absence", func(report status.Report) bool { return !report.Connected() && !report.Healthy })
		r.must(r.db.Start(t.Context()))
	}
	r.progress(500)
	stop()
	r.must(r.work.Fill(t.Context(), rows/2)) // the table may have been emptied last
	r.must(r.db.Exec("UPDATE maria.shops SET name = 'renamed' WHERE id = 1", "DELETE FROM maria.shops WHERE id = 2", "INSERT INTO maria.orders VALUES (9, 1, 'new')"))
	r.equal()
	result, err := joined.Compare(t.Context(), r.db, r.es)
	r.must(err)
	if err := result.Err(); err != nil || result.Documents != 5 {
		t.Errorf("joined: %d documents, %v", result.Documents, err)
	}
	if result, err = whole.Compare(t.Context(), r.db, r.es); err != nil || result.Err() != nil {
		t.Errorf("of several SELECTs: %v, %v", err, result.Err())
	}
	judge()
	if out := r.command(0, "verify", "shop/maria"); !strings.Contains(out, " rows equal ") {
		t.Errorf("verify: %s", out)
	}
}

//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// fanned returns what the duty renders beside its stream, in a report.
func fanned(r status.Report) []status.Fanout {
	d, _ := r.Duty("shop/fan")
	return d.Fanouts
}

// TestFanOut changes a row that tens of thousands of documents are joined with. They are rendered beside the stream, whose other changes
// do not wait; the node that does it is killed, and the leader; the row changes again meanwhile, rows are moved away from it and deleted.
// At rest each document is the row that MySQL gives.
func TestFanOut(t *testing.T) {
	const children = 20_000
	c := &trio{rig: newServers(t, "fanout", oracle.WorkloadConfig{}, "127.0.0.1:0"), indices: []string{"fan"}}
	c.must(c.db.Exec("CREATE TABLE fanout.parent (id INT PRIMARY KEY, name VARCHAR(20))", "CREATE TABLE fanout.child (id INT PRIMARY KEY, parent INT, note VARCHAR(20), KEY (parent))",
		"INSERT INTO fanout.parent VALUES (1, 'zero'), (2, 'other')", "SET SESSION cte_max_recursion_depth = 1000000",
		fmt.Sprintf("INSERT INTO fanout.child WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i, 1, 'note' FROM n", children)))
	fan := oracle.Pair{SQL: "select c.id as _id, c.note, p.name from fanout.child c left join fanout.parent p on p.id = c.parent", Index: "fan"}
	var err error
	c.cluster, err = harness.NewCluster(filepath.Join(t.TempDir(), "canalgo"), 3, c.sections("")+c.mapping("fan", "initial", fan.SQL))
	c.must(err)
	c.watchOver()
	c.begin()
	c.awaitReport("the load", loaded)
	equal := func() {
		t.Helper()
		c.quiet()
		c.awaitReport("the end of the fan-outs", func(r status.Report) bool {
			d, ok := r.Duty("shop/fan")
			return ok && len(d.Fanouts) == 0 && d.Stage == status.Idle
		})
		result, err := fan.Compare(context.Background(), c.db, c.es)
		c.must(err)
		if err := result.Err(); err != nil {
			t.Error(err)
		}
		if n := c.proxy.Stats().Regressions; n > 0 {
			t.Errorf("%d times a document had a lower version than before", n)
		}
	}

	c.proxy.DelayBulks(func(*http.Request) time.Duration { return time.Second })
	c.must(c.db.Exec("UPDATE fanout.parent SET name = 'one' WHERE id = 1"))
	begun := fanned(c.awaitReport("a fan-out", func(r status.Report) bool { return len(fanned(r)) > 0 && fanned(r)[0].Done > 0 }))[0]
	if begun.Rows != "p" || begun.Total < children/2 || begun.Total > children || begun.Again {
		t.Errorf("fan-out %+v", begun)
	}
	c.must(c.db.Exec(fmt.Sprintf("INSERT INTO fanout.child VALUES (%d, 2, 'new')", children+1)))
	c.await("another change of the same mapping", func() error {
		_, found, err := c.es.Get(context.Background(), "fan", fmt.Sprint(children+1))
		if err == nil && !found {
			err = errors.New("it is not there")
		}
		return err
	})
	report, err := c.on.Status(context.Background())
	c.must(err)
	under := fanned(report)
	if len(under) != 1 || under[0].Done < begun.Done {
		t.Fatalf("the stream had to wait: %+v", under)
	}

	holder, err := c.cluster.Holder(context.Background(), "shop/fan")
	c.must(err)
	c.must(holder.Kill())
	again := fanned(c.awaitReport("another node that goes on", func(r status.Report) bool {
		d, _ := r.Duty("shop/fan")
		return d.Node != holder.Name && d.Stage != status.Waiting && len(d.Fanouts) > 0
	}))[0]
	if again.Done < under[0].Done || again.Again {
		t.Errorf("it was at %+v, and goes on at %+v", under[0], again)
	}

	c.must(c.db.Exec("UPDATE fanout.parent SET name = 'two' WHERE id = 1"))
	c.awaitReport("the same fan-out with another change", func(r status.Report) bool { return len(fanned(r)) > 0 && fanned(r)[0].Again })
	c.startAgain(holder)
	c.must(c.db.Exec("UPDATE fanout.child SET parent = 2 WHERE id % 10 = 3", "DELETE FROM fanout.child WHERE id % 10 = 4",
		"UPDATE fanout.parent SET name = 'moved to' WHERE id = 2", "UPDATE fanout.child SET parent = NULL WHERE id % 10 = 5"))
	leader := c.leader()
	c.must(leader.Kill())
	c.awaitReport("a fan-out that goes on under another leader, if it has not ended", func(r status.Report) bool {
		_, ok := r.Duty("shop/fan")
		return ok && r.Leader != "" && r.Leader != leader.Name && (len(fanned(r)) == 0 || fanned(r)[0].Done > again.Done)
	})
	c.startAgain(leader)
	c.proxy.DelayBulks(nil)
	equal()

	c.must(c.db.Exec("DELETE FROM fanout.parent WHERE id = 1"))
	equal()
	c.must(c.db.Exec("INSERT INTO fanout.parent VALUES (1, 'back')", "TRUNCATE TABLE fanout.parent", "INSERT INTO fanout.parent VALUES (2, 'last')"))
	equal()
	c.must(c.db.Exec("UPDATE fanout.parent SET name = 'gone' WHERE id = 2", "TRUNCATE TABLE fanout.child"))
	equal()
}

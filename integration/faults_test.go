//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
	"canalgo/status"
)

// TestKills ends canalgo by kill -9 twenty times in the middle of work: with a bulk that Elasticsearch has not seen yet and
// that arrives late, with one that it has done and whose answer is lost, and anywhere. Then the data folder is lost.
func TestKills(t *testing.T) {
	r := newRig(t, "kills", oracle.WorkloadConfig{Truncates: true, Pace: 20 * time.Millisecond}, "")
	random := rand.New(rand.NewPCG(*seed, 100))
	r.start()
	judge := r.sample()
	stop := r.run(r.work.Run)
	inFlight := 0
	for i := range 20 {
		var hold *proxy.Hold
		switch i % 4 {
		case 0:
			hold = r.proxy.HoldBefore()
		case 1:
			hold = r.proxy.HoldAfter()
		}
		if hold != nil {
			r.caught(hold)
			inFlight++
		} else {
			r.progress(random.IntN(1000))
		}
		r.must(r.node.Kill())
		if hold != nil && random.IntN(2) == 0 {
			hold.Release() // while nobody is there
		}
		r.must(r.node.Start())
		r.progress(1 + random.IntN(500))
		if hold != nil {
			hold.Release() // among what the next process writes
		}
	}
	stop()
	r.equal()
	judge()
	stats := r.proxy.Stats()
	if inFlight < 5 || stats.Repeats == 0 {
		t.Errorf("%d kills with a bulk in flight, %d repeats: this run shows nothing", inFlight, stats.Repeats)
	}
	if stats.Regressions > 0 {
		t.Errorf("%d times a document had a lower version than before", stats.Regressions)
	}

	// The folder is lost, and rows change before the next start.
	r.must(r.node.Stop())
	r.must(os.RemoveAll(r.node.Data()))
	r.must(r.node.Configure(r.sections("initial")))
	stop = r.run(r.work.Run)
	before := r.work.Transactions()
	r.await("changes that nobody reads", func() error {
		if n := r.work.Transactions() - before; n < 50 {
			return fmt.Errorf("%d transactions", n)
		}
		return nil
	})
	r.must(r.node.Start())
	r.awaitReport("the load's end", loaded)
	stop()
	r.equal()
}

// loaded reports whether there is a load, and all are done.
func loaded(report status.Report) bool {
	loads := 0
	for _, d := range report.Duties {
		if d.Load == nil {
			continue
		}
		if d.Load.Phase != "done" {
			return false
		}
		loads++
	}
	return loads > 0
}

// TestWipedAtOnce loses the data folder within the minute in which it was made, so that the time alone gives no higher epoch.
func TestWipedAtOnce(t *testing.T) {
	r := newRig(t, "wiped", oracle.WorkloadConfig{Keys: 2000, Truncates: true}, "initial")
	r.must(r.work.Fill(t.Context(), 1000))
	for range 2 {
		began := time.Now()
		r.start()
		stop := r.run(r.work.Run)
		r.progress(2000)
		r.must(r.node.Kill())
		r.must(os.RemoveAll(r.node.Data()))
		if age := time.Since(began); age > time.Minute {
			t.Errorf("the folder was %s old", age)
		}
		r.must(r.node.Start())
		r.progress(500)
		stop()
		r.awaitReport("the load's end", loaded)
		r.equal()
		r.must(r.node.Kill())
		r.must(os.RemoveAll(r.node.Data()))
	}
}

// TestDumpEnds ends the dump connection in the middle of transactions: by KILL on the server, and by a reset of the
// connection after some bytes of a transaction of several megabytes.
func TestDumpEnds(t *testing.T) {
	r := newRig(t, "dumps", oracle.WorkloadConfig{Keys: 5000, MaxRows: 1000}, "initial")
	r.must(r.work.Fill(t.Context(), 5000))
	r.start()
	judge := r.sample()
	growth := &oracle.Growth{Node: r.node, Bounds: oracle.Bounds, Every: 200 * time.Millisecond}
	stopGrowth := r.run(growth.Run)
	stop := r.run(r.work.Run)
	random := rand.New(rand.NewPCG(*seed, 101))
	for i := range 20 {
		r.progress(random.IntN(200))
		report := r.awaitReport("the stream", following)
		reconnects := report.Sources[0].Reconnects
		if i%2 == 0 {
			r.mysql.BreakAfter(100_000 + random.Int64N(1_000_000))
		} else {
			r.mysql.Delay(10 * time.Millisecond) // a transaction of many pieces takes a while
		}
		r.await("a transaction of megabytes", func() error { // a deadlock with the workload is nobody's fault
			return r.db.Exec(fmt.Sprintf("UPDATE dumps.acc SET ver = ver + 1, note = REPEAT('%c', 1000) WHERE id > 100 ORDER BY id LIMIT 3000", 'a'+i))
		})
		if i%2 != 0 {
			r.killDump()
			r.mysql.Delay(0)
		}
		asked := time.Now()
		r.awaitReport("a new dump connection", func(report status.Report) bool {
			if report.Sources[0].Reconnects > reconnects {
				return true
			}
			if time.Since(asked) > 5*time.Second { // what was ended was another connection of canalgo's
				r.mysql.BreakAfter(1000)
			}
			return false
		})
	}
	stop()
	stopGrowth()
	r.equal()
	judge()
	r.must(growth.Err()) // each connection leaves nothing behind
}

// killDump ends canalgo's dump threads on the server.
func (r *rig) killDump() {
	r.t.Helper()
	r.await("a dump thread", func() error {
		result, err := r.db.Query("SELECT id FROM performance_schema.processlist WHERE command LIKE 'Binlog Dump%'")
		if err != nil {
			return err
		}
		killed := 0
		for i := range result.RowNumber() {
			id, err := result.GetInt(i, 0)
			if err != nil {
				return err
			}
			if r.db.Exec(fmt.Sprintf("KILL %d", id)) == nil { // it may have gone by itself
				killed++
			}
		}
		if killed == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
}

// TestMySQLKilled ends the server by kill -9 under load and starts it again.
func TestMySQLKilled(t *testing.T) {
	r := newRig(t, "crash", oracle.WorkloadConfig{Truncates: true}, "")
	r.start()
	judge := r.sample()
	stop := r.run(r.work.Run)
	for range 2 {
		r.progress(1000)
		r.must(r.db.Kill())
		r.awaitReport("the source's absence", func(report status.Report) bool { return !report.Connected() && !report.Healthy })
		ctx, cancel := context.WithTimeout(t.Context(), within)
		r.must(r.db.Start(ctx))
		cancel()
		r.progress(1000)
	}
	stop()
	r.equal()
	judge()
}

// outage is how long Elasticsearch is away.
const outage = time.Minute

// TestElasticsearchAway stops Elasticsearch under load.
func TestElasticsearchAway(t *testing.T) {
	r := newRig(t, "away", oracle.WorkloadConfig{MaxRows: 2000, Pace: 40 * time.Millisecond}, "")
	r.start()
	judge := r.sample()
	stop := r.run(r.work.Run)
	r.progress(500)
	back := time.Now().Add(outage)
	r.must(r.es.Stop())
	r.awaitReport("a duty that waits for it", func(report status.Report) bool {
		for _, d := range report.Duties {
			if d.Kind == "stream" && d.LastError != "" && (d.Stage == status.Waiting || d.Stage == status.Stuck) && !report.Healthy {
				return true
			}
		}
		return false
	})
	r.await("the outage's end", func() error {
		if now := time.Now(); now.Before(back) {
			return fmt.Errorf("it lasts %s more", back.Sub(now))
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	r.must(r.es.Start(ctx))
	r.progress(1000)
	stop()
	r.equal()
	judge()
	r.awaitReport("health", func(report status.Report) bool { return report.Healthy })
}

// TestLoadUnderWrites loads 200,000 rows beside a running workload, with three kills, into an index that holds documents
// which belong to no row.
func TestLoadUnderWrites(t *testing.T) {
	const rows = 200_000
	r := newRig(t, "loading", oracle.WorkloadConfig{Keys: rows, MaxRows: 500, Pace: 50 * time.Millisecond}, "initial")
	r.must(r.work.Fill(t.Context(), rows))
	for _, id := range []string{"-5000", "none"} {
		if _, err := r.es.Request(t.Context(), http.MethodPut, "/loading/_doc/"+id, `{"id":0}`); err != nil {
			t.Fatal(err)
		}
	}
	stop := r.run(r.work.Run)
	r.must(r.node.Start())
	judge := r.sample()
	for _, part := range []uint64{rows / 10, rows * 4 / 10, rows * 7 / 10} {
		r.awaitReport(fmt.Sprintf("%d rows of the load", part), func(report status.Report) bool {
			d, ok := report.Duty("shop/loading#load")
			if ok && d.Load != nil && d.Load.Phase == "done" {
				t.Fatalf("the load is done; it should be killed after %d rows", part)
			}
			return ok && d.Load != nil && d.Load.Rows >= part
		})
		r.must(r.node.Kill())
		r.must(r.node.Start())
	}
	report := r.awaitReport("the load's end", loaded)
	stop()
	r.equal()
	judge()
	if d, _ := report.Duty("shop/loading#load"); d.Load.Swept < 2 {
		t.Errorf("the sweep deleted %d documents, there were 2 that belong to no row", d.Load.Swept)
	}
}

// quarantined returns what is set aside.
func (r *rig) quarantined() []cluster.Quarantined {
	r.t.Helper()
	var entries []cluster.Quarantined
	r.must(json.Unmarshal([]byte(r.command(0, "quarantine", "ls", "-json")), &entries))
	return entries
}

// TestForeignWriter lets somebody else change the newest document, twice: its version is then above everything that the
// source has given. The next write of it is refused, which is shown; a retry, in a new epoch, makes all equal.
func TestForeignWriter(t *testing.T) {
	r := newRig(t, "stranger", oracle.WorkloadConfig{}, "")
	r.start()
	r.must(r.work.Fill(t.Context(), 20))
	r.equal()
	was := r.document("5", func(_ component.Document, found bool) bool { return found }).Version
	r.must(r.db.Exec("UPDATE stranger.acc SET ver = ver + 1 WHERE id = 5"))
	r.document("5", func(doc component.Document, _ bool) bool { return doc.Version > was }) // the newest of all
	for range 2 {
		if _, err := r.es.Request(t.Context(), http.MethodPost, "/stranger/_update/5", map[string]any{"doc": map[string]any{"note": fmt.Sprint(rand.Int())}}); err != nil {
			t.Fatal(err)
		}
	}
	doc := r.document("5", func(_ component.Document, found bool) bool { return found })
	r.must(r.db.Exec("UPDATE stranger.acc SET ver = ver + 1, name = 'ours' WHERE id = 5"))
	report := r.awaitReport("a document that is set aside", func(report status.Report) bool { return report.Quarantine == 1 })
	if report.Healthy {
		t.Error("the status is healthy")
	}
	entries := r.quarantined()
	if len(entries) != 1 {
		t.Fatalf("set aside: %+v", entries)
	}
	if e := entries[0]; e.Document != "5" || int64(e.Foreign) != doc.Version || e.Table != "stranger.acc" || len(e.Key) != 1 || e.Key[0] != "id=5" || e.Position.IsZero() {
		t.Errorf("set aside: %+v", e)
	}
	if text := r.command(0, "quarantine", "ls"); !strings.Contains(text, "another program writes") || !strings.Contains(text, "stranger.acc id=5") {
		t.Errorf("quarantine ls prints\n%s", text)
	}
	r.must(r.db.Exec("UPDATE stranger.acc SET ver = ver + 1 WHERE id = 6"))
	r.quiet() // the others go on
	r.command(0, "quarantine", "retry", "all")
	if left := r.quarantined(); len(left) != 0 {
		t.Errorf("after the retry: %+v", left)
	}
	r.equal()
	r.must(r.db.Exec("UPDATE stranger.acc SET ver = ver + 1, name = 'ours again' WHERE id = 5"))
	r.equal()
}

// TestRefusedDocuments writes into an index that refuses some: a field that a strict object does not know, a number that is too
// large. They are set aside, the others are written; when the index is mended, a retry makes all equal.
func TestRefusedDocuments(t *testing.T) {
	r := newRig(t, "refused", oracle.WorkloadConfig{}, "")
	r.must(r.db.Exec("CREATE TABLE refused.item (id INT PRIMARY KEY, n INT, extra JSON)"))
	sql := "select i.id as _id, i.id, i.n, i.extra from item i"
	r.must(r.node.Configure(r.endpoints() + r.mapping("refused", "", sql)))
	r.must(r.es.CreateIndex(t.Context(), "refused", map[string]any{"mappings": map[string]any{"properties": map[string]any{
		"id": map[string]any{"type": "long"}, "n": map[string]any{"type": "byte"},
		"extra": map[string]any{"dynamic": "strict", "properties": map[string]any{"a": map[string]any{"type": "long"}}},
	}}}))
	r.start()
	const rows = 2000
	var values []string
	for id := 1; id <= rows; id++ {
		n, extra := id%100, `{"a":1}`
		if id == 700 {
			n = 1000
		}
		if id == 1100 {
			extra = `{"b":1}`
		}
		values = append(values, fmt.Sprintf("(%d,%d,'%s')", id, n, extra))
	}
	r.must(r.db.Exec("INSERT INTO refused.item VALUES " + strings.Join(values, ",")))
	r.quiet() // two refusals hold nothing up
	report := r.awaitReport("two documents that are set aside", func(report status.Report) bool { return report.Quarantine == 2 })
	if report.Stuck() || report.Healthy {
		t.Errorf("stuck %v, healthy %v", report.Stuck(), report.Healthy)
	}
	pair := oracle.Pair{SQL: "select i.id as _id, i.id, i.n, i.extra from refused.item i", Index: "refused"}
	result, err := pair.Compare(t.Context(), r.db, r.es)
	r.must(err)
	if result.Different != 2 || result.Documents != rows-2 {
		t.Errorf("%d documents, %v", result.Documents, result.Err())
	}
	for _, e := range r.quarantined() {
		want := map[string]string{"700": "out of range", "1100": "strict"}[e.Document]
		if want == "" || !strings.Contains(e.Reason, want) || e.Table != "refused.item" || len(e.Key) != 1 || e.Key[0] != "id="+e.Document || e.Position.IsZero() {
			t.Errorf("set aside: %+v", e)
		}
	}
	r.command(4, "quarantine", "retry", "all") // refused again: nothing has changed
	if left := r.quarantined(); len(left) != 2 {
		t.Errorf("after the retry in vain: %+v", left)
	}
	if _, err := r.es.Request(t.Context(), http.MethodPut, "/refused/_mapping", map[string]any{"properties": map[string]any{
		"n":     map[string]any{"type": "byte", "ignore_malformed": true},
		"extra": map[string]any{"properties": map[string]any{"b": map[string]any{"type": "long"}}},
	}}); err != nil {
		t.Fatal(err)
	}
	r.command(0, "quarantine", "retry", "all")
	if left := r.quarantined(); len(left) != 0 {
		t.Errorf("after the retry: %+v", left)
	}
	result, err = pair.Compare(t.Context(), r.db, r.es)
	r.must(err)
	if err := result.Err(); err != nil {
		t.Error(err)
	}
	r.awaitReport("health", func(report status.Report) bool { return report.Healthy })
}

// A load dies with a request under way; the table is emptied, the documents are deleted, and then the request arrives: its documents
// belong to no row, and are gone when the load is done.
func TestTruncateBesideALoadThatDied(t *testing.T) {
	r := newRig(t, "died", oracle.WorkloadConfig{}, "initial")
	r.must(r.work.Fill(t.Context(), 3000))
	holds := make(chan *proxy.Hold, 1)
	var bulks atomic.Int32
	r.proxy.DelayBulks(func(*http.Request) time.Duration {
		if bulks.Add(1) == 2 { // and all of the load waits for it
			holds <- r.proxy.HoldBefore()
		}
		return 0
	})
	r.must(r.node.Start())
	late := <-holds
	defer late.Release()
	r.caught(late)
	r.awaitReport("a chunk to be saved", func(report status.Report) bool {
		for _, d := range report.Duties {
			if d.Load != nil && d.Load.Rows > 0 {
				return true
			}
		}
		return false
	})
	r.must(r.node.Kill())
	r.proxy.DelayBulks(nil)
	r.must(r.db.Exec("TRUNCATE TABLE died.acc"))
	r.must(r.node.Start())
	r.await("the documents to be deleted", func() error {
		if !strings.Contains(r.node.LogTail(200), "table emptied, documents deleted") {
			return errors.New("not yet")
		}
		return nil
	})
	late.Release()
	r.awaitReport("the load", loaded)
	r.equal()
}

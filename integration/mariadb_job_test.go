//go:build integration

package integration_test

import (
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestMariaDBJob is the main job from a MariaDB, its log's rows compressed and with the texts of statements: a load under writes of
// every kind, a server that is killed, and a comparison of all rows.
func TestMariaDBJob(t *testing.T) {
	db, err := component.StartMariaDB(t.Context(), t.TempDir(), "--log-bin-compress=ON", "--log-bin-compress-min-len=64", "--binlog-annotate-row-events=ON")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Kill() })
	const rows = 5_000
	r := newRigOn(t, db, "maria", oracle.WorkloadConfig{Keys: rows, MaxRows: 1000, Pace: 20 * time.Millisecond, Truncates: true, XA: true, Commits: true}, "initial")
	r.must(r.work.Fill(t.Context(), rows))
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
	r.equal()
	judge()
	if out := r.command(0, "verify", "shop/maria"); !strings.Contains(out, " rows equal ") {
		t.Errorf("verify: %s", out)
	}
}

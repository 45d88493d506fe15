//go:build integration

package integration_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestStandby kills the server that is followed. Its replica, which the source names as a standby, goes on by GTID, in a new epoch; the
// first one comes back as it was, and nobody follows it.
func TestStandby(t *testing.T) {
	start := func(name string, args ...string) *component.MySQL {
		db, err := component.StartMySQL(t.Context(), filepath.Join(t.TempDir(), name), args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Kill() })
		return db
	}
	first, second := start("first"), start("second", "--server-id=2")
	executed := func(db *component.MySQL) string {
		r, err := db.Query("SELECT @@GLOBAL.gtid_executed")
		if err != nil {
			return err.Error()
		}
		set, _ := r.GetString(0, 0)
		return set
	}
	r := newRigOn(t, first, "standby", oracle.WorkloadConfig{Keys: 3000, MaxRows: 300}, "initial")
	r.must(second.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = %d, SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1", first.Port),
		"START REPLICA"))
	r.must(r.work.Fill(t.Context(), 2000))
	r.must(r.node.Configure(strings.Replace(r.sections("initial"), "\nuser =", fmt.Sprintf("\nstandby = [%q]\nuser =", second.Addr()), 1)))
	r.await("the replica", func() error {
		if a, b := executed(first), executed(second); a != b {
			return fmt.Errorf("%s, want %s", b, a)
		}
		return nil
	})
	if out := r.command(0, "check", r.node.Config()); !strings.Contains(out, "standby "+second.Addr()+": log_replica_updates") {
		t.Errorf("check: %s", out)
	}
	r.start()
	r.awaitReport("the load's end", loaded)
	stop := r.run(r.work.Run)
	r.progress(1000)
	before := r.awaitReport("the source", func(s status.Report) bool { return s.Connected() }).Sources[0]
	stop()
	r.await("the replica", func() error {
		if a, b := executed(first), executed(second); a != b {
			return fmt.Errorf("%s, want %s", b, a)
		}
		return nil
	})

	r.must(first.Kill())
	killed := time.Now()
	r.must(second.Exec("STOP REPLICA", "UPDATE standby.acc SET ver = ver + 1, note = 'by the replica' WHERE id < 100"))
	r.db = second
	after := r.awaitReport("the replica", func(s status.Report) bool { return s.Connected() && s.Sources[0].Server.UUID != before.Server.UUID }).Sources[0]
	t.Logf("followed after %s: %+v", time.Since(killed).Round(100*time.Millisecond), after.Server)
	if after.Epoch <= before.Epoch || after.Server.Address != second.Addr() {
		t.Errorf("epoch %d after %d, at %s, want %s", after.Epoch, before.Epoch, after.Server.Address, second.Addr())
	}
	r.equal()

	// Killed and started, canalgo asks the first address first, and follows the second server all the same.
	r.must(first.Start(t.Context()))
	r.must(r.node.Kill())
	r.must(second.Exec("UPDATE standby.acc SET ver = ver + 1, note = 'again' WHERE id < 100"))
	r.start()
	r.equal()
	if now := r.awaitReport("the source", func(s status.Report) bool { return s.Connected() }).Sources[0]; now.Server.UUID != after.Server.UUID || now.Epoch != after.Epoch {
		t.Errorf("%+v in epoch %d, want %+v in %d", now.Server, now.Epoch, after.Server, after.Epoch)
	}
}

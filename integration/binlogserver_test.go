//go:build integration

package integration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/secret"
)

// TestBinlogFrozenServer: a server that answers nothing is noticed, and nobody waits for it when the stream is to end (M5, M6).
func TestBinlogFrozenServer(t *testing.T) {
	db := ownServer(t)
	s := newSource(t, db, nil)
	from := resolve(t, s, "current")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Stream(ctx, "frozen", from, inSchema("x"), nil, func(context.Context, event.Batch) error { return nil })
	}()
	waitFor(t, func() bool { return s.Status("frozen").Settled })
	if err := db.Pause(); err != nil {
		t.Fatal(err)
	}
	paused := time.Now()
	waitFor(t, func() bool { return !s.Status("frozen").Connected })
	if took := time.Since(paused); took > 4*time.Second {
		t.Errorf("noticed after %s", took)
	}
	stopped := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("stream: %v", err)
	}
	if took := time.Since(stopped); took > 200*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
	if s.Status("frozen").Settled {
		t.Error("settled, although it has ended: another one of its name has read nothing yet")
	}
	if err := db.Continue(); err != nil {
		t.Fatal(err)
	}

	// A stream that was settled ends at once too.
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		done <- s.Stream(ctx, "frozen", from, inSchema("x"), nil, func(context.Context, event.Batch) error { return nil })
	}()
	waitFor(t, func() bool { return s.Status("frozen").Settled })
	if err := db.Pause(); err != nil {
		t.Fatal(err)
	}
	stopped = time.Now()
	cancel()
	<-done
	if took := time.Since(stopped); took > 200*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
}

// TestBinlogFenced: the server ends the dump of a node when another one reads the same stream (M3, M4).
func TestBinlogFenced(t *testing.T) {
	db := ownServer(t)
	first, second := newSource(t, db, nil), newSource(t, db, nil)
	from := resolve(t, first, "current")
	run := func(s *binlog.Source, stream string) {
		go func() {
			_ = s.Stream(t.Context(), stream, from, inSchema("x"), nil, func(context.Context, event.Batch) error { return nil })
		}()
		waitFor(t, func() bool { return s.Status(stream).Settled })
	}
	run(first, "shared")
	run(first, "catch-up")
	if got := first.Status("shared").LastError + first.Status("catch-up").LastError; got != "" {
		t.Errorf("two streams disturb each other: %s", got)
	}
	run(second, "shared")
	waitFor(t, func() bool { return strings.Contains(first.Status("shared").LastError, "same server_uuid") })
	if got := first.Status("catch-up").LastError; got != "" {
		t.Errorf("the other stream was ended: %s", got)
	}
}

func TestBinlogLogin(t *testing.T) {
	db := ownServer(t)
	exec(t, db, "CREATE USER reader IDENTIFIED WITH caching_sha2_password BY '"+component.Planted+"login-secret' REQUIRE NONE",
		"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader",
		"CREATE USER secure IDENTIFIED BY '"+component.Planted+"login-secret' REQUIRE SSL", "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO secure")
	for _, c := range []struct {
		name, user, password string
		tls                  binlog.TLS
		want                 string // part of the error
	}{
		{"sha2 without TLS", "reader", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSOff}, ""},
		{"sha2 without TLS, cached", "reader", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSOff}, ""},
		{"preferred", "reader", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSPreferred}, ""},
		{"own CA", "secure", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSRequired, CA: db.CAFile()}, ""},
		{"required without CA", "secure", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSRequired}, ""},
		{"needs TLS", "secure", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSOff}, "preferred"},
		{"wrong name", "secure", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSRequired, CA: db.CAFile(), ServerName: "db.example"}, "certificate"},
		{"no such CA", "secure", component.Planted + "login-secret", binlog.TLS{Mode: binlog.TLSRequired, ServerName: "db.example"}, "certificate"},
		{"wrong password", "reader", component.Planted + "wrong-secret", binlog.TLS{Mode: binlog.TLSPreferred}, "Access denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSource(t, db, func(cfg *binlog.Config) { cfg.User, cfg.Password, cfg.TLS = c.user, secret.New(c.password), c.tls })
			identity, err := s.Identify(t.Context(), "")
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("error %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "planted"):
				t.Errorf("the error shows the password: %v", err)
			}
			if c.want != "" {
				return
			}
			if !identity.GTIDs() || identity.RowMetadata != "FULL" || identity.ServerUUID == "" || identity.ServerID != 1 {
				t.Errorf("identity %+v", identity)
			}
			from := resolve(t, s, "current")
			exec(t, db, "CREATE DATABASE IF NOT EXISTS login", "DROP DATABASE login")
			if batches := read(t, s, from, resolve(t, s, "current"), inSchema("login")); len(numbers(batches)) == 0 {
				t.Error("nothing was read")
			}
		})
	}
}

func TestBinlogCheck(t *testing.T) {
	db := ownServer(t, "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
	exec(t, db, "CREATE USER weak IDENTIFIED BY 'x'", "GRANT SELECT ON *.* TO weak", "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)",
		"SET GLOBAL binlog_row_image = MINIMAL", "SET GLOBAL binlog_row_metadata = MINIMAL", "SET GLOBAL binlog_expire_logs_seconds = 60")
	findings := func(change func(*binlog.Config)) map[string]binlog.Finding {
		t.Helper()
		list, err := newSource(t, db, change).Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]binlog.Finding{}
		for _, f := range list {
			out[f.What] = f
		}
		return out
	}
	weak := findings(func(c *binlog.Config) { c.User, c.Password, c.TLS.Mode = "weak", secret.New("x"), binlog.TLSPreferred })
	for what, fix := range map[string]string{
		"grant REPLICATION SLAVE":    "GRANT REPLICATION SLAVE ON *.* TO 'weak'@'%'",
		"grant REPLICATION CLIENT":   "GRANT REPLICATION CLIENT ON *.* TO 'weak'@'%'",
		"binlog_expire_logs_seconds": "SET PERSIST binlog_expire_logs_seconds = 604800",
	} {
		if f, ok := weak[what]; !ok || f.OK || f.Fix != fix {
			t.Errorf("%s: %+v, want the fix %q", what, f, fix)
		}
	}
	for _, what := range []string{"gtid_mode", "binlog_row_metadata", "binlog_row_image"} {
		if f := weak[what]; !f.OK || !f.Warn || f.Fix == "" {
			t.Errorf("%s: %+v", what, f)
		}
	}
	for what, f := range weak { // what is said must help
		if statement, ok := strings.CutPrefix(f.Fix, "SET PERSIST "); ok && what != "gtid_mode" {
			if err := db.Exec("SET PERSIST " + statement); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if strings.HasPrefix(f.Fix, "GRANT") {
			exec(t, db, f.Fix)
		}
	}
	for _, statement := range strings.Split(weak["gtid_mode"].Fix, ";") {
		exec(t, db, statement)
	}
	for what, f := range findings(func(c *binlog.Config) {
		c.User, c.Password, c.TLS.Mode, c.Tables = "weak", secret.New("x"), binlog.TLSPreferred, []string{`shop\..*`}
	}) {
		if !f.OK || f.Warn {
			t.Errorf("after the fixes, %s: %+v", what, f)
		}
	}
	if f := findings(func(c *binlog.Config) { c.Tables, c.ServerID, c.Start = []string{"nope"}, 1, "binlog.000099:4" }); !f["tables"].Warn || f["server_id"].OK || f["start"].OK {
		t.Errorf("%+v", f)
	}
}

// TestBinlogWithoutGTIDs: positions by file and offset alone, over a restart of the server.
func TestBinlogWithoutGTIDs(t *testing.T) {
	db := ownServer(t, "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
	s := newSource(t, db, nil)
	exec(t, db, "CREATE DATABASE x", "CREATE TABLE x.t (id INT PRIMARY KEY)")
	from := resolve(t, s, "current")
	if from.GTIDs != "" || from.File == "" {
		t.Fatalf("current is %+v", from)
	}
	var mu sync.Mutex
	var rows []event.Row
	d := binlog.NewDecoder()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- s.Stream(ctx, "plain", from, inSchema("x"), nil, func(_ context.Context, b event.Batch) error {
			mu.Lock()
			defer mu.Unlock()
			decoded, err := d.Decode(b.Events)
			rows = append(rows, decoded...)
			return err
		})
	}()
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(rows)
	}
	exec(t, db, "INSERT INTO x.t VALUES (1), (2)")
	waitFor(t, func() bool { return count() == 2 })
	if err := db.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "INSERT INTO x.t VALUES (3)")
	waitFor(t, func() bool { return count() == 3 })
	waitFor(t, func() bool {
		st := s.Status("plain")
		return st.Settled && st.BehindBytes == 0 && time.Since(st.CaughtUp) < 2*time.Second
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
)

// TestBinlogStops lists what ends in an error that names it, at the leader or at the decoder (M14, M15).
func TestBinlogStops(t *testing.T) {
	db := ownServer(t, "--binlog-row-event-max-size=8192")
	s := newSource(t, db, nil)
	for _, c := range []struct {
		name       string
		statements []string
		want       []string
	}{
		{"metadata", []string{"SET GLOBAL binlog_row_metadata = MINIMAL", "INSERT INTO stop.t VALUES (2, 'n', '{}')", "SET GLOBAL binlog_row_metadata = FULL"}, []string{"stop.t", "binlog_row_metadata = FULL"}},
		{"statement", []string{"SET SESSION binlog_format = STATEMENT", "INSERT INTO stop.t VALUES (3, 'text', '{}')"}, []string{"stop.t", "insert into stop.t values (3", "binlog_format = row"}},
		{"partition", []string{"ALTER TABLE stop.parts TRUNCATE PARTITION p0"}, []string{"stop.parts", "TRUNCATE PARTITION"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exec(t, db, "DROP DATABASE IF EXISTS stop", "CREATE DATABASE stop", "CREATE TABLE stop.t (id INT PRIMARY KEY, v TEXT, j JSON)",
				"CREATE TABLE stop.parts (id INT PRIMARY KEY) PARTITION BY HASH(id) PARTITIONS 4", `INSERT INTO stop.t VALUES (1, 'one', '{"a": 1, "b": "long enough to be worth a diff, that is longer than the diff"}')`)
			from := resolve(t, s, "current")
			exec(t, db, c.statements...)
			to := resolve(t, s, "current")
			d := binlog.NewDecoder()
			var stop *event.StopError
			for _, b := range read(t, s, from, to, inSchema("stop")) {
				rows, err := d.Decode(b.Events)
				if errors.As(err, &stop) {
					break
				}
				if err != nil || len(rows) > 0 {
					t.Fatalf("%d rows, error %v", len(rows), err)
				}
			}
			if stop == nil {
				t.Fatal("nothing stopped")
			}
			for _, part := range c.want {
				if !strings.Contains(strings.ToLower(stop.Error()), strings.ToLower(part)) {
					t.Errorf("%q does not say %q", stop, part)
				}
			}
			// Whoever does not map the schema does not mind.
			for _, b := range read(t, s, from, to, inSchema("elsewhere")) {
				if len(b.Events) > 0 {
					t.Errorf("another schema got %+v", b.Events)
				}
			}
		})
	}
}

// loggedStatements looks at what happens to whole tables.
func loggedStatements(t *testing.T, db *component.MySQL) {
	s := newSource(t, db, nil)
	exec(t, db, "DROP DATABASE IF EXISTS ddl", "CREATE DATABASE ddl", "DROP DATABASE IF EXISTS ddl2", "CREATE DATABASE ddl2",
		"CREATE TABLE ddl.t (id INT PRIMARY KEY)", "CREATE TABLE ddl.u (id INT PRIMARY KEY)", "CREATE TABLE ddl2.t (id INT PRIMARY KEY)")
	from := resolve(t, s, "current")
	exec(t, db, "INSERT INTO ddl.t VALUES (1)", "TRUNCATE ddl.t", "ALTER TABLE ddl.t ADD COLUMN g GEOMETRY, ADD COLUMN i INT INVISIBLE", "INSERT INTO ddl.t VALUES (2, NULL)",
		"RENAME TABLE ddl.t TO ddl.x, ddl.u TO ddl.t, ddl.x TO ddl.u", "DROP TABLE ddl.t, ddl.u", "CREATE TABLE ddl.z AS SELECT 1 AS id", "DROP DATABASE ddl2")
	batches := read(t, s, from, resolve(t, s, "current"), func(n event.TableName) bool { return n.Schema == "ddl" })
	var got []string
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Statement != nil {
				got = append(got, fmt.Sprintf("%s%v", e.Statement.Action, e.Statement.Tables))
			}
		}
	}
	want := []string{"truncate[ddl.t]", "alter[ddl.t]", "alter[ddl.t ddl.x ddl.u ddl.t ddl.x ddl.u]", "drop[ddl.t ddl.u]", "alter[ddl.z]", "drop[ddl2.]"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("statements %q, want %q", got, want)
	}
	var ops []string
	for _, r := range decode(t, batches) {
		ops = append(ops, r.Op.String()+" "+r.Table.Name.String())
	}
	wantOps := []string{"insert ddl.t", "truncate ddl.t", "insert ddl.t", "drop ddl.t", "drop ddl.u", "insert ddl.z", "drop ddl2."}
	if !reflect.DeepEqual(ops, wantOps) {
		t.Errorf("rows %q, want %q", ops, wantOps)
	}
}

// loggedAccounts: statements about accounts hold password hashes; none of them leaves the reader, in a batch or in its log (M21).
func loggedAccounts(t *testing.T, db *component.MySQL) {
	var log bytes.Buffer
	cfg := binlog.Defaults()
	cfg.Addr, cfg.User, cfg.TLS.Mode = db.Addr(), "root", binlog.TLSOff
	s, err := binlog.New(cfg, "test-cluster", "shop", hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	from := resolve(t, s, "current")
	exec(t, db, "CREATE USER hashed IDENTIFIED BY 'planted-1'", "/* by a tool */ ALTER USER hashed IDENTIFIED BY 'planted-2' PASSWORD EXPIRE NEVER",
		"SET PASSWORD FOR hashed = 'planted-3'", "GRANT SELECT ON *.* TO hashed")
	r, err := db.Query("SELECT authentication_string FROM mysql.user WHERE user = 'hashed'")
	if err != nil {
		t.Fatal(err)
	}
	hash, _ := r.GetString(0, 0)
	exec(t, db, "DROP USER hashed")
	batches := read(t, s, from, resolve(t, s, "current"), func(name event.TableName) bool { return !name.IsZero() })
	if len(batches) < 5 {
		t.Fatalf("only %d batches", len(batches))
	}
	secrets := []string{"planted-", "$A$", "IDENTIFIED", hash}
	for _, secret := range secrets {
		for _, b := range batches {
			for _, e := range b.Events {
				if bytes.Contains(e.Raw, []byte(secret)) || e.Statement != nil && strings.Contains(e.Statement.Text, secret) {
					t.Errorf("%q is handed on: %+v", secret, e.Statement)
				}
			}
		}
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// loggedPendingAlter: an ALTER that waits for a long transaction blocks every new look at the rows, but not at the definition (M22).
func loggedPendingAlter(t *testing.T, db *component.MySQL) {
	s := newSource(t, db, nil)
	exec(t, db, "DROP DATABASE IF EXISTS pending", "CREATE DATABASE pending", "CREATE TABLE pending.t (id INT PRIMARY KEY)")
	reader, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, statement := range []string{"BEGIN", "SELECT * FROM pending.t"} {
		if _, err := reader.Execute(statement); err != nil {
			t.Fatal(err)
		}
	}
	altered := make(chan error, 1)
	go func() { altered <- db.Exec("ALTER TABLE pending.t ADD COLUMN v INT, ALGORITHM = COPY") }()
	waitFor(t, func() bool {
		r, err := db.Query("SELECT 1 FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'")
		return err == nil && r.RowNumber() > 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	table, err := s.Describe(ctx, event.TableName{Schema: "pending", Name: "t"})
	if err != nil || len(table.Columns) != 1 {
		t.Errorf("%+v, %v", table, err)
	}
	if _, err := reader.Execute("COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-altered; err != nil {
		t.Error(err)
	}
}

// streamError streams until there is an error.
func streamError(t *testing.T, s *binlog.Source, from event.Position) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return s.Stream(ctx, "test", from, inSchema("x"), nil, func(context.Context, event.Batch) error { return nil })
}

// TestBinlogLostPositions: what the server says when it does not have a position, and a log that is reset under a stream (M19, M20).
func TestBinlogLostPositions(t *testing.T) {
	db := ownServer(t)
	s := newSource(t, db, nil)
	early, now, byGTID := positions(t, db, s)
	other := now
	other.ServerUUID = "00000000-0000-0000-0000-000000000001"
	var changed *binlog.ServerChangedError
	if err := streamError(t, s, other); !errors.As(err, &changed) || changed.Now != now.ServerUUID || !errors.Is(err, binlog.ErrServerChanged) {
		t.Errorf("another server: %v", err)
	}
	losePositions(t, db, s, early, now, byGTID, "RESET BINARY LOGS AND GTIDS")
	if err := streamError(t, s, early); !errors.Is(err, binlog.ErrReset) {
		t.Errorf("reset, with a file of the same name: %v", err)
	}
}

// positions writes a row each into three files of a log, and returns the position behind the first row, by place and by GTID, and that
// behind the last, which a start can name.
func positions(t *testing.T, db *component.MySQL, s *binlog.Source) (early, now, byGTID event.Position) {
	t.Helper()
	exec(t, db, "CREATE DATABASE x", "CREATE TABLE x.t (id INT PRIMARY KEY)", "INSERT INTO x.t VALUES (1)")
	early = resolve(t, s, "current")
	exec(t, db, "FLUSH BINARY LOGS", "INSERT INTO x.t VALUES (2)", "FLUSH BINARY LOGS", "INSERT INTO x.t VALUES (3)")
	now = resolve(t, s, "current")
	byGTID = event.Position{ServerUUID: early.ServerUUID, Epoch: 7, Count: event.FirstCount, GTIDs: early.GTIDs}
	if rows := len(decode(t, read(t, s, byGTID, now, inSchema("x")))); rows != 2 {
		t.Errorf("from GTIDs: %d rows, want 2", rows)
	}
	start := fmt.Sprintf("%s:%d", now.File, now.Offset)
	if p := resolve(t, s, start); p.GTIDs != now.GTIDs || p.ServerUUID != now.ServerUUID {
		t.Errorf("%s resolves to %+v, want %+v", start, p, now)
	}
	if _, err := s.Resolve(t.Context(), fmt.Sprintf("%s:%d", now.File, now.Offset-5)); err == nil || !strings.Contains(err.Error(), "not the end of a transaction") {
		t.Errorf("an offset inside an event: %v", err)
	}
	beyond := now
	beyond.Offset += 1000
	if err := streamError(t, s, beyond); !errors.Is(err, binlog.ErrReset) {
		t.Errorf("behind the end: %v", err)
	}
	return early, now, byGTID
}

// losePositions purges the files before a position, and resets the log while a stream waits for more behind it. Files of the old names
// then grow beyond the positions.
func losePositions(t *testing.T, db *component.MySQL, s *binlog.Source, early, now, byGTID event.Position, reset string) {
	t.Helper()
	exec(t, db, "PURGE BINARY LOGS TO '"+now.File+"'")
	if err := streamError(t, s, early); !errors.Is(err, binlog.ErrPurged) || !strings.Contains(err.Error(), early.File) || !strings.Contains(err.Error(), now.File) {
		t.Errorf("purged file: %v", err)
	}
	if err := streamError(t, s, byGTID); !errors.Is(err, binlog.ErrPurged) {
		t.Errorf("purged GTIDs: %v", err)
	}

	result := make(chan error, 1)
	go func() { result <- streamError(t, s, now) }()
	waitFor(t, func() bool { return s.Status("test").Settled })
	exec(t, db, reset)
	if err := <-result; !errors.Is(err, binlog.ErrReset) {
		t.Errorf("reset: %v", err)
	}
	for i := range 30 {
		exec(t, db, fmt.Sprintf("INSERT INTO x.t VALUES (%d)", 100+i))
	}
}

//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
)

// numbered is what must be the same whenever the same place of the log is read.
type numbered struct {
	version event.Version
	kind    event.Kind
	table   string
	raw     string
	action  event.Action
}

func numbers(batches []event.Batch) []numbered {
	var out []numbered
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Version == 0 {
				continue
			}
			n := numbered{version: e.Version, kind: e.Kind, table: e.Table.String(), raw: string(e.Raw)}
			if e.Statement != nil {
				n.action = e.Statement.Action
			}
			out = append(out, n)
		}
	}
	return out
}

// loggedSameVersions reads a log once, then again from each of its transaction boundaries: between PREPARE and XA COMMIT, too (M7).
func loggedSameVersions(t *testing.T, db *component.MySQL) {
	for _, compression := range []string{"OFF", "ON"} {
		t.Run("compression "+compression, func(t *testing.T) {
			s := newSource(t, db, nil)
			exec(t, db, "DROP DATABASE IF EXISTS same", "CREATE DATABASE same", "DROP DATABASE IF EXISTS other", "CREATE DATABASE other",
				"CREATE TABLE same.a (id INT PRIMARY KEY, v TEXT)", "CREATE TABLE same.b (id INT PRIMARY KEY, v INT)", "CREATE TABLE other.c (id INT PRIMARY KEY)")
			from := resolve(t, s, "current")
			exec(t, db, "SET SESSION binlog_transaction_compression = "+compression,
				"SET SESSION binlog_rows_query_log_events = ON",
				"INSERT INTO same.a VALUES (1, 'one'), (2, 'two')",
				"INSERT INTO other.c VALUES (1), (2)",
				"BEGIN", "INSERT INTO same.a VALUES (3, 'three')", "INSERT INTO other.c VALUES (3)", "SAVEPOINT s", "INSERT INTO same.b VALUES (9, 9)", "ROLLBACK TO s", "UPDATE same.a SET v = 'x' WHERE id < 3", "INSERT INTO same.b VALUES (1, 1)", "COMMIT",
				"CREATE TABLE same.d (id INT PRIMARY KEY, v VARCHAR(2000))", "ALTER TABLE same.a ADD COLUMN w INT DEFAULT 3",
				"UPDATE same.a, same.b SET same.a.v = 'y', same.b.v = 2 WHERE same.a.id = same.b.id",
				"XA START 'small'", "INSERT INTO same.d VALUES (1, 'one')", "XA END 'small'", "XA PREPARE 'small'",
				"XA START 'large'", "INSERT INTO same.d WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i, REPEAT('x', 2000) FROM n", "XA END 'large'", "XA PREPARE 'large'",
				"XA START 'never'", "INSERT INTO same.d VALUES (2, 'never')", "XA END 'never'", "XA PREPARE 'never'",
				"TRUNCATE TABLE other.c", "FLUSH BINARY LOGS", "XA COMMIT 'large'", "XA ROLLBACK 'never'", "XA COMMIT 'small'",
				"DELETE FROM same.a WHERE id = 2", "CREATE TABLE same.copy SELECT * FROM same.a",
				"TRUNCATE TABLE same.b", "CREATE USER IF NOT EXISTS somebody IDENTIFIED BY 'planted'", "DROP USER somebody",
				"INSERT INTO same.b WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i, i FROM n",
				"DROP TABLE same.copy", "XA START 'x'", "INSERT INTO same.b VALUES (1001, 1)", "XA END 'x'", "XA COMMIT 'x' ONE PHASE",
				"SET SESSION gtid_next = 'AUTOMATIC:tagged'", "INSERT INTO same.b VALUES (1003, 1)", "SET SESSION gtid_next = 'AUTOMATIC'",
				"INSERT INTO same.b VALUES (1002, 1)")
			all := readFromEverywhere(t, s, from, "same")
			rows := decode(t, all)
			if last := rows[len(rows)-1]; last.Op != event.Insert || last.After[0] != int32(1002) {
				t.Errorf("last row: %+v", last)
			}
		})
	}
}

// readFromEverywhere reads the log from a position up to its end, once, and again from each transaction boundary: the versions must be
// the same, and the GTIDs those of the server.
func readFromEverywhere(t *testing.T, s *binlog.Source, from event.Position, schema string) []event.Batch {
	t.Helper()
	to := resolve(t, s, "current")
	all := read(t, s, from, to, inSchema(schema))
	want := numbers(all)
	if len(want) < 14 {
		t.Fatalf("only %d events", len(want))
	}
	executed, err := event.ParseGTIDSet(from.GTIDs)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range all[:len(all)-1] {
		executed.Add(b.Executed().Run())
		resumed := b.End
		resumed.GTIDs = executed.String()
		got := numbers(read(t, s, resumed, to, inSchema(schema)))
		var rest []numbered
		for _, n := range want {
			if n.version > resumed.Version() {
				rest = append(rest, n)
			}
		}
		if !reflect.DeepEqual(got, rest) {
			t.Fatalf("resumed at %s after batch %d: %d events, want %d\n got %+v\nwant %+v", resumed, i, len(got), len(rest), got, rest)
		}
	}
	executed.Add(event.GTIDRun{First: all[len(all)-1].GTID, Last: all[len(all)-1].GTID.N})
	if executed.String() != to.GTIDs {
		t.Errorf("executed %s, want %s", executed, to.GTIDs)
	}
	return all
}

// bigTransaction inserts rows of 1000 bytes in one transaction.
func bigTransaction(t *testing.T, db *component.MySQL, table string, rows int, session ...string) {
	t.Helper()
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	values := make([]string, rows)
	for i := range values {
		values[i] = fmt.Sprintf("(%d,REPEAT(SHA2(%[1]d,256),15))", i+1)
	}
	for _, statement := range append(session, fmt.Sprintf("INSERT INTO %s VALUES %s", table, strings.Join(values, ","))) {
		if _, err := c.Execute(statement); err != nil {
			t.Fatalf("%.300s: %v", statement, err)
		}
	}
}

func loggedBigTransaction(t *testing.T, db *component.MySQL) {
	const rows = 8000
	s := newSource(t, db, nil)
	for _, compression := range []string{"OFF", "ON"} {
		exec(t, db, "DROP DATABASE IF EXISTS big", "CREATE DATABASE big", "CREATE TABLE big.t (id INT PRIMARY KEY, v VARCHAR(1000))", "CREATE TABLE big.small (id INT PRIMARY KEY)")
		from := resolve(t, s, "current")
		exec(t, db, "INSERT INTO big.small VALUES (1)")
		boundary := resolve(t, s, "current")
		bigTransaction(t, db, "big.t", rows, "SET SESSION binlog_transaction_compression = "+compression)
		batches := read(t, s, from, resolve(t, s, "current"), inSchema("big"))
		if len(batches) < 1+7 {
			t.Fatalf("%d batches, want one for each MiB", len(batches))
		}
		for i, b := range batches[1 : len(batches)-1] {
			if b.End.Offset != boundary.Offset || b.End.Count != batches[0].End.Count || !b.Executed().IsZero() {
				t.Errorf("piece %d ends at %s, %s; want the last boundary %s, and nothing executed", i, b.End, b.Executed(), boundary)
			}
			if b.Bytes > 2<<20 {
				t.Errorf("piece %d has %d bytes", i, b.Bytes)
			}
			// Each piece can be decoded by itself.
			if _, err := binlog.NewDecoder().Decode(b.Events); err != nil {
				t.Errorf("piece %d: %v", i, err)
			}
		}
		if got := len(decode(t, batches)); got != rows+1 {
			t.Errorf("compression %s: %d rows, want %d", compression, got, rows+1)
		}
		again := read(t, s, batches[0].End, resolve(t, s, "current"), inSchema("big"))
		if !reflect.DeepEqual(numbers(again), numbers(batches[1:])) {
			t.Errorf("compression %s: read again, the versions differ", compression)
		}
	}
}

// killDumps ends all dump connections and returns how many there were.
func killDumps(t *testing.T, db *component.MySQL) int {
	t.Helper()
	r, err := db.Query("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Values {
		id, _ := r.GetInt(i, 0)
		_ = db.Exec(fmt.Sprintf("KILL %d", id)) // it may have ended by itself
	}
	return len(r.Values)
}

// loggedKilledDump ends the connection inside a transaction, after some pieces of it were emitted: what comes again has the same
// versions, and nothing comes that a half transaction left (M1).
func loggedKilledDump(t *testing.T, db *component.MySQL) {
	const rows = 20000
	s := newSource(t, db, nil)
	exec(t, db, "DROP DATABASE IF EXISTS killed", "CREATE DATABASE killed", "CREATE TABLE killed.t (id INT PRIMARY KEY, v VARCHAR(1000))")
	from := resolve(t, s, "current")
	bigTransaction(t, db, "killed.t", rows)
	to := resolve(t, s, "current")
	byGTIDs := from
	byGTIDs.File, byGTIDs.Offset = "", 0
	for _, from := range []event.Position{from, byGTIDs} {
		killDumpsBetween(t, db, s, from, to)
	}
}

func killDumpsBetween(t *testing.T, db *component.MySQL, s *binlog.Source, from, to event.Position) {
	t.Helper()
	seen := map[event.Version]string{}
	repeats, kills, total := 0, 0, 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := s.Stream(ctx, "killed", from, inSchema("killed"), nil, func(_ context.Context, b event.Batch) error {
		for _, e := range b.Events {
			if e.Kind != event.Rows {
				continue
			}
			if raw, ok := seen[e.Version]; ok {
				repeats++
				if raw != string(e.Raw) {
					t.Errorf("%s was sent again with other bytes", e.Version)
				}
			} else {
				total++
			}
			seen[e.Version] = string(e.Raw)
		}
		if kills < 3 && b.End.Offset == from.Offset && len(seen) > 100*(kills+1) {
			kills += min(1, killDumps(t, db))
		}
		if b.End.File == to.File && b.End.Offset >= to.Offset {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if kills == 0 || repeats == 0 {
		t.Errorf("%d kills, %d repeats: the transaction was not interrupted", kills, repeats)
	}
	once := numbers(read(t, s, from, to, inSchema("killed")))
	if len(once) != total {
		t.Errorf("%d events in all, want %d", total, len(once))
	}
	if status := s.Status("killed"); status.Reconnects == 0 || status.LastError == "" {
		t.Errorf("status: %+v", status)
	}
}

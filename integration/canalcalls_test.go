//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
)

// has waits, by calls that do not acknowledge, until a batch comes.
func (c javaClient) has(size int) canalBatch {
	c.t.Helper()
	for range 100 {
		if b := c.do(fmt.Sprintf("getWithoutAck %d 100", size)); b.ID != -1 {
			return b
		}
	}
	c.t.Fatal("nothing comes")
	return canalBatch{}
}

// ids are the first columns of the rows of entries, in order.
func ids(entries []canalEntry) []string {
	var out []string
	for _, e := range entries {
		for _, r := range e.Rows {
			columns := r.After
			if len(columns) == 0 {
				columns = r.Before
			}
			out = append(out, *columns[0].Value)
		}
	}
	return out
}

func wantIDs(t *testing.T, b canalBatch, id int64, want string) {
	t.Helper()
	if got := strings.Join(ids(b.Entries), " "); b.ID != id || got != want {
		t.Fatalf("batch %d has rows %q, want %d with %q", b.ID, got, id, want)
	}
}

// canalCalls makes every call of the simple connector.
func canalCalls(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, `batch_mode = "itemsize"`)
	n.serves(t)
	c := startJava(t)

	c.do(fmt.Sprintf("simple %s shop canal wrong", n.address))
	c.fails("connect", "auth failed for user:canal")
	c.do(fmt.Sprintf("simple %s shop nobody %s", n.address, canalPassword))
	c.fails("connect", "auth failed for user:nobody")
	c.do(fmt.Sprintf("simple %s shop - -", n.address))
	c.fails("connect", "auth failed for user")
	c.do(fmt.Sprintf("simple %s nothing canal %s", n.address, canalPassword), "connect")
	c.fails("subscribe -", "nothing")

	c.do(n.connector(), "connect") // rolls back before it has subscribed
	c.fails("get 10", "should subscribe first")
	c.do("subscribe shop\\.t")
	if b := c.do("get 10"); b.ID != -1 || len(b.Entries) != 0 {
		t.Fatalf("an idle source gives %+v", b)
	}
	began := time.Now()
	c.do("get 10 500")
	if took := time.Since(began); took < 400*time.Millisecond || took > 10*time.Second {
		t.Errorf("a get that may wait 500 ms took %s", took)
	}
	exec(t, db, "CREATE TABLE shop.t (id INT PRIMARY KEY)", "CREATE TABLE shop.other (id INT PRIMARY KEY)")
	if b := c.do("get 10 2000"); len(b.Entries) != 1 || b.Entries[0].EventType != "CREATE" || b.Entries[0].Header.TableName != "t" {
		t.Fatalf("got %+v, want the table that is created", b)
	}
	for i := range 6 {
		exec(t, db, fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", i), fmt.Sprintf("INSERT INTO shop.other VALUES (%d)", i))
	}
	// A transaction is a BEGIN, a row and an END. Three batches are outstanding.
	wantIDs(t, c.has(3), 2, "0")
	wantIDs(t, c.has(3), 3, "1")
	wantIDs(t, c.has(6), 4, "2 3")
	c.do("ack 2", "ack 3", "rollback")
	wantIDs(t, c.has(3), 5, "2")
	c.do("rollback 5")
	wantIDs(t, c.has(3), 6, "2")
	wantIDs(t, c.has(3), 7, "3")
	c.do("ack 7") // not the first
	c.fails("get 10", "batchId:7 is not the firstly:6")
	c.do("disconnect", n.connector(), "connect", "subscribe -") // what is not acknowledged comes again
	wantIDs(t, c.has(6), 8, "2 3")
	c.do("ack 8", "ack 8")
	c.fails("get 10", "batchId:8 is not exist")
	c.do("disconnect", n.connector(), "lazy true", "connect", "subscribe -") // the filter is remembered
	wantIDs(t, c.has(100), 9, "4 5")
	c.do("ack 9")
	exec(t, db, "INSERT INTO shop.t VALUES (6)")
	if got := ids(c.collect(func(all []canalEntry) bool { return len(all) >= 3 })); len(got) != 1 || got[0] != "6" {
		t.Fatalf("get gives rows %q, want 6", got)
	}
	c.do("ack 0")
	c.fails("get 10", "batchId should assign value")

	// Unsubscribed, it begins anew.
	c.do("disconnect", n.connector(), "connect", "subscribe shop\\..*", "unsubscribe")
	c.fails("get 10", "should subscribe first")
	exec(t, db, "INSERT INTO shop.t VALUES (7)")
	r, err := n.Status(t.Context())
	if err != nil || len(r.Clients) != 0 {
		t.Errorf("clients after unsubscribing: %+v, %v", r.Clients, err)
	}
	c.do("subscribe -")
	exec(t, db, "INSERT INTO shop.t VALUES (8)", "INSERT INTO shop.other VALUES (8)")
	var got []string
	c.collect(func(all []canalEntry) bool {
		got = ids(all)
		return len(got) >= 2 && got[len(got)-1] == "8" && got[len(got)-2] == "8"
	})

	// An idle connection is closed after the time that the client names.
	c.do("disconnect", n.connector(), "timeout 1000", "connect", "subscribe -")
	awaits(t, "the idle connection is closed", func() error {
		r, err := n.Status(t.Context())
		if err == nil && (len(r.Clients) != 1 || r.Clients[0].Address != "") {
			err = fmt.Errorf("clients %+v", r.Clients)
		}
		return err
	})
	if out, err := n.Command(t.Context(), "status"); err != nil || !strings.Contains(out.Stdout, "shop/1001") {
		t.Errorf("status: %v\n%s", err, out.Stdout)
	}
}

// canalStatements has statements of all kinds come as canal gives them.
func canalStatements(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", "subscribe .*\\..*")
	exec(t, db, "USE shop", "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "ALTER TABLE t ADD COLUMN w INT", "CREATE INDEX i ON t (v)", "DROP INDEX i ON t",
		"BEGIN", "INSERT INTO t VALUES (1, 1, 1)", "SAVEPOINT a", "UPDATE t SET v = 2", "COMMIT",
		"CREATE TABLE copy AS SELECT * FROM t", "RENAME TABLE t TO u", "TRUNCATE TABLE u",
		"SET binlog_rows_query_log_events = ON", "INSERT INTO u VALUES (2, 2, 2)", "SET binlog_rows_query_log_events = OFF",
		"XA START 'x'", "INSERT INTO u VALUES (3, 3, 3)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
		"CREATE TABLE mine (id INT PRIMARY KEY) ENGINE = MyISAM", "INSERT INTO mine VALUES (1)",
		"CREATE USER IF NOT EXISTS someone", "GRANT SELECT ON shop.* TO someone", "DROP USER someone", "DROP TABLE u, copy", "CREATE DATABASE ended", "DROP DATABASE ended")
	all := c.collect(func(all []canalEntry) bool {
		return len(all) > 0 && all[len(all)-1].SQL != nil && strings.HasPrefix(*all[len(all)-1].SQL, "DROP DATABASE ended")
	})
	var got []string
	for _, e := range all {
		line := e.EntryType
		if e.EntryType == "ROWDATA" {
			line = fmt.Sprintf("%s %s.%s", e.EventType, e.Header.SchemaName, e.Header.TableName)
			if e.Header.EventType == nil || *e.Header.EventType != e.EventType {
				t.Errorf("%s: the header says %v", line, e.Header.EventType)
			}
		}
		if e.IsDDL != nil && *e.IsDDL {
			line += " ddl"
		}
		if e.SQL != nil {
			line += " " + strings.Join(strings.Fields(*e.SQL), " ")
		}
		if len(e.Props) > 0 {
			line += " " + strings.Join(e.Props, ",")
		}
		if n := len(e.Rows); n > 0 {
			line += fmt.Sprintf(" %d rows", n)
		}
		if e.EntryType == "TRANSACTIONBEGIN" && e.ThreadID == 0 {
			t.Error("a BEGIN without a thread")
		}
		if e.EntryType == "TRANSACTIONEND" && (e.TransactionID == "") {
			t.Error("an END without an id")
		}
		got = append(got, line)
	}
	want := strings.Split(strings.TrimSpace(`
CREATE shop.t ddl CREATE TABLE t (id INT PRIMARY KEY, v INT)
ALTER shop.t ddl ALTER TABLE t ADD COLUMN w INT
CINDEX shop.t ddl CREATE INDEX i ON t (v)
DINDEX shop.t ddl DROP INDEX i ON t
TRANSACTIONBEGIN
INSERT shop.t 1 rows
QUERY . ddl SAVEPOINT `+"`a`"+`
UPDATE shop.t 1 rows
TRANSACTIONEND
TRANSACTIONBEGIN
CREATE shop.copy ddl CREATE TABLE `+"`copy` ( `id` int NOT NULL, `v` int DEFAULT NULL, `w` int DEFAULT NULL )"+` START TRANSACTION
INSERT shop.copy 1 rows
TRANSACTIONEND
RENAME shop.u ddl RENAME TABLE t TO u
TRUNCATE shop.u ddl TRUNCATE TABLE u
TRANSACTIONBEGIN
QUERY . INSERT INTO u VALUES (2, 2, 2)
INSERT shop.u 1 rows
TRANSACTIONEND
TRANSACTIONBEGIN XA_TYPE=XA START,XA_XID= X'78',X'',1
INSERT shop.u 1 rows
TRANSACTIONEND XA_TYPE=XA END,XA_XID= X'78',X'',1
XACOMMIT . XA COMMIT X'78',X'',1 XA_TYPE=XA COMMIT,XA_XID= X'78',X'',1
CREATE shop.mine ddl CREATE TABLE mine (id INT PRIMARY KEY) ENGINE = MyISAM
TRANSACTIONBEGIN
INSERT shop.mine 1 rows
TRANSACTIONEND
ERASE shop.u ddl DROP TABLE `+"`u`,`copy`"+` /* generated by server */
QUERY . ddl CREATE DATABASE ended
QUERY . ddl DROP DATABASE ended`), "\n")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// canalGTIDs has GTIDs in headers, also of what came compressed.
func canalGTIDs(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "gtid = true")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", "subscribe shop\\..*")
	exec(t, db, "CREATE TABLE shop.t (id INT PRIMARY KEY)", "INSERT INTO shop.t VALUES (1)", "SET binlog_transaction_compression = ON",
		"INSERT INTO shop.t VALUES (2), (3)")
	result, err := db.Query("SELECT @@server_uuid")
	if err != nil {
		t.Fatal(err)
	}
	uuid, err := result.GetString(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := c.collect(func(all []canalEntry) bool { return len(ids(all)) >= 3 })
	numbers := map[string]bool{}
	for i, e := range all {
		if e.Header.GTID == nil || !strings.HasPrefix(*e.Header.GTID, uuid+":1-") || len(e.Header.Props) < 3 {
			t.Fatalf("entry %d: %+v", i, e.Header)
		}
		own, ok := strings.CutPrefix(e.Header.Props[0], "curtGtid="+uuid+":")
		if !ok || !strings.HasSuffix(*e.Header.GTID, "-"+own) || !strings.HasPrefix(e.Header.Props[1], "curtGtidSn=") || !strings.HasPrefix(e.Header.Props[2], "curtGtidLct=") {
			t.Errorf("entry %d: %+v", i, e.Header)
		}
		numbers[own] = true
	}
	if len(numbers) != 3 {
		t.Errorf("%d transactions, want 3", len(numbers))
	}
	compressed := all[len(all)-2:]
	if a, b := compressed[0].Header, compressed[1].Header; a.LogfileOffset != b.LogfileOffset || a.EventLength != b.EventLength || a.LogfileOffset == 0 {
		t.Errorf("events of one compressed transaction: %+v, %+v", a, b)
	}
}

// canalRestart has a client go on after a restart of canalgo, with its filter, at what it acknowledged.
func canalRestart(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "")
	n.serves(t)
	exec(t, db, "CREATE TABLE shop.t (id INT PRIMARY KEY)", "CREATE TABLE shop.u (id INT PRIMARY KEY)")
	c := startJava(t)
	c.do(n.connector(), "connect", "subscribe shop\\.t")
	exec(t, db, "INSERT INTO shop.t VALUES (1)")
	c.do(fmt.Sprintf("ack %d", c.has(1000).ID))
	exec(t, db, "INSERT INTO shop.t VALUES (2)")
	c.has(1000) // and is not acknowledged
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "INSERT INTO shop.u VALUES (3)", "INSERT INTO shop.t VALUES (3)")
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	n.serves(t)
	c.fails("get 10", "") // the connection is gone
	c.do("disconnect", n.connector(), "connect", "subscribe -")
	var got []string
	c.collect(func(all []canalEntry) bool { got = ids(all); return len(got) >= 2 })
	if strings.Join(got, " ") != "2 3" {
		t.Errorf("after the restart come rows %q, want 2 3", got)
	}
}

// canalLarge has a row of 20 MB come, and a transaction of 100,000 rows.
func canalLarge(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "")
	n.serves(t)
	exec(t, db, "CREATE TABLE shop.t (id INT PRIMARY KEY, v LONGBLOB)")
	c := startJava(t)
	c.do(n.connector(), "connect", "subscribe shop\\.t")
	exec(t, db, "INSERT INTO shop.t VALUES (0, REPEAT('x', 20000000))", "SET cte_max_recursion_depth = 1000000",
		"INSERT INTO shop.t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, 'y' FROM n")
	next := 0
	for deadline := time.Now().Add(time.Minute); next <= 100_000; {
		b := c.do("keys 1000 200")
		for _, key := range b.Keys {
			if key != fmt.Sprint(next) {
				t.Fatalf("got row %s, want %d", key, next)
			}
			next++
		}
		if b.ID != -1 {
			c.do(fmt.Sprintf("ack %d", b.ID))
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute there are only %d rows", next)
		}
	}
}

// TestCanalMinimal has rows come whose names only the history of definitions knows.
func TestCanalMinimal(t *testing.T) {
	canalDefinitions(t, ownServer(t, "--binlog-row-metadata=MINIMAL"), "int", true)
}

// TestCanalMariaDB reads from a MariaDB, whose transactions have no BEGIN.
func TestCanalMariaDB(t *testing.T) {
	canalDefinitions(t, own(t, component.StartMariaDB), "int(11)", false)
}

// canalDefinitions changes a table's definition between rows.
func canalDefinitions(t *testing.T, db *component.MySQL, integer string, begins bool) {
	exec(t, db, "CREATE DATABASE shop")
	n := startCanal(t, db, "")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", "subscribe shop\\..*")
	exec(t, db, "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET utf8mb4)", "INSERT INTO shop.t VALUES (1, 'a')",
		"ALTER TABLE shop.t ADD COLUMN w ENUM('x','y') FIRST", "UPDATE shop.t SET w = 'y'")
	var got []string
	c.collect(func(all []canalEntry) bool {
		got = got[:0]
		for _, e := range all {
			line := e.EntryType
			for _, r := range e.Rows {
				for _, column := range append(r.Before, r.After...) {
					value := "NULL"
					if column.Value != nil {
						value = *column.Value
					}
					line += fmt.Sprintf(" %s:%s:%v=%s", column.Name, column.MySQLType, *column.IsKey, value)
				}
			}
			got = append(got, line)
		}
		return len(got) > 0 && strings.Contains(strings.Join(got, ""), "=2") && strings.HasSuffix(got[len(got)-1], "END")
	})
	want := []string{"ROWDATA", "TRANSACTIONBEGIN", "ROWDATA id:" + integer + ":true=1 v:varchar(20):false=a", "TRANSACTIONEND", "ROWDATA", "TRANSACTIONBEGIN",
		"ROWDATA w:enum('x','y'):false=NULL id:" + integer + ":true=1 v:varchar(20):false=a w:enum('x','y'):false=2 id:" + integer + ":true=1 v:varchar(20):false=a", "TRANSACTIONEND"}
	if !begins {
		want = slices.DeleteFunc(want, func(line string) bool { return line == "TRANSACTIONBEGIN" })
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

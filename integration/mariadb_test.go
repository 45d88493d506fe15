//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/secret"
)

// TestMariaDB runs the tests that can share a MariaDB; each has a schema of its own.
func TestMariaDB(t *testing.T) {
	db := ownMariaDB(t)
	for name, test := range map[string]func(*testing.T, *component.MySQL){
		"types":         mariadbTypes,
		"same versions": mariadbSameVersions,
		"statements":    mariadbStatements,
		"stops":         mariadbStops,
		"killed dump":   loggedKilledDump,
		"snapshots":     mariadbSnapshots,
	} {
		t.Run(name, func(t *testing.T) { test(t, db) })
	}
}

func ownMariaDB(t *testing.T, args ...string) *component.MySQL {
	t.Helper()
	return own(t, component.StartMariaDB, args...)
}

// mariadbTable has a column of every type that a MariaDB stores in its log as MySQL does.
const mariadbTable = `CREATE TABLE types.t (
 id INT PRIMARY KEY, t1 TINYINT, t1u TINYINT UNSIGNED, t2 BOOL, t3 SMALLINT, t3u SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED,
 i INT, iu INT UNSIGNED, iz INT(5) ZEROFILL, b BIGINT, bu BIGINT UNSIGNED, f FLOAT, d DOUBLE, d2 DOUBLE(10,3),
 dec65 DECIMAL(65,30), dec10 DECIMAL(10,2), dec5 DECIMAL(5,0), dec30 DECIMAL(30,30), decu DECIMAL(20,9) UNSIGNED,
 b1 BIT(1), b8 BIT(8), b9 BIT(9), b33 BIT(33), b64 BIT(64), dt DATE,
 dt0 DATETIME, dt1 DATETIME(1), dt2 DATETIME(2), dt3 DATETIME(3), dt4 DATETIME(4), dt5 DATETIME(5), dt6 DATETIME(6),
 ts0 TIMESTAMP NULL, ts3 TIMESTAMP(3) NULL, ts6 TIMESTAMP(6) NULL,
 tm0 TIME, tm1 TIME(1), tm2 TIME(2), tm3 TIME(3), tm6 TIME(6), y YEAR,
 c CHAR(20) CHARACTER SET utf8mb4, c255 CHAR(255) CHARACTER SET utf8mb4, nc NCHAR(5), v255 VARCHAR(255) CHARACTER SET latin1, v256 VARCHAR(256) CHARACTER SET latin1,
 v VARCHAR(3000), tt TINYTEXT, tx TEXT, mt MEDIUMTEXT CHARACTER SET latin1, lt LONGTEXT, asc1 VARCHAR(20) CHARACTER SET ascii,
 np VARCHAR(20) COLLATE utf8mb4_general_nopad_ci, nb VARCHAR(20) COLLATE utf8mb4_nopad_bin, uc VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci, us VARCHAR(20) COLLATE utf8mb4_uca1400_swedish_as_cs, l1 VARCHAR(20) COLLATE latin1_swedish_nopad_ci,
 bi BINARY(16), bi255 BINARY(255), vb VARBINARY(20), vb300 VARBINARY(300), tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB, cb CHAR(4) CHARACTER SET binary,
 e ENUM('a','b,c','d''e','f(g)','','h"i','back\\slash') , el ENUM('ä','€') CHARACTER SET latin1, s SET('one','two','thr''ee') , s64 SET(%s),
 j JSON, g GEOMETRY, p POINT,
 gv INT GENERATED ALWAYS AS (id + 1) VIRTUAL, gs INT GENERATED ALWAYS AS (id * 2) STORED, inv INT INVISIBLE DEFAULT 5,
 ` + "`we``ird 中文`" + ` INT, fd VARCHAR(40) DEFAULT (CONCAT('x', id))
) DEFAULT CHARSET utf8mb4`

// mariadbTypes: the log and SELECT give the same values, the log's rows compressed or not.
func mariadbTypes(t *testing.T, db *component.MySQL) {
	var members []string
	for i := range 64 {
		members = append(members, fmt.Sprintf("'m%d'", i+1))
	}
	s := newSource(t, db, nil)
	for _, compress := range []string{"OFF", "ON"} {
		exec(t, db, "DROP DATABASE IF EXISTS types", "CREATE DATABASE types", fmt.Sprintf(mariadbTable, strings.Join(members, ",")),
			"SET GLOBAL log_bin_compress = "+compress, "SET GLOBAL log_bin_compress_min_len = 10")
		from := resolve(t, s, "current")
		statements := []string{"SET SESSION sql_mode = '', time_zone = '+05:30'"}
		for _, sets := range []string{
			`id=1`,
			`id=2, t1=-128, t1u=255, t2=2, t3=-32768, t3u=65535, m=-8388608, mu=16777215, i=-2147483648, iu=4294967295, iz=42, b=-9223372036854775808, bu=18446744073709551615,
		 f=3.4028235e38, d=1.7976931348623157e308, d2=1234567.891, dec65=-99999999999999999999999999999999999.999999999999999999999999999999, dec10=-0.01, dec5=-99999, dec30=0.000000000000000000000000000001,
		 decu=12345678901.123456789, b1=1, b8=255, b9=256, b33=4294967297, b64=18446744073709551615, dt='9999-12-31',
		 dt0='9999-12-31 23:59:59', dt1='2024-02-29 12:00:00.1', dt2='2024-02-29 12:00:00.12', dt3='2024-02-29 12:00:00.120', dt4='1000-01-01 00:00:00.0001', dt5='2024-02-29 12:00:00.00001', dt6='2024-02-29 23:59:59.999999',
		 ts0='1970-01-01 05:30:01', ts3='2024-03-10 02:30:00.5', ts6='2038-01-19 08:44:07.999999', tm0='838:59:59', tm1='-00:00:00.1', tm2='-00:00:00.01', tm3='10:00:00', tm6='-838:59:58.999999', y=2155,
		 c='a b  ', c255=REPEAT('😀',255), nc='ñandú', v255=REPEAT('€',255), v256=REPEAT('ÿ',256), v=REPEAT('中',3000), tt=REPEAT('x',255), tx='😀', mt='€Žœ', lt=REPEAT('long ',5000), asc1='plain',
		 np='a ', nb='a ', uc='ä', us='å', l1='€',
		 bi=x'00112233445566778899aabbccddee00', bi255=x'ff', vb=x'00ff00', vb300=REPEAT(x'00',300), tb=x'', bl=x'ff00', mb=REPEAT(x'ab',70000), lb=x'00', cb=x'61',
		 e='b,c', el='€', s='one,thr''ee', s64='m1,m64', j='{"a": [1, 2],  "b": 1.0}', g=ST_GeomFromText('POINT(1 2)'), p=ST_GeomFromText('POINT(10 20)'), inv=9, ` + "`we``ird 中文`" + `=3`,
			`id=3, f=0.1, d=5e-324, d2=0.1, dec65=0, dec10=0, dec5=0, dec30=0, b1=0, b8=0, b9=1, b33=0, b64=1, dt='0000-00-00', dt0='0000-00-00', dt3='0000-00-00', dt6='2024-00-15 00:00:00', ts0='0000-00-00', ts3='0000-00-00', ts6='1970-01-01 05:30:00.000001',
		 tm0='00:00:00', tm1='10:00:00', tm2='100:00:00', tm3='-01:02:03.004', tm6='00:00:00', y=0, c='', c255='', nc='', v255='', v256='', v='', tt='', tx='', mt='', lt='', asc1='',
		 bi='', bi255='', vb='', vb300='', tb='', bl='', mb='', lb='', cb='', e='', el='ä', s='', s64='', j='null', g=ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')`,
			`id=4, f=-0e0, d=-0e0, dec10='-0.00', e='nonsense', el='nonsense', s='nonsense', dt='0001-01-01', y='1901', t1=127, j='"text"', tm0='-00:00:01', tm6='23:59:59.000001', dt4='2024-01-01 10:00:00', bu=9223372036854775808, b=9007199254740993`,
			`id=5, e=7, f=1e-45, d=0.1, el=1, s=4, s64=9223372036854775808, v255=CONVERT(x'8081828d8f909d9fa0ff' USING latin1), v256=x'8081828d8f909d9fa0ff', mt=x'00ff7f80', c='\\0nul', j='[]', y=70`,
		} {
			statements = append(statements, "INSERT INTO types.t SET "+sets)
		}
		exec(t, db, statements...)
		rows := decode(t, read(t, s, from, resolve(t, s, "current"), inSchema("types")))
		if len(rows) != 5 {
			t.Fatalf("%d rows, want 5", len(rows))
		}
		sameAsServer(t, s, rows)
	}
	exec(t, db, "SET GLOBAL log_bin_compress = OFF")
}

// compressed counts the events of a log in which MariaDB has compressed rows.
func compressed(batches []event.Batch) int {
	n := 0
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Kind == event.Rows && e.Raw[4] >= 166 && e.Raw[4] <= 168 {
				n++
			}
		}
	}
	return n
}

// mariadbSameVersions reads a log from each of its boundaries: with the texts of statements in it, compressed or not, in several GTID
// domains, with XA transactions and those of a table without transactions.
func mariadbSameVersions(t *testing.T, db *component.MySQL) {
	for _, compress := range []string{"OFF", "ON"} {
		t.Run("compression "+compress, func(t *testing.T) {
			s := newSource(t, db, nil)
			exec(t, db, "SET GLOBAL log_bin_compress = "+compress, "SET GLOBAL log_bin_compress_min_len = 10",
				"DROP DATABASE IF EXISTS same", "CREATE DATABASE same", "DROP DATABASE IF EXISTS other", "CREATE DATABASE other",
				"CREATE TABLE same.a (id INT PRIMARY KEY, v TEXT)", "CREATE TABLE same.b (id INT PRIMARY KEY, v INT)", "CREATE TABLE other.c (id INT PRIMARY KEY)")
			from := resolve(t, s, "current")
			exec(t, db, "SET SESSION binlog_annotate_row_events = ON",
				"INSERT INTO same.a VALUES (1, 'one'), (2, 'two')",
				"INSERT INTO other.c VALUES (1), (2)",
				"BEGIN", "INSERT INTO same.a VALUES (3, 'three')", "INSERT INTO other.c VALUES (3)", "SAVEPOINT s", "INSERT INTO same.b VALUES (9, 9)", "ROLLBACK TO s", "UPDATE same.a SET v = 'x' WHERE id < 3", "INSERT INTO same.b VALUES (1, 1)", "COMMIT",
				"CREATE TABLE same.d (id INT PRIMARY KEY, v VARCHAR(2000))", "ALTER TABLE same.a ADD COLUMN w INT DEFAULT 3",
				"SET SESSION gtid_domain_id = 7", "UPDATE same.a, same.b SET same.a.v = 'y', same.b.v = 2 WHERE same.a.id = same.b.id", "SET SESSION gtid_domain_id = 0",
				"XA START 'small', 'b', 3", "INSERT INTO same.d VALUES (1, 'one')", "XA END 'small', 'b', 3", "XA PREPARE 'small', 'b', 3")
			exec(t, db, "USE mysql", "XA START 'large'", "INSERT INTO same.d SELECT 100 + seq, REPEAT('x', 2000) FROM seq_1_to_900", "XA END 'large'", "XA PREPARE 'large'")
			exec(t, db, "XA START 'never'", "INSERT INTO same.d VALUES (2, 'never')", "XA END 'never'", "XA PREPARE 'never'")
			exec(t, db, "USE mysql", "TRUNCATE TABLE other.c", "FLUSH BINARY LOGS", "XA COMMIT 'large'", "XA ROLLBACK 'never'", "XA COMMIT 'small', 'b', 3",
				"DELETE FROM same.a WHERE id = 2", "CREATE TABLE same.copy SELECT * FROM same.a",
				"CREATE TABLE same.aria (id INT PRIMARY KEY) ENGINE = Aria", "INSERT INTO same.aria VALUES (1)",
				"TRUNCATE TABLE same.b", "CREATE USER IF NOT EXISTS somebody IDENTIFIED BY 'planted'", "DROP USER somebody",
				"INSERT INTO same.b SELECT seq, seq FROM seq_1_to_900",
				"DROP TABLE same.copy", "XA START 'x'", "INSERT INTO same.b VALUES (1001, 1)", "XA END 'x'", "XA COMMIT 'x' ONE PHASE",
				"INSERT INTO same.b VALUES (1002, 1)")
			all := readFromEverywhere(t, s, from, "same")
			if n := compressed(all); (n > 0) != (compress == "ON") {
				t.Errorf("%d compressed events", n)
			}
			last := map[string]int{}
			for _, r := range decode(t, all) {
				switch r.Op {
				case event.Insert:
					last[r.Table.Name.Name]++
				case event.Delete:
					last[r.Table.Name.Name]--
				case event.DeleteAll, event.DropTable:
					last[r.Table.Name.Name] = 0
				}
			}
			if want := map[string]int{"a": 2, "b": 902, "d": 901, "copy": 0, "aria": 1}; !reflect.DeepEqual(last, want) {
				t.Errorf("rows %v, want %v", last, want)
			}
		})
	}
	exec(t, db, "SET GLOBAL log_bin_compress = OFF")
}

// mariadbStatements looks at what happens to whole tables by statements that only MariaDB has.
func mariadbStatements(t *testing.T, db *component.MySQL) {
	s := newSource(t, db, nil)
	for _, c := range []struct {
		statement string
		want      string // the events that it makes
	}{
		{"TRUNCATE ddl.t WAIT 5", "truncate[ddl.t]"},
		{"ALTER ONLINE TABLE ddl.t ADD COLUMN w INT", "alter[ddl.t]"},
		{"ALTER TABLE IF EXISTS ddl.t WAIT 5 ADD COLUMN IF NOT EXISTS w INT", "alter[ddl.t]"},
		{"ALTER IGNORE TABLE ddl.t ADD UNIQUE (v)", "change[ddl.t]"},
		{"RENAME TABLE IF EXISTS ddl.t WAIT 5 TO ddl.x", "unparsed[ddl.t]"},
		{"CREATE OR REPLACE TABLE ddl.t (id INT PRIMARY KEY, other INT)", "drop[ddl.t]"},
		{"CREATE OR REPLACE TABLE ddl.t SELECT 1 AS id", "drop[ddl.t] rows"},
		{"CREATE OR REPLACE TEMPORARY TABLE ddl.t (id INT)", ""},
		{"CREATE OR REPLACE VIEW ddl.v AS SELECT 1", ""},
		{"CREATE SEQUENCE ddl.q", ""},
		{"DROP TABLE IF EXISTS ddl.t", "drop[ddl.t]"},
		{"SET STATEMENT max_statement_time = 5 FOR ALTER TABLE ddl.t ADD COLUMN w INT", "alter[ddl.t]"},
		{"SET STATEMENT max_statement_time = 5 FOR TRUNCATE ddl.t", "truncate[ddl.t]"},
		{"SET STATEMENT binlog_format = STATEMENT FOR INSERT INTO ddl.t VALUES (3, 3)", "change[ddl.t]"},
		{"/*M!100100 TRUNCATE TABLE ddl.t */", "truncate[ddl.t]"},
		{"INSERT INTO ddl.t VALUES (4, 4) RETURNING id", "rows"},
		{"ALTER TABLE ddl.t ADD SYSTEM VERSIONING", "unparsed[ddl.t]"},
	} {
		exec(t, db, "DROP DATABASE IF EXISTS ddl", "CREATE DATABASE ddl", "CREATE TABLE ddl.t (id INT PRIMARY KEY, v INT)", "INSERT INTO ddl.t VALUES (1, 1)")
		from := resolve(t, s, "current")
		exec(t, db, c.statement)
		exec(t, db, "CREATE DATABASE IF NOT EXISTS ddl") // so that there is something to read
		var got []string
		for _, b := range read(t, s, from, resolve(t, s, "current"), inSchema("ddl")) {
			for _, e := range b.Events {
				switch {
				case e.Statement != nil:
					got = append(got, fmt.Sprintf("%s%v", e.Statement.Action, e.Statement.Tables))
				case e.Kind == event.Rows:
					got = append(got, "rows")
				}
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.statement, got, c.want)
		}
	}
}

// mariadbStops lists what ends in an error that names it, at the leader, at the decoder or where a table is described.
func mariadbStops(t *testing.T, db *component.MySQL) {
	s := newSource(t, db, nil)
	for _, c := range []struct {
		name, change string
		session      []string
		want         []string
	}{
		{"metadata", "", []string{"SET GLOBAL binlog_row_metadata = NO_LOG", "INSERT INTO stop.t VALUES (2, 'n')", "SET GLOBAL binlog_row_metadata = FULL"}, []string{"stop.t", "binlog_row_metadata = FULL"}},
		{"minimal metadata", "", []string{"SET GLOBAL binlog_row_metadata = MINIMAL", "INSERT INTO stop.t VALUES (2, 'n')", "SET GLOBAL binlog_row_metadata = FULL"}, []string{"stop.t", "binlog_row_metadata = FULL"}},
		{"compressed text", "ALTER TABLE stop.t ADD COLUMN c TEXT COMPRESSED", []string{"INSERT INTO stop.t VALUES (2, 'n', REPEAT('x', 200))"}, []string{"stop.t.c", "COMPRESSED"}},
		{"compressed varchar", "ALTER TABLE stop.t ADD COLUMN c VARCHAR(1000) COMPRESSED", []string{"INSERT INTO stop.t VALUES (2, 'n', REPEAT('x', 200))"}, []string{"stop.t.c", "COMPRESSED"}},
		{"old times", "", []string{"SET GLOBAL mysql56_temporal_format = OFF", "ALTER TABLE stop.t ADD COLUMN c DATETIME(3)", "SET GLOBAL mysql56_temporal_format = ON", "INSERT INTO stop.t VALUES (2, 'n', NOW())"}, []string{"stop.t.c", "before MySQL 5.6", "FORCE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exec(t, db, "DROP DATABASE IF EXISTS stop", "CREATE DATABASE stop", "CREATE TABLE stop.t (id INT PRIMARY KEY, v TEXT)", "INSERT INTO stop.t VALUES (1, 'one')")
			if c.change != "" {
				exec(t, db, c.change)
			}
			from := resolve(t, s, "current")
			exec(t, db, c.session...)
			d := binlog.NewDecoder()
			var stop *event.StopError
			for _, b := range read(t, s, from, resolve(t, s, "current"), inSchema("stop")) {
				if _, err := d.Decode(b.Events); errors.As(err, &stop) {
					break
				}
			}
			if stop == nil {
				t.Fatal("nothing stopped")
			}
			for _, part := range c.want {
				if !strings.Contains(stop.Error(), part) {
					t.Errorf("%q does not say %q", stop, part)
				}
			}
		})
	}
	for definition, want := range map[string]string{
		"CREATE TABLE stop.x (id UUID PRIMARY KEY)":                       "uuid",
		"CREATE TABLE stop.x (id INT PRIMARY KEY, a INET6)":               "inet6",
		"CREATE TABLE stop.x (id INT PRIMARY KEY, a INET4)":               "inet4",
		"CREATE TABLE stop.x (id INT PRIMARY KEY, c TEXT COMPRESSED)":     "COMPRESSED",
		"CREATE TABLE stop.x (id INT PRIMARY KEY) WITH SYSTEM VERSIONING": "history of stop.x",
		"CREATE SEQUENCE stop.x":                                          "sequence",
	} {
		exec(t, db, "DROP TABLE IF EXISTS stop.x", definition)
		if _, err := s.Describe(t.Context(), event.TableName{Schema: "stop", Name: "x"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", definition, err, want)
		}
		exec(t, db, "DROP TABLE IF EXISTS stop.x")
	}
}

// mariadbSnapshots: rows that are read at a position have every transaction before it, on a server that many write to all the while. The
// session is open already, because a new connection takes longer than most transactions take to be seen.
func mariadbSnapshots(t *testing.T, db *component.MySQL) {
	s := newSource(t, db, nil)
	exec(t, db, "DROP DATABASE IF EXISTS snap", "CREATE DATABASE snap", "CREATE TABLE snap.t (id INT PRIMARY KEY)")
	from := resolve(t, s, "current")
	const writers, each = 16, 150
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			c, err := db.Connect()
			if err != nil {
				return err
			}
			defer c.Close()
			for i := range each {
				if _, err := c.Execute(fmt.Sprintf("INSERT INTO snap.t VALUES (%d)", w*each+i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	executed, err := event.ParseGTIDSet(from.GTIDs)
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.Session(t.Context(), from.ServerUUID)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	d, seen := binlog.NewDecoder(), 0
	err = s.Stream(t.Context(), "snap", from, inSchema("snap"), nil, func(ctx context.Context, b event.Batch) error {
		executed.Add(b.Executed().Run())
		rows, err := d.Decode(b.Events)
		if err != nil || len(rows) == 0 {
			return err
		}
		seen += len(rows)
		id := rows[len(rows)-1].After[0]
		query := fmt.Sprintf("SELECT id FROM snap.t WHERE id = %d", id)
		found := 0
		if err := session.Wait(ctx, executed.String()); err != nil {
			return err
		}
		if err := session.Query(ctx, query, nil, func([]any) error { found++; return nil }); err != nil {
			return err
		}
		if found != 1 {
			t.Errorf("behind %s row %d is not there", executed, id)
		}
		if seen%100 == 0 {
			at := b.End
			at.GTIDs = executed.String()
			err := s.Select(ctx, at, "SELECT COUNT(*) FROM snap.t", []event.Column{{Name: "n", Type: event.BigInt}}, func(values []any) error {
				if values[0].(int64) < int64(seen) {
					t.Errorf("at %s there are %d rows, %d were read", at, values[0], seen)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if seen == writers*each {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestMariaDBLostPositions: what is said when the server does not have a position, and of a log that is reset under a stream.
func TestMariaDBLostPositions(t *testing.T) {
	db := ownMariaDB(t)
	s := newSource(t, db, nil)
	early, now, byGTID := positions(t, db, s)
	if now.GTIDs != "0-1-5" || !strings.HasPrefix(now.ServerUUID, "mariadb-1@") {
		t.Errorf("current is %+v", now)
	}
	if p := resolve(t, s, early.GTIDs); p.GTIDs != early.GTIDs || p.File != "" {
		t.Errorf("%s resolves to %+v", early.GTIDs, p)
	}
	for _, gtids := range []string{"0-1-6", "0-1-5,4-1-1"} {
		future := byGTID
		future.GTIDs = gtids
		if err := streamError(t, s, future); !errors.Is(err, binlog.ErrReset) {
			t.Errorf("%s: %v", gtids, err)
		}
	}
	diverged := byGTID
	diverged.GTIDs = "0-9-4"
	if err := streamError(t, s, diverged); !errors.Is(err, binlog.ErrReset) {
		t.Errorf("a GTID of a server that this one never followed: %v", err)
	}
	other := now
	other.ServerUUID = "mariadb-2@elsewhere:3306"
	if err := streamError(t, s, other); !errors.Is(err, binlog.ErrServerChanged) {
		t.Errorf("another server: %v", err)
	}
	if err := s.Select(t.Context(), other, "SELECT 1", []event.Column{{Type: event.Int}}, nil); !errors.Is(err, binlog.ErrServerChanged) {
		t.Errorf("rows of another server: %v", err)
	}
	// A file of the old name grows beyond the position: what stands before it is not what was read.
	losePositions(t, db, s, early, now, byGTID, "RESET MASTER")
	for _, at := range []uint64{early.Offset, resolve(t, s, "current").Offset} { // inside an event, or at its end
		early.Offset = at
		if err := streamError(t, s, early); !errors.Is(err, binlog.ErrReset) {
			t.Errorf("reset, with a file of the same name: %v", err)
		}
	}
}

// TestMariaDBFailover: another server that followed the first goes on by GTID, with every row once.
func TestMariaDBFailover(t *testing.T) {
	first, second := ownMariaDB(t), ownMariaDB(t, "--server-id=2", "--log-slave-updates")
	exec(t, second, fmt.Sprintf("CHANGE MASTER TO master_host='127.0.0.1', master_port=%d, master_user='root', master_use_gtid=slave_pos", first.Port), "START SLAVE")
	exec(t, first, "CREATE DATABASE x", "CREATE TABLE x.t (id INT PRIMARY KEY)")
	s := newSource(t, first, nil)
	from := resolve(t, s, "current")
	exec(t, first, "INSERT INTO x.t VALUES (1)", "SET GLOBAL gtid_domain_id = 5", "INSERT INTO x.t VALUES (2)")
	at := resolve(t, s, "current")
	if rows := decode(t, read(t, s, from, at, inSchema("x"))); len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	exec(t, first, "INSERT INTO x.t VALUES (3)")
	end := resolve(t, s, "current").GTIDs
	waitFor(t, func() bool {
		r, err := second.Query("SELECT @@gtid_binlog_pos")
		if err != nil {
			return false
		}
		got, _ := r.GetString(0, 0)
		return got == end
	})
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	exec(t, second, "STOP SLAVE", "INSERT INTO x.t VALUES (4)")
	replaced := newSource(t, second, nil)
	if err := streamError(t, replaced, at); !errors.Is(err, binlog.ErrServerChanged) {
		t.Fatalf("by file and offset: %v", err)
	}
	if identity, err := replaced.Identify(t.Context(), ""); err != nil || !identity.GTIDs() || !strings.HasPrefix(identity.ServerUUID, "mariadb-2@") {
		t.Fatalf("%+v, %v", identity, err)
	}
	now := resolve(t, replaced, "current")
	var ids []any
	for _, r := range decode(t, read(t, replaced, event.Position{ServerUUID: now.ServerUUID, Epoch: 8, Count: event.FirstCount, GTIDs: at.GTIDs}, now, inSchema("x"))) {
		ids = append(ids, r.After[0])
	}
	if !reflect.DeepEqual(ids, []any{int32(3), int32(4)}) {
		t.Errorf("rows %v, want 3 and 4", ids)
	}
}

// TestMariaDBCheck: what check says of an account that may nothing, and of settings that do not fit.
func TestMariaDBCheck(t *testing.T) {
	db := ownMariaDB(t, "--binlog-row-metadata=NO_LOG", "--binlog-expire-logs-seconds=60")
	exec(t, db, "CREATE USER poor IDENTIFIED BY ''", "CREATE DATABASE x", "CREATE TABLE x.p (id INT PRIMARY KEY)",
		"CREATE TABLE x.c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES x.p (id) ON DELETE CASCADE)", "SET GLOBAL binlog_row_image = MINIMAL", "SET GLOBAL binlog_format = MIXED")
	findings := func(user, password string) map[string]binlog.Finding {
		t.Helper()
		found, err := newSource(t, db, func(c *binlog.Config) { c.User, c.Password = user, secret.New(password) }).Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]binlog.Finding{}
		for _, f := range found {
			out[f.What] = f
		}
		return out
	}
	poor := findings("poor", "")
	for what, fix := range map[string]string{
		"grant BINLOG MONITOR":       "GRANT BINLOG MONITOR ON *.* TO 'poor'@'%'",
		"grant REPLICATION SLAVE":    "GRANT REPLICATION SLAVE ON *.* TO 'poor'@'%'",
		"binlog_row_metadata":        "SET GLOBAL binlog_row_metadata = 'FULL', and the same in the server's my.cnf",
		"binlog_row_image":           "SET GLOBAL binlog_row_image = 'FULL', and the same in the server's my.cnf",
		"binlog_format":              "SET GLOBAL binlog_format = 'ROW', and the same in the server's my.cnf",
		"binlog_expire_logs_seconds": "SET GLOBAL binlog_expire_logs_seconds = 604800, and the same in the server's my.cnf",
	} {
		if f := poor[what]; f.OK != strings.HasPrefix(what, "binlog_row_") || f.OK != f.Warn || f.Fix != fix {
			t.Errorf("%s: %+v, want the fix %q", what, f, fix)
		}
	}
	exec(t, db, "SET GLOBAL binlog_row_metadata = FULL", "SET GLOBAL binlog_row_image = FULL", "SET GLOBAL binlog_format = ROW", "SET GLOBAL binlog_expire_logs_seconds = 604800")
	for what, f := range findings(component.CanalgoUser, component.CanalgoPassword) {
		if !f.OK || f.Warn != (what == "foreign keys") {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

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

	"github.com/hashicorp/go-hclog"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
)

// TestBinlogServer runs the tests that can share a server; each has a schema of its own.
func TestBinlogServer(t *testing.T) {
	db := ownServer(t)
	for name, test := range map[string]func(*testing.T, *component.MySQL){
		"types":           loggedTypes,
		"character sets":  loggedCharsets,
		"JSON":            loggedJSON,
		"statements":      loggedStatements,
		"same versions":   loggedSameVersions,
		"big transaction": loggedBigTransaction,
		"killed dump":     loggedKilledDump,
		"accounts":        loggedAccounts,
		"pending ALTER":   loggedPendingAlter,
	} {
		t.Run(name, func(t *testing.T) { test(t, db) })
	}
}

func ownServer(t *testing.T, args ...string) *component.MySQL {
	t.Helper()
	return own(t, component.StartMySQL, args...)
}

// own starts a server that is the test's own.
func own(t *testing.T, start func(context.Context, string, ...string) (*component.MySQL, error), args ...string) *component.MySQL {
	t.Helper()
	db, err := start(t.Context(), t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Kill() })
	return db
}

// exec runs statements on one connection.
func exec(t *testing.T, db *component.MySQL, statements ...string) {
	t.Helper()
	if err := db.Exec(statements...); err != nil {
		t.Fatal(err)
	}
}

// newSource returns a source that reads as root, changed by change.
func newSource(t *testing.T, db *component.MySQL, change func(*binlog.Config)) *binlog.Source {
	t.Helper()
	cfg := binlog.Defaults()
	cfg.Addr, cfg.User = db.Addr(), "root"
	cfg.TLS.Mode = binlog.TLSOff
	if change != nil {
		change(&cfg)
	}
	s, err := binlog.New(cfg, "test-cluster", "shop", hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: testWriter{t}}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func resolve(t *testing.T, s *binlog.Source, start string) event.Position {
	t.Helper()
	p, err := s.Resolve(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	if p.Count == 0 {
		p.Epoch, p.Count = 7, event.FirstCount
	}
	return p
}

var errEnough = errors.New("enough")

// read streams from a position up to another one.
func read(t *testing.T, s *binlog.Source, from, to event.Position, want func(event.TableName) bool) []event.Batch {
	t.Helper()
	return readWith(t, s, from, to, want, nil)
}

// readWith is read with a history of definitions.
func readWith(t *testing.T, s *binlog.Source, from, to event.Position, want func(event.TableName) bool, history binlog.History) []event.Batch {
	t.Helper()
	var batches []event.Batch
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := s.Stream(ctx, "test", from, want, history, func(_ context.Context, b event.Batch) error {
		batches = append(batches, b)
		if b.End.File == to.File && b.End.Offset >= to.Offset || len(b.End.File) == len(to.File) && b.End.File > to.File {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("stream: %v", err)
	}
	return batches
}

func decode(t *testing.T, batches []event.Batch) []event.Row {
	t.Helper()
	d := binlog.NewDecoder()
	var rows []event.Row
	for _, b := range batches {
		decoded, err := d.Decode(b.Events)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, decoded...)
	}
	return rows
}

func inSchema(schema string) func(event.TableName) bool {
	return func(n event.TableName) bool { return n.Schema == schema }
}

// typesTable has a column of every type; typesRows are the edge values.
const typesTable = `CREATE TABLE types.t (
 id INT PRIMARY KEY, t1 TINYINT, t1u TINYINT UNSIGNED, t2 BOOL, t3 SMALLINT, t3u SMALLINT UNSIGNED, m MEDIUMINT, mu MEDIUMINT UNSIGNED,
 i INT, iu INT UNSIGNED, iz INT(5) ZEROFILL, b BIGINT, bu BIGINT UNSIGNED, f FLOAT, d DOUBLE, d2 DOUBLE(10,3),
 dec65 DECIMAL(65,30), dec10 DECIMAL(10,2), dec5 DECIMAL(5,0), dec30 DECIMAL(30,30), decu DECIMAL(20,9) UNSIGNED,
 b1 BIT(1), b8 BIT(8), b9 BIT(9), b33 BIT(33), b64 BIT(64), dt DATE,
 dt0 DATETIME, dt1 DATETIME(1), dt2 DATETIME(2), dt3 DATETIME(3), dt4 DATETIME(4), dt5 DATETIME(5), dt6 DATETIME(6),
 ts0 TIMESTAMP NULL, ts3 TIMESTAMP(3) NULL, ts6 TIMESTAMP(6) NULL,
 tm0 TIME, tm1 TIME(1), tm2 TIME(2), tm3 TIME(3), tm6 TIME(6), y YEAR,
 c CHAR(20) CHARACTER SET utf8mb4, c255 CHAR(255) CHARACTER SET utf8mb4, nc NCHAR(5), v255 VARCHAR(255) CHARACTER SET latin1, v256 VARCHAR(256) CHARACTER SET latin1,
 v VARCHAR(3000), tt TINYTEXT, tx TEXT, mt MEDIUMTEXT CHARACTER SET latin1, lt LONGTEXT, asc1 VARCHAR(20) CHARACTER SET ascii,
 bi BINARY(16), bi255 BINARY(255), vb VARBINARY(20), vb300 VARBINARY(300), tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB, cb CHAR(4) CHARACTER SET binary,
 e ENUM('a','b,c','d''e','f(g)','','h"i','back\\slash') , el ENUM('ä','€') CHARACTER SET latin1, s SET('one','two','thr''ee') , s64 SET(%s),
 j JSON, g GEOMETRY, p POINT SRID 4326, vec VECTOR(3),
 gv INT GENERATED ALWAYS AS (id + 1) VIRTUAL, gs INT GENERATED ALWAYS AS (id * 2) STORED, inv INT DEFAULT 5 INVISIBLE,
 ` + "`we``ird 中文`" + ` INT, fd VARCHAR(40) DEFAULT (CONCAT('x', id)),
 INDEX mv ((CAST(j->'$.a' AS UNSIGNED ARRAY))), INDEX fi ((UPPER(c)))
) DEFAULT CHARSET utf8mb4`

// loggedTypes: the log and SELECT give the same values (M9, M10, M11, M12).
func loggedTypes(t *testing.T, db *component.MySQL) {
	var members []string
	for i := range 64 {
		members = append(members, fmt.Sprintf("'m%d'", i+1))
	}
	s := newSource(t, db, nil)
	exec(t, db, "DROP DATABASE IF EXISTS types", "CREATE DATABASE types", fmt.Sprintf(typesTable, strings.Join(members, ",")))
	from := resolve(t, s, "current")
	insert := func(sets ...string) {
		t.Helper()
		c, err := db.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i, statement := range append([]string{"SET SESSION sql_mode = '', time_zone = '+05:30'"}, sets...) {
			if i > 0 {
				statement = "INSERT INTO types.t SET " + statement
			}
			if _, err := c.Execute(statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	insert(
		`id=1`,
		`id=2, t1=-128, t1u=255, t2=2, t3=-32768, t3u=65535, m=-8388608, mu=16777215, i=-2147483648, iu=4294967295, iz=42, b=-9223372036854775808, bu=18446744073709551615,
		 f=3.4028235e38, d=1.7976931348623157e308, d2=1234567.891, dec65=-99999999999999999999999999999999999.999999999999999999999999999999, dec10=-0.01, dec5=-99999, dec30=0.000000000000000000000000000001,
		 decu=12345678901.123456789, b1=1, b8=255, b9=256, b33=4294967297, b64=18446744073709551615, dt='9999-12-31',
		 dt0='9999-12-31 23:59:59', dt1='2024-02-29 12:00:00.1', dt2='2024-02-29 12:00:00.12', dt3='2024-02-29 12:00:00.120', dt4='1000-01-01 00:00:00.0001', dt5='2024-02-29 12:00:00.00001', dt6='2024-02-29 23:59:59.999999',
		 ts0='1970-01-01 05:30:01', ts3='2024-03-10 02:30:00.5', ts6='2038-01-19 08:44:07.999999', tm0='838:59:59', tm1='-00:00:00.1', tm2='-00:00:00.01', tm3='10:00:00', tm6='-838:59:58.999999', y=2155,
		 c='a b  ', c255=REPEAT('😀',255), nc='ñandú', v255=REPEAT('€',255), v256=REPEAT('ÿ',256), v=REPEAT('中',3000), tt=REPEAT('x',255), tx='😀', mt='€Žœ', lt=REPEAT('long ',5000), asc1='plain',
		 bi=x'00112233445566778899aabbccddee00', bi255=x'ff', vb=x'00ff00', vb300=REPEAT(x'00',300), tb=x'', bl=x'ff00', mb=REPEAT(x'ab',70000), lb=x'00', cb=x'61',
		 e='b,c', el='€', s='one,thr''ee', s64='m1,m64', j='{"a": [1, 2], "b": 1.0, "c": null, "d": "x\\u0000y\\n\\"\\\\", "e": 1e300, "f": 18446744073709551615, "g": -9223372036854775808, "h": true}',
		 g=ST_GeomFromText('POINT(1 2)'), p=ST_GeomFromText('POINT(10 20)', 4326), vec=STRING_TO_VECTOR('[1,-2.5,3e10]'), inv=9, `+"`we``ird 中文`"+`=3`,
		`id=3, f=0.1, d=5e-324, d2=0.1, dec65=0, dec10=0, dec5=0, dec30=0, b1=0, b8=0, b9=1, b33=0, b64=1, dt='0000-00-00', dt0='0000-00-00', dt3='0000-00-00', dt6='2024-00-15 00:00:00', ts0='0000-00-00', ts3='0000-00-00', ts6='1970-01-01 05:30:00.000001',
		 tm0='00:00:00', tm1='10:00:00', tm2='100:00:00', tm3='-01:02:03.004', tm6='00:00:00', y=0, c='', c255='', nc='', v255='', v256='', v='', tt='', tx='', mt='', lt='', asc1='',
		 bi='', bi255='', vb='', vb300='', tb='', bl='', mb='', lb='', cb='', e='', el='ä', s='', s64='', j='null', g=ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))'), vec=STRING_TO_VECTOR('[0,0,0]')`,
		`id=4, f=-0e0, d=-0e0, dec10='-0.00', e='nonsense', el='nonsense', s='nonsense', dt='0001-01-01', y='1901', t1=127, j='"text"', tm0='-00:00:01', tm6='23:59:59.000001', dt4='2024-01-01 10:00:00', bu=9223372036854775808, b=9007199254740993`,
		`id=5, e=7, f=1e-45, d=0.1, el=1, s=4, s64=9223372036854775808, v255=CONVERT(x'8081828d8f909d9fa0ff' USING latin1), v256=x'8081828d8f909d9fa0ff', mt=x'00ff7f80', c='\\0nul', j='[]', y=70`,
		`id=6, j=JSON_OBJECT('date', CAST('2024-02-29' AS DATE), 'time', CAST('-12:34:56.789' AS TIME(6)), 'dt', CAST('2024-02-29 12:00:00.5' AS DATETIME(6)), 'dec', 12345678901234567890.12345, 'blob', x'00ff', 'bit', b'1010', 'neg', -0.05e0, 'big', REPEAT('k', 300), 'long', REPEAT('v', 70000), 'geo', ST_GeomFromText('POINT(1 2)'), 'ts', TIMESTAMP('2024-02-29 12:00:00'), 'y', CAST(2024 AS YEAR))`,
		`id=7, j=JSON_ARRAY(1.5, 1e14, 1e15, 1e16, 123456789012345678, 1.23456789012345e15, 1.2e-5, 1e-14, 1e-15, 1.5e-15, 1e-16, 0.1e0, -0e0, 1e-300, 5e-324, 1.7976931348623157e308, 123456.789e3, 65535, 65536, -32768, -32769, 2147483648, 4294967296, 100.0, 0.000001e0, 1234567890123456.7e0, 12345678901234.5e0, 12345678901234567e0, 123456789012345678e0, 1.2345e16, 9007199254740993e0, -1234567890123456.7e0, 1.2345678901234567e-14, 1.2345678901234567e-15, 1.2345678901234567e-16, 123456789012345.67e0, 1e21, 123456789012345680000e0)`,
		`id=8, j=JSON_OBJECT('b', REPEAT(x'00ff10', 60), 'nested', JSON_ARRAY(JSON_ARRAY(JSON_OBJECT('', JSON_OBJECT('x', JSON_ARRAY())))), 'uni', '中😀', '', 'empty key')`,
	)
	rows := decode(t, read(t, s, from, resolve(t, s, "current"), inSchema("types")))
	if len(rows) != 8 {
		t.Fatalf("%d rows, want 8", len(rows))
	}
	sameAsServer(t, s, rows)
}

// undeclared takes out what only a description has.
func undeclared(table *event.Table) {
	for i := range table.Columns {
		table.Columns[i].Declared = ""
	}
}

// sameAsServer compares rows of one table, in the order of id, and their definition with what the server says of both.
func sameAsServer(t *testing.T, s *binlog.Source, rows []event.Row) {
	t.Helper()
	table := rows[0].Table
	described, err := s.Describe(t.Context(), table.Name)
	if err != nil {
		t.Fatal(err)
	}
	undeclared(described)
	for i := range table.Columns {
		if !reflect.DeepEqual(table.Columns[i], described.Columns[i]) {
			t.Errorf("column: decoded %+v, described %+v", table.Columns[i], described.Columns[i])
		}
	}
	if !reflect.DeepEqual(table, described) {
		t.Errorf("table: decoded %+v, described %+v", table, described)
	}
	sameAsSelect(t, s, described, rows)
}

// sameAsSelect compares rows, in the order of id, with what SELECT gives.
func sameAsSelect(t *testing.T, s *binlog.Source, described *event.Table, rows []event.Row) {
	t.Helper()
	table := rows[0].Table
	var names []string
	for _, c := range described.Columns {
		names = append(names, "`"+strings.ReplaceAll(c.Name, "`", "``")+"`")
	}
	i := 0
	err := s.Select(t.Context(), event.Position{}, "SELECT "+strings.Join(names, ",")+" FROM "+described.Name.String()+" ORDER BY id", described.Columns, func(values []any) error {
		for c := range values {
			if !reflect.DeepEqual(values[c], rows[i].After[c]) {
				t.Errorf("row %d, %s %s: the log gives %s, SELECT %s", i+1, described.Columns[c].Type, described.Columns[c].Name, clipped(rows[i].After[c]), clipped(values[c]))
			}
		}
		if rows[i].Table != table {
			t.Errorf("row %d has another Table", i+1)
		}
		i++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func clipped(v any) string {
	text := fmt.Sprintf("%T %#v", v, v)
	if len(text) > 1500 {
		return text[:1500] + "…"
	}
	return text
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("it never came true")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

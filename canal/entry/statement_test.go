package entry_test

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/canal/entry"
	"canalgo/event"
)

// query is the raw bytes of a query event.
func query(schema, sql string) []byte {
	body := binary.LittleEndian.AppendUint32(nil, 77) // thread
	body = append(body, 0, 0, 0, 0, byte(len(schema)), 0, 0, 0, 0)
	body = append(append(append(body, schema...), 0), sql...)
	return raw(2, body)
}

func raw(kind byte, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1_700_000_000)
	b = binary.LittleEndian.AppendUint32(append(b, kind), 42) // server
	b = binary.LittleEndian.AppendUint32(b, uint32(19+len(body)))
	return append(append(b, make([]byte, 6)...), body...)
}

var origin = event.Origin{File: "binlog.000007", Offset: 5 << 30, Size: 123}

// flat writes a message as text: number:value, nested ones in braces where a number says so.
func flat(b []byte, nested map[int]map[int]any) string {
	var out []string
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			b = b[n:]
			out = append(out, fmt.Sprintf("%d:%d", number, v))
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		b = b[n:]
		if inner, ok := nested[int(number)]; ok {
			deeper := map[int]map[int]any{}
			for k := range inner {
				deeper[k] = nil
			}
			out = append(out, fmt.Sprintf("%d:{%s}", number, flat(v, deeper)))
			continue
		}
		out = append(out, fmt.Sprintf("%d:%q", number, v))
	}
	return strings.Join(out, " ")
}

// made is the entry of an event, flat.
func made(t *testing.T, m *entry.Maker, e event.Event) string {
	t.Helper()
	e.Origin = origin
	got, ok, err := m.Entry(&e)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	return flat(got.Data, map[int]map[int]any{1: {12: nil}, 3: {3: nil, 13: nil}})
}

const head = `1:1 2:"binlog.000007" 3:5368709120 4:42 5:"UTF-8" 6:1700000000000 7:2 `

func everything(event.TableName) bool { return true }

func TestBoundsOfTransactions(t *testing.T) {
	xid := raw(16, binary.LittleEndian.AppendUint64(nil, 123456789))
	for _, test := range []struct {
		e    event.Event
		want string
	}{
		{event.Event{Kind: event.Begin, Raw: query("", "BEGIN")}, `1:{` + head + `8:"" 9:"" 10:123} 2:1 3:{4:77}`},
		{event.Event{Kind: event.Commit, Raw: xid}, `1:{` + head + `8:"" 9:"" 10:123} 2:3 3:{2:"123456789"}`},
		{event.Event{Kind: event.Commit, Raw: query("shop", "COMMIT")}, `1:{` + head + `8:"" 9:"" 10:123} 2:3 3:{2:"0"}`},
		{event.Event{Kind: event.Begin, Raw: query("", "XA START X'61',X'',1")}, `1:{` + head + `8:"" 9:"" 10:123} 2:1 3:{3:{1:"XA_TYPE" 2:"XA START"} 3:{1:"XA_XID" 2:" X'61',X'',1"} 4:77}`},
		{event.Event{Kind: event.Commit, Raw: query("", "XA END X'61',X'',1")}, `1:{` + head + `8:"" 9:"" 10:123} 2:3 3:{2:"0" 3:{1:"XA_TYPE" 2:"XA END"} 3:{1:"XA_XID" 2:" X'61',X'',1"}}`},
		{event.Event{Kind: event.Query, Raw: query("", "XA COMMIT X'61',X'',1")}, `1:{` + head + `8:"" 9:"" 10:123 11:13} 2:2 3:{2:13 11:"XA COMMIT X'61',X'',1" 13:{1:"XA_TYPE" 2:"XA COMMIT"} 13:{1:"XA_XID" 2:" X'61',X'',1"}}`},
		{event.Event{Kind: event.Query, Raw: raw(29, []byte("\x05UPDATE t SET a = 1"))}, `1:{` + head + `8:"" 9:"" 10:123 11:7} 2:2 3:{2:7 11:"UPDATE t SET a = 1"}`},
	} {
		if got := made(t, entry.New(entry.Options{}, everything), test.e); got != test.want {
			t.Errorf("%q:\n%s, want\n%s", test.e.Raw, got, test.want)
		}
	}
}

func TestGTIDsInHeaders(t *testing.T) {
	m := entry.New(entry.Options{GTIDs: true}, everything)
	group := make([]byte, 1+16+8+1+16)
	group[24+1] = 2
	binary.LittleEndian.PutUint64(group[26:], 8)
	binary.LittleEndian.PutUint64(group[34:], 9)
	m.Transaction(event.GTID{N: 0}, "")
	if got := made(t, m, event.Event{Kind: event.Group, Raw: raw(33, group)}); got != "" {
		t.Errorf("a GTID makes the entry %s", got)
	}
	m.Transaction(event.GTID{UUID: uuid.MustParse("3e11fa47-71ca-11e1-9e33-c80aa9429562"), Tag: "x", N: 5}, "set:1-5")
	want := `1:{` + head + `8:"" 9:"" 10:123 12:{1:"curtGtid" 2:"3e11fa47-71ca-11e1-9e33-c80aa9429562:x:5"} 12:{1:"curtGtidSn" 2:"9"} 12:{1:"curtGtidLct" 2:"8"} 13:"set:1-5"} 2:1 3:{4:77}`
	if got := made(t, m, event.Event{Kind: event.Begin, Raw: query("", "BEGIN")}); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

func TestStatements(t *testing.T) {
	for _, test := range []struct {
		schema, sql string
		what        int
		ddl         bool
		tables      string // schema and name in the header
		wanted      []string
	}{
		{"shop", "CREATE TABLE t (id INT)", 4, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"", "CREATE TABLE `a`.`b` (id INT) START TRANSACTION", 4, true, `8:"a" 9:"b"`, []string{"a.b"}},
		{"shop", "ALTER TABLE t ADD COLUMN c INT, ADD INDEX (c)", 5, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "ALTER TABLE t RENAME TO u", 9, true, `8:"shop" 9:"u"`, []string{"shop.t", "shop.u"}},
		{"shop", "ALTER TABLE t ADD INDEX (c), DROP COLUMN d", 10, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "ALTER TABLE t ADD PRIMARY KEY (c)", 10, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "ALTER TABLE t DROP INDEX c", 11, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "DROP TABLE IF EXISTS t, crm.u /* generated by server */", 6, true, `8:"shop" 9:"t"`, []string{"shop.t", "crm.u"}},
		{"shop", "TRUNCATE t", 8, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "RENAME TABLE a TO b, c TO d", 9, true, `8:"shop" 9:"b"`, []string{"shop.a", "shop.b", "shop.c", "shop.d"}},
		{"shop", "CREATE UNIQUE INDEX i ON t (c)", 10, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "DROP INDEX i ON t", 11, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "CREATE DATABASE x", 7, false, `8:"" 9:""`, nil},
		{"shop", "DROP DATABASE x", 7, false, `8:"" 9:""`, nil},
		{"shop", "CREATE VIEW v AS SELECT 1", 7, false, `8:"" 9:""`, nil},
		{"shop", "FLUSH TABLES", 7, false, `8:"" 9:""`, nil},
		{"shop", "SAVEPOINT `a`", 7, false, `8:"" 9:""`, nil},
		{"shop", "CREATE SOMETHING new", 7, false, `8:"" 9:""`, nil},
		{"shop", "CREATE TABLE IF NOT EXISTS `t` (g POINT SRID 4326)", 4, true, `8:"shop" 9:"t"`, []string{"shop.t"}},
		{"shop", "ALTER TABLE crm.t ADD COLUMN g GEOMETRYCOLLECTION", 5, true, `8:"crm" 9:"t"`, []string{"crm.t"}},
	} {
		var asked []string
		refuse := func(name event.TableName) bool { asked = append(asked, name.String()); return false }
		e := event.Event{Kind: event.Query, Raw: query(test.schema, test.sql), Origin: origin}
		if _, ok, err := entry.New(entry.Options{}, refuse).Entry(&e); err != nil || ok != (test.wanted == nil) || !reflect.DeepEqual(asked, test.wanted) {
			t.Errorf("%s: asks for %q and is let through %v, %v, want %q", test.sql, asked, ok, err, test.wanted)
		}
		schema := ""
		if test.schema != "" {
			schema = fmt.Sprintf(" 14:%q", test.schema)
		}
		want := fmt.Sprintf(`1:{%s%s 10:123 11:%d} 2:2 3:{2:%d 10:1 11:%q%s}`, head, test.tables, test.what, test.what, test.sql, schema)
		if got := made(t, entry.New(entry.Options{}, everything), e); got != want {
			t.Errorf("%s:\n%s, want\n%s", test.sql, got, want)
		}
		if got, _, _ := entry.New(entry.Options{}, everything).Entry(&e); got.DDL != test.ddl {
			t.Errorf("%s: is a DDL %v, want %v", test.sql, got.DDL, test.ddl)
		}
	}
	change := event.Event{Kind: event.Query, Raw: query("shop", "UPDATE t SET a = 1")}
	want := `1:{` + head + `8:"shop" 9:"t" 10:123 11:2} 2:2 3:{2:2 10:0 11:"UPDATE t SET a = 1" 14:"shop"}`
	if got := made(t, entry.New(entry.Options{}, everything), change); got != want {
		t.Errorf("a change as text:\n%s, want\n%s", got, want)
	}
}

// Rows that nobody can read are not passed over.
func TestMissingRows(t *testing.T) {
	for name, test := range map[string]struct {
		s    event.Stmt
		want bool
	}{
		"of the table":      {event.Stmt{Action: event.Missing, Tables: []event.TableName{{Schema: "shop", Name: "t"}}}, true},
		"of another one":    {event.Stmt{Action: event.Missing, Tables: []event.TableName{{Schema: "shop", Name: "u"}}}, false},
		"of nobody knows":   {event.Stmt{Action: event.Missing}, true},
		"a known statement": {event.Stmt{Action: event.Truncate, Tables: []event.TableName{{Schema: "shop", Name: "t"}}}, false},
	} {
		m := entry.New(entry.Options{}, func(n event.TableName) bool { return n.Name == "t" })
		_, ok, err := m.Entry(&event.Event{Kind: event.Statement, Statement: &test.s})
		if ok || (err != nil) != test.want {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestStatementsAboutAccountsDoNotCome(t *testing.T) {
	for _, sql := range []string{"GRANT SELECT ON shop.* TO u", "REVOKE ALL ON *.* FROM u", "CREATE USER u IDENTIFIED BY 'x'", "ALTER USER u IDENTIFIED BY 'x'", "DROP USER u",
		"CREATE ROLE r", "DROP ROLE r", "RENAME USER u TO v", "SET PASSWORD FOR u = 'x'", "SET DEFAULT ROLE r TO u", "create /* a */ user u identified by 'x'",
		"CREATE OR REPLACE USER u IDENTIFIED BY 'x'", "CREATE /*M!100103 OR REPLACE */ USER u IDENTIFIED BY 'x'", "/*!50706 CREATE*/ USER u IDENTIFIED BY 'x'",
		"-- a\n# b\n/** c **/CREATE/**/OR/**/REPLACE/**/ROLE r", "SET STATEMENT max_statement_time=1 FOR CREATE USER u IDENTIFIED BY 'x'",
		"SET STATEMENT a = 'it''s \\' FOR', b = `FOR` FOR GRANT ALL ON *.* TO u IDENTIFIED BY 'x'", "SET STATEMENT a = '\\' FOR SET PASSWORD FOR u = 'x'",
		"SET STATEMENT a = 1 FOR SET STATEMENT b = 2 FOR ALTER USER u IDENTIFIED BY 'x'", "/*M!100200 SET STATEMENT a=1 FOR */ REVOKE ALL ON *.* FROM u",
		"CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (PASSWORD 'x')", "CREATE OR REPLACE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (PASSWORD 'x')",
		"ALTER SERVER s OPTIONS (PASSWORD 'x')"} {
		e := event.Event{Kind: event.Query, Raw: query("shop", sql), Origin: origin}
		if got, ok, err := entry.New(entry.Options{}, func(event.TableName) bool { return true }).Entry(&e); err != nil || ok {
			t.Errorf("%s: came as %+v, %v", sql, got, err)
		}
	}
}

// What only looks like a statement about accounts comes.
func TestStatementsThatNameAccountsCome(t *testing.T) {
	for _, sql := range []string{"CREATE TABLE user (id INT)", "DROP TABLE role", "CREATE OR REPLACE VIEW user AS SELECT 1", "CREATE USERS", "SET STATEMENT a = 'FOR GRANT ' FOR FLUSH TABLES",
		"/* GRANT */ FLUSH TABLES", "/* a */ FLUSH /* b */ TABLES", "-- GRANT\nFLUSH TABLES", "SET STATEMENT a = `FOR GRANT ` FOR FLUSH TABLES"} {
		e := event.Event{Kind: event.Query, Raw: query("shop", sql), Origin: origin}
		if _, ok, err := entry.New(entry.Options{}, everything).Entry(&e); err != nil || !ok {
			t.Errorf("%s: does not come, %v", sql, err)
		}
	}
}

// A name may be in the character set of whoever wrote the statement.
func TestNamesInOtherCharacterSets(t *testing.T) {
	e := event.Event{Kind: event.Query, Raw: query("b\xfccher", "ALTER TABLE `gr\xfcn` ADD COLUMN g GEOMETRYCOLLECTION")}
	want := `1:{` + head + `8:"b�cher" 9:"gr�n" 10:123 11:5} 2:2 3:{2:5 10:1 11:"ALTER TABLE ` + "`gr�n`" + ` ADD COLUMN g GEOMETRYCOLLECTION" 14:"b�cher"}`
	if got := made(t, entry.New(entry.Options{}, everything), e); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

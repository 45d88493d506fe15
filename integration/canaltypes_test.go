//go:build integration

package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"canalgo/integration/component"
)

// A canalValue is a value in SQL, and what canal makes of it.
type canalValue struct {
	sql, text string
	sqlType   int
}

// canalColumns are types of columns with values, and what canal says of them. NULL comes by itself.
var canalColumns = []struct {
	declared string
	null     int // the type number of NULL
	values   []canalValue
}{
	{"tinyint", -6, []canalValue{{"-128", "-128", -6}, {"0", "0", -6}, {"127", "127", -6}}},
	{"tinyint unsigned", -6, []canalValue{{"0", "0", -6}, {"127", "127", -6}, {"128", "128", 5}, {"255", "255", 5}}},
	{"tinyint(1)", -6, []canalValue{{"1", "1", -6}}},
	{"int(5) unsigned zerofill", 4, []canalValue{{"7", "7", 4}}},
	{"float(7,3)", 7, []canalValue{{"1.5", "1.5", 7}}},
	{"smallint", 5, []canalValue{{"-32768", "-32768", 5}, {"32767", "32767", 5}}},
	{"smallint unsigned", 5, []canalValue{{"32767", "32767", 5}, {"32768", "32768", 4}, {"65535", "65535", 4}}},
	{"mediumint", 4, []canalValue{{"-8388608", "-8388608", 4}, {"8388607", "8388607", 4}}},
	{"mediumint unsigned", 4, []canalValue{{"8388608", "8388608", 4}, {"16777215", "16777215", 4}}},
	{"int", 4, []canalValue{{"-2147483648", "-2147483648", 4}, {"2147483647", "2147483647", 4}}},
	{"int unsigned", 4, []canalValue{{"2147483647", "2147483647", 4}, {"2147483648", "2147483648", -5}, {"4294967295", "4294967295", -5}}},
	{"bigint", -5, []canalValue{{"-9223372036854775808", "-9223372036854775808", -5}, {"9223372036854775807", "9223372036854775807", -5}}},
	{"bigint unsigned", -5, []canalValue{{"9223372036854775807", "9223372036854775807", -5}, {"9223372036854775808", "9223372036854775808", 3}, {"18446744073709551615", "18446744073709551615", 3}}},
	{"decimal(10,2)", 3, []canalValue{{"1.5", "1.50", 3}, {"0", "0.00", 3}, {"-3", "-3.00", 3}, {"99999999.99", "99999999.99", 3}}},
	{"decimal(65,30)", 3, []canalValue{{"-12345678901234567890123456789012345.000000000000000000000000000001", "-12345678901234567890123456789012345.000000000000000000000000000001", 3}}},
	{"decimal(5,0)", 3, []canalValue{{"-3", "-3", 3}, {"0", "0", 3}}},
	{"float", 7, []canalValue{{"1", "1.0", 7}, {"0.1", "0.1", 7}, {"-2.5e10", "-2.5E10", 7}, {"1e-4", "1.0E-4", 7}, {"0", "0.0", 7}, {"9999999", "9999999.0", 7}}},
	{"double", 8, []canalValue{{"1", "1.0", 8}, {"0.001", "0.001", 8}, {"1e7", "1.0E7", 8}, {"9999999", "9999999.0", 8}, {"1e-5", "1.0E-5", 8}, {"-1.7976931348623157e308", "-1.7976931348623157E308", 8}, {"3.14159", "3.14159", 8}}},
	{"bit(1)", -7, []canalValue{{"b'0'", "0", -7}, {"b'1'", "1", -7}}},
	{"bit(12)", -7, []canalValue{{"b'101010101010'", "2730", -7}}},
	{"bit(64)", -7, []canalValue{{"18446744073709551615", "18446744073709551615", -7}}},
	{"year", 12, []canalValue{{"0", "0000", 12}, {"1901", "1901", 12}, {"2155", "2155", 12}}},
	{"date", 91, []canalValue{{"'2024-02-29'", "2024-02-29", 91}, {"'0000-00-00'", "0000-00-00", 91}, {"'9999-12-31'", "9999-12-31", 91}}},
	{"datetime", 93, []canalValue{{"'2024-02-29 23:59:59'", "2024-02-29 23:59:59", 93}, {"'0000-00-00 00:00:00'", "0000-00-00 00:00:00", 93}}},
	{"datetime(3)", 93, []canalValue{{"'2024-02-29 23:59:59.120'", "2024-02-29 23:59:59.120", 93}, {"'0000-00-00 00:00:00'", "0000-00-00 00:00:00.000", 93}}},
	{"datetime(6)", 93, []canalValue{{"'1000-01-01 00:00:00.000001'", "1000-01-01 00:00:00.000001", 93}}},
	{"timestamp", 93, []canalValue{{"'2024-02-29 23:59:59'", "2024-02-29 23:59:59", 93}, {"'0000-00-00 00:00:00'", "0000-00-00 00:00:00", 93}, {"'2038-01-19 03:14:07'", "2038-01-19 03:14:07", 93}}},
	{"timestamp(6)", 93, []canalValue{{"'2024-02-29 23:59:59.000120'", "2024-02-29 23:59:59.000120", 93}, {"'0000-00-00 00:00:00'", "0000-00-00 00:00:00.000000", 93}}},
	{"time", 92, []canalValue{{"'00:00:00'", "00:00:00", 92}, {"'-838:59:59'", "-838:59:59", 92}, {"'100:00:01'", "100:00:01", 92}}},
	{"time(2)", 92, []canalValue{{"'-00:00:00.50'", "-00:00:00.50", 92}, {"'23:59:59.99'", "23:59:59.99", 92}}},
	{"char(5)", 1, []canalValue{{"'ab'", "ab", 1}, {"'ab  '", "ab", 1}, {"''", "", 1}, {"'中文é😀'", "中文é😀", 1}}},
	{"varchar(32)", 12, []canalValue{{"'a '", "a ", 12}, {"''", "", 12}, {"'it''s \"quoted\"\\n'", "it's \"quoted\"\n", 12}, {"'😀'", "😀", 12}}},
	{"binary(6)", 2004, []canalValue{{"'ab'", "ab", 2004}, {"x'00FF80410000'", "\u0000\u00ff\u0080A", 2004}, {"''", "", 2004}}},
	{"varbinary(16)", 2004, []canalValue{{"x'00FF8041'", "\u0000\u00ff\u0080A", 2004}, {"''", "", 2004}, {"x'4100'", "A\u0000", 2004}}},
	{"tinyblob", 2004, []canalValue{{"x'E4B8AD'", "\u00e4\u00b8\u00ad", 2004}}},
	{"blob", 2004, []canalValue{{"''", "", 2004}, {"x'7F80'", "\u007f\u0080", 2004}}},
	{"mediumblob", 2004, []canalValue{{"'plain'", "plain", 2004}}},
	{"longblob", 2004, []canalValue{{"'plain'", "plain", 2004}}},
	{"tinytext", 2005, []canalValue{{"'中'", "中", 2005}}},
	{"text", 2005, []canalValue{{"''", "", 2005}, {"'line\\nline'", "line\nline", 2005}}},
	{"mediumtext", 2005, []canalValue{{"'x'", "x", 2005}}},
	{"longtext", 2005, []canalValue{{"'x'", "x", 2005}}},
	{"enum('a','it''s','中')", 4, []canalValue{{"'a'", "1", 4}, {"'中'", "3", 4}, {"'none of them'", "0", 4}}},
	{"set('a','b','c')", 2004, []canalValue{{"'a,c'", "5", -7}, {"''", "0", -7}, {"'b'", "2", -7}}},
	{"json", 1111, []canalValue{
		{`'{"b": 1, "a": [true, false, null, "x"]}'`, `{"a": [true, false, null, "x"], "b": 1}`, 12},
		{`'[1.5, 1e20, 100, -9223372036854775808, 18446744073709551615, 0.1]'`, `[1.5, 1.0E20, 100, -9223372036854775808, 18446744073709551615, 0.1]`, 12},
		{`'"a\\"b\\\\c\\n\\u0001é中"'`, `"a\"b\\c\n\u0001é中"`, 12},
		{`'{}'`, `{}`, 12}, {`'[]'`, `[]`, 12}, {`'null'`, `null`, 12},
		{`JSON_ARRAY(CAST(1.50 AS DECIMAL(5,2)), CAST('2024-02-29' AS DATE), CAST('2024-02-29 01:02:03.5' AS DATETIME(6)), CAST('-10:11:12' AS TIME))`,
			`[1.50, "2024-02-29 00:00:00.000000", "2024-02-29 01:02:03.500000", "-10:11:12.000000"]`, 12},
	}},
	{"point", 2004, []canalValue{{"ST_GeomFromText('POINT(1 2)')", "\u0000\u0000\u0000\u0000\u0001\u0001\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u00f0?\u0000\u0000\u0000\u0000\u0000\u0000\u0000@", 2004}}},
	{"geometry", 2004, []canalValue{{"ST_GeomFromText('POINT(1 2)', 4326)", "\u00e6\u0010\u0000\u0000\u0001\u0001\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000@\u0000\u0000\u0000\u0000\u0000\u0000\u00f0?", 2004}}},
}

// canalTypes changes a row of each value of each type, several hundred events, and compares every field of what the client has of them.
func canalTypes(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", `subscribe shop\.c\d+`)
	statements := []string{"SET sql_mode = 'ALLOW_INVALID_DATES'", "SET time_zone = '+00:00'", "SET NAMES utf8mb4", "USE shop"}
	var want []canalRow
	var what []string
	no, yes := false, true
	for i, column := range canalColumns {
		table := fmt.Sprintf("c%d", i)
		values := append(column.values[:len(column.values):len(column.values)], canalValue{sql: "NULL", sqlType: column.null})
		statements = append(statements, fmt.Sprintf("CREATE TABLE %s (other INT, id INT PRIMARY KEY, v %s)", table, column.declared))
		row := func(id int, v canalValue, updated ...bool) []canalColumn {
			zero, one, two := 0, 1, 2
			key := strconv.Itoa(id)
			cell := canalColumn{Index: &two, SQLType: v.sqlType, Name: "v", IsKey: &no, Updated: &updated[2], IsNull: &no, Value: &v.text, MySQLType: column.declared}
			if v.sql == "NULL" {
				cell.IsNull, cell.Value = &yes, nil
			}
			return []canalColumn{{Index: &zero, SQLType: 4, Name: "other", IsKey: &no, Updated: &updated[0], IsNull: &yes, MySQLType: "int"},
				{Index: &one, SQLType: 4, Name: "id", IsKey: &yes, Updated: &updated[1], IsNull: &no, Value: &key, MySQLType: "int"}, cell}
		}
		for id, v := range values {
			next := values[(id+1)%len(values)]
			changed := v != next
			statements = append(statements, fmt.Sprintf("INSERT INTO %s (id, v) VALUES (%d, %s)", table, id, v.sql),
				fmt.Sprintf("UPDATE %s SET v = %s WHERE id = %d", table, next.sql, id), fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id))
			want = append(want, canalRow{After: row(id, v, true, true, true)},
				canalRow{Before: row(id, v, false, false, false), After: row(id, next, false, false, changed)}, canalRow{Before: row(id, next, false, false, false)})
			what = append(what, "INSERT", "UPDATE", "DELETE")
			if v.text == next.text && v.sql != "NULL" && next.sql != "NULL" { // the server logs no change
				want, what = append(want[:len(want)-2], want[len(want)-1]), append(what[:len(what)-2], "DELETE")
			}
		}
	}
	exec(t, db, statements...)
	var rows []canalEntry
	c.collect(func(all []canalEntry) bool {
		rows = rows[:0]
		for _, e := range all {
			if e.EntryType == "ROWDATA" && e.IsDDL != nil && !*e.IsDDL {
				rows = append(rows, e)
			}
		}
		return len(rows) >= len(want)
	})
	if len(rows) != len(want) {
		t.Fatalf("%d entries with rows, want %d", len(rows), len(want))
	}
	wrong := 0
	for i, e := range rows {
		name := e.Header.SchemaName + "." + e.Header.TableName
		switch {
		case e.Header.EventType == nil || *e.Header.EventType != what[i] || e.EventType != what[i]:
			t.Fatalf("entry %d of %s is a %s, want %s", i, name, e.EventType, what[i])
		case len(e.Rows) != 1 || strings.Join(e.Header.Props, " ") != "rowsCount=1" || e.TableID == nil || *e.TableID == 0 || e.SQL != nil:
			t.Errorf("entry %d of %s: %+v", i, name, e)
		case e.Header.Version != 1 || e.Header.ServerID != 1 || e.Header.ServerenCode != "UTF-8" || e.Header.SourceType != "MYSQL" || e.Header.ExecuteTime%1000 != 0 ||
			e.Header.LogfileOffset == 0 || e.Header.EventLength == 0 || e.Header.GTID != nil:
			t.Errorf("header of entry %d of %s: %+v", i, name, e.Header)
		}
		got, wants := canalText(e.Rows[0]), canalText(want[i])
		if got != wants {
			t.Errorf("%s of %s:\n%s, want\n%s", what[i], name, got, wants)
			if wrong++; wrong > 20 {
				t.Fatal("and more")
			}
		}
	}
	t.Logf("%d entries with rows", len(rows))
}

// canalText prints a row with all that its columns have.
func canalText(r canalRow) string {
	var b strings.Builder
	for _, image := range []struct {
		name    string
		columns []canalColumn
	}{{"before", r.Before}, {"after", r.After}} {
		for _, c := range image.columns {
			show := func(v any) string {
				switch v := v.(type) {
				case *int:
					if v != nil {
						return strconv.Itoa(*v)
					}
				case *bool:
					if v != nil {
						return strconv.FormatBool(*v)
					}
				case *string:
					if v != nil {
						return strconv.QuoteToASCII(*v)
					}
				}
				return "-"
			}
			fmt.Fprintf(&b, "  %s %s %s %s sqlType=%d key=%s updated=%s null=%s value=%s length=%s props=%d\n", image.name, show(c.Index), c.Name, c.MySQLType,
				c.SQLType, show(c.IsKey), show(c.Updated), show(c.IsNull), show(c.Value), show(c.Length), c.Props)
		}
	}
	return b.String()
}

// canalImages changes rows in sessions that log less than all columns: the client has what the log has.
func canalImages(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", `subscribe shop\.images`)
	statements := []string{"USE shop", "CREATE TABLE images (other INT, id INT PRIMARY KEY, v INT, body BLOB)"}
	var want []string
	for _, image := range []struct{ name, insert, update, deletion string }{
		{"MINIMAL", "after 1:id after 2:v", "before 1:id after 2:v", "before 1:id"},
		{"NOBLOB", "after 0:other after 1:id after 2:v", "before 0:other before 1:id before 2:v after 0:other after 1:id after 2:v", "before 0:other before 1:id before 2:v"},
		{"FULL", "after 0:other after 1:id after 2:v after 3:body", "before 0:other before 1:id before 2:v before 3:body after 0:other after 1:id after 2:v after 3:body",
			"before 0:other before 1:id before 2:v before 3:body"},
	} {
		statements = append(statements, "SET SESSION binlog_row_image = "+image.name, "INSERT INTO images (id, v) VALUES (1, 10)", "UPDATE images SET v = 11", "DELETE FROM images")
		want = append(want, image.insert, image.update, image.deletion)
	}
	exec(t, db, statements...)
	updated := make(map[string]int)
	var got []string
	c.collect(func(all []canalEntry) bool {
		got = got[:0]
		clear(updated)
		for _, e := range all {
			for _, r := range e.Rows {
				var columns []string
				for _, image := range []struct {
					name    string
					columns []canalColumn
				}{{"before", r.Before}, {"after", r.After}} {
					for _, column := range image.columns {
						columns = append(columns, fmt.Sprintf("%s %d:%s", image.name, *column.Index, column.Name))
						if e.EventType == "UPDATE" && *column.Updated {
							updated[column.Name]++
						}
					}
				}
				got = append(got, strings.Join(columns, " "))
			}
		}
		return len(got) >= len(want)
	})
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s\nwant\n%s", g, w)
	}
	if len(updated) != 1 || updated["v"] != 3 {
		t.Errorf("updated are %v, want v of each update", updated)
	}
}

// canalChangesOfJSON has the server log what changes in documents: the client has whole ones, or an error where the log has no document
// that the changes were made to.
func canalChangesOfJSON(t *testing.T, db *component.MySQL) {
	n := startCanal(t, db, "")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", `subscribe shop\.documents`)
	exec(t, db, "USE shop", "CREATE TABLE documents (id INT PRIMARY KEY, d JSON)", "SET SESSION binlog_row_value_options = PARTIAL_JSON",
		`INSERT INTO documents VALUES (1, '{"a": 1.5, "long": "a text that is long enough for the server to log changes"}')`,
		`UPDATE documents SET d = JSON_SET(d, '$.a', 100e0)`, `UPDATE documents SET d = JSON_REMOVE(d, '$.long')`)
	var got []string
	c.collect(func(all []canalEntry) bool {
		got = got[:0]
		for _, e := range all {
			for _, r := range e.Rows {
				got = append(got, *r.After[1].Value)
			}
		}
		return len(got) >= 3
	})
	want := `{"a": 1.5, "long": "a text that is long enough for the server to log changes"}, {"a": 100.0, "long": "a text that is long enough for the server to log changes"}, {"a": 100.0}`
	if all := strings.Join(got, ", "); all != want {
		t.Errorf("%s, want %s", all, want)
	}
	exec(t, db, "USE shop", "SET SESSION binlog_row_value_options = PARTIAL_JSON, SESSION binlog_row_image = MINIMAL", `UPDATE documents SET d = JSON_SET(d, '$.a', 2)`)
	awaits(t, "the client's end", func() error {
		_, err := c.Do("get 1000 200")
		if err == nil || !strings.Contains(err.Error(), "the document that was there is not in the log") {
			return fmt.Errorf("get gives %v", err)
		}
		return nil
	})
}

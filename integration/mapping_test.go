//go:build integration

package integration_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/mapping"
	"canalgo/mapping/collate"
	"canalgo/packed"
)

var updateWeights = flag.Bool("update-weights", false, "write mapping/collate/weights.bin from the server")

// startMappingMySQL starts a server for one test and returns a connection to it, in UTC and an empty schema.
func startMappingMySQL(t *testing.T) *client.Conn {
	t.Helper()
	server, err := component.StartMySQL(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	conn, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	run(t, conn, "set names utf8mb4", "set time_zone = '+00:00'", "set sql_mode = ''", "create database shop", "use shop")
	return conn
}

func run(t *testing.T, conn *client.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Execute(s); err != nil {
			t.Fatalf("%.200s: %v", s, err)
		}
	}
}

// rowsOf returns a query's values as text; NULL is "NULL".
func rowsOf(t *testing.T, conn *client.Conn, query string) [][]string {
	t.Helper()
	result, err := conn.Execute(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer result.Close()
	var rows [][]string
	for i := range result.RowNumber() {
		row := make([]string, result.ColumnNumber())
		for j := range row {
			row[j] = "NULL"
			if isNull, _ := result.IsNull(i, j); !isNull {
				if row[j], err = result.GetString(i, j); err != nil {
					t.Fatal(err)
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// TestCollationWeights compares every character's weights with the server's. With -update-weights it writes the file first.
func TestCollationWeights(t *testing.T) {
	conn := startMappingMySQL(t)
	run(t, conn, "set cte_max_recursion_depth = 2000000",
		"create table characters (n int primary key, c varchar(2) charset utf8mb4 collate utf8mb4_bin)",
		"insert into characters with recursive r(n) as (select 0 union all select n+1 from r where n < 0x10FFFF) "+
			"select n, convert(char(n using utf32) using utf8mb4) from r where n < 0xD800 or n > 0xDFFF")
	weights := func(name string) map[rune][]uint16 {
		charset, _, _ := strings.Cut(name, "_")
		where := map[string]string{"utf8mb3": "n <= 0xFFFF", "ascii": "n <= 0x7F",
			"latin1": "n <= 0xFFFF and (n = 63 or convert(c using latin1) <> '?')"}[charset]
		if where == "" {
			where = "true"
		}
		width := 2
		if charset == "latin1" || charset == "ascii" {
			width = 1
		}
		out := map[rune][]uint16{}
		for _, row := range rowsOf(t, conn, fmt.Sprintf("select n, hex(weight_string(convert(c using %s) collate %s)) from characters where %s order by n", charset, name, where)) {
			n, _ := strconv.Atoi(row[0])
			raw, err := hex.DecodeString(row[1])
			if err != nil {
				t.Fatal(err)
			}
			list := []uint16{}
			for ; len(raw) >= width; raw = raw[width:] {
				if width == 1 {
					list = append(list, uint16(raw[0]))
				} else {
					list = append(list, binary.BigEndian.Uint16(raw))
				}
			}
			out[rune(n)] = list
		}
		return out
	}
	if *updateWeights {
		writeWeights(t, weights)
		t.Fatal("weights.bin is written: run the test again without -update-weights")
	}
	for _, name := range []string{"utf8mb4_0900_ai_ci", "utf8mb4_unicode_ci", "utf8mb4_general_ci", "utf8mb3_unicode_ci", "utf8mb3_general_ci",
		"ascii_general_ci", "latin1_swedish_ci", "latin1_general_ci", "latin1_bin"} {
		c, ok := collate.Lookup(name)
		if !ok {
			t.Errorf("%s is not handled", name)
			continue
		}
		wrong := 0
		for r, want := range weights(name) {
			if got := c.Weights(r); !slices.Equal(got, want) {
				if wrong++; wrong < 5 {
					t.Errorf("%s: weights of U+%04X: got %04X, want %04X", name, r, got, want)
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d characters are wrong", name, wrong)
		}
	}
}

// writeWeights writes weights.bin in the form that mapping/collate/table.go describes. Hangul's rule needs the letters that the
// present file lists.
func writeWeights(t *testing.T, weights func(string) map[rune][]uint16) {
	t.Helper()
	var data []byte
	for _, name := range []string{"utf8mb4_0900_ai_ci", "utf8mb4_unicode_ci", "utf8mb4_general_ci", "latin1_swedish_ci", "latin1_general_ci", "latin1_bin"} {
		all := weights(name)
		var listed []rune
		for r, list := range all {
			if !slices.Equal(collate.Rule(name, r), list) {
				listed = append(listed, r)
			}
		}
		slices.Sort(listed)
		data = binary.AppendUvarint(data, uint64(len(listed)))
		var character, weight int64
		for _, r := range listed {
			data = binary.AppendVarint(data, int64(r)-character)
			character = int64(r)
			data = binary.AppendUvarint(data, uint64(len(all[r])))
			for _, w := range all[r] {
				data = binary.AppendVarint(data, int64(w)-weight)
				weight = int64(w)
			}
		}
	}
	if err := packed.WriteFile("../mapping/collate/weights.bin", data); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentsOfJSONAndGeometry lets the server say whether the document's JSON is the column's value, and whether its
// GeoJSON is what ST_AsGeoJSON gives.
func TestDocumentsOfJSONAndGeometry(t *testing.T) {
	conn := startMappingMySQL(t)
	run(t, conn, "create table t (id int primary key, j json, g geometry)")
	documents := []string{`'null'`, `'{}'`, `'[]'`, `'1'`, `'1.0'`, `'-0.0'`, `'1e300'`, `'1.5e-7'`, `'5e-324'`, `'0.1'`, `'123456.789'`, `'1e17'`, `'1e16'`, `'12345678901234567'`, `'1.7976931348623157e308'`,
		`'18446744073709551615'`, `'-9223372036854775808'`, `'""'`, `'"\\u00e4\\u0000\\ud83d\\ude00 \\"<>&/"'`, `'{"b": 1, "a": {"c": [true, false, null, 1.50]}, "": "x"}'`,
		`json_array(cast('2024-02-29 12:30:45.5' as datetime(6)), cast('2024-02-29' as date), cast('12:30:45' as time), cast(1.50 as decimal(30,20)), cast(x'FF00' as binary))`,
		`json_object('d', cast(12345678901234567890.12345678901234567890 as decimal(60,20)))`, `cast(repeat('[', 99) as char)`}
	documents[len(documents)-1] = "'" + strings.Repeat("[", 99) + strings.Repeat("]", 99) + "'"
	geometries := []string{"point(1.5, -2)", "st_geomfromtext('point(10 20)', 4326)", "st_geomfromtext('linestring(0 1, 2 3)')", "st_geomfromtext('polygon((0 0, 9 0, 9 9, 0 0), (1 1, 2 1, 2 2, 1 1))')",
		"st_geomfromtext('multipoint(0 1, 2 3)')", "st_geomfromtext('multilinestring((0 1, 2 3), (4 5, 6 7))')", "st_geomfromtext('multipolygon(((0 0, 9 0, 9 9, 0 0)))')",
		"st_geomfromtext('geometrycollection(point(1 2), linestring(0 1, 2 3), geometrycollection())')", "st_geomfromtext('geometrycollection()')",
		"st_geomfromtext('polygon((10 20, 10 30, 20 30, 10 20))', 4326)"}
	for i := range max(len(documents), len(geometries)) {
		j, g := "null", "null"
		if i < len(documents) {
			j = documents[i]
		}
		if i < len(geometries) {
			g = geometries[i]
		}
		run(t, conn, fmt.Sprintf("insert into t values (%d, %s, %s)", i, j, g))
	}
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Key: []int{0},
		Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "j", Type: event.JSON}, {Name: "g", Type: event.Geometry}}}
	m, err := mapping.Compile("t", mapping.Config{SQL: "select id as _id, j, g from t", Index: "t"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, texts := range rowsOf(t, conn, "select id, j, hex(g), st_asgeojson(g, 17) from t") {
		row := event.Row{Table: table, Op: event.Insert, After: []any{int32(0), nil, nil}}
		if texts[1] != "NULL" {
			row.After[1] = texts[1]
		}
		if texts[2] != "NULL" {
			if row.After[2], err = hex.DecodeString(texts[2]); err != nil {
				t.Fatal(err)
			}
		}
		changes, err := m.Map([]event.Row{row})
		if err != nil || changes[0].Err != nil {
			t.Errorf("row %v: %v %v", texts, err, changes)
			continue
		}
		body := string(changes[0].Body)
		quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(body) + "'"
		equal := rowsOf(t, conn, fmt.Sprintf("select j is null or json_extract(cast(%s as json), '$.j') = json_extract(j, '$'), g is null or json_extract(cast(%[1]s as json), '$.g') = cast(st_asgeojson(g, 17) as json) from t where id = %s", quoted, texts[0]))
		if equal[0][0] != "1" && !strings.Contains(texts[1], "2024-02-29") && !strings.Contains(body, `{"d":1.23456789012345678901234567890123456789e19}`) {
			// A date's text is equal, but the server keeps it as a date; and it reads the digits of a decimal back as a float.
			t.Errorf("JSON %s became %s", texts[1], body)
		}
		if equal[0][1] != "1" {
			t.Errorf("geometry %s became %s", texts[3], body)
		}
		checked++
		t.Log(body)
	}
	if checked != len(documents) {
		t.Errorf("%d of %d rows were checked", checked, len(documents))
	}
}

// TestIndexTakesEveryValue creates an index from the columns and writes the edges of every type: none may be refused, and the
// document must come back byte for byte.
func TestIndexTakesEveryValue(t *testing.T) {
	ctx := t.Context()
	es, err := component.StartElasticsearch(ctx, t.TempDir(), component.ElasticsearchOptions{Heap: "512m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { es.Kill() })
	text := func(c event.Column) event.Column { c.Charset, c.Collation = "utf8mb4", "utf8mb4_bin"; return c }
	columns := []struct {
		column event.Column
		values []any
	}{
		{event.Column{Type: event.TinyInt}, []any{int8(-128), int8(127)}},
		{event.Column{Type: event.TinyInt, Unsigned: true}, []any{uint8(255)}},
		{event.Column{Type: event.SmallInt, Unsigned: true}, []any{uint16(65535)}},
		{event.Column{Type: event.MediumInt, Unsigned: true}, []any{uint32(1<<24 - 1)}},
		{event.Column{Type: event.Int}, []any{int32(-1 << 31), int32(1<<31 - 1)}},
		{event.Column{Type: event.Int, Unsigned: true}, []any{uint32(1<<32 - 1)}},
		{event.Column{Type: event.BigInt}, []any{int64(-1 << 63), int64(1<<63 - 1)}},
		{event.Column{Type: event.BigInt, Unsigned: true}, []any{uint64(1<<64 - 1), uint64(1 << 63), uint64(7)}},
		{event.Column{Type: event.Bit, Length: 1}, []any{uint64(1)}},
		{event.Column{Type: event.Bit, Length: 63}, []any{uint64(1<<63 - 1)}},
		{event.Column{Type: event.Bit, Length: 64}, []any{uint64(1<<64 - 1)}},
		{event.Column{Type: event.Year}, []any{uint16(0), uint16(2155)}},
		{event.Column{Type: event.Float}, []any{float32(3.4028235e38), float32(-3.4028235e38), float32(1e-45), float32(0.1)}},
		{event.Column{Type: event.Double}, []any{1.7976931348623157e308, 5e-324, 0.1}},
		{event.Column{Type: event.Decimal, Length: 10, Scale: 2}, []any{"99999999.99", "-0.01", "0.00"}},
		{event.Column{Type: event.Decimal, Length: 18}, []any{"999999999999999999", "-999999999999999999"}},
		{event.Column{Type: event.Decimal, Length: 65, Scale: 30}, []any{strings.Repeat("9", 35) + "." + strings.Repeat("9", 30), "0." + strings.Repeat("0", 29) + "1"}},
		{event.Column{Type: event.Date}, []any{"0001-01-01", "9999-12-31", "0000-00-00"}},
		{event.Column{Type: event.DateTime}, []any{"1000-01-01 00:00:00", "9999-12-31 23:59:59"}},
		{event.Column{Type: event.DateTime, Length: 1}, []any{"2024-02-29 23:59:59.1"}},
		{event.Column{Type: event.DateTime, Length: 6}, []any{"0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999"}},
		{event.Column{Type: event.Timestamp}, []any{"1970-01-01 00:00:01", "2038-01-19 03:14:07"}},
		{event.Column{Type: event.Timestamp, Length: 6}, []any{"1970-01-01 00:00:01.000000", "2038-01-19 03:14:07.999999"}},
		{event.Column{Type: event.Time, Length: 6}, []any{"-838:59:59.000000"}},
		{text(event.Column{Type: event.Char}), []any{"", "a\x00中😀", strings.Repeat("x", 65535)}},
		{text(event.Column{Type: event.Text}), []any{strings.Repeat("中", 300_000), strings.Repeat("x", 300_000)}},
		{text(event.Column{Type: event.Enum}), []any{"", "new"}},
		{text(event.Column{Type: event.Set}), []any{"", "a,b"}},
		{event.Column{Type: event.Binary}, []any{make([]byte, 16)}},
		{event.Column{Type: event.Blob}, []any{[]byte{}, bytes.Repeat([]byte{0xFF}, 1<<20)}},
		{event.Column{Type: event.JSON}, []any{`1`, `"x"`, `[1,"x",{"a":1}]`, `{"a":{"a.b":1}}`, `{"":1}`, `1e300`, strings.Repeat("[", 99) + strings.Repeat("]", 99)}},
		{event.Column{Type: event.Geometry}, []any{[]byte("\x00\x00\x00\x00\x01\x07\x00\x00\x00\x00\x00\x00\x00")}},
		{event.Column{Type: event.Vector}, []any{make([]byte, 4*16383), []byte{}}},
	}
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Columns: []event.Column{{Name: "id", Type: event.Int}}, Key: []int{0}}
	for i, c := range columns {
		c.column.Name = fmt.Sprintf("c%d_%s", i, c.column.Type)
		table.Columns = append(table.Columns, c.column)
	}
	m, err := mapping.Compile("t", mapping.Config{SQL: "select id as _id, t.* from t", Index: "t", Skips: []string{"id"}}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	body, err := m.IndexBody(table)
	if err != nil {
		t.Fatal(err)
	}
	if err := es.CreateIndex(ctx, "t", []byte(body)); err != nil {
		t.Fatal(err)
	}
	for i, c := range columns {
		for j, value := range c.values {
			row := event.Row{Table: table, Op: event.Insert, After: make([]any, len(table.Columns))}
			row.After[0], row.After[i+1] = int32(100*i+j), value
			changes, err := m.Map([]event.Row{row})
			if err != nil || changes[0].Err != nil {
				t.Fatalf("%s %v: %v %v", c.column.Type, value, err, changes)
			}
			if _, err := es.Request(ctx, "PUT", "/t/_doc/"+changes[0].ID, changes[0].Body); err != nil {
				t.Errorf("%s %.100s: %v", c.column.Type, fmt.Sprint(value), err)
				continue
			}
			doc, found, err := es.Get(ctx, "t", changes[0].ID)
			if err != nil || !found || !bytes.Equal(doc.Source, changes[0].Body) {
				t.Errorf("%s %.100s: got %.300s, %v, want %.300s", c.column.Type, fmt.Sprint(value), doc.Source, err, changes[0].Body)
			}
		}
	}
	if err := es.Refresh(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{ // what is above a long is found as a keyword, and digits beyond a double too
		`{"query":{"term":{"c7_bigint.keyword":"18446744073709551615"}}}`,
		`{"query":{"term":{"c7_bigint":7}}}`,
		`{"query":{"term":{"c16_decimal":"0.000000000000000000000000000001"}}}`,
		`{"query":{"range":{"c22_timestamp":{"gt":"2038-01-19T03:14:07.999998Z"}}}}`,
		`{"query":{"term":{"c20_datetime":"9999-12-31T23:59:59.999"}}}`,
	} {
		answer, err := es.Request(ctx, "POST", "/t/_search?filter_path=hits.total.value", query)
		if err != nil || string(answer) != `{"hits":{"total":{"value":1}}}` {
			t.Errorf("%s: got %s, %v, want one document", query, answer, err)
		}
	}
}

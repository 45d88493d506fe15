package mapping_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// oneColumn is a table with an id and one column.
func oneColumn(c event.Column) *event.Table {
	c.Name = "v"
	return &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Columns: []event.Column{{Name: "id", Type: event.Int}, c}, Key: []int{0}}
}

func vector(values ...float32) []byte {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}

// geometry joins SRID 0 and pieces of well-known binary: integers are u32, bytes headers' order, floats coordinates.
func geometry(pieces ...any) []byte {
	raw := []byte{0, 0, 0, 0}
	for _, p := range pieces {
		switch p := p.(type) {
		case byte:
			raw = append(raw, p)
		case int:
			raw = binary.LittleEndian.AppendUint32(raw, uint32(p))
		case float64:
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(p))
		}
	}
	return raw
}

func TestValues(t *testing.T) {
	text := event.Column{Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_bin"}
	column := func(typ event.Type) event.Column { return event.Column{Type: typ} }
	const le = byte(1)
	point := []any{le, 1, 1.5, -2.0}
	tests := []struct {
		column event.Column
		value  any
		want   string
	}{
		{column(event.TinyInt), int8(-128), `-128`},
		{column(event.TinyInt), uint8(255), `255`},
		{column(event.SmallInt), int16(-32768), `-32768`},
		{column(event.SmallInt), uint16(65535), `65535`},
		{column(event.MediumInt), int32(-8388608), `-8388608`},
		{column(event.Int), uint32(4294967295), `4294967295`},
		{column(event.BigInt), int64(math.MinInt64), `-9223372036854775808`},
		{column(event.BigInt), uint64(math.MaxUint64), `18446744073709551615`},
		{column(event.BigInt), int64(1<<53 + 1), `9007199254740993`},
		{column(event.BigInt), nil, `null`},
		{column(event.Bit), uint64(1), `1`},
		{column(event.Bit), uint64(math.MaxUint64), `18446744073709551615`},
		{column(event.Year), uint16(0), `0`},
		{column(event.Year), int64(2155), `2155`},
		{column(event.Float), float32(0.1), `0.1`},
		{column(event.Float), float32(1.1), `1.1`},
		{column(event.Float), float32(3.4028235e38), `3.4028235e+38`},
		{column(event.Float), float32(1e-45), `1e-45`},
		{column(event.Double), 0.1, `0.1`},
		{column(event.Double), 1.7976931348623157e308, `1.7976931348623157e+308`},
		{column(event.Double), 5e-324, `5e-324`},
		{column(event.Double), 1e20, `100000000000000000000`},
		{column(event.Double), math.Inf(1), "error: column v: +Inf is not a number that JSON can hold"},
		{column(event.Decimal), "0.00", `0.00`},
		{column(event.Decimal), "-0.01", `-0.01`},
		{column(event.Decimal), "-0.00", `0.00`},
		{column(event.Decimal), "00042.50", `42.50`},
		{column(event.Decimal), "000", `0`},
		{column(event.Decimal), "12345678901234567890123456789012345.123456789012345678901234567890", `12345678901234567890123456789012345.123456789012345678901234567890`},
		{column(event.Decimal), "1e5", `error: column v: "1e5" is not a decimal number`},
		{column(event.Date), "2024-02-29", `"2024-02-29"`},
		{column(event.Date), "0001-01-01", `"0001-01-01"`},
		{column(event.Date), "9999-12-31", `"9999-12-31"`},
		{column(event.Date), "0000-00-00", `null`},
		{column(event.Date), "2024-00-15", `null`},
		{column(event.Date), "2024-01-00", `null`},
		{column(event.Date), "2023-02-29", `null`},
		{column(event.Date), "1900-02-29", `null`},
		{column(event.Date), `2024-02-29"`, `error: column v: "2024-02-29\"" is not a date`},
		{column(event.DateTime), "2024-02-29 23:59:59", `"2024-02-29T23:59:59"`},
		{column(event.DateTime), "2024-02-29 23:59:59.120000", `"2024-02-29T23:59:59.120000"`},
		{column(event.DateTime), "0000-00-00 00:00:00.000", `null`},
		{column(event.Timestamp), "2038-01-19 03:14:07.999", `"2038-01-19T03:14:07.999Z"`},
		{column(event.Timestamp), "0000-00-00 00:00:00", `null`},
		{column(event.Time), "-838:59:59.000", `"-838:59:59.000"`},
		{text, "", `""`},
		{text, "a\"\\/\n\r\t\b\f\x00\x1f\x7f<>&\u2028ä中😀", "\"a\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u001f\x7f<>&\u2028ä中😀\""},
		{text, "\uFFFD is a character", "\"\uFFFD is a character\""},
		{text, "half\xe4\xb8", `error: column v: invalid UTF-8`},
		{text, "\xed\xa0\x80", `error: column v: invalid UTF-8`},
		{event.Column{Type: event.Char, Charset: "gbk", Collation: "gbk_bin"}, "中", `"中"`},
		{event.Column{Type: event.Char, Charset: "gbk", Collation: "gbk_bin"}, []byte("\xa2\xab"), "error: column v: holds bytes that are not text of its character set"},
		{event.Column{Type: event.Enum, Charset: "latin1"}, "", `""`},
		{event.Column{Type: event.Set, Charset: "utf8mb3"}, "a,b", `"a,b"`},
		{event.Column{Type: event.Char, Charset: "binary"}, "a", `"YQ=="`},
		{column(event.Binary), []byte{1, 0, 0}, `"AQAA"`},
		{column(event.VarBinary), []byte{}, `""`},
		{column(event.Blob), []byte{0xFF, 0}, `"/wA="`},
		{column(event.Vector), vector(1, -0.5, 1e-10), `[1,-0.5,1e-10]`},
		{column(event.Vector), []byte{1, 2}, `error: column v: a VECTOR of 2 bytes, which is not a multiple of 4`},
		{column(event.Geometry), geometry(point...), `{"type":"Point","coordinates":[1.5,-2]}`},
		{column(event.Geometry), geometry(le, 2, 2, 0.0, 1.0, 2.0, 3.0), `{"type":"LineString","coordinates":[[0,1],[2,3]]}`},
		{column(event.Geometry), geometry(le, 3, 1, 4, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0), `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`},
		{column(event.Geometry), geometry(le, 4, 2, le, 1, 0.0, 1.0, le, 1, 2.0, 3.0), `{"type":"MultiPoint","coordinates":[[0,1],[2,3]]}`},
		{column(event.Geometry), geometry(le, 5, 1, le, 2, 2, 0.0, 1.0, 2.0, 3.0), `{"type":"MultiLineString","coordinates":[[[0,1],[2,3]]]}`},
		{column(event.Geometry), geometry(le, 6, 1, le, 3, 1, 1, 0.0, 0.0), `{"type":"MultiPolygon","coordinates":[[[[0,0]]]]}`},
		{column(event.Geometry), geometry(append([]any{le, 7, 1}, point...)...), `{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1.5,-2]}]}`},
		{column(event.Geometry), geometry(le, 7, 0), `{"type":"GeometryCollection","geometries":[]}`},
		{column(event.Geometry), geometry(le, 2, 1<<31-1), `error: column v: a geometry that ends too early`},
		{column(event.Geometry), geometry(le, 4, 1, le, 2), `error: column v: a LineString in a MultiPoint`},
		{column(event.JSON), ``, `null`},
		{column(event.JSON), `null`, `null`},
		{column(event.JSON), ` { "b" : [ 1 , 2.50, -0.0, "x" ] , "a" : { } , "c":[]} `, `{"b":[1,2.5,-0.0,"x"],"a":{},"c":[]}`},
		{column(event.JSON), `1e300`, `1e300`},
		{column(event.JSON), `1` + strings.Repeat("0", 300) + `.0`, `1e300`},
		{column(event.JSON), `1.5e-05`, `0.000015`},
		{column(event.JSON), `1.5E-7`, `1.5e-7`},
		{column(event.JSON), `0.00000015`, `1.5e-7`},
		{column(event.JSON), `18446744073709551615`, `18446744073709551615`},
		{column(event.JSON), `12345678901234567890.123456789012345678901234567890`, `1.234567890123456789012345678901234567890123456789e19`},
		{column(event.JSON), `100.0`, `100.0`},
		{column(event.JSON), `"\u003c\/\u00e4\ud83d\ude00\u0000\u0008\""`, `"</ä😀\u0000\b\""`},
		{column(event.JSON), `"\ud83d"`, `error: column v: JSON text: half a surrogate pair`},
		{column(event.JSON), `[1`, `error: column v: JSON text: it ends too early`},
		{column(event.JSON), `[1,]`, `error: column v: JSON text: unexpected ']' at byte 3`},
		{column(event.JSON), `01`, `error: column v: JSON text: unexpected '0' at byte 0`},
		{column(event.JSON), `1 2`, `error: column v: JSON text: something follows the value at byte 2`},
		{column(event.JSON), strings.Repeat("[", 300), `error: column v: JSON text: nested deeper than 200`},
		{column(event.Int), "1", `error: column v: a value of the unexpected type string`},
		{text, 1, `error: column v: a value of the unexpected type int`},
	}
	for _, tt := range tests {
		m := compile(t, mapping.Config{SQL: "select id as _id, v from t"})
		row := event.Row{Table: oneColumn(tt.column), Op: event.Insert, After: []any{int32(1), tt.value}}
		want := `write 1 {"v":` + tt.want + `}`
		if strings.HasPrefix(tt.want, "error") {
			want = "write 1 " + tt.want
		}
		equal(t, tt.column.Type.String(), mapRows(t, m, row), []string{want})
	}
}

func TestNulledDatesAreCounted(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select id as _id, v from t"})
	table := oneColumn(event.Column{Type: event.Date})
	mapRows(t, m, event.Row{Table: table, Op: event.Insert, After: []any{int32(1), "0000-00-00"}},
		event.Row{Table: table, Op: event.Insert, After: []any{int32(2), "2024-01-01"}},
		event.Row{Table: table, Op: event.Insert, After: []any{int32(3), "2024-00-01"}})
	if got := m.Nulled(); got != 2 {
		t.Errorf("got %d nulled dates, want 2", got)
	}
}

func TestIDs(t *testing.T) {
	tests := []struct {
		column event.Column
		value  any
		want   string
	}{
		{event.Column{Type: event.BigInt}, uint64(math.MaxUint64), "18446744073709551615"},
		{event.Column{Type: event.Year}, uint16(0), "0000"},
		{event.Column{Type: event.Decimal}, "1.50", "1.50"},
		{event.Column{Type: event.DateTime}, "0000-00-00 00:00:00", "0000-00-00 00:00:00"},
		{event.Column{Type: event.Char, Charset: "utf8mb4"}, `a/"ä`, `a/"ä`},
		{event.Column{Type: event.Binary}, []byte{0xFF, 0}, "/wA="},
	}
	for _, tt := range tests {
		m := compile(t, mapping.Config{SQL: "select concat('x:', v, '-', 1.50, -2) as _id from t"})
		row := event.Row{Table: oneColumn(tt.column), Op: event.Delete, Before: []any{int32(1), tt.value}}
		equal(t, tt.column.Type.String(), mapRows(t, m, row), []string{"delete x:" + tt.want + "-1.50-2"})
	}
}

func TestIndexBody(t *testing.T) {
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Columns: []event.Column{
		{Name: "id", Type: event.Int},
		{Name: "tiny", Type: event.TinyInt}, {Name: "utiny", Type: event.TinyInt, Unsigned: true},
		{Name: "big", Type: event.BigInt}, {Name: "ubig", Type: event.BigInt, Unsigned: true},
		{Name: "price", Type: event.Decimal, Length: 10, Scale: 2}, {Name: "wide", Type: event.Decimal, Length: 65, Scale: 30},
		{Name: "at", Type: event.Timestamp, Length: 6},
		{Name: "doc", Type: event.JSON},
	}}
	m := compile(t, mapping.Config{SQL: "select id as _id, tiny as `o.tiny`, utiny `o.utiny`, big, ubig, price, wide, at, doc from t", Skips: []string{"big"}})
	body, err := m.IndexBody(table)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"mappings":{"properties":{"at":{"type":"date_nanos","format":"strict_date_optional_time"},"doc":{"type":"object","enabled":false},` +
		`"o":{"properties":{"tiny":{"type":"byte"},"utiny":{"type":"short"}}},"price":{"type":"double"},` +
		`"ubig":{"type":"long","ignore_malformed":true,"fields":{"keyword":{"type":"keyword"}}},` +
		`"wide":{"type":"keyword","fields":{"double":{"type":"double"}}}}}}`
	equal(t, "body", []string{string(body)}, []string{want})
}

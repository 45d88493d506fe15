package mapping_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func TestFieldSettings(t *testing.T) {
	column := func(typ event.Type) event.Column { return event.Column{Type: typ} }
	text := event.Column{Type: event.Text, Charset: "utf8mb4", Collation: "utf8mb4_bin"}
	gbk := event.Column{Type: event.Char, Charset: "gbk", Collation: "gbk_bin"}
	ubig := event.Column{Type: event.BigInt, Unsigned: true}
	decimal := event.Column{Type: event.Decimal, Length: 65, Scale: 30}
	type settings = mapping.FieldConfig
	long := strings.Repeat("x", 32765)
	tests := []struct {
		settings settings
		column   event.Column
		value    any
		want     string
	}{
		// Beyond a type.
		{settings{OnOverflow: "refuse"}, ubig, uint64(math.MaxUint64), "error: column v: the field's type long takes -9223372036854775808 to 9223372036854775807: on_overflow says what else to write"},
		{settings{OnOverflow: "clip"}, ubig, uint64(math.MaxUint64), "9223372036854775807"},
		{settings{OnOverflow: "clip"}, ubig, uint64(1 << 63), "9223372036854775807"},
		{settings{OnOverflow: "clip"}, ubig, uint64(math.MaxInt64), "9223372036854775807"},
		{settings{OnOverflow: "string"}, ubig, uint64(math.MaxUint64), `"18446744073709551615"`},
		{settings{OnOverflow: "string"}, ubig, uint64(7), `7`},
		{settings{OnOverflow: "null"}, ubig, uint64(math.MaxUint64), `null`},
		{settings{OnOverflow: "null"}, ubig, nil, `null`},
		{settings{OnOverflow: "clip"}, event.Column{Type: event.Bit, Length: 64}, uint64(math.MaxUint64), "9223372036854775807"},
		{settings{Type: "byte", OnOverflow: "clip"}, column(event.Int), int32(-129), "-128"},
		{settings{Type: "byte", OnOverflow: "clip"}, column(event.Int), int32(-128), "-128"},
		{settings{Type: "short", OnOverflow: "clip"}, column(event.Int), int32(32768), "32767"},
		{settings{Type: "integer", OnOverflow: "null"}, column(event.BigInt), int64(math.MinInt64), "null"},
		{settings{Type: "long", OnOverflow: "clip"}, column(event.BigInt), int64(math.MinInt64), "-9223372036854775808"},
		{settings{Type: "integer", OnOverflow: "clip"}, decimal, "2147483647.000000000000000000000000000001", "2147483647"},
		{settings{Type: "integer", OnOverflow: "clip"}, decimal, "2147483647.000000000000000000000000000000", "2147483647.000000000000000000000000000000"},
		{settings{Type: "long", OnOverflow: "string"}, decimal, "-9223372036854775809.50", `"-9223372036854775809.50"`},
		{settings{Type: "long", OnOverflow: "clip", Decimal: "string"}, decimal, "-9223372036854775809.50", `"-9223372036854775808"`},
		{settings{Type: "float", OnOverflow: "clip"}, column(event.Double), -1e39, "-3.4028235e+38"},
		{settings{Type: "float", OnOverflow: "clip"}, column(event.Double), 3.4028235e38, "3.4028235e+38"},
		{settings{Type: "float", OnOverflow: "string"}, column(event.Double), 1e39, `"1e+39"`},
		{settings{Type: "integer", OnOverflow: "clip"}, column(event.Float), float32(1e10), "2147483647"},
		{settings{Type: "integer", OnOverflow: "clip"}, column(event.Double), 2147483647.5, "2147483647"},
		{settings{Type: "keyword", OnOverflow: "clip"}, text, long + "é", `"` + long + `"`},
		{settings{Type: "keyword", OnOverflow: "clip"}, text, long + "e", `"` + long + `e"`},
		{settings{Type: "keyword", OnOverflow: "null"}, text, long + "é", `null`},
		{settings{Type: "keyword", OnOverflow: "refuse"}, text, long + "é", "error: column v: the field's type keyword takes 32766 bytes: on_overflow says what else to write"},
		{settings{Type: "date_nanos", OnOverflow: "clip"}, event.Column{Type: event.DateTime, Length: 6}, "1969-12-31 23:59:59.999999", `"1970-01-01T00:00:00.000000"`},
		{settings{Type: "date_nanos", OnOverflow: "clip"}, column(event.DateTime), "9999-12-31 23:59:59", `"2262-04-11T23:47:16"`},
		{settings{Type: "date_nanos", OnOverflow: "string"}, column(event.Date), "1000-01-01", `"1000-01-01"`},
		{settings{Type: "date_nanos", OnOverflow: "clip"}, column(event.Date), "0000-00-00", `null`},
		{settings{Type: "date_nanos", OnOverflow: "null", OnInvalid: "string"}, column(event.Date), "0000-00-00", `"0000-00-00"`},
		// Invalid.
		{settings{OnInvalid: "refuse"}, column(event.Date), "0000-00-00", "error: column v: holds a date that no calendar has"},
		{settings{OnInvalid: "string"}, column(event.DateTime), "2024-00-15 00:00:00", `"2024-00-15 00:00:00"`},
		{settings{OnInvalid: "string"}, column(event.DateTime), "2024-01-15 00:00:00", `"2024-01-15T00:00:00"`},
		{settings{OnInvalid: "null"}, column(event.Timestamp), "0000-00-00 00:00:00", `null`},
		{settings{}, column(event.Timestamp), "0000-00-00 00:00:00", `null`},
		{settings{OnInvalid: "null"}, text, "half\xe4\xb8", `null`},
		{settings{OnInvalid: "clip"}, text, "half\xe4\xb8", `"half"`},
		{settings{OnInvalid: "clip"}, text, "\ufffd\xff", `"` + "\ufffd" + `"`},
		{settings{OnInvalid: "refuse"}, text, "half\xe4\xb8", `error: column v: invalid UTF-8`},
		{settings{OnInvalid: "clip"}, gbk, []byte("\xd6\xd0\xa2\xab"), `"中"`},
		{settings{OnInvalid: "null"}, gbk, []byte("\xd6\xd0\xa2\xab"), `null`},
		{settings{}, gbk, []byte("\xd6\xd0\xa2\xab"), `error: column v: holds bytes that are not text of its character set`},
		{settings{OnInvalid: "null"}, column(event.Double), math.NaN(), `null`},
		{settings{OnInvalid: "null", Type: "float", OnOverflow: "clip"}, column(event.Double), math.Inf(-1), `null`},
		{settings{OnInvalid: "null"}, column(event.Vector), vector(1, float32(math.NaN())), `null`},
		// The form.
		{settings{Decimal: "string"}, decimal, "-0.10", `"-0.10"`},
		{settings{Decimal: "number"}, decimal, "-0.10", `-0.10`},
		{settings{Timezone: "+08:00"}, event.Column{Type: event.Timestamp, Length: 3}, "2024-02-29 23:59:59.120", `"2024-03-01T07:59:59.120+08:00"`},
		{settings{Timezone: "-03:30"}, column(event.Timestamp), "2024-01-01 00:00:00", `"2023-12-31T20:30:00-03:30"`},
		{settings{Timezone: "Europe/Berlin"}, column(event.Timestamp), "2024-03-31 00:59:59", `"2024-03-31T01:59:59+01:00"`},
		{settings{Timezone: "Europe/Berlin"}, column(event.Timestamp), "2024-03-31 01:00:00", `"2024-03-31T03:00:00+02:00"`},
		{settings{Timezone: "Africa/Monrovia"}, column(event.Timestamp), "1971-01-01 00:00:00", `"1970-12-31T23:16:00-00:44"`},
		{settings{Timezone: "UTC"}, column(event.Timestamp), "2024-01-01 00:00:00", `"2024-01-01T00:00:00Z"`},
		{settings{Timezone: "Asia/Shanghai"}, column(event.Timestamp), "0000-00-00 00:00:00", `null`},
	}
	for _, tt := range tests {
		m := compile(t, mapping.Config{SQL: "select id as _id, v from t", Fields: map[string]mapping.FieldConfig{"v": tt.settings}})
		row := event.Row{Table: oneColumn(tt.column), Op: event.Insert, After: []any{int32(1), tt.value}}
		want := `write 1 {"v":` + tt.want + `}`
		if strings.HasPrefix(tt.want, "error") {
			want = "write 1 " + tt.want
		}
		equal(t, tt.column.Type.String(), mapRows(t, m, row), []string{want})
	}
}

// TestChangedValuesAreCounted: nothing is written otherwise than it is without being counted.
func TestChangedValuesAreCounted(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select id as _id, v, v as w, v as x from t", Fields: map[string]mapping.FieldConfig{
		"v": {OnOverflow: "clip"}, "w": {OnOverflow: "null"}, "x": {OnOverflow: "string"}}})
	table := oneColumn(event.Column{Type: event.BigInt, Unsigned: true})
	got := mapRows(t, m, event.Row{Table: table, Op: event.Insert, After: []any{int32(1), uint64(1 << 63)}}, event.Row{Table: table, Op: event.Insert, After: []any{int32(2), uint64(1)}})
	equal(t, "documents", got, []string{`write 1 {"v":9223372036854775807,"w":null,"x":"9223372036854775808"}`, `write 2 {"v":1,"w":1,"x":1}`})
	if m.Nulled() != 1 || m.Clipped() != 1 {
		t.Errorf("got %d nulled and %d clipped, want one each", m.Nulled(), m.Clipped())
	}
}

func TestFieldSettingsThatMeanNothing(t *testing.T) {
	type settings = mapping.FieldConfig
	for _, tt := range []struct {
		settings settings
		column   event.Column
		want     string
	}{
		{settings{Type: "date"}, event.Column{Type: event.Int}, "type: column v is INT, which date cannot hold; it can be byte, short, integer, long, float, double, keyword"},
		{settings{Type: "long"}, event.Column{Type: event.Char, Charset: "utf8mb4"}, "type: column v is CHAR, which long cannot hold; it can be keyword, text"},
		{settings{Type: "text"}, event.Column{Type: event.JSON}, "type: column v is JSON, which text cannot hold; leave it out"},
		{settings{Type: "keyword"}, event.Column{Type: event.Blob}, "type: column v is BLOB, which keyword cannot hold; leave it out"},
		{settings{OnOverflow: "clip"}, event.Column{Type: event.Int, Unsigned: true}, `on_overflow: column v is INT UNSIGNED, and the field takes all its values; leave it out, or say which type the field has, for example type = "integer"`},
		{settings{OnOverflow: "clip"}, event.Column{Type: event.Char, Charset: "utf8mb4"}, "on_overflow: column v is CHAR, and the field takes all its values; leave it out"},
		{settings{OnOverflow: "clip", Type: "double"}, event.Column{Type: event.Decimal, Length: 65}, "on_overflow: column v is DECIMAL, and a field of the type double takes all its values; leave it out"},
		{settings{OnOverflow: "clip", Type: "keyword"}, event.Column{Type: event.BigInt}, "on_overflow: column v is BIGINT, and a field of the type keyword takes all its values; leave it out"},
		{settings{OnOverflow: "null", Type: "date"}, event.Column{Type: event.DateTime}, "on_overflow: column v is DATETIME, and a field of the type date takes all its values; leave it out"},
		{settings{OnOverflow: "string", Type: "keyword"}, event.Column{Type: event.Text, Charset: "utf8mb4"}, `on_overflow: column v is TEXT: text that is too long is no shorter as text; write "refuse", "clip" or "null"`},
		{settings{OnInvalid: "null"}, event.Column{Type: event.Int}, "on_invalid: column v is INT, and all its values are valid; leave it out"},
		{settings{OnInvalid: "null"}, event.Column{Type: event.Blob}, "on_invalid: column v is BLOB, and all its values are valid; leave it out"},
		{settings{OnInvalid: "clip"}, event.Column{Type: event.Date}, `on_invalid: column v is DATE, for which "clip" means nothing; it can be refuse, string, null`},
		{settings{OnInvalid: "string"}, event.Column{Type: event.Char, Charset: "gbk"}, `on_invalid: column v is CHAR, for which "string" means nothing; it can be refuse, clip, null`},
		{settings{Decimal: "string"}, event.Column{Type: event.BigInt}, "decimal: column v is BIGINT; leave it out: it is for DECIMAL"},
		{settings{Timezone: "+08:00"}, event.Column{Type: event.DateTime}, "timezone: column v is DATETIME; leave it out: only a TIMESTAMP is a moment, and has a time in each zone"},
	} {
		m := compile(t, mapping.Config{SQL: "select id as _id, v from t", Fields: map[string]mapping.FieldConfig{"v": tt.settings}})
		err := m.Bind(oneColumn(tt.column))
		var stop *event.StopError
		if want := "mapping users: fields.v." + tt.want; !errors.As(err, &stop) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestBadFieldSettings(t *testing.T) {
	for _, tt := range []struct {
		sql    string
		fields map[string]mapping.FieldConfig
		want   string
	}{
		{"select id _id, v from t", map[string]mapping.FieldConfig{"v": {Type: "number"}}, `fields.v.type: want one of byte, short, integer, long, float, double, keyword, text, date, date_nanos, got "number"`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"v": {OnOverflow: "cut"}}, `fields.v.on_overflow: want one of refuse, clip, string, null, got "cut"`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"v": {OnInvalid: "cut"}}, `fields.v.on_invalid: want one of refuse, clip, string, null, got "cut"`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"a.b": {Decimal: "text"}}, `fields."a.b".decimal: want one of number, string, got "text"`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"v": {Timezone: "Asia/Shanghi"}}, `fields.v.timezone: "Asia/Shanghi" is not the name of a zone; write for example "+08:00" or "Asia/Shanghai"`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"v": {Timezone: "+8"}}, `fields.v.timezone: "+8" is not an offset; write for example "+08:00"`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"v": {Timezone: "Local"}}, `fields.v.timezone: "Local" is not the name`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"w": {}}, `fields.w: is not a name in the select list`},
		{"select id _id, v from t", map[string]mapping.FieldConfig{"_id": {}}, `fields._id: it is the document's id, which is not a field`},
		{"select id _id, v, id from t", map[string]mapping.FieldConfig{"id": {}}, `fields.id: it is in skips, so the documents do not have it`},
	} {
		cfg := mapping.Config{SQL: tt.sql, Index: "i", Fields: tt.fields}
		if tt.fields["id"] == (mapping.FieldConfig{}) && strings.Contains(tt.sql, ", id") {
			cfg.Skips = []string{"id"}
		}
		if _, err := mapping.Compile("users", cfg, "shop"); err == nil || !strings.HasPrefix(err.Error(), "mapping users: "+tt.want) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	m := compile(t, mapping.Config{SQL: "select *, id _id from t", Fields: map[string]mapping.FieldConfig{"w": {}}})
	if err := m.Bind(oneColumn(event.Column{Type: event.Int})); err == nil || err.Error() != "mapping users: fields.w: is not a name in the select list; take it out" {
		t.Errorf("got %v", err)
	}
}

func TestIndexTypesOfFields(t *testing.T) {
	type settings = mapping.FieldConfig
	const besides = `,"ignore_malformed":true,"fields":{"keyword":{"type":"keyword"}}}`
	ubig := event.Column{Type: event.BigInt, Unsigned: true}
	for _, tt := range []struct {
		settings settings
		column   event.Column
		want     string
	}{
		{settings{OnOverflow: "clip"}, ubig, `{"type":"long"}`},
		{settings{OnOverflow: "refuse"}, ubig, `{"type":"long"}`},
		{settings{OnOverflow: "string"}, ubig, `{"type":"long"` + besides},
		{settings{Type: "keyword"}, ubig, `{"type":"keyword"}`},
		{settings{Decimal: "string"}, event.Column{Type: event.Decimal, Length: 10, Scale: 2}, `{"type":"keyword","fields":{"double":{"type":"double"}}}`},
		{settings{Decimal: "string", Type: "double"}, event.Column{Type: event.Decimal, Length: 10, Scale: 2}, `{"type":"double"}`},
		{settings{OnInvalid: "string"}, event.Column{Type: event.Date}, `{"type":"date","format":"strict_date_optional_time"` + besides},
		{settings{OnInvalid: "string", Type: "keyword"}, event.Column{Type: event.Date}, `{"type":"keyword"}`},
		{settings{OnInvalid: "refuse"}, event.Column{Type: event.Date}, `{"type":"date","format":"strict_date_optional_time"}`},
		{settings{Type: "date_nanos", OnOverflow: "string"}, event.Column{Type: event.DateTime}, `{"type":"date_nanos","format":"strict_date_optional_time"` + besides},
		{settings{Type: "date"}, event.Column{Type: event.Timestamp, Length: 6}, `{"type":"date","format":"strict_date_optional_time"}`},
		{settings{Type: "text"}, event.Column{Type: event.Enum, Charset: "utf8mb4"}, `{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}}`},
		{settings{Timezone: "+08:00"}, event.Column{Type: event.Timestamp}, `{"type":"date","format":"strict_date_optional_time"}`},
	} {
		m := compile(t, mapping.Config{SQL: "select id as _id, v from t", Fields: map[string]mapping.FieldConfig{"v": tt.settings}})
		body, err := m.IndexBody(oneColumn(tt.column))
		if want := `{"mappings":{"properties":{"v":` + tt.want + `}}}`; err != nil || string(body) != want {
			t.Errorf("%+v %s: got %s, %v, want %s", tt.settings, tt.column.Type, body, err, want)
		}
	}
}

// TestFieldSettingsOfRenderedDocuments: the columns of the server's answer are fields like others.
func TestFieldSettingsOfRenderedDocuments(t *testing.T) {
	anchor := oneColumn(event.Column{Type: event.Int})
	columns := []event.Column{{Name: "total", Type: event.Decimal, Length: 41, Scale: 2}, {Name: "key id", Type: event.Int}}
	bind := func(fields map[string]mapping.FieldConfig) (*mapping.Rule, *event.Table, error) {
		m := compile(t, mapping.Config{SQL: "select o.id as _id, sum(v) as total from t o group by o.id", Fields: fields})
		result, err := m.Rule().Result(anchor, columns)
		if err != nil {
			t.Fatal(err)
		}
		return m.Rule(), result, m.Bind(result)
	}
	rule, result, err := bind(map[string]mapping.FieldConfig{"total": {Type: "long", OnOverflow: "clip", Decimal: "string"}})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := rule.Rendered(result, [][]any{{"9223372036854775808.00", int32(1)}, {"1.50", int32(2)}}, nil, event.NewVersion(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "rendered", []string{show(changes[0]), show(changes[1])}, []string{`write 1 {"total":"9223372036854775807"}`, `write 2 {"total":"1.50"}`})
	if _, _, err := bind(map[string]mapping.FieldConfig{"totl": {}}); err == nil || err.Error() != "mapping users: fields.totl: is not a name in the select list; take it out" {
		t.Errorf("got %v", err)
	}
}

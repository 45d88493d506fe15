//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/mapping"
)

// TestFieldSettingsOnElasticsearch: what on_overflow takes for the limits of a type are Elasticsearch's own, to the last value, and the
// index that is created takes whatever the settings of a field have written.
func TestFieldSettingsOnElasticsearch(t *testing.T) {
	ctx := t.Context()
	es, err := component.StartElasticsearch(ctx, t.TempDir(), component.ElasticsearchOptions{Heap: "512m"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { es.Kill() })
	text := event.Column{Type: event.Text, Charset: "utf8mb4", Collation: "utf8mb4_bin"}
	gbk := event.Column{Type: event.Char, Charset: "gbk", Collation: "gbk_bin"}
	long := strings.Repeat("x", 32764)
	cases := []struct {
		kind    string
		column  event.Column
		within  []any // taken as they are
		beyond  []any // refused as they are
		choices []string
	}{
		{"byte", event.Column{Type: event.Int}, []any{int32(-128), int32(127)}, []any{int32(-129), int32(128)}, []string{"clip", "string", "null"}},
		{"short", event.Column{Type: event.Int}, []any{int32(-32768), int32(32767)}, []any{int32(-32769), int32(32768)}, []string{"clip", "string", "null"}},
		{"integer", event.Column{Type: event.BigInt}, []any{int64(math.MinInt32), int64(math.MaxInt32)}, []any{int64(math.MinInt32 - 1), int64(math.MaxInt32 + 1)}, []string{"clip", "string", "null"}},
		{"integer", event.Column{Type: event.Decimal, Length: 20, Scale: 2}, []any{"2147483647.00", "-2147483648.00", "1.50"}, []any{"2147483648.00", "2147483647.50"}, []string{"clip", "string", "null"}},
		{"long", event.Column{Type: event.BigInt, Unsigned: true}, []any{uint64(math.MaxInt64)}, []any{uint64(1 << 63), uint64(math.MaxUint64)}, []string{"clip", "string", "null"}},
		{"long", event.Column{Type: event.Decimal, Length: 65, Scale: 1}, []any{"9223372036854775807.0", "-9223372036854775808.0"}, []any{"92233720368547758080.0", "-1" + strings.Repeat("0", 60) + ".0"}, []string{"clip", "string", "null"}},
		{"float", event.Column{Type: event.Double}, []any{3.4028235e38, -3.4028235e38}, []any{3.41e38, math.MaxFloat64}, []string{"clip", "string", "null"}},
		{"float", event.Column{Type: event.Decimal, Length: 65}, []any{"1" + strings.Repeat("0", 38)}, []any{"1" + strings.Repeat("0", 39)}, []string{"clip", "string", "null"}},
		{"keyword", text, []any{long + "é"}, []any{long + "éé", long + "xxx"}, []string{"clip", "null"}},
		{"date_nanos", event.Column{Type: event.DateTime, Length: 6}, []any{"1970-01-01 00:00:00.000000", "2262-04-11 23:47:16.854775"}, []any{"1969-12-31 23:59:59.999999", "2262-04-11 23:47:16.854776", "9999-12-31 23:59:59.000000"}, []string{"clip", "string", "null"}},
		{"date_nanos", event.Column{Type: event.Date}, []any{"1970-01-01", "2262-04-11"}, []any{"1969-12-31", "2262-04-12"}, []string{"clip", "string", "null"}},
	}
	others := []struct {
		settings mapping.FieldConfig
		column   event.Column
		values   []any
	}{
		{mapping.FieldConfig{OnInvalid: "string"}, event.Column{Type: event.Date}, []any{"0000-00-00", "2024-02-29"}},
		{mapping.FieldConfig{OnInvalid: "string"}, event.Column{Type: event.Timestamp, Length: 6}, []any{"0000-00-00 00:00:00.000000", "2024-02-29 12:00:00.000001"}},
		{mapping.FieldConfig{OnInvalid: "string", Type: "keyword"}, event.Column{Type: event.DateTime}, []any{"2024-00-15 00:00:00", "2024-02-29 12:00:00"}},
		{mapping.FieldConfig{OnInvalid: "clip"}, gbk, []any{[]byte("\xd6\xd0\xa2\xab"), "中"}},
		{mapping.FieldConfig{Decimal: "string"}, event.Column{Type: event.Decimal, Length: 65, Scale: 30}, []any{strings.Repeat("9", 35) + "." + strings.Repeat("9", 30)}},
		{mapping.FieldConfig{Decimal: "string", Type: "double"}, event.Column{Type: event.Decimal, Length: 10, Scale: 2}, []any{"12.50"}},
		{mapping.FieldConfig{Decimal: "string", Type: "long"}, event.Column{Type: event.Decimal, Length: 10}, []any{"12"}},
		{mapping.FieldConfig{Timezone: "Asia/Shanghai"}, event.Column{Type: event.Timestamp, Length: 6}, []any{"1970-01-01 00:00:01.000000", "2038-01-19 03:14:07.999999"}},
		{mapping.FieldConfig{Type: "keyword"}, event.Column{Type: event.BigInt, Unsigned: true}, []any{uint64(math.MaxUint64)}},
	}
	plain, chosen := newFieldIndex("plain"), newFieldIndex("chosen")
	for i, c := range cases {
		plain.field(fmt.Sprintf("c%d", i), "as_it_is", c.column, mapping.FieldConfig{Type: c.kind})
		for _, choice := range c.choices {
			chosen.field(fmt.Sprintf("c%d", i), choice, c.column, mapping.FieldConfig{Type: c.kind, OnOverflow: choice})
		}
	}
	for i, c := range others {
		chosen.field(fmt.Sprintf("o%d", i), "v", c.column, c.settings)
	}
	plain.create(t, es)
	chosen.create(t, es)
	for i, c := range cases {
		column := fmt.Sprintf("c%d", i)
		for _, v := range c.within {
			if err := plain.write(t, es, column, v); err != nil {
				t.Errorf("%s refuses %.60v: %v", c.kind, v, err)
			}
		}
		for _, v := range c.beyond {
			if err := plain.write(t, es, column, v); err == nil {
				t.Errorf("%s takes %.60v", c.kind, v)
			}
		}
		for _, v := range append(c.within, c.beyond...) {
			if err := chosen.write(t, es, column, v); err != nil {
				t.Errorf("%s, on_overflow %s: %.60v: %v", c.kind, c.choices, v, err)
			}
		}
	}
	for i, c := range others {
		for _, v := range c.values {
			if err := chosen.write(t, es, fmt.Sprintf("o%d", i), v); err != nil {
				t.Errorf("%+v: %.60v: %v", c.settings, v, err)
			}
		}
	}
	if err := es.Refresh(ctx, "*"); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{ // what is text is found by the sub-field, and a moment in whatever zone
		`{"term":{"c4_string.keyword":"18446744073709551615"}}`,
		`{"range":{"c0_string":{"gt":100}}}`,
		`{"range":{"c9_null":{"gt":"2262-04-11T23:47:16.854774Z"}}}`,
		`{"term":{"o0_v.keyword":"0000-00-00"}}`,
		`{"range":{"o4_v.double":{"gt":1e34}}}`,
		`{"range":{"o7_v":{"gt":"2038-01-19T03:14:07.999998Z"}}}`,
		`{"term":{"o6_v":12}}`,
		`{"prefix":{"c8_null":"xxx"}}`,
	} {
		answer, err := es.Request(ctx, "POST", "/chosen/_search?filter_path=hits.total.value", `{"query":`+query+`}`)
		if err != nil || string(answer) != `{"hits":{"total":{"value":1}}}` {
			t.Errorf("%s: got %s, %v, want one document", query, answer, err)
		}
	}
}

// A fieldIndex is a table, and an index that has columns of it in several ways.
type fieldIndex struct {
	name    string
	table   *event.Table
	items   []string
	cfg     mapping.Config
	mapping *mapping.Mapping
	written int32
}

func newFieldIndex(name string) *fieldIndex {
	return &fieldIndex{name: name, cfg: mapping.Config{Index: name, Fields: map[string]mapping.FieldConfig{}},
		table: &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Columns: []event.Column{{Name: "id", Type: event.Int}}, Key: []int{0}}}
}

// field adds COLUMN_WAY with these settings.
func (x *fieldIndex) field(column, way string, c event.Column, settings mapping.FieldConfig) {
	if c.Name = column; x.table.Column(column) < 0 {
		x.table.Columns = append(x.table.Columns, c)
	}
	name := column + "_" + way
	x.items = append(x.items, column+" as "+name)
	x.cfg.Fields[name] = settings
}

func (x *fieldIndex) create(t *testing.T, es *component.Elasticsearch) {
	t.Helper()
	x.cfg.SQL = "select id as _id, " + strings.Join(x.items, ", ") + " from t"
	var err error
	if x.mapping, err = mapping.Compile("t", x.cfg, "shop"); err != nil {
		t.Fatal(err)
	}
	body, err := x.mapping.IndexBody(x.table)
	if err != nil {
		t.Fatal(err)
	}
	if err := es.CreateIndex(t.Context(), x.name, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// write writes a document of a row with that value, all other columns NULL, and reads it back.
func (x *fieldIndex) write(t *testing.T, es *component.Elasticsearch, column string, v any) error {
	x.written++
	row := event.Row{Table: x.table, Op: event.Insert, After: make([]any, len(x.table.Columns))}
	row.After[0], row.After[x.table.Column(column)] = x.written, v
	changes, err := x.mapping.Map([]event.Row{row})
	if err != nil {
		return err
	}
	if changes[0].Err != nil {
		return changes[0].Err
	}
	if _, err := es.Request(t.Context(), "PUT", "/"+x.name+"/_doc/"+changes[0].ID, changes[0].Body); err != nil {
		return err
	}
	doc, found, err := es.Get(t.Context(), x.name, changes[0].ID)
	if err != nil || !found || !bytes.Equal(doc.Source, changes[0].Body) {
		return fmt.Errorf("got %.100s, %v, want %.100s", doc.Source, err, changes[0].Body)
	}
	return nil
}

// TestFieldsOfAProgram loads 7,000 rows whose key is text in gbk, has the stream write the same values again under other keys, and wants the
// same documents of both, with the settings of their fields.
func TestFieldsOfAProgram(t *testing.T) {
	r := newRig(t, "fields", oracle.WorkloadConfig{}, "")
	const rows = 7000
	insert := func(prefix string, n int) {
		t.Helper()
		r.must(r.db.Exec("SET SESSION sql_mode = 'ALLOW_INVALID_DATES', cte_max_recursion_depth = 10000", fmt.Sprintf("INSERT INTO fields.text "+
			"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT CONCAT('%s', i), IF(i %% 2, CONVERT('中文' USING gbk), _gbk x'd6d0a2ab'), IF(i %% 3, i, 18446744073709551615), i / 100, "+
			"IF(i %% 5, '2024-02-29', '2023-02-30'), TIMESTAMP('2024-03-31 00:30:00') + INTERVAL i MINUTE FROM n", n, prefix)))
	}
	r.must(r.db.Exec("CREATE TABLE fields.text (k VARCHAR(20) PRIMARY KEY, v VARCHAR(20), u BIGINT UNSIGNED, d DECIMAL(20,2), at DATE, s TIMESTAMP) CHARSET gbk"))
	insert("键", rows)
	r.must(r.node.Configure(r.sections("") + r.mapping("fields_text", "initial", "select k as _id, v, u, d, at, s from fields.text") + `
[mapping.fields_text.fields]
v.on_invalid = "clip"
u.on_overflow = "string"
d = { decimal = "string", type = "long", on_overflow = "null" }
at.on_invalid = "string"
s.timezone = "Europe/Berlin"
`))
	t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), "fields_text")) })
	r.start()
	r.awaitReport("the loads", loaded)
	insert("流", 200)
	r.quiet()
	r.await("the documents", func() error {
		r.must(r.es.Refresh(t.Context(), "fields_text"))
		n, err := r.es.Count(t.Context(), "fields_text")
		if err == nil && n != rows+200 {
			err = fmt.Errorf("%d documents", n)
		}
		return err
	})
	for i := 1; i <= 200; i++ {
		loaded, found, err := r.es.Get(t.Context(), "fields_text", fmt.Sprintf("键%d", i))
		r.must(err)
		streamed, also, err := r.es.Get(t.Context(), "fields_text", fmt.Sprintf("流%d", i))
		r.must(err)
		if !found || !also || !bytes.Equal(loaded.Source, streamed.Source) {
			t.Errorf("row %d: loaded %s, streamed %s", i, loaded.Source, streamed.Source)
		}
		if want := `{"v":"中","u":"18446744073709551615","d":"0.30","at":"2023-02-30","s":"2024-03-31T03:00:00+02:00"}`; i == 30 && string(loaded.Source) != want {
			t.Errorf("row %d: got %s, want %s", i, loaded.Source, want)
		}
	}
	r.command(0, "verify", "shop/fields_text")
	report, err := r.node.Status(t.Context())
	r.must(err)
	clipped := map[string]uint64{}
	for _, d := range report.Duties {
		clipped[d.ID] = d.Counters.ClippedValues
	}
	if report.Quarantine != 0 || clipped["shop/fields_text"] != 100 || clipped["shop/fields_text#load"] != rows/2 {
		t.Errorf("%d set aside, clipped %v; want 0, 100 in the stream, %d in the load", report.Quarantine, clipped, rows/2)
	}
}

package mapping_test

import (
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func TestObjFields(t *testing.T) {
	text := event.Column{Type: event.Text, Charset: "utf8mb4", Collation: "utf8mb4_bin"}
	set := event.Column{Type: event.Set, Charset: "utf8mb4", Labels: []string{"a", "b"}}
	gbk := event.Column{Type: event.Char, Charset: "gbk", Collation: "gbk_bin"}
	blob, json := event.Column{Type: event.Blob}, event.Column{Type: event.JSON}
	const ends, noText = "JSON text: it ends too early", "holds bytes that are not text of its character set"
	for _, tt := range []struct {
		said      string
		column    event.Column
		value     any
		want      string
		onInvalid string // what on_invalid = "null" makes of it, when that is something else
	}{
		{"array:;", text, "a;b", `["a","b"]`, ""},
		{"array:;", text, "a", `["a"]`, ""},
		{"array:;", text, "", `[]`, ""},
		{"array:;", text, ";", `["",""]`, ""},
		{"array:;", text, ";a;;b;", `["","a","","b",""]`, ""},
		{"array:;", text, nil, `null`, ""},
		{"array:|", text, "a|b.c", `["a","b.c"]`, ""},
		{"array:.", text, "a|b.c", `["a|b","c"]`, ""},
		{"array:, ", text, "a, b,c", `["a","b,c"]`, ""},
		{"array: ", text, "a b", `["a","b"]`, ""},
		{`array:\`, text, `a\b`, `["a","b"]`, ""},
		{"array:::", text, `a::"b"`, `["a","\"b\""]`, ""},
		{"array:é", text, "aéb", `["a","b"]`, ""},
		{"array:,", set, "a,b", `["a","b"]`, ""},
		{"array:;", text, "a;\xff", "error: column v: invalid UTF-8", "null"},
		{"array:;", gbk, []byte("\xa2\xab"), "error: column v: " + noText, "null"},
		{"object", text, ` {"a": [1, 2.50, "x"]} `, `{"a":[1,2.5,"x"]}`, ""},
		{"object", text, `7`, `7`, ""},
		{"object", text, `null`, `null`, ""},
		{"object", text, nil, `null`, ""},
		{"object", text, `{"a": "k`, "error: column v: objFields: " + ends, "null"},
		{"object", text, `{} x`, "error: column v: objFields: JSON text: something follows the value at byte 3", "null"},
		{"object", text, ``, "error: column v: objFields: an empty text is no JSON", "null"},
		{"object", text, `"\ud800"`, "error: column v: objFields: JSON text: half a surrogate pair", "null"},
		{"object", gbk, []byte("\xa2\xab"), "error: column v: " + noText, "null"},
		{"object", blob, []byte(`{"é": 1}`), `{"é":1}`, ""},
		{"object", blob, []byte("\"\xff\""), "error: column v: objFields: JSON text: invalid UTF-8", "null"},
		{"object", json, `[1]`, `[1]`, ""},
		{"object", json, ``, `null`, ""}, // what INSERT IGNORE can leave
	} {
		for setting, want := range map[string]string{"": tt.want, "null": tt.onInvalid} {
			if want == "" {
				want = tt.want
			}
			m := compile(t, mapping.Config{SQL: "select id as _id, v from t", ObjFields: map[string]string{"v": tt.said}, Fields: map[string]mapping.FieldConfig{"v": {OnInvalid: setting}}})
			row := event.Row{Table: oneColumn(tt.column), Op: event.Insert, After: []any{int32(1), tt.value}}
			document := `write 1 {"v":` + want + `}`
			if strings.HasPrefix(want, "error") {
				document = "write 1 " + want
			}
			equal(t, tt.said, mapRows(t, m, row), []string{document})
		}
	}
}

func TestObjFieldsThatMeanNothing(t *testing.T) {
	text := event.Column{Type: event.Text, Charset: "utf8mb4", Collation: "utf8mb4_bin"}
	for _, tt := range []struct {
		said     string
		settings mapping.FieldConfig
		column   event.Column
		want     string
	}{
		{"array:;", mapping.FieldConfig{}, event.Column{Type: event.Int}, "objFields.v: column v is INT; an array is made of text, ENUM and SET"},
		{"array:;", mapping.FieldConfig{}, event.Column{Type: event.Time}, "objFields.v: column v is TIME; an array is made of text, ENUM and SET"},
		{"array:;", mapping.FieldConfig{}, event.Column{Type: event.JSON}, "objFields.v: column v is JSON; an array is made of text, ENUM and SET"},
		{"object", mapping.FieldConfig{}, event.Column{Type: event.Double}, `objFields.v: column v is DOUBLE; "object" is for text, bytes and JSON`},
		{"object", mapping.FieldConfig{Type: "keyword"}, text, `fields.v.type: the field is "object" by objFields; leave it out`},
		{"array:;", mapping.FieldConfig{Type: "date"}, text, `fields.v.type: the field is "array:;" by objFields; it can be keyword, text`},
		{"array:;", mapping.FieldConfig{Type: "keyword", OnOverflow: "clip"}, text, `fields.v.on_overflow: the field is "array:;" by objFields; leave it out`},
		{"array:;", mapping.FieldConfig{OnInvalid: "clip"}, text, `fields.v.on_invalid: the field is "array:;" by objFields; it can be refuse, null`},
		{"array:;", mapping.FieldConfig{Decimal: "string"}, text, `fields.v.decimal: the field is "array:;" by objFields; leave it out`},
		{"array:;", mapping.FieldConfig{Timezone: "UTC"}, text, `fields.v.timezone: the field is "array:;" by objFields; leave it out`},
	} {
		m := compile(t, mapping.Config{SQL: "select id as _id, v from t", ObjFields: map[string]string{"v": tt.said}, Fields: map[string]mapping.FieldConfig{"v": tt.settings}})
		if err := m.Bind(oneColumn(tt.column)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s: got %v, want %s", tt.said, tt.column.Type, err, tt.want)
		}
	}
}

// TestObjFieldsInAnIndex: a created index takes whatever is written, and one that exists is looked at for what is written.
func TestObjFieldsInAnIndex(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select id as _id, v, v as w, v as x from t", ObjFields: map[string]string{"v": "array:;", "w": "object", "x": "array:,"},
		Fields: map[string]mapping.FieldConfig{"x": {Type: "keyword"}}})
	table := oneColumn(event.Column{Type: event.Text, Charset: "utf8mb4", Collation: "utf8mb4_bin"})
	body, err := m.IndexBody(table)
	want := `{"mappings":{"properties":{"v":{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}},"w":{"type":"object","enabled":false},"x":{"type":"keyword"}}}}`
	if err != nil || string(body) != want {
		t.Errorf("got %s, %v\nwant %s", body, err, want)
	}
	misfits, err := m.Misfits(table, []byte(`{"properties":{"v":{"type":"object"},"w":{"type":"keyword"},"x":{"type":"keyword"}}}`))
	if err != nil || len(misfits) != 2 || misfits[0].Field != "v" || !misfits[0].Always || misfits[1].Field != "w" {
		t.Errorf("got %+v, %v, want v, which is always refused, and w", misfits, err)
	}
}

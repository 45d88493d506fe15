package mapping_test

import (
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// TestPK: the key is the document's id, and a field as any other.
func TestPK(t *testing.T) {
	table := childTable()
	row := event.Row{Table: table, Op: event.Update, Before: []any{int32(1), int32(7), "x"}, After: []any{int32(2), int32(7), "y"}}
	for _, tt := range []struct {
		cfg  mapping.Config
		want string
	}{
		{mapping.Config{SQL: "select id, v from t", PK: "id"}, `write 2 {"id":2,"v":"y"}`},
		{mapping.Config{SQL: "select v, id as n from t", PK: "n"}, `write 2 {"v":"y","n":2}`},
		{mapping.Config{SQL: "select * from t", PK: "id", Skips: []string{"up"}}, `write 2 {"id":2,"v":"y"}`},
		{mapping.Config{SQL: "select id, v from t", PK: "id", Skips: []string{"id"}}, `write 2 {"v":"y"}`},
		{mapping.Config{SQL: "select id, v from t", PK: "id", Fields: map[string]mapping.FieldConfig{"id": {Type: "byte", OnOverflow: "clip"}}}, `write 2 {"id":2,"v":"y"}`},
	} {
		equal(t, tt.cfg.SQL, mapRows(t, compile(t, tt.cfg), row), []string{"delete 1", tt.want})
	}
	r := compile(t, mapping.Config{SQL: "select t.id, upper(t.v) as v from t", PK: "id"}).Rule()
	result, err := r.Result(table, []event.Column{{Name: "id", Type: event.Int}, {Name: "v", Type: event.Text, Charset: "utf8mb4"}, {Name: "key id", Type: event.Int}})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := r.Rendered(result, [][]any{{int32(1), "X", int32(1)}}, nil, 7)
	if err != nil || len(changes) != 1 || changes[0].ID != "1" || string(changes[0].Body) != `{"id":1,"v":"X"}` {
		t.Errorf("rendered %+v, %v", changes, err)
	}
	if got := r.Documents([][]string{{"1"}}); !strings.HasPrefix(got, "SELECT `t`.`id` AS `id`,UPPER(`t`.`v`) AS `v`,`t`.`id` AS `key id` FROM") {
		t.Errorf("asks %s", got)
	}
}

func TestPKThatIsRefused(t *testing.T) {
	two := childTable()
	two.Key = []int{0, 1}
	none := childTable()
	none.Key = nil
	for _, tt := range []struct {
		cfg   mapping.Config
		table *event.Table
		want  string
	}{
		{mapping.Config{SQL: "select id, v from t", PK: "id", ID: "id"}, childTable(), `pk: the documents' id is "id" by _id already; leave one of the two out`},
		{mapping.Config{SQL: "select id, v from t", PK: "v"}, childTable(), "pk: v is column v of shop.t, which has the key id: a document is found by its id alone"},
		{mapping.Config{SQL: "select id, v from t", PK: "id"}, two, "pk: id is column id of shop.t, which has the key id, up"},
		{mapping.Config{SQL: "select id, v from t", PK: "id"}, none, "pk: id is column id of shop.t, which has no primary key"},
		{mapping.Config{SQL: "select v from t", PK: "id"}, childTable(), "the select list must give the document's id by name: for example t.KEY as id"},
		{mapping.Config{SQL: "select id as _id, v from t", PK: "id", Parts: map[string]string{"x": "select id as _id, n from u"}}, childTable(), "pk: the documents have parts"},
	} {
		tt.cfg.Index = "i"
		m, err := mapping.Compile("m", tt.cfg, "shop")
		if err == nil {
			err = m.Bind(tt.table)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v\nwant %s", tt.cfg.SQL, err, tt.want)
		}
	}
	for sql, column := range map[string]string{"select upper(t.v) as n, t.up as id from t": "column up of shop.t", "select concat(t.id, '-', t.up) as id, upper(t.v) as n from t": "column concat(...) of shop.t"} {
		r := compile(t, mapping.Config{SQL: sql, PK: "id"}).Rule()
		if _, err := r.Result(childTable(), make([]event.Column, 4)); err == nil || !strings.Contains(err.Error(), column+", which has the key id") {
			t.Errorf("%s: got %v", sql, err)
		}
	}
}

package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

// TestSpellings: where rows of ids that are equal, and not the same, make one document, it is asked how the ids are spelled, and what does not bear
// the document's own spelling goes.
func TestSpellings(t *testing.T) {
	const grouped = "select t.code as _id, count(*) as n from t group by t.code"
	const spelled = "SELECT `t`.`code` FROM `shop`.`t` AS `t` WHERE `t`.`code` IN ('a') GROUP BY `t`.`code`, HEX(`t`.`code`)"
	const part = "SELECT `code` FROM `shop`.`%s` WHERE `code` IN ('a') GROUP BY `code`, HEX(`code`)"
	text := event.Column{Name: "code", Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci"}
	exact := text
	exact.Collation = "utf8mb4_0900_bin"
	for _, tt := range []struct {
		name string
		cfg  mapping.Config
		code event.Column
		want string
	}{
		{"grouped", mapping.Config{SQL: grouped}, text, spelled},
		{"distinct", mapping.Config{SQL: "select distinct t.code as _id, upper(t.n) as n from t"}, text, spelled},
		{"parts", mapping.Config{SQL: "select t.code as _id, t.n from t", Parts: map[string]string{"p": "select u.code as _id, u.m from u"}}, text, fmt.Sprintf(part, "t") + " UNION ALL " + fmt.Sprintf(part, "u")},
		{"row by row", mapping.Config{SQL: "select t.code as _id, upper(t.n) as n from t"}, text, ""},
		{"exact", mapping.Config{SQL: grouped}, exact, ""},
		{"numbers", mapping.Config{SQL: grouped}, event.Column{Name: "code", Type: event.Int}, ""},
	} {
		r := compile(t, tt.cfg).Rule()
		table := &event.Table{Name: event.TableName{Schema: "shop", Name: "t"}, Columns: []event.Column{tt.code, {Name: "n", Type: event.Int}}}
		result, err := r.Result(table, []event.Column{{Name: "n", Type: event.Int}, tt.code})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Routes([][]string{{"'a'"}}); got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
		if tt.name != "grouped" {
			continue
		}
		var touched mapping.Touched
		if _, err := r.Touch(&event.Row{Table: table, Op: event.Insert, After: []any{"a", int32(1)}}, &touched); err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{"a", "A"} {
			if err := r.RouteOf(table, []any{code}, touched.Keys); err != nil {
				t.Fatal(err)
			}
		}
		changes, err := r.Rendered(result, [][]any{{int32(2), "a"}}, touched.Keys, 7)
		if got := strings.Join(placed(changes), "\n"); err != nil || got != "write a at \"\" leaves [] {\"n\":2}\ndelete A at \"\" leaves []" {
			t.Errorf("rendered %s, %v", got, err)
		}
	}
}

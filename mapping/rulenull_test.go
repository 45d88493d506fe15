package mapping_test

import (
	"strings"
	"testing"

	"canalgo/mapping"
)

// TestRowsWithoutAKey: a load reads the documents between two keys without those rows, of which it asks for one.
func TestRowsWithoutAKey(t *testing.T) {
	one := compileRule(t, "select c.id as _id, o.body from orders o left join customer c on c.id = o.customer")
	two := compileRule(t, "select concat(c.a, '-', c.b) as _id, o.body from orders o left join customer c on c.id = o.customer")
	group := compile(t, mapping.Config{SQL: "select u.id as _id, u.name from user u", Index: "i", Parts: map[string]string{"b": "select a.user_id as _id, a.city from address a"}}).Rule()
	for _, c := range []struct {
		name           string
		between, nulls string
		want, one      string // what they end with
	}{
		{"from the start", one.Between(nil, []string{"9"}, ""), one.Nulls(""),
			"WHERE (TRUE AND NOT ((`c`.`id` > 9)) AND NOT (`c`.`id` IS NULL)) ORDER BY `c`.`id`", "WHERE (`c`.`id` IS NULL) LIMIT 1"},
		{"all", one.Between(nil, nil, ""), one.Nulls(""), "WHERE (TRUE AND NOT (`c`.`id` IS NULL)) ORDER BY `c`.`id`", ""},
		{"a part", one.Between(nil, nil, "`c`.`vip`"), one.Nulls("`c`.`vip`"),
			"AS `c` WHERE (`c`.`vip`) AND TRUE AND NOT (`c`.`id` IS NULL))) ORDER BY `c`.`id`", "WHERE ((`c`.`id` IS NULL) AND (`c`.`vip`)) LIMIT 1"},
		// (1, NULL) is behind (0, 5) and not behind (2, 5), though it has no place.
		{"two columns", two.Between([]string{"0", "5"}, []string{"2", "5"}, ""), two.Nulls(""),
			"AND NOT (`c`.`a` IS NULL OR `c`.`b` IS NULL)) ORDER BY `c`.`a`, `c`.`b`", "WHERE (`c`.`a` IS NULL OR `c`.`b` IS NULL) LIMIT 1"},
		{"a group", group.Between(nil, nil, ""), group.Nulls(""),
			"AND (TRUE AND NOT (`canalgo ids`.`id` IS NULL)) ORDER BY `canalgo ids`.`id`", "AND (`canalgo ids`.`id` IS NULL) LIMIT 1"},
	} {
		if !strings.HasSuffix(c.between, c.want) {
			t.Errorf("%s: the documents:\n got %s\nwant %s", c.name, c.between, c.want)
		}
		if !strings.HasSuffix(c.nulls, c.one) {
			t.Errorf("%s: the row:\n got %s\nwant %s", c.name, c.nulls, c.one)
		}
	}
}

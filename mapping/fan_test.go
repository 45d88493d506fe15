package mapping_test

import (
	"strings"
	"testing"

	"canalgo/mapping"
)

// TestFan finds a fan's documents by the link that it was made with, and all documents once the SQL has that link no more.
func TestFan(t *testing.T) {
	const joined = "select o.id as _id, c.name from shop.orders o left join shop.customer c on c.id = o.customer"
	r := compileRule(t, joined)
	f := r.Fan(1, [][]string{{"7"}, {"8"}})
	for what, c := range map[string]struct{ got, want string }{
		"a page": {r.Reached(f, []string{"3"}, []string{"9"}, 5), "SELECT DISTINCT `o`.`id` FROM `shop`.`orders` AS `o` WHERE `o`.`customer` IN (7, 8) AND ((`o`.`id` > 3)) AND NOT ((`o`.`id` > 9)) " +
			"AND NOT (`o`.`id` IS NULL) ORDER BY `o`.`id` LIMIT 5"},
		"all":   {r.Reached(mapping.Fan{}, nil, nil, 5), "SELECT DISTINCT `o`.`id` FROM `shop`.`orders` AS `o` WHERE TRUE AND NOT (`o`.`id` IS NULL) ORDER BY `o`.`id` LIMIT 5"},
		"count": {r.Count(f), "SELECT COUNT(DISTINCT `o`.`id`) FROM `shop`.`orders` AS `o` WHERE `o`.`customer` IN (7, 8) AND TRUE"},
		"another alias": {compileRule(t, "select o.id as _id, d.name from shop.orders o left join shop.customer d on d.id = o.customer").Count(f),
			"SELECT COUNT(DISTINCT `o`.`id`) FROM `shop`.`orders` AS `o` WHERE TRUE"},
		"another link": {compileRule(t, "select o.id as _id, c.name from shop.orders o left join shop.customer c on c.name = o.customer").Count(f),
			"SELECT COUNT(DISTINCT `o`.`id`) FROM `shop`.`orders` AS `o` WHERE TRUE"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", what, c.got, c.want)
		}
	}
}

// TestFanOfGroup finds the documents of a mapping of several SELECTs: through the table that gives the ids, or all of them by their union.
func TestFanOfGroup(t *testing.T) {
	m := compile(t, mapping.Config{SQL: "select u.id as _id, u.name from shop.user u",
		Parts: map[string]string{"seats": "select s.user_id as _id, c.title from shop.seat s join shop.car c on c.id = s.car"}})
	r := m.Rule()
	var car mapping.Fan
	for i, table := range []string{"", "user", "seat", "car"} {
		if table == "car" {
			car = r.Fan(i, [][]string{{"7"}})
		}
	}
	if want := "SELECT DISTINCT `seats:s`.`user_id` FROM `shop`.`seat` AS `seats:s` WHERE `seats:s`.`car` IN (7) AND (`seats:s`.`user_id` > 3) AND NOT ((`seats:s`.`user_id` > 9)) " +
		"AND NOT (`seats:s`.`user_id` IS NULL) ORDER BY `seats:s`.`user_id` LIMIT 5"; strings.ReplaceAll(r.Reached(car, []string{"3"}, []string{"9"}, 5), "((`seats:s`.`user_id` > 3))", "(`seats:s`.`user_id` > 3)") != want {
		t.Errorf("a page:\n got %s\nwant %s", r.Reached(car, []string{"3"}, []string{"9"}, 5), want)
	}
	if want := "SELECT COUNT(DISTINCT `seats:s`.`user_id`) FROM `shop`.`seat` AS `seats:s` WHERE `seats:s`.`car` IN (7) AND TRUE"; r.Count(car) != want {
		t.Errorf("count:\n got %s\nwant %s", r.Count(car), want)
	}
	if want := "(SELECT DISTINCT `id` FROM `shop`.`user` WHERE `id` IS NOT NULL AND NOT ((`id` > 9)) ORDER BY `id` LIMIT 5) UNION " +
		"(SELECT DISTINCT `user_id` FROM `shop`.`seat` WHERE `user_id` IS NOT NULL AND NOT ((`user_id` > 9)) ORDER BY `user_id` LIMIT 5) ORDER BY 1 LIMIT 5"; r.Reached(mapping.Fan{}, nil, []string{"9"}, 5) != want {
		t.Errorf("all:\n got %s\nwant %s", r.Reached(mapping.Fan{}, nil, []string{"9"}, 5), want)
	}
}

package mapping_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func compileRule(t *testing.T, sql string) *mapping.Rule {
	t.Helper()
	m, err := mapping.Compile("m", mapping.Config{SQL: sql, Index: "m"}, "shop")
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if m.Rule() == nil {
		t.Fatalf("%s: is not rendered by the server", sql)
	}
	return m.Rule()
}

// TestRuleQueries writes what the server is asked for: the documents of some keys, and the keys that a row of the second table of FROM
// leads to.
func TestRuleQueries(t *testing.T) {
	for _, tt := range []struct{ sql, documents, linked string }{
		{"select o.id as _id, upper(o.name) as n from orders o",
			"SELECT UPPER(`o`.`name`) AS `n`,`o`.`id` AS `key id` FROM `shop`.`orders` AS `o` WHERE (`o`.`id` IN (1, 2))", ""},
		{"select o.id as _id, c.name from orders o left join customer c on c.id = o.customer_id where c.vip or o.x = 'a\\\\b'",
			"SELECT `c`.`name` AS `name`,`o`.`id` AS `key id` FROM `shop`.`orders` AS `o` LEFT JOIN `shop`.`customer` AS `c` ON `c`.`id`=`o`.`customer_id` WHERE (`c`.`vip` OR `o`.`x`='a\\\\b') AND (`o`.`id` IN (1, 2))",
			"SELECT DISTINCT `o`.`id` FROM `shop`.`orders` AS `o` WHERE `o`.`customer_id` IN (7) AND TRUE AND NOT (`o`.`id` IS NULL) ORDER BY `o`.`id` LIMIT 10"},
		{"select i.id as _id, c.name from customer c join orders o using (id) join item i on i.order_id = o.id",
			"SELECT `c`.`name` AS `name`,`i`.`id` AS `key id` FROM (`shop`.`customer` AS `c` JOIN `shop`.`orders` AS `o` USING (`id`)) JOIN `shop`.`item` AS `i` ON `i`.`order_id`=`o`.`id` WHERE (`i`.`id` IN (1, 2))",
			"SELECT DISTINCT `i`.`id` FROM `shop`.`item` AS `i` WHERE `i`.`order_id` IN (7) AND TRUE AND NOT (`i`.`id` IS NULL) ORDER BY `i`.`id` LIMIT 10"},
		{"select o.id as _id, x.n from orders o left join (select order_id as oid, count(*) as n from item i where qty > 0 group by order_id) x on x.oid = o.id",
			"SELECT `x`.`n` AS `n`,`o`.`id` AS `key id` FROM `shop`.`orders` AS `o` LEFT JOIN (SELECT `order_id` AS `oid`,COUNT(1) AS `n` FROM `shop`.`item` AS `i` " +
				"WHERE (`qty`>0) AND `i`.`order_id` IN (SELECT `o`.`id` FROM `shop`.`orders` AS `o` WHERE (`o`.`id` IN (1, 2))) GROUP BY `order_id`) AS `x` ON `x`.`oid`=`o`.`id` WHERE (`o`.`id` IN (1, 2))",
			"SELECT DISTINCT `o`.`id` FROM `shop`.`orders` AS `o` WHERE `o`.`id` IN (7) AND TRUE AND NOT (`o`.`id` IS NULL) ORDER BY `o`.`id` LIMIT 10"},
		{"select o.id as _id, p.n from orders o, `orders` p where p.id = o.parent and p.kind = o.kind",
			"SELECT `p`.`n` AS `n`,`o`.`id` AS `key id` FROM (`shop`.`orders` AS `o`) JOIN `shop`.`orders` AS `p` WHERE (`p`.`id`=`o`.`parent` AND `p`.`kind`=`o`.`kind`) AND (`o`.`id` IN (1, 2))",
			"SELECT DISTINCT `o`.`id` FROM `shop`.`orders` AS `o` WHERE (`o`.`parent`, `o`.`kind`) IN ((7, 8)) AND TRUE AND NOT (`o`.`id` IS NULL) ORDER BY `o`.`id` LIMIT 10"},
	} {
		r := compileRule(t, tt.sql)
		if got := r.Documents([][]string{{"1"}, {"2"}}); got != tt.documents {
			t.Errorf("%s:\n got %s\nwant %s", tt.sql, got, tt.documents)
		}
		if tt.linked == "" {
			continue
		}
		literals := []string{"7"}
		if strings.Contains(tt.linked, "(7, 8)") {
			literals = append(literals, "8")
		}
		if got := r.Reached(r.Fan(1, [][]string{literals}), nil, nil, 10); got != tt.linked {
			t.Errorf("%s:\n got %s\nwant %s", tt.sql, got, tt.linked)
		}
	}
}

// TestRuleRefuses names what a rule cannot follow.
func TestRuleRefuses(t *testing.T) {
	for sql, want := range map[string]string{
		"select o.id _id from orders o join customer c on lower(c.name) = o.name":                                                         "nothing says which documents a row of c is part of",
		"select o.id _id from orders o left join customer c on o.a = o.b":                                                                 "nothing says which documents a row of c is part of",
		"select concat(o.id, c.id) _id from orders o join customer c on c.id = o.c":                                                       "the id has columns of o and of c",
		"select o.id _id, c.name from orders o natural join customer c":                                                                   "NATURAL JOIN depends on the tables' columns",
		"select id _id from orders o join customer c on c.id = o.c":                                                                       "which table id is of is not said; write TABLE.id",
		"select o.id _id, count(*) n from orders o":                                                                                       "an aggregate function without GROUP BY",
		"select o.id _id, x.n from orders o join (select count(*) n, max(oid) oid from item) x on x.oid = o.id":                           "the sub-query x: an aggregate function without GROUP BY",
		"select o.id _id, x.n from orders o join (select max(oid) oid, sku from item group by sku) x on x.oid = o.id":                     "nothing says which documents a row of x is part of",
		"select o.id _id, x.n from orders o join (select oid, sku n, count(*) from item group by sku, oid with rollup) x on x.oid = o.id": "WITH ROLLUP",
		"select o.id _id, x.n from orders o join (select oid, n from item limit 3) x on x.oid = o.id":                                     "the sub-query x: WITH, WINDOW, LIMIT",
		"select o.id _id, x.n from orders o join (select i.oid, i.n from item i join sku s on s.id = i.sku) x on x.oid = o.id":            "the sub-query x: it reads one table",
		"select o.id _id, (select max(n) from item) x from orders o":                                                                      "a sub-query is followed only in FROM",
		"select o.id _id from orders o where exists (select 1 from item i where i.oid = o.id)":                                            "a sub-query is followed only in FROM",
		"select o.id _id, now() n from orders o":                                                                                          "NOW() has another value each time",
		"select o.id _id, row_number() over () n from orders o":                                                                           "the window function row_number",
		"select o.id _id, o.a from orders o join orders o on o.id = o.p":                                                                  "a second table called o",
		"select o.id _id, z.a + 1 as b from orders o":                                                                                     `unknown table "z"; FROM has o`,
	} {
		_, err := mapping.Compile("m", mapping.Config{SQL: sql, Index: "m"}, "shop")
		var place *mapping.SQLError
		if !errors.As(err, &place) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", sql, err, want)
		}
	}
}

// TestTouch finds the documents of changed rows, and leaves out changes of columns that the SQL does not name.
func TestTouch(t *testing.T) {
	r := compileRule(t, "select o.id as _id, upper(o.note) as note, c.name from orders o left join customer c on c.id = o.customer")
	orders := &event.Table{Name: event.TableName{Schema: "shop", Name: "orders"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "customer", Type: event.Int}, {Name: "note", Type: event.Char, Charset: "utf8mb4"}, {Name: "other", Type: event.Int}}}
	customer := &event.Table{Name: event.TableName{Schema: "shop", Name: "customer"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "name", Type: event.Char, Charset: "utf8mb4"}, {Name: "city", Type: event.Int}}}
	row := func(values ...any) []any { return values }
	for _, tt := range []struct {
		name  string
		row   event.Row
		keys  string
		links [][]string
		clear bool
	}{
		{"insert", event.Row{Table: orders, Op: event.Insert, After: row(int32(1), int32(5), "a", int32(0))}, "1", nil, false},
		{"key moves", event.Row{Table: orders, Op: event.Update, Before: row(int32(1), int32(5), "a", int32(0)), After: row(int32(2), int32(5), "a", int32(0))}, "1 2", nil, false},
		{"what is not named", event.Row{Table: orders, Op: event.Update, Before: row(int32(1), int32(5), "a", int32(0)), After: row(int32(1), int32(5), "a", int32(9))}, "", nil, false},
		{"delete", event.Row{Table: orders, Op: event.Delete, Before: row(int32(1), nil, nil, nil)}, "1", nil, false},
		{"truncate", event.Row{Table: orders, Op: event.DeleteAll}, "", nil, true},
		{"joined", event.Row{Table: customer, Op: event.Update, Before: row(int32(5), "a", nil), After: row(int32(6), "b", nil)}, "", [][]string{{"5"}, {"6"}}, false},
		{"joined, what is not named", event.Row{Table: customer, Op: event.Update, Before: row(int32(5), "a", nil), After: row(int32(5), "a", int32(1))}, "", nil, false},
		{"joined by NULL", event.Row{Table: customer, Op: event.Insert, After: row(nil, "a", nil)}, "", nil, false},
	} {
		var touched mapping.Touched
		clear, err := r.Touch(&tt.row, &touched)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var keys []string
		for _, id := range []string{"1", "2"} {
			if _, ok := touched.Keys[id]; ok {
				keys = append(keys, id)
			}
		}
		if got := strings.Join(keys, " "); got != tt.keys || clear != tt.clear || !reflect.DeepEqual(touched.Links[1], tt.links) {
			t.Errorf("%s: keys %q, links %v, clear %v", tt.name, got, touched.Links, clear)
		}
	}
	var touched mapping.Touched
	if _, err := r.Touch(&event.Row{Table: customer, Op: event.DeleteAll}, &touched); err != nil || !touched.All {
		t.Errorf("TRUNCATE of a joined table: %+v, %v", touched, err)
	}
	var stop *event.StopError
	if _, err := r.Touch(&event.Row{Table: customer, Op: event.DropTable}, &touched); !errors.As(err, &stop) {
		t.Errorf("DROP of a joined table: %v", err)
	}
}

// TestRenderInPlaceOfAWhere leaves a comparison to the server that is not made here as MySQL makes it, and no other mistake.
func TestRenderInPlaceOfAWhere(t *testing.T) {
	table := &event.Table{Name: event.TableName{Schema: "shop", Name: "orders"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "total", Type: event.Decimal, Length: 5, Scale: 2}}, Key: []int{0}}
	for sql, want := range map[string]bool{
		"select id as _id, total from orders where total > '12'": true,
		"select id as _id, total from orders where totl > 12":    false,
		"select id as _id, total from orders where total > 12":   false,
		"select * from orders where total > '12'":                false, // which column the id would be is not said
	} {
		m, err := mapping.Compile("m", mapping.Config{SQL: sql, ID: map[bool]string{true: "id"}[strings.Contains(sql, "*")], Index: "m"}, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Render(m.Bind(table)); got != want || (m.Rule() != nil) != want {
			t.Errorf("%s: rendered %v, want %v", sql, got, want)
		}
	}
}

package mapping_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func group() mapping.Config {
	return mapping.Config{SQL: "select u.id as _id, u.name from user u", Index: "i", Parts: map[string]string{
		"address": "select u.user_id as _id, u.city, c.country from address u left join city c on c.name = u.city where u.main = 1",
		"orders":  "select user_id as _id, count(*) as many from orders group by user_id having count(*) > 1"}}
}

func TestGroup(t *testing.T) {
	r := compile(t, group()).Rule()
	const ids = "(SELECT `id` FROM `shop`.`user` UNION SELECT `user_id` FROM `shop`.`address` UNION SELECT `user_id` FROM `shop`.`orders`) AS `canalgo ids`"
	const documents = "SELECT `u`.`name` AS `name`,`address:u`.`city` AS `city`,`address:c`.`country` AS `country`,`orders:orders`.`many` AS `many`,`canalgo ids`.`id` AS `key id` FROM (((" + ids +
		" LEFT JOIN (`shop`.`user` AS `u`) ON `u`.`id`=`canalgo ids`.`id`)" +
		" LEFT JOIN (`shop`.`address` AS `address:u` LEFT JOIN `shop`.`city` AS `address:c` ON `address:c`.`name`=`address:u`.`city`) ON `address:u`.`user_id`=`canalgo ids`.`id` AND (`address:u`.`main`=1))" +
		" LEFT JOIN (SELECT COUNT(1) AS `many`,`user_id` AS `key user_id` FROM `shop`.`orders` WHERE `orders`.`user_id` IN (SELECT `canalgo ids`.`id` FROM " + ids + " WHERE (`canalgo ids`.`id` IN (7))) GROUP BY `user_id` HAVING COUNT(1)>1) AS `orders:orders`" +
		" ON `orders:orders`.`key user_id`=`canalgo ids`.`id`" +
		" WHERE (`u`.`id` IS NOT NULL OR `address:u`.`user_id` IS NOT NULL OR `orders:orders`.`key user_id` IS NOT NULL) AND (`canalgo ids`.`id` IN (7))"
	if got := r.Documents([][]string{{"7"}}); strings.ReplaceAll(got, "(", "") != strings.ReplaceAll(documents, "(", "") {
		t.Errorf("documents:\n got %s\nwant %s", got, documents)
	}
	branch := func(column, table string) string {
		return fmt.Sprintf("(SELECT DISTINCT `%s` FROM `shop`.`%s` WHERE `%[1]s` IS NOT NULL AND ((`%[1]s` > 5)) ORDER BY `%[1]s` LIMIT 9)", column, table)
	}
	keys := branch("id", "user") + " UNION " + branch("user_id", "address") + " UNION " + branch("user_id", "orders") + " ORDER BY 1 LIMIT 9"
	if got := r.Keys([]string{"5"}, 9, ""); got != keys {
		t.Errorf("keys:\n got %s\nwant %s", got, keys)
	}
	if got, want := fmt.Sprint(r.Tables()), "[shop.user shop.address shop.city shop.orders]"; got != want {
		t.Errorf("tables %s, want %s", got, want)
	}
}

// TestTouchOfAGroup: a row of each table that gives ids touches the documents of its images' ids, also when it is gone.
func TestTouchOfAGroup(t *testing.T) {
	r := compile(t, group()).Rule()
	column := func(name string, typ event.Type) event.Column {
		return event.Column{Name: name, Type: typ, Charset: "utf8mb4"}
	}
	table := func(name string, columns ...event.Column) *event.Table {
		return &event.Table{Name: event.TableName{Schema: "shop", Name: name}, Columns: columns}
	}
	user := table("user", column("id", event.Int), column("name", event.Text))
	address := table("address", column("id", event.Int), column("user_id", event.BigInt), column("city", event.Text), column("main", event.Int))
	city := table("city", column("name", event.Text), column("country", event.Text))
	orders := table("orders", column("user_id", event.Int))
	for _, tt := range []struct {
		row   event.Row
		keys  string
		links int
		all   bool
		clear bool
	}{
		{row: event.Row{Table: user, Op: event.Insert, After: []any{int32(1), "a"}}, keys: "1"},
		{row: event.Row{Table: address, Op: event.Delete, Before: []any{int32(9), int64(1), "x", int32(1)}}, keys: "1"},
		{row: event.Row{Table: address, Op: event.Update, Before: []any{int32(9), int64(1), "x", int32(1)}, After: []any{int32(9), int64(2), "x", int32(1)}}, keys: "1 2"},
		{row: event.Row{Table: address, Op: event.Update, Before: []any{int32(9), int64(1), "x", int32(1)}, After: []any{int32(8), int64(1), "x", int32(1)}}},
		{row: event.Row{Table: address, Op: event.Insert, After: []any{int32(9), nil, "x", int32(1)}}},
		{row: event.Row{Table: city, Op: event.Update, Before: []any{"x", "a"}, After: []any{"x", "b"}}, links: 1},
		{row: event.Row{Table: orders, Op: event.Insert, After: []any{int32(4)}}, keys: "4"},
		{row: event.Row{Table: orders, Op: event.DeleteAll}, all: true, clear: true},
		{row: event.Row{Table: city, Op: event.DeleteAll}, all: true},
	} {
		var touched mapping.Touched
		clear, err := r.Touch(&tt.row, &touched)
		if err != nil {
			t.Fatal(err)
		}
		links := 0
		for _, l := range touched.Links {
			links += len(l)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(touched.Keys)), " "); got != tt.keys || links != tt.links || touched.All != tt.all || clear != tt.clear {
			t.Errorf("%s of %s: keys %q, %d links, all %v, clear %v; want %+v", tt.row.Op, tt.row.Table.Name, got, links, touched.All, clear, tt)
		}
	}
	dropped := event.Row{Table: user, Op: event.DropTable}
	if _, err := r.Touch(&dropped, &mapping.Touched{}); err == nil || !strings.Contains(err.Error(), "the table shop.user of its SQL was dropped") {
		t.Errorf("a table that is gone: %v", err)
	}
	if err := r.CheckKeys(user, address); err != nil {
		t.Error(err)
	}
	address.Columns[1].Type = event.Text
	if err := r.CheckKeys(user, address); err == nil || !strings.Contains(err.Error(), "the ids of its parts differ in type: id of shop.user is INT, user_id of shop.address is TEXT") {
		t.Errorf("ids of two types: %v", err)
	}
	user.Columns[0].Type, address.Columns[1].Type = event.DateTime, event.DateTime
	if err := r.CheckKeys(user, address); err != nil {
		t.Error(err)
	}
	address.Columns[1].Length = 3
	if err := r.CheckKeys(user, address); err == nil || !strings.Contains(err.Error(), "id of shop.user is DATETIME(0), user_id of shop.address is DATETIME(3)") {
		t.Errorf("ids of two lengths: %v", err)
	}
}

func TestGroupsThatAreRefused(t *testing.T) {
	const sql = "select u.id as _id, u.name from user u"
	for _, tt := range []struct {
		part, want string
		change     func(*mapping.Config)
	}{
		{" ", `parts.x: missing; write for example "select a.user_id as _id, a.city from address a"`, nil},
		{"select a.id as _id, b.c from a join b on", `parts.x: sql 1:41`, nil},
		{"select a.n from a", "parts.x: sql 1:8: near \"a.n from a\": the select list must give the document's id by name", nil},
		{"select a.id as _id, a.name from a", `parts.x: "name" is a name of sql, too: one of the two would be lost; give one of them an alias`, nil},
		{"select concat('a', a.id) as _id, a.c from a", "parts.x: its ids are not made as those of sql are", nil},
		{"select concat(a.id, a.k) as _id, a.c from a", "parts.x: its ids are not made as those of sql are", nil},
		{"select distinct a.id as _id, a.c from a", "parts.x: DISTINCT beside parts is not supported; group by the id", nil},
		{"select a.id as _id, count(*) as many from a join b on b.id = a.id group by a.id", "parts.x: GROUP BY beside parts is followed of one table; join a sub-query that groups", nil},
		{"select a.id as _id, n from a join b on b.id = a.id", "parts.x: which table n is of is not said; beside parts write TABLE.n", nil},
		{"select a.id as _id, b.n from a join b using (id)", "parts.x: USING beside parts is not supported; write ON", nil},
		{"select a.id as _id, rand() as r from a", "RAND() has another value each time", nil},
		{"select a.id as _id, a.c from a", "etlCondition: the documents have parts", func(c *mapping.Config) { c.EtlCondition = "where a = 1" }},
		{"select a.id as _id, a.c from a", "parts: the documents are children (relations)", func(c *mapping.Config) {
			c.Relations = map[string]mapping.RelationConfig{"kind": {Name: "a", Parent: "name"}}
		}},
		{"select a.id as _id, a.c from a", "skips: d is not a name in the select list", func(c *mapping.Config) { c.Skips = []string{"d"} }},
		{"select a.id as _id, a.c from a", "objFields.d: is not a name in the select list", func(c *mapping.Config) { c.ObjFields = map[string]string{"d": "object"} }},
	} {
		cfg := mapping.Config{SQL: sql, Index: "i", Parts: map[string]string{"x": tt.part}}
		if tt.change != nil {
			tt.change(&cfg)
		}
		if _, err := mapping.Compile("m", cfg, "shop"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v\nwant %s", tt.part, err, tt.want)
		}
	}
}

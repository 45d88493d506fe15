package mapping_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
)

func TestCompileAccepts(t *testing.T) {
	tests := []struct {
		sql   string
		table string
	}{
		{"select id as _id, name from user", "shop.user"},
		{"SELECT u.ID AS _id, u.Name FROM user u;", "shop.user"},
		{"select `u`.`id` `_id` from `other`.`user` as `u`", "other.user"},
		{"select user.id _id from shop.user", "shop.user"},
		{"select shop.user.id _id from shop.user", "shop.user"},
		{"select id _id, `order`, `we``ird`, `中文` from `select`", "shop.select"},
		{"-- the users\nselect /* id */ id _id # key\nfrom user -- end", "shop.user"},
		{"select concat('user-', id, 1, name) as _id from user", "shop.user"},
		{"select *, id _id from user", "shop.user"},
		{"select u.*, u.id _id from user u", "shop.user"},
		{"select (id) _id from user where (((age) > (18)))", "shop.user"},
		{"select id _id from user where 1 = 1 and not (age in (1, 2) or name like 'a%') xor_name is null", ""},
		{"select id _id from user where 1 = 1 && !(age in (1, 2) || name like 'a|%' escape '|')", "shop.user"},
		{"select id _id from user where true and created between '2024-01-01' and timestamp '2024-01-01 00:00:00'", "shop.user"},
	}
	for _, tt := range tests {
		m, err := mapping.Compile("users", mapping.Config{SQL: tt.sql, Index: "users"}, "shop")
		if tt.table == "" {
			if err == nil {
				t.Errorf("%s: want an error", tt.sql)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.sql, err)
			continue
		}
		if got := m.Table().String(); got != tt.table {
			t.Errorf("%s: got table %s, want %s", tt.sql, got, tt.table)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	const manyRows = "which documents it selects depends on other rows, so it cannot be followed row by row"
	tests := []struct{ sql, want string }{
		{"selec id from user", `1:1: near "selec id from user": syntax error`},
		{"select id as _id\nfrom user\nwhere age = = 3", `3:13: near "= 3": syntax error`},
		{"select id as _id from user where", `1:33: at the end: syntax error: the statement is not complete`},
		{"select id as _id form user", `1:18: near "form user": syntax error`},
		{"select '中' as ä, id as _id from user order by 1", `1:38: near "order by 1": ORDER BY has no meaning`},
		{"select id as _id from user where " + strings.Repeat("age = 1 or ", 300) + "= 3", `1:3334: near "= 3": syntax error`},
		{"select id as _id from user where age = " + strings.Repeat("1", 82), `1:1: near "select id as _id from user where age = 1...": cannot be parsed; is there a number of more than 81 digits in it?`},
		{"select id as _id from user where = 3 " + strings.Repeat("or age = 1 ", 300), `1:34: near "= 3 or age = 1 or age = 1 or age = 1 or ...": syntax error`},
		{";", `1:1: at the end: there is no statement; write select NAMES from TABLE`},
		{"select id _id from user; delete from user", `1:26: near "delete from user": a second statement; one SELECT makes the documents`},
		{"delete from user", `1:1: near "delete from user": not a SELECT; write select NAMES from TABLE`},
		{"table user", `1:1: near "table user": write it as select NAMES from TABLE`},
		{"select 1 as _id", `1:16: at the end: there is no FROM; write select NAMES from TABLE`},
		{"select id _id from user union select id from user", `1:25: near "union select id from user": a row of a UNION cannot be told from a row event of one table; use one mapping for each SELECT`},
		{"with x as (select 1) select id _id from user", `1:1: near "with x as (select 1) select id _id from ...": WITH is not supported; write the sub-query into FROM`},
		{"select id _id, 'group by' from user\ngroup by id", `1:16: near "'group by' from user": a literal needs a name: ... as NAME`},
		{"select id _id from user order by id", `1:25: near "order by id": ORDER BY has no meaning: documents have no order; leave it out`},
		{"select id _id from user limit 3", `1:25: near "limit 3": LIMIT: ` + manyRows},
		{"select id _id from user for update", `1:25: near "for update": a lock has no meaning here; leave it out`},
		{"select u.id _id from user u, orders o", `1:37: near "o": nothing says which documents a row of o is part of: its ON needs o.COLUMN = OTHER.COLUMN, joined by AND, where OTHER is u or leads to it`},
		{"select id _id from (select id from user) x", `1:8: near "id _id from (select id from user) x": the id is a column of the sub-query x: the id must be a column`},
		{"select id _id from user partition (p0)", `1:25: near "partition (p0)": PARTITION is not supported: row events do not say which partition a row is in`},
		{"select id _id from user use index (primary)", `1:25: near "use index (primary)": an index hint has no meaning here; leave it out`},
		{"select name from user", `1:8: near "name from user": the select list must give the document's id by name: for example user.KEY as _id`},
		{"select id _id, name, age as name from user", `1:22: near "age as name from user": a second column named "name"; a document has each name once, give one of them an alias`},
		{"select concat(id, upper(name)) _id from user", `1:8: near "concat(id, upper(name)) _id from user": the function upper as the document's id: the id must be a column, or concat`},
		{"select concat(id, null) _id from user", `1:8: near "concat(id, null) _id from user": a literal as the document's id: the id must be a column, or concat`},
		{"select o.id _id from user u", `1:8: near "o.id _id from user u": unknown table "o"; FROM has u`},
		{"select user.id _id from user u", `1:8: near "user.id _id from user u": unknown table "user"; FROM has u`},
		{"select u.id _id from user u where o.x = 1", `1:35: near "o.x = 1": unknown table "o"; FROM has u`},
		{"select id _id from user where created > now()", `1:41: near "now()": NOW() has another value each time; no event says when`},
		{"select id _id from user where age = @x", `1:37: near "@x": a variable: no row event says when it changes`},
		{"select id _id from user where age in (select 1)", `1:38: near "(select 1)": a sub-query is followed only in FROM, joined by ON`},
	}
	for _, tt := range tests {
		_, err := mapping.Compile("users", mapping.Config{SQL: tt.sql, Index: "users"}, "shop")
		var place *mapping.SQLError
		if !errors.As(err, &place) {
			t.Errorf("%s: got %v, want a SQLError", tt.sql, err)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "mapping users: sql "); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.sql, got, tt.want)
		}
	}
}

func TestCompileNeedsASchema(t *testing.T) {
	_, err := mapping.Compile("users", mapping.Config{SQL: "select id _id from user", Index: "users"}, "")
	if err == nil || !strings.Contains(err.Error(), "the schema of user is not known; write schema.user") {
		t.Errorf("got %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		cfg  mapping.Config
		want string
	}{
		{mapping.Config{SQL: " ", Index: "x"}, "mapping users: sql: missing"},
		{mapping.Config{SQL: "select id _id from user"}, "mapping users: _index: missing"},
		{mapping.Config{SQL: "select id _id from user", Index: "Users"}, `write "users"`},
		{mapping.Config{SQL: "select id _id from user", Index: "_users"}, `begins with "_"`},
		{mapping.Config{SQL: "select id _id from user", Index: "us*rs"}, `contains '*'`},
		{mapping.Config{SQL: "select id _id from user", Index: strings.Repeat("u", 256)}, "256 bytes"},
		{mapping.Config{SQL: "select id _id from user", Index: "users", Skips: []string{"name"}}, "skips: name is not a name in the select list"},
	}
	for _, tt := range tests {
		if _, err := mapping.Compile("users", tt.cfg, "shop"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %s", tt.cfg, err, tt.want)
		}
	}
}

func TestIDAndSkips(t *testing.T) {
	table := userTable()
	row := event.Row{Table: table, Op: event.Insert, After: []any{int64(1), "a", int32(2), "3.00", "2024-01-01 00:00:00.000", nil}}
	tests := []struct {
		cfg     mapping.Config
		want    string
		columns []int
	}{
		{mapping.Config{SQL: "select id, name from user", ID: "id"}, `write 1 {"name":"a"}`, []int{0, 1}},
		{mapping.Config{SQL: "select ID, name from user", ID: "id"}, `write 1 {"name":"a"}`, []int{0, 1}},
		{mapping.Config{SQL: "select * from user", ID: "id", Skips: []string{"balance", "created", "city"}}, `write 1 {"name":"a","age":2}`, []int{0, 1, 2}},
		{mapping.Config{SQL: "select id _id, name, age from user where balance > 0", Skips: []string{"age"}}, `write 1 {"name":"a"}`, []int{0, 1, 3}},
	}
	for _, tt := range tests {
		m := compile(t, tt.cfg)
		equal(t, tt.cfg.SQL, mapRows(t, m, row), []string{tt.want})
		columns, err := m.Columns(table)
		if err != nil || !slices.Equal(columns, tt.columns) {
			t.Errorf("%s: got columns %v, %v, want %v", tt.cfg.SQL, columns, err, tt.columns)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	column := func(change func(c *event.Column)) *event.Table {
		table := userTable()
		change(&table.Columns[1])
		return table
	}
	plain := userTable()
	keyless := userTable()
	keyless.Key = nil
	tests := []struct {
		sql   string
		table *event.Table
		want  string
	}{
		{"select id _id, nmae from user", plain, `mapping users: sql 1:16: column "nmae" is not in shop.user; did you mean "name"? its columns are id, name, age, balance, created, city`},
		{"select id _id from user where zzzzz = 1", plain, `mapping users: sql 1:31: column "zzzzz" is not in shop.user; its columns are id, name, age, balance, created, city`},
		{"select * from user", plain, `mapping users: the select list gives no document id: shop.user has no column "_id"; add id as _id`},
		{"select * from user", keyless, `mapping users: the select list gives no document id: shop.user has no column "_id"; shop.user has no primary key; name the column that identifies its rows as _id`},
		{"select *, id _id, age name from user", plain, `mapping users: the select list gives "name" twice; give one of them an alias`},
		{"select id _id, name `a.b`, age a from user", plain, `mapping users: field "a.b" makes an object of "a", which is also a field; give one of them an alias`},
		{"select id _id, name `_source` from user", plain, `mapping users: sql 1:16: the name "_source" cannot stand in a document: Elasticsearch keeps it for itself; give the column an alias`},
		{"select id _id, name `a..b` from user", plain, `mapping users: sql 1:16: the name "a..b" cannot stand in a document: a dot makes an object, and there is nothing on one side of it; give the column an alias`},
		{"select id _id, name from user", column(func(c *event.Column) { c.Charset = "unknown-2000" }),
			`mapping users: sql 1:16: column name of shop.user has the character set "unknown-2000", which is not known; leave the column out, or convert it to one of armscii8, ascii, big5, `},
		{"select id _id from user where name = 'a'", column(func(c *event.Column) { c.Charset, c.Collation = "gbk", "gbk_chinese_ci" }),
			`mapping users: sql 1:31: column name of shop.user is a CHAR and is compared by the collation "gbk_chinese_ci", which is not handled; handled are ascii_bin, `},
		{"select id _id from user where name = 'a'", column(func(c *event.Column) { c.Collation = "utf8mb4_0900_as_cs" }),
			`mapping users: sql 1:31: column name of shop.user is a CHAR and is compared by the collation "utf8mb4_0900_as_cs", which is not handled; handled are ascii_bin, `},
		{"select id _id from user where name = '中'", column(func(c *event.Column) { c.Charset, c.Collation = "latin1", "latin1_swedish_ci" }),
			`mapping users: sql 1:31: column name of shop.user is a CHAR and is compared with the text '中', which is not text of its character set latin1`},
		{"select id _id from user where name = 1", plain, `mapping users: sql 1:31: column name of shop.user is a CHAR and is compared with the number 1; write text in quotes`},
		{"select id _id from user where age = 'x'", plain, `mapping users: sql 1:31: column age of shop.user is a INT and is compared with the text 'x'; write a number without quotes`},
		{"select id _id from user where created = '2024-02-30'", plain, `mapping users: sql 1:31: column created of shop.user is a DATETIME and is compared with the text '2024-02-30'; write '2024-02-29' or`},
		{"select id _id from user where name = age", plain, `mapping users: sql 1:31: column name of shop.user is a CHAR and is compared with the column age, a INT; two integers`},
		{"select id _id from user where name", plain, `mapping users: sql 1:31: column name of shop.user is a CHAR and is used as a condition by itself; compare it with a value`},
		{"select id _id from user where age like '1%'", plain, `mapping users: sql 1:31: column age of shop.user is a INT and is compared by LIKE; LIKE is handled for CHAR, VARCHAR and TEXT`},
		{"select name _id from user", column(func(c *event.Column) { c.Type = event.Double }),
			`mapping users: sql 1:8: column name of shop.user is a DOUBLE and cannot be part of a document's id; use the columns of a key; add id as _id`},
		{"select id _id from user where name = 'a'", column(func(c *event.Column) { c.Type = event.JSON }),
			`mapping users: sql 1:31: column name of shop.user is a JSON and is compared with the text 'a'; only IS NULL and IS NOT NULL can be asked of it`},
	}
	for _, tt := range tests {
		m := compile(t, mapping.Config{SQL: tt.sql})
		err := m.Bind(tt.table)
		var stop *event.StopError
		if !errors.As(err, &stop) {
			t.Errorf("%s: got %v, want a StopError", tt.sql, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.sql, err, tt.want)
		}
	}
}

// fuzzRule does with a rule what is done with one that a server answers.
func fuzzRule(t *testing.T, r *mapping.Rule, table *event.Table, row event.Row) {
	var touched mapping.Touched
	if _, err := r.Touch(&row, &touched); err != nil {
		return
	}
	columns := append([]event.Column{{Name: "given", Type: event.Int}}, make([]event.Column, len(r.Lookups()[0].Columns))...)
	result, err := r.Result(table, columns)
	if err != nil {
		return
	}
	values := make([]any, len(result.Columns))
	for i := range values {
		values[i] = int64(i)
	}
	if _, err := r.Rendered(result, [][]any{values, values}, touched.Keys, 7); err != nil {
		return
	}
	if r.Documents(nil) == "" || r.Keys([]string{"1"}, 2, "") == "" {
		t.Error("a question without text")
	}
}

func FuzzCompile(f *testing.F) {
	for _, sql := range []string{
		"select u.id as _id, concat(a,'-',b) x, * from `shop`.`order` as u where a=1 and (b < 2.50 or not c in (1,'x',-3,null))",
		"select id _id from t where d between date '2024-01-01' and 1e3 and e like 'a%' escape '|' and x'41'=h and b'1'=i and !j",
		"select a from t1, t2 left join t3 on t1.a=t3.b group by a having 1 order by 1 limit 3",
		"values row(1); table t", "select 1 /*! union select 2 */ -- x\n#", "select '", "(((", "select id _id from t where -(-1) = - - +1 is not true",
	} {
		f.Add(sql)
	}
	table := userTable()
	row := event.Row{Table: table, Op: event.Update, Before: []any{int64(1), "a", int32(2), "3.00", "2024-01-01 00:00:00.000", nil}, After: make([]any, 6)}
	f.Fuzz(func(t *testing.T, sql string) {
		m, err := mapping.Compile("m", mapping.Config{SQL: sql, Index: "i"}, "shop")
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		table := *table
		table.Name = m.Table()
		row := row
		row.Table = &table
		if r := m.Rule(); r != nil {
			fuzzRule(t, r, &table, row)
			return
		}
		changes, err := m.Map([]event.Row{row})
		if err == nil && len(changes) > 2 {
			t.Errorf("%d changes of one row", len(changes))
		}
	})
}

//go:build integration

package integration_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// An alias is a table, or a sub-query, in a drawn SELECT.
type alias struct {
	name string
	t    drawnTable
	sub  bool // grouped: it has the columns up, many, total and list
}

// A drawnMapping is the SQL of a mapping and its options.
type drawnMapping struct {
	sql     string
	objects map[string]string // objFields
	child   bool              // of the parent that the column above names, in a join field
	parts   map[string]string
	whole   string // what the documents should equal, where it is not sql: there are parts, or a pk
	pk      bool   // the column serial is the document's id
	batch   int    // commitBatch; 0 is none
}

// want is the SELECT that the documents should equal.
func (m drawnMapping) want() string { return cmp.Or(m.whole, m.sql) }

// settings are the options as a configuration file has them.
func (m drawnMapping) settings() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		fmt.Fprintf(&b, "objFields.%s = %q\n", name, m.objects[name])
	}
	for _, name := range slices.Sorted(maps.Keys(m.parts)) {
		fmt.Fprintf(&b, "parts.%s = %q\n", name, m.parts[name])
	}
	if m.pk {
		b.WriteString("pk = \"serial\"\n")
	}
	if m.batch > 0 {
		fmt.Fprintf(&b, "commitBatch = %d\n", m.batch)
	}
	if m.child {
		b.WriteString("relations.kind = { name = \"child\", parent = \"above\" }\n")
	}
	return b.String()
}

// drawMapping draws a mapping.
func (w *world) drawMapping(t *rapid.T) drawnMapping {
	pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	table := func(label string) drawnTable { return w.tables[pick(label, len(w.tables))] }
	spell := func(d drawnTable) string {
		if pick("spelling", 2) == 0 {
			w.uses("backticks")
			return fmt.Sprintf("`%s`.`%s`", w.schema, d.name)
		}
		w.uses("schema.table")
		return w.schema + "." + d.name
	}
	if pick("parts", 6) == 0 {
		return w.drawGroup(pick, spell, table)
	}
	main := alias{name: "a", t: table("main")}
	if pick("shape", 6) == 0 {
		w.uses("group by")
		return drawnMapping{sql: fmt.Sprintf("select a.up as _id, count(*) as many, sum(a.n) as total, group_concat(a.s order by a.id, a.k) as list from %s a where a.up is not null group by a.up%s", spell(main.t),
			[]string{"", " having count(*) > 1"}[pick("having", 2)])}
	}
	aliases := []alias{main}
	from := spell(main.t) + " a"
	if len(w.tables) > 0 && pick("alone", 4) == 0 {
		w.uses("no alias")
		main.name = main.t.name
		aliases[0], from = main, spell(main.t)
	}
	var where []string
	for i := range pick("joins", 4) {
		b := alias{name: string(rune('b' + i)), t: table("joined"), sub: pick("sub", 3) == 0}
		from, where = w.drawJoin(t, pick, spell, aliases, b, from, where)
		aliases = append(aliases, b)
		if len(where) > 0 { // a comma binds less than what would follow
			break
		}
	}
	id := main.name + ".id"
	if main.t.composite {
		w.uses("composite id")
		id = fmt.Sprintf("concat(%s.id, '-', %[1]s.k)", main.name)
	}
	child := pick("child", 4) == 0
	if child {
		w.uses("child")
		id = fmt.Sprintf("concat('c-', %s)", strings.TrimSuffix(strings.TrimPrefix(id, "concat("), ")"))
		where = append(where, main.name+".up is not null")
	}
	fields := []string{id + " as _id"}
	if child {
		fields = append(fields, main.name+".up as above")
	}
	objects := make(map[string]string)
	for i := range 1 + pick("fields", 5) {
		field := w.drawField(pick, aliases[pick("of", len(aliases))])
		name := fmt.Sprintf("f%d", i)
		fields = append(fields, field+" as "+name)
		switch {
		case strings.HasPrefix(field, "concat('{"):
			w.uses("objFields object")
			objects[name] = "object"
		case (strings.HasSuffix(field, ".s") || strings.HasSuffix(field, ".list")) && pick("array", 2) == 0:
			w.uses("objFields array")
			objects[name] = "array:" + []string{";", ",", "b"}[pick("separator", 3)]
		}
	}
	if pick("where", 2) == 0 {
		w.uses("where")
		where = append(where, w.drawCondition(pick, aliases[pick("of", len(aliases))]))
	}
	sql := "select " + strings.Join(fields, ", ") + " from " + from
	if len(where) > 0 {
		sql += " where " + strings.Join(where, " and ")
	}
	if pick("case", 4) == 0 {
		w.uses("upper case")
		for _, word := range []string{"select ", " from ", " where ", " left join ", " on ", " group by "} {
			sql = strings.ReplaceAll(sql, word, strings.ToUpper(word))
		}
	}
	m := drawnMapping{sql: sql, objects: objects, child: child}
	if !child && !main.t.composite && pick("pk", 4) == 0 {
		w.uses("pk")
		m.pk, m.whole = true, strings.Replace(sql, id+" as _id", id+" as _id, "+id+" as serial", 1)
		m.sql = strings.Replace(sql, id+" as _id", id+" as serial", 1)
	}
	if pick("commitBatch", 4) == 0 {
		w.uses("commitBatch")
		m.batch = 1 + pick("batch", 5)
	}
	return m
}

// drawGroup draws several SELECTs that make one document: rows by their key, and groups of rows.
func (w *world) drawGroup(pick func(string, int) int, spell func(drawnTable) string, table func(string) drawnTable) drawnMapping {
	w.uses("parts")
	var sqls, ids, fields []string
	joins := ""
	for i := range 2 + pick("more parts", 2) {
		t, name := table("of part"), fmt.Sprintf("m%d", i)
		fields = append(fields, fmt.Sprintf("%s.g%dn, %[1]s.g%[2]ds", name, i))
		if t.composite || pick("grouped part", 2) == 0 {
			w.uses("grouped part")
			sql := fmt.Sprintf("select a.up as _id, count(*) as g%dn, group_concat(a.s order by a.id, a.k) as g%[1]ds from %s a group by a.up", i, spell(t))
			sqls, ids = append(sqls, sql), append(ids, "select up from "+spell(t)+" where up is not null")
			joins += fmt.Sprintf(" left join (%s) %s on %[2]s._id = k.id", sql, name)
			continue
		}
		w.uses("plain part")
		sql := fmt.Sprintf("select a.id as _id, a.n as g%dn, upper(a.s) as g%[1]ds from %s a", i, spell(t))
		if pick("where of a part", 2) == 0 {
			sql += " where a.n > 2"
		}
		sqls, ids = append(sqls, sql), append(ids, "select x._id from ("+sql+") x")
		joins += fmt.Sprintf(" left join (%s) %s on %[2]s._id = k.id", sql, name)
	}
	m := drawnMapping{sql: sqls[0], parts: make(map[string]string),
		whole: strings.Replace("select k.id as _id, "+strings.Join(fields, ", ")+" from (IDS) k"+joins, "IDS", strings.Join(ids, " union "), 1)}
	m.whole = strings.Replace(m.whole, "select up from", "select up as id from", 1)
	m.whole = strings.Replace(m.whole, "select x._id from", "select x._id as id from", 1)
	for i, sql := range sqls[1:] {
		m.parts[fmt.Sprintf("p%d", i)] = sql
	}
	return m
}

// drawJoin adds a table, or a sub-query, to FROM such that each row of the first table stays one row: it is joined by its whole key, or
// grouped by what joins it.
func (w *world) drawJoin(t *rapid.T, pick func(string, int) int, spell func(drawnTable) string, aliases []alias, b alias, from string, where []string) (string, []string) {
	to := aliases[pick("to", len(aliases))]
	for to.sub {
		to = aliases[0]
	}
	if to.name != aliases[0].name {
		w.uses("chain")
	}
	column := to.name + "." + []string{"up", "alt"}[pick("column", 2)]
	on, what := "", spell(b.t)+" "+b.name
	switch {
	case b.sub:
		w.uses("sub-query")
		inner := ""
		if pick("inner where", 2) == 0 {
			w.uses("sub-query where")
			inner = " where n is not null"
		}
		what = fmt.Sprintf("(select up, count(*) as many, sum(n) as total, group_concat(s order by id, k separator ';') as list from %s%s group by up) %s", spell(b.t), inner, b.name)
		on = fmt.Sprintf("%s.up = %s.id", b.name, to.name)
	case b.t.composite:
		w.uses("two columns in on")
		on = fmt.Sprintf("%s.id = %s and %s.k = %s.k", b.name, column, b.name, to.name)
	default:
		on = fmt.Sprintf("%s = %s.id", column, b.name)
	}
	if pick("more", 4) == 0 && !b.sub {
		w.uses("condition in on")
		on += fmt.Sprintf(" and (%s.n > 3 or %[1]s.s is null)", b.name)
	}
	switch kind := pick("kind", 5); {
	case kind == 0:
		w.uses("inner join")
		return from + " inner join " + what + " on " + on, where
	case kind == 1 && len(aliases) == 1:
		w.uses("right join")
		return what + " right join " + from + " on " + on, where
	case kind == 2:
		w.uses("comma join")
		return from + ", " + what, append(where, on)
	}
	w.uses("left join")
	return from + " left join " + what + " on " + on, where
}

// drawField draws an entry of the select list.
func (w *world) drawField(pick func(string, int) int, a alias) string {
	if a.sub {
		return a.name + "." + []string{"many", "total", "list"}[pick("sub column", 3)]
	}
	draws := []struct{ feature, text string }{
		{"column", "%s.n"}, {"column", "%s.s"}, {"column", "%s.up"}, {"function", "upper(%s.s)"}, {"function", "concat_ws('/', %s.s, %[1]s.n)"}, {"function", "coalesce(%s.s, 'none')"},
		{"case", "case when %s.n > 5 then 'many' when %[1]s.n is null then null else 'few' end"}, {"arithmetic", "%s.n * 3 + 1"}, {"arithmetic", "%s.n / 4"}, {"literal", "'it''s'"}, {"literal", "7"},
		{"cast", "cast(%s.n as char)"}, {"cast", "cast(%s.s as unsigned)"}, {"function", "if(%s.n > 2, %[1]s.s, null)"}, {"json in text", `concat('{"n": ', coalesce(%s.n, 'null'), ', "list": [2.50, "é"]}')`}, {"comparison", "%s.n > 4"},
	}
	if a.t.wide {
		draws = append(draws, []struct{ feature, text string }{{"column", "%s.d"}, {"column", "%s.e"}, {"column", "%s.at"}, {"function", "date_format(%s.at, '%%Y-%%m')"}, {"function", "round(%s.d, 1)"}, {"arithmetic", "%s.d * 2"}}...)
	}
	d := draws[pick("field", len(draws))]
	w.uses(d.feature)
	if d.feature == "literal" {
		return d.text
	}
	return fmt.Sprintf(d.text, a.name)
}

func (w *world) drawCondition(pick func(string, int) int, a alias) string {
	if a.sub {
		return fmt.Sprintf("(%s.many > 1 or %[1]s.many is null)", a.name)
	}
	return fmt.Sprintf([]string{"%s.n > 2", "(%s.n is null or %[1]s.n < 7)", "%s.s like 'a%%'", "length(%s.s) > 2", "not (%s.n = 4)"}[pick("condition", 5)], a.name)
}

// drawStatements draws statements of any kind; a few keys meet often.
func (w *world) drawStatements(t *rapid.T, most int) []string {
	var out []string
	for range rapid.IntRange(most/3, most).Draw(t, "statements") {
		out = append(out, w.drawStatement(t))
	}
	return out
}

const drawnKeys = 12

func (w *world) drawStatement(t *rapid.T) string {
	pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	d := w.tables[pick("table", len(w.tables))]
	name := w.schema + "." + d.name
	value := func(label string, n int) string {
		if pick("null", 6) == 0 {
			return "NULL"
		}
		return fmt.Sprint(pick(label, n))
	}
	id := pick("id", drawnKeys)
	switch kind := pick("statement", 12); {
	case kind < 5:
		var rows []string
		for i := range 1 + pick("rows", 5) {
			row := fmt.Sprintf("(%d, %d, %s, %s, %s, '%s'", (id+i)%drawnKeys, pick("k", 2), value("up", drawnKeys), value("alt", drawnKeys), value("n", 9), []string{"", "a''b", "abc", "é", "12x"}[pick("s", 5)])
			if d.wide {
				row += fmt.Sprintf(", %s.25, '%s', '2026-0%d-01 10:00:00.5'", fmt.Sprint(pick("d", 50)), []string{"x", "y", "z"}[pick("e", 3)], 1+pick("month", 9))
			}
			rows = append(rows, row+")")
		}
		return "REPLACE INTO " + name + " VALUES " + strings.Join(rows, ", ")
	case kind < 7:
		return fmt.Sprintf("UPDATE %s SET up = %s, n = %s WHERE id BETWEEN %d AND %d", name, value("up", drawnKeys), value("n", 9), id, id+3)
	case kind == 7:
		return fmt.Sprintf("UPDATE IGNORE %s SET id = %d WHERE id = %d", name, pick("new id", drawnKeys), id)
	case kind == 8:
		return fmt.Sprintf("UPDATE %s SET s = concat('a', n), alt = %s WHERE up = %d", name, value("alt", drawnKeys), id)
	case kind == 9:
		return fmt.Sprintf("DELETE FROM %s WHERE id = %d", name, id)
	case kind == 10:
		return fmt.Sprintf("DELETE FROM %s WHERE up = %d", name, id)
	}
	if pick("truncate", 4) == 0 {
		w.uses("truncate")
		return "TRUNCATE TABLE " + name
	}
	return fmt.Sprintf("DELETE FROM %s WHERE n > 6", name)
}

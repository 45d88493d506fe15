package mapping

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
	"canalgo/sqltext"
)

func regexpName(name string) string { return regexp.QuoteMeta(name) }

// findPaths finds how each element leads to the anchor, over as few others as possible.
func (r *Rule) findPaths(stmt *ast.SelectStmt) error {
	all, err := r.joinLinks(stmt.From.TableRefs)
	if err != nil {
		return err
	}
	links := merge(append(all, r.equalities(stmt.Where)...))
	reached := []*element{r.anchor}
	for i := 0; i < len(reached); i++ {
		to := reached[i]
		if to.inner != nil {
			continue // its rows are not known before it is asked for them
		}
		for _, l := range links {
			if l.from == to {
				l = l.turned()
			}
			if l.to != to || slices.Contains(reached, l.from) {
				continue
			}
			l.from.path = append([]link{l}, to.path...)
			reached = append(reached, l.from)
		}
	}
	for _, e := range r.elements {
		if e == r.anchor || e.path != nil {
			continue
		}
		return r.src.errorAt(e.at, "nothing says which documents a row of %s is part of: its ON needs %[1]s.COLUMN = OTHER.COLUMN, joined by AND, where OTHER is %s or leads to it%s",
			e.name, r.anchor.name, innerHint(e))
	}
	return nil
}

func innerHint(e *element) string {
	switch {
	case e.inner == nil:
		return ""
	case e.inner.GroupBy != nil:
		return "; the column must be one by which the sub-query groups"
	}
	return "; the column must be a plain column of the sub-query's table"
}

// joinLinks returns what the joins' conditions demand. Of an outer join it is known only where both its sides are there, so that a
// link must lead from one side to the other.
func (r *Rule) joinLinks(node ast.ResultSetNode) ([]link, error) {
	j, ok := node.(*ast.Join)
	if !ok || j.Right == nil {
		if ok {
			return r.joinLinks(j.Left)
		}
		return nil, nil
	}
	links, err := r.joinLinks(j.Left)
	if err != nil {
		return nil, err
	}
	right, err := r.joinLinks(j.Right)
	if err != nil {
		return nil, err
	}
	links = append(links, right...)
	lefts, rights := r.below(j.Left), r.below(j.Right)
	if j.On != nil {
		for _, l := range r.equalities(j.On.Expr) {
			across := slices.Contains(lefts, l.from) && slices.Contains(rights, l.to) || slices.Contains(lefts, l.to) && slices.Contains(rights, l.from)
			if across || j.Tp == ast.CrossJoin {
				links = append(links, l)
			}
		}
	}
	for _, c := range j.Using {
		if len(lefts) != 1 || len(rights) != 1 {
			return nil, r.src.errorAt(r.src.find(`\busing\b`, 0), "USING between more than two tables; write ON with the tables' names")
		}
		a, b := lefts[0].column(c.Name.O), rights[0].column(c.Name.O)
		if a != "" && b != "" && lefts[0].restrictable(a) && rights[0].restrictable(b) {
			links = append(links, link{lefts[0], rights[0], []string{a}, []string{b}})
		}
		for _, e := range r.elements {
			e.reads[c.Name.L] = true
		}
	}
	return links, nil
}

// below returns the elements of a part of FROM.
func (r *Rule) below(node ast.ResultSetNode) []*element {
	switch n := node.(type) {
	case *ast.Join:
		out := r.below(n.Left)
		if n.Right != nil {
			out = append(out, r.below(n.Right)...)
		}
		return out
	case *ast.TableSource:
		for _, e := range r.elements {
			if e.from == n {
				return []*element{e}
			}
		}
	}
	return nil
}

// merge puts the links of the same two elements into one.
func merge(links []link) []link {
	var out []link
	for _, l := range links {
		i := slices.IndexFunc(out, func(o link) bool { return o.from == l.from && o.to == l.to || o.from == l.to && o.to == l.from })
		if i < 0 {
			out = append(out, l)
			continue
		}
		if out[i].from != l.from {
			l = l.turned()
		}
		out[i].fromCols, out[i].toCols = append(out[i].fromCols, l.fromCols...), append(out[i].toCols, l.toCols...)
	}
	return out
}

// here is the mark in a template where the restriction of the anchor's rows stands, as the name of a column.
const here = "canalgo:here"

func mark(name string) ast.ExprNode {
	return &ast.ColumnNameExpr{Name: &ast.ColumnName{Name: ast.NewCIStr(name)}}
}

// restrict adds a mark to a condition.
func restrict(where ast.ExprNode, name string) ast.ExprNode {
	if where == nil {
		return mark(name)
	}
	return &ast.BinaryOperationExpr{Op: opcode.LogicAnd, L: &ast.ParenthesesExpr{Expr: where}, R: mark(name)}
}

// restoreFlags write a statement as the server reads it in a session with a plain sql_mode.
const restoreFlags = format.DefaultRestoreFlags | format.RestoreStringEscapeBackslash | format.RestoreStringWithoutDefaultCharset

// compileTemplate writes the SELECT anew: the id's columns behind the others, with marks for restrictions.
func (r *Rule) compileTemplate(stmt *ast.SelectStmt, fields []*ast.SelectField) (string, error) {
	list := slices.Clone(fields)
	for i, f := range list {
		if f.WildCard == nil {
			copied := *f
			copied.AsName = ast.NewCIStr(r.items[i].name)
			list[i] = &copied
		}
	}
	for _, name := range r.key {
		column := &ast.ColumnName{Table: ast.NewCIStr(r.anchor.name), Name: ast.NewCIStr(name)}
		list = append(list, &ast.SelectField{Expr: &ast.ColumnNameExpr{Name: column}, AsName: ast.NewCIStr(keyName(name))})
	}
	stmt.Fields = &ast.FieldList{Fields: list}
	stmt.Where = restrict(stmt.Where, here)
	for _, e := range r.elements {
		if e.inner != nil {
			e.push = "canalgo:" + e.name
			e.inner.Where = restrict(e.inner.Where, e.push)
		}
	}
	var b strings.Builder
	if err := stmt.Restore(format.NewRestoreCtx(restoreFlags, &b)); err != nil {
		return "", r.src.errorAt(0, "cannot be written for the server: %v", err)
	}
	text := b.String()
	for _, e := range r.elements {
		if e.inner != nil {
			text = strings.ReplaceAll(text, sqltext.Quote(e.push), r.pushed(e))
		}
	}
	return text, nil
}

// keyName is the name of a column of the key behind the select list. No one would choose it.
func keyName(column string) string { return "key " + column }

// pushed restricts a sub-query to the rows that the restricted rows of the anchor are joined with, which the server would not do.
func (r *Rule) pushed(e *element) string {
	first := e.path[0]
	inner, _, _ := onlyTable(e.inner.From)
	return sqltext.Tuple(exprs(calledBy(inner), first.fromCols)) + " IN (SELECT " + strings.Join(exprs(first.to.name, first.toCols), ", ") +
		r.from(e.path) + " WHERE " + sqltext.Quote(here) + ")"
}

// from is the FROM of the tables between an element and the anchor, without the element.
func (r *Rule) from(path []link) string {
	if r.branches != nil {
		return " FROM " + r.ids() + " AS " + sqltext.Quote(r.anchor.name) + joins(path)
	}
	return joined(r.anchor, path)
}

// joined is the FROM of a table and of those that a path to it leads over.
func joined(to *element, path []link) string {
	return " FROM " + sqltext.Table(to.table) + " AS " + sqltext.Quote(to.name) + joins(path)
}

func joins(path []link) string {
	var b strings.Builder
	for _, l := range slices.Backward(path[1:]) {
		b.WriteString(" JOIN " + sqltext.Table(l.from.table) + " AS " + sqltext.Quote(l.from.name) + " ON ")
		from, to := exprs(l.from.name, l.fromCols), exprs(l.to.name, l.toCols)
		for i := range from {
			if i > 0 {
				b.WriteString(" AND ")
			}
			b.WriteString(from[i] + " = " + to[i])
		}
	}
	return b.String()
}

func exprs(table string, columns []string) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = sqltext.Quote(table) + "." + sqltext.Quote(c)
	}
	return out
}

// query is the SELECT with a restriction of the anchor's rows.
func (r *Rule) query(restriction string) string {
	return strings.ReplaceAll(r.template, sqltext.Quote(here), "("+restriction+")")
}

func (r *Rule) keyExprs() []string { return exprs(r.anchor.name, r.key) }

// noKey is the condition that one of a key's columns is NULL.
func noKey(exprs []string) string { return strings.Join(exprs, " IS NULL OR ") + " IS NULL" }

// Shape is a SELECT without rows that tells the columns.
func (r *Rule) Shape() string { return r.query("FALSE") }

// Documents is the SELECT of the documents whose keys are given as literals.
func (r *Rule) Documents(keys [][]string) string { return r.query(sqltext.In(r.keyExprs(), keys)) }

// InOrder is Documents in the order of their keys.
func (r *Rule) InOrder(keys [][]string) string {
	return r.Documents(keys) + " ORDER BY " + strings.Join(r.keyExprs(), ", ")
}

// Nulls is the SELECT of a row that would have NULL as its document's id, if there is one for which where holds; "" is all rows.
func (r *Rule) Nulls(where string) string {
	condition := noKey(r.keyExprs())
	if where != "" {
		condition = "(" + condition + ") AND (" + where + ")"
	}
	return r.query(condition) + " LIMIT 1"
}

// Between is the SELECT of the documents whose keys are behind one and up to another, in their order; nil is the start, or the end. Rows
// without a key have no place among them: there may be any number, and Nulls gives one. Those are taken that have a row of the anchor for
// which where holds, "" for all: whole, whatever other rows they have.
func (r *Rule) Between(key, last []string, where string) string {
	condition := between(r.keyExprs(), key, last) + " AND NOT (" + noKey(r.keyExprs()) + ")"
	if where != "" {
		condition += " AND " + sqltext.Tuple(r.keyExprs()) + " IN (SELECT " + strings.Join(r.keyExprs(), ", ") + r.from([]link{{}}) + " WHERE (" + where + ") AND " + condition + ")"
	}
	return r.query(condition) + " ORDER BY " + strings.Join(r.keyExprs(), ", ")
}

func between(exprs, key, last []string) string {
	condition := "TRUE"
	if len(key) > 0 {
		condition = "(" + sqltext.Behind(exprs, key) + ")"
	}
	if len(last) > 0 {
		condition += " AND NOT (" + sqltext.Behind(exprs, last) + ")"
	}
	return condition
}

// Keys is the SELECT of at most limit keys behind one, whether they have documents or not, of rows for which where holds; nil is the
// start, and "" all rows.
func (r *Rule) Keys(key []string, limit int, where string) string {
	if r.branches != nil {
		return r.nextIDs(key, nil, limit)
	}
	condition := between(r.keyExprs(), key, nil)
	if where != "" {
		condition = "(" + where + ") AND " + condition
	}
	return keys(r.keyExprs(), r.from([]link{{}}), condition, limit)
}

func keys(key []string, from, condition string, limit int) string {
	list := strings.Join(key, ", ")
	return "SELECT DISTINCT " + list + from + " WHERE " + condition + " AND NOT (" + noKey(key) + ") ORDER BY " + list + " LIMIT " + formatInt(int64(limit))
}

// A Lookup is one table that is searched by columns when a row of another changes, or when documents are rendered.
type Lookup struct {
	Changed event.TableName // whose rows lead to it
	Table   event.TableName
	Columns []string
}

// Lookups returns what should have an index.
func (r *Rule) Lookups() []Lookup {
	out := []Lookup{{Changed: r.anchor.table, Table: r.anchor.table, Columns: r.key}}
	for _, b := range r.branches {
		out = append(out, Lookup{b.table, b.table, b.columns})
	}
	for _, e := range r.elements {
		if e == r.anchor {
			continue
		}
		for _, l := range e.path {
			out = append(out, Lookup{e.table, l.to.table, l.toCols})
		}
		out = append(out, Lookup{r.anchor.table, e.table, e.path[0].fromCols}) // to render
	}
	return out
}

package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
)

// A Rule is the SQL of a mapping whose documents are rendered by the source's server: it has joins, functions or conditions that
// are not computed here. Rows of its tables only say which documents change; what they become is what the server answers to the
// SQL, restricted to them.
//
// The anchor is the element of FROM whose columns make the document's id; those columns are the rule's key. Each other element
// leads to the anchor by equal columns, its path, so that the documents which a row of it is part of can be found.
type Rule struct {
	mapping  *Mapping
	src      source
	elements []*element
	anchor   *element
	id       []part   // of the anchor's columns
	key      []string // the anchor's columns in the id, each once
	parent   []part   // of the anchor's columns, what makes the id of a child's parent; nil for others
	branches []branch // of a group: what gives the ids, instead of the anchor's table
	items    []item   // of the select list, but the id; one without a name for *
	template string   // the SELECT, with marks where a restriction stands
	merges   bool     // several rows of the anchor make one document: GROUP BY, DISTINCT

	mu     sync.Mutex
	bounds map[*element]*boundElement // to the definition that was met last
	// defined are the tables as the server has them.
	defined map[event.TableName]*event.Table
}

// An element is one entry of FROM: a table, or a sub-query of one table.
type element struct {
	name  string // by which its columns are called
	from  *ast.TableSource
	table event.TableName
	at    int
	inner *ast.SelectStmt   // nil for a table
	plain map[string]string // of a sub-query: which of its columns are columns of its table, in lower case
	group []string          // of a sub-query with GROUP BY: the columns of its table by which it groups, in lower case
	reads map[string]bool   // the columns that the SQL names, in lower case
	path  []link            // to the anchor
	// id and idColumns are, of a table that gives ids of a group, what makes them, and which of its columns are those of the key.
	id        []part
	idColumns []string
	push      string // of a sub-query: the mark in it where its restriction stands
}

// A link says that columns of two elements are equal where both are joined.
type link struct {
	from, to         *element
	fromCols, toCols []string
}

func (l link) turned() link { return link{l.to, l.from, l.toCols, l.fromCols} }

// column returns the name that a column of the element has in its table, "" when it is computed.
func (e *element) column(name string) string {
	if e.inner == nil {
		return name
	}
	return e.plain[strings.ToLower(name)]
}

// compileRule reads a SELECT that Compile cannot follow by itself. The statement is changed.
func (m *Mapping) compileRule(stmt *ast.SelectStmt, defaultSchema string) (*Rule, error) {
	r := &Rule{mapping: m, src: m.src, merges: stmt.GroupBy != nil || stmt.Distinct}
	if err := r.compileFrom(stmt.From.TableRefs, defaultSchema); err != nil {
		return nil, err
	}
	if err := r.refuseParts(stmt); err != nil {
		return nil, err
	}
	fields, err := r.compileID(stmt.Fields.Fields, m.id)
	if err != nil {
		return nil, err
	}
	if err := r.compileNames(fields, m.id); err != nil {
		return nil, err
	}
	if err := r.compileParent(fields); err != nil {
		return nil, err
	}
	if aggregates(stmt) && stmt.GroupBy == nil {
		return nil, r.src.errorAt(fields[0].Offset, "an aggregate function without GROUP BY: all rows would be one document")
	}
	if err := r.findPaths(stmt); err != nil {
		return nil, err
	}
	if err := r.noteReads(stmt); err != nil {
		return nil, err
	}
	r.template, err = r.compileTemplate(stmt, fields)
	return r, err
}

// compileFrom lists the elements of FROM.
func (r *Rule) compileFrom(node ast.ResultSetNode, defaultSchema string) error {
	switch n := node.(type) {
	case *ast.Join:
		if n.NaturalJoin {
			return r.src.errorAt(r.src.find(`\bnatural\b`, 0), "NATURAL JOIN depends on the tables' columns, which may change; write ON with the columns")
		}
		if err := r.compileFrom(n.Left, defaultSchema); err != nil || n.Right == nil {
			return err
		}
		return r.compileFrom(n.Right, defaultSchema)
	case *ast.TableSource:
		return r.compileSource(n, defaultSchema)
	}
	return r.src.errorAt(r.src.find(`\bfrom\b`, 0), "FROM takes tables, joins, and sub-queries of one table")
}

func (r *Rule) compileSource(n *ast.TableSource, defaultSchema string) error {
	e := &element{name: calledBy(n), from: n, at: r.src.find(`\bfrom\b`, 0), reads: map[string]bool{}}
	switch from := n.Source.(type) {
	case *ast.TableName:
		if from.Name.O == idsMark && r.id != nil { // of a group
			break
		}
		if err := r.setTable(e, from, defaultSchema); err != nil {
			return err
		}
	case *ast.SelectStmt:
		if n.Lateral {
			return r.src.errorAt(r.src.find(`\blateral\b`, 0), "LATERAL is not supported; join a sub-query, or the table itself")
		}
		if err := r.compileInner(e, from, defaultSchema); err != nil {
			return err
		}
	default:
		return r.src.errorAt(e.at, "FROM takes tables, joins, and sub-queries of one table")
	}
	e.at = r.src.find(`\b`+regexpName(e.name)+`\b`, e.at)
	for _, other := range r.elements {
		if strings.EqualFold(other.name, e.name) {
			return r.src.errorAt(r.src.find(`\b`+regexpName(e.name)+`\b`, e.at+1), "a second table called %s; give each an alias", e.name)
		}
	}
	r.elements = append(r.elements, e)
	return nil
}

// calledBy is the name by which the columns of an entry of FROM are called.
func calledBy(n *ast.TableSource) string {
	if table, ok := n.Source.(*ast.TableName); ok && n.AsName.O == "" {
		return table.Name.O
	}
	return n.AsName.O
}

// onlyTable returns the table of a FROM that has no other.
func onlyTable(from *ast.TableRefsClause) (source *ast.TableSource, table *ast.TableName, ok bool) {
	if from == nil || from.TableRefs.Right != nil {
		return nil, nil, false
	}
	if source, ok = from.TableRefs.Left.(*ast.TableSource); ok {
		table, ok = source.Source.(*ast.TableName)
	}
	return source, table, ok
}

// setTable takes the table's name, and writes its schema into the statement.
func (r *Rule) setTable(e *element, from *ast.TableName, defaultSchema string) error {
	if pattern, reason := refusedTable(from); reason != "" {
		return r.src.errorAt(r.src.find(pattern, e.at), "%s", reason)
	}
	if from.Schema.O == "" {
		if defaultSchema == "" {
			return r.src.errorAt(r.src.find(`\b`+regexpName(from.Name.O)+`\b`, e.at), "the schema of %s is not known; write schema.%[1]s, or give the source a default schema", from.Name.O)
		}
		from.Schema = ast.NewCIStr(defaultSchema)
	}
	e.table = event.TableName{Schema: from.Schema.O, Name: from.Name.O}
	return nil
}

// refusedTable says why a table cannot stand in FROM as it is written, or "", and what to look for in the SQL.
func refusedTable(t *ast.TableName) (pattern, reason string) {
	switch {
	case len(t.PartitionNames) > 0:
		return `\bpartition\b`, "PARTITION is not supported: row events do not say which partition a row is in"
	case t.TableSample != nil:
		return `\btablesample\b`, "TABLESAMPLE is not supported"
	case t.AsOf != nil:
		return `\bas\s+of\b`, "AS OF is not supported"
	case len(t.IndexHints) > 0:
		return `\b(use|force|ignore)\s+(index|key)\b`, "an index hint has no meaning here; leave it out"
	}
	return "", ""
}

// compileInner reads a sub-query of FROM: one table, whose rows it may filter, compute and group.
func (r *Rule) compileInner(e *element, inner *ast.SelectStmt, defaultSchema string) error {
	at := r.src.find(`\(\s*select\b`, e.at)
	refuse := func(reason string) error { return r.src.errorAt(at, "the sub-query %s: %s", e.name, reason) }
	_, table, ok := onlyTable(inner.From)
	switch {
	case !ok:
		return refuse("it reads one table; join other tables outside")
	case inner.Limit != nil, inner.With != nil, len(inner.WindowSpecs) > 0, inner.SelectIntoOpt != nil, inner.LockInfo != nil:
		return refuse("WITH, WINDOW, LIMIT, INTO and locks are not supported, because which rows they give depends on rows that are not known")
	}
	if err := r.setTable(e, table, defaultSchema); err != nil {
		return err
	}
	e.inner, e.plain = inner, map[string]string{}
	for _, f := range inner.Fields.Fields {
		if f.WildCard != nil {
			return refuse("name its columns instead of *, so that it is known which of them the outer SQL can use")
		}
		column, ok := unparen(f.Expr).(*ast.ColumnNameExpr)
		if !ok {
			continue
		}
		name := f.AsName.L
		if name == "" {
			name = column.Name.Name.L
		}
		e.plain[name] = column.Name.Name.O
	}
	if inner.GroupBy != nil {
		for _, item := range inner.GroupBy.Items {
			if column, ok := unparen(item.Expr).(*ast.ColumnNameExpr); ok {
				e.group = append(e.group, strings.ToLower(e.byName(column.Name.Name.O)))
			}
		}
	} else if aggregates(inner) {
		return refuse("an aggregate function without GROUP BY; group by the columns by which it is joined")
	}
	return nil
}

// byName returns the column of the sub-query's table that a name in its GROUP BY stands for: a column, or an alias of one.
func (e *element) byName(name string) string {
	if column, ok := e.plain[strings.ToLower(name)]; ok {
		return column
	}
	return name
}

// compileID finds what makes the document's id, and with it the anchor; it returns the other entries of the select list.
func (r *Rule) compileID(fields []*ast.SelectField, id string) ([]*ast.SelectField, error) {
	i := slices.IndexFunc(fields, func(f *ast.SelectField) bool { return f.WildCard == nil && strings.EqualFold(nameOf(f), id) })
	if i < 0 {
		return nil, r.src.errorAt(fields[0].Offset, "the select list must give the document's id by name: for example %s.KEY as %s", r.elements[0].name, id)
	}
	field := fields[i]
	const why = "the id must be a column, or concat of columns and text, of one table of FROM, so that the documents of a row that is gone are known"
	var err error
	if r.id, err = r.idOf(field, "id", why); err != nil {
		return nil, err
	}
	for _, p := range r.id {
		if !p.isText && !slices.ContainsFunc(r.key, func(k string) bool { return strings.EqualFold(k, p.column.name) }) {
			r.key = append(r.key, p.column.name)
		}
	}
	if r.mapping.pk {
		return fields, nil
	}
	return slices.Delete(slices.Clone(fields), i, i+1), nil
}

// idOf reads an entry of the select list that is an id: of the anchor's columns, whichever table that is.
func (r *Rule) idOf(field *ast.SelectField, what, why string) (parts []part, err error) {
	add := func(e ast.ExprNode) error {
		column, ok := unparen(e).(*ast.ColumnNameExpr)
		if !ok {
			return r.src.errorAt(field.Offset, "%s as the document's %s: %s", describe(e), what, why)
		}
		owner, err := r.owner(column)
		switch {
		case err != nil:
			return err
		case owner.inner != nil:
			return r.src.errorAt(field.Offset, "the %s is a column of the sub-query %s: %s", what, owner.name, why)
		case r.anchor != nil && r.anchor != owner:
			return r.src.errorAt(field.Offset, "the %s has columns of %s and of %s: %s", what, r.anchor.name, owner.name, why)
		}
		r.anchor = owner
		parts = append(parts, part{column: columnRef{column.Name.Name.O, field.Offset}})
		return nil
	}
	expr := unparen(field.Expr)
	if f, ok := expr.(*ast.FuncCallExpr); ok && f.FnName.L == ast.Concat {
		for _, arg := range f.Args {
			c, literal, err := scope{}.constant(unparen(arg))
			if err == nil && literal && (c.kind == textConstant || c.kind == numberConstant) {
				parts = append(parts, part{text: c.text, isText: true})
			} else if err := add(arg); err != nil {
				return nil, err
			}
		}
		if !slices.ContainsFunc(parts, func(p part) bool { return !p.isText }) {
			return nil, r.src.errorAt(field.Offset, "the %s has no column: %s", what, why)
		}
	} else if err := add(expr); err != nil {
		return nil, err
	}
	return parts, nil
}

// compileParent finds what makes the id of a child's parent: where a document was whose row is gone must be known from the row alone.
func (r *Rule) compileParent(fields []*ast.SelectField) (err error) {
	relation := r.mapping.relation
	if relation == nil || relation.parent == "" {
		return nil
	}
	for _, f := range fields {
		if f.WildCard == nil && nameOf(f) == relation.parent {
			r.parent, err = r.idOf(f, "parent", "it must be a column, or concat of columns and text, of the table that makes the id, so that it is known where the document of a row that is gone was")
			return err
		}
	}
	return &configError{mapping: r.src.mapping, err: fmt.Errorf("%s.parent: %s is not a name in the select list", settingKey("relations", relation.field), relation.parent)}
}

// nameOf is the name that an entry of the select list has in the document; "" when MySQL would make one up.
func nameOf(f *ast.SelectField) string {
	if f.AsName.O != "" {
		return f.AsName.O
	}
	if column, ok := unparen(f.Expr).(*ast.ColumnNameExpr); ok {
		return column.Name.Name.O
	}
	return ""
}

// compileNames gives each entry of the select list its name.
func (r *Rule) compileNames(fields []*ast.SelectField, id string) error {
	seen := map[string]bool{id: !r.mapping.pk}
	for _, f := range fields {
		if f.WildCard != nil {
			r.items = append(r.items, item{at: f.Offset})
			continue
		}
		name := nameOf(f)
		switch {
		case name == "":
			return r.src.errorAt(f.Offset, "%s needs a name: ... as NAME", describe(unparen(f.Expr)))
		case seen[name]:
			return r.src.errorAt(f.Offset, "a second column named %q; a document has each name once, give one of them an alias", name)
		}
		seen[name] = true
		r.items = append(r.items, item{name: name, at: f.Offset})
	}
	return nil
}

// owner returns the element that a column belongs to.
func (r *Rule) owner(c *ast.ColumnNameExpr) (*element, error) {
	table := c.Name.Table.O
	if table == "" && len(r.elements) == 1 {
		return r.elements[0], nil
	}
	if table == "" {
		return nil, r.src.errorAt(c.OriginTextPosition(), "which table %s is of is not said; write TABLE.%[1]s", c.Name.Name.O)
	}
	for _, e := range r.elements {
		if strings.EqualFold(e.name, table) {
			return e, nil
		}
	}
	return nil, r.src.errorAt(c.OriginTextPosition(), "unknown table %q; FROM has %s", table, r.names())
}

func (r *Rule) names() string {
	var names []string
	for _, e := range r.elements {
		names = append(names, e.name)
	}
	return strings.Join(names, ", ")
}

// equalities returns the links that a condition demands: pairs of columns that are equal wherever it holds.
func (r *Rule) equalities(condition ast.ExprNode) []link {
	e, ok := unparen(condition).(*ast.BinaryOperationExpr)
	switch {
	case !ok:
		return nil
	case e.Op == opcode.LogicAnd:
		return append(r.equalities(e.L), r.equalities(e.R)...)
	case e.Op != opcode.EQ:
		return nil
	}
	left, ok1 := unparen(e.L).(*ast.ColumnNameExpr)
	right, ok2 := unparen(e.R).(*ast.ColumnNameExpr)
	if !ok1 || !ok2 {
		return nil
	}
	a, err1 := r.owner(left)
	b, err2 := r.owner(right)
	if err := errors.Join(err1, err2); err != nil || a == b {
		return nil
	}
	x, y := a.column(left.Name.Name.O), b.column(right.Name.Name.O)
	if x == "" || y == "" || !a.restrictable(x) || !b.restrictable(y) {
		return nil
	}
	return []link{{a, b, []string{x}, []string{y}}}
}

// restrictable reports whether the rows of a sub-query may be restricted by a column of its table without changing the rest of them.
func (e *element) restrictable(column string) bool {
	return e.inner == nil || e.inner.GroupBy == nil || slices.Contains(e.group, strings.ToLower(column))
}

package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
	"canalgo/sqltext"
)

// A mapping group is several SELECTs that make one document: what canal's users write as several mappings with upsert. It becomes one rule
// of one SELECT:
//
//	SELECT fields of all FROM (ids of the first UNION ids of the second ...) AS ids
//	LEFT JOIN (FROM of the first) ON its id = ids AND its WHERE
//	LEFT JOIN (FROM of the second) ON ...
//	WHERE one of them is there
//
// The anchor is a table that no server has: the union. A row of a table that makes an id touches the documents of its images' ids, as a row of
// an anchor does.

// idsMark stands in the template where the union goes, idsName is what its columns are called by.
const (
	idsMark = "canalgo:ids"
	idsName = "canalgo ids"
)

// A member is one SELECT of a group.
type member struct {
	key  string // "sql", or "parts.NAME", for messages
	name string // "" for sql
	m    *Mapping
	stmt *ast.SelectStmt
	rule *Rule // of the member alone
}

// validateParts says what is wrong with the settings by themselves, each error beginning with its key.
func (c Config) validateParts() []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Parts)) {
		key := settingKey("parts", name)
		if strings.TrimSpace(c.Parts[name]) == "" {
			errs = append(errs, fmt.Errorf(`%s: missing; write for example "select a.user_id as %s, a.city from address a"`, key, c.idName()))
		}
		if len(c.Parts[name]) > maxSQLBytes {
			errs = append(errs, fmt.Errorf("%s: %d bytes, at most %d", key, len(c.Parts[name]), maxSQLBytes))
		}
	}
	if len(c.Parts) > 0 && strings.TrimSpace(c.EtlCondition) != "" {
		errs = append(errs, fmt.Errorf("etlCondition: the documents have parts, and no single table says which of them are loaded; leave it out"))
	}
	if len(c.Parts) > 0 && c.PK != "" {
		errs = append(errs, fmt.Errorf("pk: the documents have parts, of several tables; name in each what makes the id, and say it by _id"))
	}
	for _, r := range c.Relations {
		if len(c.Parts) > 0 && r.Parent != "" {
			errs = append(errs, fmt.Errorf("parts: the documents are children (relations), whose place is known from the rows of one table alone; join the tables in sql"))
		}
	}
	return errs
}

// compileGroup makes one rule of the SQL and its parts.
func (m *Mapping) compileGroup(cfg Config, defaultSchema string) (*Rule, error) {
	members := []*member{{key: "sql"}}
	for _, name := range slices.Sorted(maps.Keys(cfg.Parts)) {
		members = append(members, &member{key: settingKey("parts", name), name: name})
	}
	names := make(map[string]*member)
	for _, x := range members {
		text := cfg.SQL
		if x.name != "" {
			text = cfg.Parts[x.name]
		}
		if err := x.compile(m, text, defaultSchema); err != nil {
			return nil, err
		}
		if err := x.sameID(members[0]); err != nil {
			return nil, err
		}
		for _, it := range x.rule.items {
			if other := names[it.name]; other != nil && it.name != "" {
				return nil, x.wrong("%q is a name of %s, too: one of the two would be lost; give one of them an alias", it.name, other.key)
			}
			names[it.name] = x
		}
	}
	r := &Rule{mapping: m, src: m.src, id: members[0].rule.id, key: members[0].rule.key}
	stmt := &ast.SelectStmt{SelectStmtOpts: &ast.SelectStmtOpts{SQLCache: true}, Fields: &ast.FieldList{}, Kind: ast.SelectStmtKindSelect}
	from := &ast.Join{Left: &ast.TableSource{Source: &ast.TableName{Name: ast.NewCIStr(idsMark)}, AsName: ast.NewCIStr(idsName)}}
	for i, x := range members {
		if i > 0 {
			from = &ast.Join{Left: from}
		}
		there := x.join(from, r.key)
		if stmt.Where == nil {
			stmt.Where = there
		} else {
			stmt.Where = &ast.BinaryOperationExpr{Op: opcode.LogicOr, L: stmt.Where, R: there}
		}
		stmt.Fields.Fields = append(stmt.Fields.Fields, x.fields()...)
		r.branches = append(r.branches, branch{x.rule.anchor.table, x.columns()})
	}
	stmt.From = &ast.TableRefsClause{TableRefs: from}
	return r, r.finishGroup(stmt, members, defaultSchema)
}

// checkNames finds settings of names that no member gives.
func (m *Mapping) checkNames(r *Rule) error {
	seen := map[string]bool{m.id: true}
	for _, it := range r.items {
		if it.name == "" { // a *, whose names the server tells
			return nil
		}
		seen[it.name] = true
	}
	return m.checkSkips(seen, false)
}

// finishGroup does with the one SELECT of a group what compileRule does with a SELECT.
func (r *Rule) finishGroup(stmt *ast.SelectStmt, members []*member, defaultSchema string) error {
	if err := r.compileFrom(stmt.From.TableRefs, defaultSchema); err != nil {
		return err
	}
	r.anchor = r.elements[0]
	r.anchor.table = members[0].rule.anchor.table // which has the columns of the key
	for _, x := range members {
		for _, e := range r.elements {
			if e.name == x.called() {
				e.id, e.idColumns = x.rule.id, x.columns()
			}
		}
	}
	if err := r.compileNames(stmt.Fields.Fields, r.mapping.id); err != nil {
		return err
	}
	if err := r.findPaths(stmt); err != nil {
		return err
	}
	if err := r.noteReads(stmt); err != nil {
		return err
	}
	text, err := r.compileTemplate(stmt, stmt.Fields.Fields)
	r.template = strings.ReplaceAll(text, sqltext.Quote(idsMark), r.ids())
	return err
}

// A branch is a table whose columns give ids.
type branch struct {
	table   event.TableName
	columns []string // in the order of the key
}

// ids is the union of what gives ids, as a table.
func (r *Rule) ids() string {
	var selects []string
	for _, b := range r.branches {
		selects = append(selects, "SELECT "+strings.Join(quoted(b.columns), ", ")+" FROM "+sqltext.Table(b.table))
	}
	return "(" + strings.Join(selects, " UNION ") + ")"
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = sqltext.Quote(name)
	}
	return out
}

// nextIDs is the SELECT of at most limit keys behind one, up to another, whatever gives them: each branch goes along its index.
func (r *Rule) nextIDs(key, last []string, limit int) string {
	var selects []string
	order := make([]string, len(r.key))
	for i := range order {
		order[i] = formatInt(int64(i + 1))
	}
	for _, b := range r.branches {
		columns := quoted(b.columns)
		condition := strings.Join(columns, " IS NOT NULL AND ") + " IS NOT NULL"
		if len(key) > 0 {
			condition += " AND (" + sqltext.Behind(columns, key) + ")"
		}
		if len(last) > 0 {
			condition += " AND NOT (" + sqltext.Behind(columns, last) + ")"
		}
		selects = append(selects, "(SELECT DISTINCT "+strings.Join(columns, ", ")+" FROM "+sqltext.Table(b.table)+" WHERE "+condition+
			" ORDER BY "+strings.Join(columns, ", ")+" LIMIT "+formatInt(int64(limit))+")")
	}
	return strings.Join(selects, " UNION ") + " ORDER BY " + strings.Join(order, ", ") + " LIMIT " + formatInt(int64(limit))
}

// CheckKeys says whether the ids that a table of a group gives are of the type of the anchor's, so that equal ones are one document. It is told
// each table as the server has it. The error is an *event.StopError.
func (r *Rule) CheckKeys(anchor, t *event.Table) error {
	r.define(t)
	own, err := r.KeyColumns(anchor)
	if err != nil {
		return err
	}
	for _, e := range r.elements {
		if e.id == nil || e.table != t.Name {
			continue
		}
		for i, name := range e.idColumns {
			k, err := r.column(t, name)
			if err != nil {
				return err
			}
			a, b := &own[i], &t.Columns[k]
			if isInteger(a) && isInteger(b) && isUnsignedLong(a) == isUnsignedLong(b) {
				continue
			}
			if a.Type != b.Type || a.Charset != b.Charset || a.Collation != b.Collation || a.Scale != b.Scale || hasLength(a) && a.Length != b.Length {
				a = &anchor.Columns[anchor.Column(a.Name)]
				return &event.StopError{Reason: fmt.Sprintf("mapping %s: the ids of its parts differ in type: %s of %s is %s, %s of %s is %s", r.src.mapping, a.Name, anchor.Name, lengthName(a), b.Name, t.Name, lengthName(b)),
					Fix: "give both columns one type, length, character set and collation"}
			}
		}
	}
	return nil
}

func isInteger(c *event.Column) bool { return formOf(c) == integerForm && c.Type != event.Bit }

// hasLength reports whether a column's length says how its values are written: with how many digits of a second, or zeros behind bytes.
func hasLength(c *event.Column) bool {
	return c.Type == event.DateTime || c.Type == event.Timestamp || c.Type == event.Time || c.Type == event.Binary
}

func lengthName(c *event.Column) string {
	if hasLength(c) {
		return fmt.Sprintf("%s(%d)", typeName(c), c.Length)
	}
	return typeName(c)
}

// isUnsignedLong reports whether a column can have what no signed integer has.
func isUnsignedLong(c *event.Column) bool { return c.Type == event.BigInt && c.Unsigned }

// wrong is an error about the member.
func (x *member) wrong(format string, args ...any) error {
	return &configError{mapping: x.m.name, err: fmt.Errorf(x.key+": "+format, args...)}
}

// compile reads the member by itself, so that whatever is wrong is told with its place, and then anew, for the group.
func (x *member) compile(m *Mapping, text, defaultSchema string) error {
	own := &Mapping{name: m.name, src: newSource(m.name, text), index: m.index, id: m.id}
	x.m = own
	stmt, err := own.parse()
	if err == nil {
		x.rule, err = own.compileRule(stmt, defaultSchema)
	}
	if err != nil {
		if x.name == "" {
			return err
		}
		return &configError{mapping: m.name, err: fmt.Errorf("%s: %s", x.key, strings.TrimPrefix(err.Error(), "mapping "+m.name+": "))}
	}
	x.stmt, _ = own.parse()
	if x.stmt.Distinct {
		return x.wrong("DISTINCT beside parts is not supported; group by the id")
	}
	if x.grouped() {
		return x.checkGrouped()
	}
	return x.rename()
}

// grouped reports whether the member is a sub-query in the group's FROM.
func (x *member) grouped() bool { return x.stmt.GroupBy != nil }

func (x *member) checkGrouped() error {
	_, table, ok := onlyTable(x.stmt.From)
	if !ok {
		return x.wrong("GROUP BY beside parts is followed of one table; join a sub-query that groups")
	}
	table.Schema = ast.NewCIStr(x.rule.anchor.table.Schema)
	return nil
}

// prefixed is a name of the member's in the group, where two members may call their tables by one name.
func (x *member) prefixed(table string) string {
	if x.name == "" {
		return table
	}
	return x.name + ":" + table
}

// called is the element of the group that gives the member's ids.
func (x *member) called() string { return x.prefixed(x.rule.anchor.name) }

// rename gives each table, and each column's table, its name in the group.
func (x *member) rename() error {
	var err error
	root := x.stmt
	root.Accept(visit{func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectStmt:
			return n == root
		case *ast.Join:
			if len(n.Using) > 0 {
				err = x.wrong("USING beside parts is not supported; write ON")
			}
		case *ast.TableSource:
			n.AsName = ast.NewCIStr(x.prefixed(calledBy(n)))
		case *ast.ColumnName:
			x.qualify(&n.Table, n.Name.O, &err)
			n.Schema = ast.CIStr{}
		case *ast.WildCardField:
			x.qualify(&n.Table, "*", &err)
			n.Schema = ast.CIStr{}
		}
		return err == nil
	}})
	return err
}

func (x *member) qualify(table *ast.CIStr, column string, err *error) {
	switch {
	case table.O != "":
		*table = ast.NewCIStr(x.prefixed(table.O))
	case len(x.rule.elements) == 1:
		*table = ast.NewCIStr(x.called())
	case *err == nil:
		*err = x.wrong("which table %s is of is not said; beside parts write TABLE.%[1]s", column)
	}
}

// sameID checks that the member's ids are made as the first one's are, of other columns.
func (x *member) sameID(first *member) error {
	mine, its := x.rule.id, first.rule.id
	other := make(map[string]string) // the first one's columns
	same := len(mine) == len(its)
	for i := 0; same && i < len(mine); i++ {
		same = mine[i].isText == its[i].isText && mine[i].text == its[i].text
		if !mine[i].isText {
			column, known := other[its[i].column.name]
			same = same && (!known || column == mine[i].column.name)
			other[its[i].column.name] = mine[i].column.name
		}
	}
	if !same {
		return x.wrong("its ids are not made as those of sql are: the same text, and as many columns, must make them, so that it is known which of its rows belong to a document")
	}
	return nil
}

// columns are those of the member's table that stand for the key's, in its order: each once, in the order of the id.
func (x *member) columns() []string { return x.rule.key }

// join adds the member to FROM, and returns the condition that it is there.
func (x *member) join(from *ast.Join, key []string) ast.ExprNode {
	column := func(table, name string) ast.ExprNode {
		return &ast.ColumnNameExpr{Name: &ast.ColumnName{Table: ast.NewCIStr(table), Name: ast.NewCIStr(name)}}
	}
	var on ast.ExprNode
	and := func(e ast.ExprNode) {
		if on != nil {
			e = &ast.BinaryOperationExpr{Op: opcode.LogicAnd, L: on, R: e}
		}
		on = e
	}
	columns := x.columns()
	for i, name := range columns {
		if x.grouped() {
			name = keyName(name)
		}
		and(&ast.BinaryOperationExpr{Op: opcode.EQ, L: column(x.called(), name), R: column(idsName, key[i])})
	}
	tree := ast.ResultSetNode(x.stmt.From.TableRefs)
	switch top := x.stmt.From.TableRefs; {
	case x.grouped():
		tree = &ast.TableSource{Source: x.inner(), AsName: ast.NewCIStr(x.called())}
	case x.stmt.Where == nil:
	case top.Right != nil && top.Tp == ast.CrossJoin: // an inner join, whose conditions may lead from table to table
		where := ast.ExprNode(&ast.ParenthesesExpr{Expr: x.stmt.Where})
		if top.On != nil {
			where = &ast.BinaryOperationExpr{Op: opcode.LogicAnd, L: &ast.ParenthesesExpr{Expr: top.On.Expr}, R: where}
		}
		top.On = &ast.OnCondition{Expr: where}
	default:
		and(&ast.ParenthesesExpr{Expr: x.stmt.Where})
	}
	from.Right, from.Tp, from.On = tree, ast.LeftJoin, &ast.OnCondition{Expr: on}
	name := columns[0]
	if x.grouped() {
		name = keyName(name)
	}
	return &ast.IsNullExpr{Expr: column(x.called(), name), Not: true}
}

// inner is a member that groups, as a sub-query: its columns but the id, and those that make the id.
func (x *member) inner() *ast.SelectStmt {
	list := make([]*ast.SelectField, 0, len(x.stmt.Fields.Fields))
	for _, f := range x.stmt.Fields.Fields {
		if f.WildCard != nil || !strings.EqualFold(nameOf(f), x.m.id) {
			list = append(list, f)
		}
	}
	for _, name := range x.rule.key {
		list = append(list, &ast.SelectField{Expr: &ast.ColumnNameExpr{Name: &ast.ColumnName{Name: ast.NewCIStr(name)}}, AsName: ast.NewCIStr(keyName(name))})
	}
	x.stmt.Fields = &ast.FieldList{Fields: list}
	return x.stmt
}

// fields are the member's entries of the group's select list.
func (x *member) fields() []*ast.SelectField {
	var out []*ast.SelectField
	for _, f := range x.stmt.Fields.Fields {
		name := nameOf(f)
		switch {
		case strings.EqualFold(name, x.m.id) && f.WildCard == nil, strings.HasPrefix(name, keyName("")):
		case x.grouped():
			out = append(out, &ast.SelectField{Expr: &ast.ColumnNameExpr{Name: &ast.ColumnName{Table: ast.NewCIStr(x.called()), Name: ast.NewCIStr(name)}}, AsName: ast.NewCIStr(name)})
		default:
			out = append(out, f)
		}
	}
	return out
}

package entry

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"canalgo/binlog"
	"canalgo/event"
)

// A meaning is what a statement does, in the words of the protocol.
type meaning struct {
	what   int64
	name   event.TableName   // that the header has: of the first thing that it does
	tables []event.TableName // that decide whether somebody wants it; none: everybody gets it
}

// statement makes the entry of a statement that stands in the log as text.
func (m *Maker) statement(e *event.Event) (Entry, bool, error) {
	text, err := binlog.ReadText(e.Raw)
	if err != nil {
		return Entry{}, false, fault(e, err)
	}
	w := &m.buffer
	if text.Rows {
		w.text(11, valid(text.SQL))
		w.number(2, typeQuery)
		return m.finish(e, RowData, event.TableName{}, typeQuery, 0), true, nil
	}
	for verb, what := range map[string]int64{xaCommit: typeXACommit, xaRollback: typeXARollback} {
		if props := xaPairs(text.SQL, verb); props != nil {
			w.pairs(13, props)
			w.text(11, valid(text.SQL))
			w.number(2, what)
			return m.finish(e, RowData, event.TableName{}, what, 0), true, nil
		}
	}
	if aboutAccounts.MatchString(text.SQL) {
		return Entry{}, false, nil
	}
	meant := understand(text)
	if len(meant.tables) > 0 && !slices.ContainsFunc(meant.tables, m.Want) {
		return Entry{}, false, nil
	}
	changes := meant.what == typeInsert || meant.what == typeUpdate || meant.what == typeDelete
	w.some(14, valid(text.Schema))
	w.text(11, valid(text.SQL))
	w.boolean(10, !changes)
	w.number(2, meant.what)
	out := m.finish(e, RowData, meant.name, meant.what, 0)
	out.DDL = !changes && meant.what != typeQuery
	return out, true, nil
}

// valid makes text of what may have been written in another character set.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

const (
	// gap is what stands between two words: blanks, comments, and the marks around what only some servers read.
	gap = `(?:[\s\v;]|/\*M?!\d*|\*/|/\*(?:[^*]|\*+[^*/])*\*+/|#[^\n]*\n|--\s[^\n]*\n)+`
	// values are those of variables. Whether a backslash escapes depends on sql_mode: both are tried.
	values = `(?:[^'"\x60]|'(?:[^'\\]|\\.)*'|'[^']*'|"(?:[^"\\]|\\.)*"|"[^"]*"|\x60[^\x60]*\x60)*?`
)

// aboutAccounts finds the statements about accounts, and about servers of remote tables: their text may hold a password or the hash of one, and
// nobody's rows change by it.
var aboutAccounts = regexp.MustCompile(`(?is)^(?:` + gap + `)?` + strings.ReplaceAll(
	`(?:SET STATEMENT\b`+values+`\bFOR )*(?:GRANT|REVOKE|SET (?:PASSWORD|DEFAULT|ROLE)|(?:CREATE|ALTER|DROP|RENAME) (?:OR REPLACE )?(?:USER|ROLE|SERVER))\b`,
	" ", gap))

// byWords are the statements about one table that are told by their first word when the parser does not know their syntax: it has no spatial
// types, for one.
var byWords = map[string]int64{"CREATE": typeCreate, "ALTER": typeAlter, "TRUNCATE": typeTruncate}

// understand says what a statement does. One that nobody knows is a query that everybody gets.
func understand(text binlog.Text) meaning {
	first, second := text.Words()
	switch first {
	case "CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "WITH", "SET", "ANALYZE":
	default:
		return meaning{what: typeQuery}
	}
	tree, err := text.Parse()
	if err != nil {
		name, ok := text.Table()
		if what := byWords[first]; ok && what != 0 && second == "TABLE" {
			return meaning{what: what, name: name, tables: []event.TableName{name}}
		}
		return meaning{what: typeQuery}
	}
	named := func(n *ast.TableName) event.TableName {
		name := event.TableName{Schema: n.Schema.O, Name: n.Name.O}
		if name.Schema == "" {
			name.Schema = text.Schema
		}
		return name
	}
	one := func(what int64, n *ast.TableName) meaning {
		name := named(n)
		return meaning{what: what, name: name, tables: []event.TableName{name}}
	}
	switch n := tree.(type) {
	case *ast.CreateTableStmt:
		return one(typeCreate, n.Table)
	case *ast.AlterTableStmt:
		return alters(n, named)
	case *ast.DropTableStmt:
		if n.IsView {
			break
		}
		all := meaning{what: typeErase}
		for _, t := range n.Tables {
			all.tables = append(all.tables, named(t))
		}
		all.name = all.tables[0]
		return all
	case *ast.TruncateTableStmt:
		return one(typeTruncate, n.Table)
	case *ast.RenameTableStmt:
		all := meaning{what: typeRename}
		for _, pair := range n.TableToTables {
			all.tables = append(all.tables, named(pair.OldTable), named(pair.NewTable))
		}
		all.name = all.tables[1]
		return all
	case *ast.CreateIndexStmt:
		return one(typeCreateIdx, n.Table)
	case *ast.DropIndexStmt:
		return one(typeDropIdx, n.Table)
	case *ast.InsertStmt:
		return touches(typeInsert, n, named)
	case *ast.LoadDataStmt:
		return touches(typeInsert, n, named)
	case *ast.UpdateStmt:
		return touches(typeUpdate, n, named)
	case *ast.DeleteStmt:
		return touches(typeDelete, n, named)
	}
	return meaning{what: typeQuery}
}

// alters says what an ALTER TABLE does, by the first thing in it.
func alters(n *ast.AlterTableStmt, named func(*ast.TableName) event.TableName) meaning {
	name := named(n.Table)
	m := meaning{what: typeAlter, name: name, tables: []event.TableName{name}}
	for i, spec := range n.Specs {
		what := int64(typeAlter)
		switch spec.Tp {
		case ast.AlterTableRenameTable:
			what = typeRename
			m.tables = append(m.tables, named(spec.NewTable))
		case ast.AlterTableAddConstraint:
			if spec.Constraint.Tp != ast.ConstraintForeignKey && spec.Constraint.Tp != ast.ConstraintCheck {
				what = typeCreateIdx
			}
		case ast.AlterTableDropIndex:
			what = typeDropIdx
		}
		if i == 0 {
			m.what = what
			if what == typeRename {
				m.name = named(spec.NewTable)
			}
		}
	}
	return m
}

// touches says that a statement changes rows of the tables that it names, of the first one before all.
func touches(what int64, n ast.Node, named func(*ast.TableName) event.TableName) meaning {
	m := meaning{what: what}
	n.Accept(visitor(func(t *ast.TableName) { m.tables = append(m.tables, named(t)) }))
	if len(m.tables) > 0 {
		m.name = m.tables[0]
	}
	return m
}

// A visitor is called with each table that a statement names.
type visitor func(*ast.TableName)

func (v visitor) Enter(n ast.Node) (ast.Node, bool) {
	if t, ok := n.(*ast.TableName); ok {
		v(t)
	}
	return n, false
}

func (v visitor) Leave(n ast.Node) (ast.Node, bool) { return n, true }

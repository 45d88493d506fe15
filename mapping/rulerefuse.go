package mapping

import (
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// A visit calls enter for each node of a statement; false leaves out what is below it.
type visit struct{ enter func(ast.Node) bool }

func (v visit) Enter(n ast.Node) (ast.Node, bool) { return n, !v.enter(n) }
func (v visit) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// restless are functions whose value is another one each time, so that no document would ever be at rest.
var restless = map[string]bool{
	"now": true, "current_timestamp": true, "localtime": true, "localtimestamp": true, "sysdate": true, "curdate": true, "current_date": true,
	"curtime": true, "current_time": true, "utc_date": true, "utc_time": true, "utc_timestamp": true, "rand": true, "uuid": true, "uuid_short": true,
	"connection_id": true, "last_insert_id": true, "row_count": true, "found_rows": true, "user": true, "current_user": true, "session_user": true,
	"system_user": true, "current_role": true, "database": true, "schema": true, "version": true, "benchmark": true, "sleep": true, "get_lock": true,
	"release_lock": true, "release_all_locks": true, "is_free_lock": true, "is_used_lock": true, "load_file": true, "random_bytes": true,
}

// refuseParts refuses what the server would answer, but nobody could follow.
func (r *Rule) refuseParts(stmt *ast.SelectStmt) error {
	var err error
	at := 0
	stmt.Accept(visit{func(n ast.Node) bool {
		if err != nil {
			return false
		}
		if e, ok := n.(ast.ExprNode); ok && e.OriginTextPosition() > 0 {
			at = e.OriginTextPosition()
		}
		switch e := n.(type) {
		case *ast.SubqueryExpr:
			err = r.src.errorAt(r.src.find(`\(\s*select\b`, at), "a sub-query is followed only in FROM, joined by ON: what it reads anywhere else cannot be followed")
		case *ast.GroupByClause:
			if e.Rollup {
				err = r.src.errorAt(r.src.find(`\bwith\s+rollup\b`, at), "WITH ROLLUP: its sums belong to no document")
			}
		case *ast.WindowFuncExpr:
			err = r.src.errorAt(at, "the window function %s: a row's value depends on rows that are not known", e.Name)
		case *ast.VariableExpr:
			err = r.src.errorAt(at, "a variable: no row event says when it changes")
		case ast.ParamMarkerExpr:
			err = r.src.errorAt(at, "a placeholder; write the value")
		case *ast.FuncCallExpr:
			if e.Schema.O != "" {
				err = r.src.errorAt(at, "the stored function %s.%s: nobody knows what it reads, so it cannot be followed", e.Schema.O, e.FnName.O)
			}
			if restless[e.FnName.L] || e.FnName.L == "unix_timestamp" && len(e.Args) == 0 {
				err = r.src.errorAt(at, "%s() has another value each time; no event says when, so that its document would never be right", strings.ToUpper(e.FnName.O))
			}
		}
		return err == nil
	}})
	return err
}

// aggregates reports whether the select list, or HAVING, has an aggregate function.
func aggregates(stmt *ast.SelectStmt) bool {
	found := false
	look := visit{func(n ast.Node) bool {
		if _, ok := n.(*ast.AggregateFuncExpr); ok {
			found = true
		}
		_, sub := n.(*ast.SelectStmt)
		return !sub
	}}
	for _, f := range stmt.Fields.Fields {
		if f.Expr != nil {
			f.Expr.Accept(look)
		}
	}
	if stmt.Having != nil {
		stmt.Having.Expr.Accept(look)
	}
	return found
}

// noteReads notes which columns of each table the SQL names, so that a change of others touches no document. A name of a table that
// is not in FROM is an error.
func (r *Rule) noteReads(stmt *ast.SelectStmt) error {
	var err error
	at := 0
	note := func(root *ast.SelectStmt, owners func(table string) []*element) {
		root.Accept(visit{func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectStmt:
				return n == root
			case *ast.ColumnNameExpr:
				at = n.OriginTextPosition()
			case *ast.ColumnName:
				for _, e := range owners(n.Table.O) {
					if e.reads != nil {
						e.reads[n.Name.L] = true
					}
				}
			case *ast.SelectField:
				at = n.Offset
				if n.WildCard != nil {
					for _, e := range owners(n.WildCard.Table.O) {
						e.reads = nil
					}
				}
			}
			return true
		}})
	}
	note(stmt, func(table string) []*element {
		var out []*element
		for _, e := range r.elements {
			if table == "" || strings.EqualFold(e.name, table) {
				out = append(out, e)
			}
		}
		if len(out) == 0 && err == nil {
			err = r.src.errorAt(at, "unknown table %q; FROM has %s", table, r.names())
		}
		return slices.DeleteFunc(out, func(e *element) bool { return e.inner != nil }) // it says itself what it reads
	})
	for _, e := range r.elements {
		if e.inner != nil {
			note(e.inner, func(string) []*element { return []*element{e} })
		}
	}
	return err
}

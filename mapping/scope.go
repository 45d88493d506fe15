package mapping

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
)

// scope resolves names of columns.
type scope struct {
	table event.TableName
	alias string // "" without
}

// compileField reads one entry of the select list.
func (s scope) compileField(field *ast.SelectField) (item, error) {
	if w := field.WildCard; w != nil {
		if err := s.checkQualifier(w.Schema.O, w.Table.O); err != nil {
			return item{}, err
		}
		return item{at: field.Offset}, nil
	}
	it := item{name: field.AsName.O, at: field.Offset}
	switch e := unparen(field.Expr).(type) {
	case *ast.ColumnNameExpr:
		column, err := s.column(e)
		if err != nil {
			return item{}, err
		}
		if it.name == "" {
			it.name = column.name
		}
		it.parts = []part{{column: column}}
		return it, nil
	case *ast.FuncCallExpr:
		if e.FnName.L != ast.Concat || it.name == "" {
			return item{}, errNotPlain
		}
		for _, arg := range e.Args {
			p, err := s.compilePart(arg)
			if err != nil {
				return item{}, err
			}
			it.parts = append(it.parts, p)
		}
		if len(it.parts) == 1 { // a single part would pass for a plain column
			it.parts = append(it.parts, part{isText: true})
		}
		return it, nil
	}
	return item{}, errNotPlain
}

// compilePart reads one argument of concat.
func (s scope) compilePart(arg ast.ExprNode) (part, error) {
	arg = unparen(arg)
	if e, ok := arg.(*ast.ColumnNameExpr); ok {
		column, err := s.column(e)
		return part{column: column}, err
	}
	c, ok, err := s.constant(arg)
	if err != nil {
		return part{}, err
	}
	if ok && (c.kind == textConstant || c.kind == numberConstant) {
		return part{text: c.text, isText: true}, nil
	}
	return part{}, errNotPlain
}

// column resolves the qualifiers of a column's name.
func (s scope) column(e *ast.ColumnNameExpr) (columnRef, error) {
	at := e.OriginTextPosition()
	return columnRef{name: e.Name.Name.O, at: at}, s.checkQualifier(e.Name.Schema.O, e.Name.Table.O)
}

// checkQualifier refuses names of other tables. As in MySQL, an alias hides the table's own name.
func (s scope) checkQualifier(schema, table string) error {
	if table == "" {
		return nil
	}
	own := s.table.Name
	if s.alias != "" {
		own = s.alias
	}
	if schema != "" && (schema != s.table.Schema || s.alias != "") || !strings.EqualFold(table, own) {
		return errNotPlain
	}
	return nil
}

// unparen takes the parentheses off an expression.
func unparen(e ast.ExprNode) ast.ExprNode {
	for {
		p, ok := e.(*ast.ParenthesesExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// describe names a kind of expression in a refusal.
func describe(e ast.Node) string {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		return "the function " + e.FnName.O
	case *ast.FuncCastExpr:
		return "a conversion"
	case *ast.AggregateFuncExpr:
		return "the aggregate function " + e.F
	case *ast.WindowFuncExpr:
		return "the window function " + e.Name
	case *ast.SubqueryExpr, *ast.ExistsSubqueryExpr, *ast.CompareSubqueryExpr:
		return "a sub-query"
	case *ast.VariableExpr:
		return "a variable"
	case *ast.CaseExpr:
		return "CASE"
	case *ast.RowExpr:
		return "a row of values"
	case *ast.PatternRegexpExpr:
		return "REGEXP"
	case *ast.MatchAgainst:
		return "MATCH"
	case *ast.SetCollationExpr:
		return "COLLATE"
	case *ast.DefaultExpr:
		return "DEFAULT"
	case *ast.BinaryOperationExpr:
		return "the operator " + operator(e.Op)
	case *ast.UnaryOperationExpr:
		return "the operator " + operator(e.Op)
	case ast.ParamMarkerExpr:
		return "a placeholder"
	case ast.ValueExpr:
		return "a literal"
	case *ast.ColumnNameExpr:
		return "a column"
	}
	return "this expression"
}

// operator is an operator as it is written in SQL.
func operator(op opcode.Op) string {
	var text strings.Builder
	op.Format(&text)
	return strings.TrimSpace(text.String())
}

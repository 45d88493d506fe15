package mapping

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	"github.com/pingcap/tidb/pkg/parser/test_driver"
)

// A predicate is a condition of the SQL before its columns are looked up.
type predicate interface {
	// bind looks the columns up and fixes how they are compared.
	bind(b *binder) (condition, error)
}

// The predicates.
type (
	// logicPredicate is AND or OR.
	logicPredicate struct {
		or          bool
		left, right predicate
	}
	notPredicate struct{ operand predicate }
	// truthPredicate is IS TRUE or IS FALSE.
	truthPredicate struct {
		operand predicate
		want    truth
	}
	// comparePredicate compares a column with a constant.
	comparePredicate struct {
		column   columnRef
		op       opcode.Op
		constant constant
	}
	// columnsPredicate compares two columns.
	columnsPredicate struct {
		left, right columnRef
		op          opcode.Op
	}
	inPredicate struct {
		column columnRef
		list   []constant
	}
	betweenPredicate struct {
		column    columnRef
		low, high constant
	}
	likePredicate struct {
		column  columnRef
		pattern constant
		escape  byte // 0 for none
	}
	nullPredicate struct{ column columnRef }
	// boolPredicate is a column that stands alone: true when it is not zero.
	boolPredicate  struct{ column columnRef }
	constPredicate struct{ value truth }
)

// constantKind says what a literal is.
type constantKind uint8

const (
	nullConstant      constantKind = iota + 1
	numberConstant                 // exact: an integer or a decimal
	floatConstant                  // 1e3
	textConstant                   // in quotes
	bytesConstant                  // x'00FF', b'101'
	dateConstant                   // DATE '2024-02-29'
	timeConstant                   // TIME '12:00:00'
	timestampConstant              // TIMESTAMP '2024-02-29 12:00:00'
)

// A constant is a literal of the SQL.
type constant struct {
	kind constantKind
	text string // of numbers their digits
	at   int
}

// compileCondition reads an expression that stands where a truth value is wanted.
func (s scope) compileCondition(e ast.ExprNode) (predicate, error) {
	switch e := e.(type) {
	case *ast.ParenthesesExpr:
		return s.compileCondition(e.Expr)
	case *ast.BinaryOperationExpr:
		return s.compileBinary(e)
	case *ast.UnaryOperationExpr:
		if e.Op == opcode.Not || e.Op == opcode.Not2 {
			operand, err := s.compileCondition(e.V)
			return notPredicate{operand}, err
		}
	case *ast.IsTruthExpr:
		operand, err := s.compileCondition(e.Expr)
		want := no
		if e.True != 0 {
			want = yes
		}
		return negateIf(e.Not, truthPredicate{operand, want}), err
	case *ast.IsNullExpr:
		column, ok := unparen(e.Expr).(*ast.ColumnNameExpr)
		if !ok {
			return nil, errNotPlain
		}
		ref, err := s.column(column)
		return negateIf(e.Not, nullPredicate{ref}), err
	case *ast.PatternInExpr:
		return s.compileIn(e)
	case *ast.BetweenExpr:
		return s.compileBetween(e)
	case *ast.PatternLikeOrIlikeExpr:
		return s.compileLike(e)
	case *ast.ColumnNameExpr:
		ref, err := s.column(e)
		return boolPredicate{ref}, err
	default:
		return s.compileConstantCondition(e)
	}
	return nil, errNotPlain
}

func negateIf(not bool, p predicate) predicate {
	if not {
		return notPredicate{p}
	}
	return p
}

func (s scope) compileBinary(e *ast.BinaryOperationExpr) (predicate, error) {
	switch e.Op {
	case opcode.LogicAnd, opcode.LogicOr:
		left, err := s.compileCondition(e.L)
		if err != nil {
			return nil, err
		}
		right, err := s.compileCondition(e.R)
		return logicPredicate{e.Op == opcode.LogicOr, left, right}, err
	case opcode.EQ, opcode.NE, opcode.LT, opcode.LE, opcode.GT, opcode.GE, opcode.NullEQ:
		return s.compileCompare(e.Op, unparen(e.L), unparen(e.R))
	}
	return nil, errNotPlain
}

// mirrored is the operator with its sides exchanged.
var mirrored = map[opcode.Op]opcode.Op{
	opcode.EQ: opcode.EQ, opcode.NE: opcode.NE, opcode.NullEQ: opcode.NullEQ,
	opcode.LT: opcode.GT, opcode.GT: opcode.LT, opcode.LE: opcode.GE, opcode.GE: opcode.LE,
}

func (s scope) compileCompare(op opcode.Op, l, r ast.ExprNode) (predicate, error) {
	left, leftIsColumn := l.(*ast.ColumnNameExpr)
	right, rightIsColumn := r.(*ast.ColumnNameExpr)
	switch {
	case leftIsColumn && rightIsColumn:
		a, err := s.column(left)
		if err != nil {
			return nil, err
		}
		b, err := s.column(right)
		return columnsPredicate{a, b, op}, err
	case rightIsColumn:
		return s.compileCompare(mirrored[op], r, l)
	case !leftIsColumn:
		return s.compareConstants(op, l, r)
	}
	column, err := s.column(left)
	if err != nil {
		return nil, err
	}
	c, err := s.needConstant(r)
	return comparePredicate{column, op, c}, err
}

// compareConstants decides conditions like 1 = 1, which generated SQL likes to begin with.
func (s scope) compareConstants(op opcode.Op, l, r ast.ExprNode) (predicate, error) {
	a, err := s.needConstant(l)
	if err != nil {
		return nil, err
	}
	b, err := s.needConstant(r)
	if err != nil {
		return nil, err
	}
	x, ok1 := parseDecimal(a.text)
	y, ok2 := parseDecimal(b.text)
	if a.kind != numberConstant || b.kind != numberConstant || !ok1 || !ok2 {
		return nil, errNotPlain
	}
	return constPredicate{holds(op, x.compare(y))}, nil
}

func (s scope) compileIn(e *ast.PatternInExpr) (predicate, error) {
	if e.Sel != nil {
		return nil, errNotPlain
	}
	column, err := s.needColumn(e.Expr)
	if err != nil {
		return nil, err
	}
	in := inPredicate{column: column}
	for _, member := range e.List {
		c, err := s.needConstant(unparen(member))
		if err != nil {
			return nil, err
		}
		in.list = append(in.list, c)
	}
	return negateIf(e.Not, in), nil
}

func (s scope) compileBetween(e *ast.BetweenExpr) (predicate, error) {
	column, err := s.needColumn(e.Expr)
	if err != nil {
		return nil, err
	}
	low, err := s.needConstant(unparen(e.Left))
	if err != nil {
		return nil, err
	}
	high, err := s.needConstant(unparen(e.Right))
	if err != nil {
		return nil, err
	}
	if low.kind == nullConstant || high.kind == nullConstant {
		return nil, errNotPlain
	}
	return negateIf(e.Not, betweenPredicate{column, low, high}), nil
}

func (s scope) compileLike(e *ast.PatternLikeOrIlikeExpr) (predicate, error) {
	if !e.IsLike {
		return nil, errNotPlain
	}
	column, err := s.needColumn(e.Expr)
	if err != nil {
		return nil, err
	}
	pattern, err := s.needConstant(unparen(e.Pattern))
	if err != nil {
		return nil, err
	}
	if pattern.kind != textConstant {
		return nil, errNotPlain
	}
	return negateIf(e.Not, likePredicate{column, pattern, e.Escape}), nil
}

// compileConstantCondition reads a number, TRUE, FALSE or NULL that stands alone.
func (s scope) compileConstantCondition(e ast.ExprNode) (predicate, error) {
	c, ok, err := s.constant(e)
	if err != nil {
		return nil, err
	}
	switch {
	case ok && c.kind == nullConstant:
		return constPredicate{unknown}, nil
	case ok && c.kind == numberConstant:
		if d, ok := parseDecimal(c.text); ok {
			return constPredicate{truthOf(!d.isZero())}, nil
		}
	}
	return nil, errNotPlain
}

func (s scope) needColumn(e ast.ExprNode) (columnRef, error) {
	column, ok := unparen(e).(*ast.ColumnNameExpr)
	if !ok {
		return columnRef{}, errNotPlain
	}
	return s.column(column)
}

func (s scope) needConstant(e ast.ExprNode) (constant, error) {
	c, ok, err := s.constant(e)
	if err == nil && !ok {
		err = errNotPlain
	}
	return c, err
}

// constant reads a literal; ok is false when the expression is none.
func (s scope) constant(e ast.ExprNode) (c constant, ok bool, err error) {
	c.at = e.OriginTextPosition()
	switch e := e.(type) {
	case *ast.UnaryOperationExpr:
		if e.Op != opcode.Minus && e.Op != opcode.Plus {
			return c, false, nil
		}
		inner, ok, err := s.constant(unparen(e.V))
		if err != nil || !ok || inner.kind != numberConstant && inner.kind != floatConstant {
			return c, false, err
		}
		if e.Op == opcode.Minus {
			inner.text = strings.TrimPrefix("-"+inner.text, "--")
		}
		inner.at = c.at
		return inner, true, nil
	case *ast.FuncCallExpr:
		kind, known := temporalLiterals[e.FnName.L]
		if !known || len(e.Args) != 1 {
			return c, false, nil
		}
		value, ok := e.Args[0].(*test_driver.ValueExpr)
		if !ok {
			return c, false, nil
		}
		c.kind, c.text = kind, value.GetString()
		return c, true, nil
	case *test_driver.ValueExpr:
		return s.literal(e, c)
	}
	return c, false, nil
}

var temporalLiterals = map[string]constantKind{
	ast.DateLiteral:      dateConstant,
	ast.TimeLiteral:      timeConstant,
	ast.TimestampLiteral: timestampConstant,
}

// literal reads a plain literal. Floating-point literals keep their text, because the parser's value has lost how it was written.
func (s scope) literal(e *test_driver.ValueExpr, c constant) (constant, bool, error) {
	switch e.Kind() {
	case test_driver.KindNull:
		c.kind = nullConstant
	case test_driver.KindInt64:
		c.kind, c.text = numberConstant, formatInt(e.GetInt64())
	case test_driver.KindUint64:
		c.kind, c.text = numberConstant, formatUint(e.GetUint64())
	case test_driver.KindMysqlDecimal:
		c.kind, c.text = numberConstant, e.GetMysqlDecimal().String()
		if digits := strings.Trim(c.text, "-."); len(digits) > maxDecimalDigits {
			return c, false, errNotPlain
		}
	case test_driver.KindFloat64:
		c.kind, c.text = floatConstant, formatFloat(e.GetFloat64())
	case test_driver.KindString:
		if charset := e.Type.GetCharset(); charset != "" && charset != mysql.UTF8MB4Charset {
			return c, false, errNotPlain
		}
		c.kind, c.text = textConstant, e.GetString()
	case test_driver.KindBinaryLiteral:
		c.kind, c.text = bytesConstant, string(e.GetBinaryLiteral())
	default:
		return c, false, nil
	}
	return c, true, nil
}

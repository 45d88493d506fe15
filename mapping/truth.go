package mapping

import "github.com/pingcap/tidb/pkg/parser/opcode"

// truth is a value of SQL's three-valued logic. The order makes AND the minimum and OR the maximum.
type truth int8

// The truth values.
const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// holds says whether an operator holds between two values of which the first is before (-1), at (0) or after (1) the second.
func holds(op opcode.Op, order int) truth {
	switch op {
	case opcode.EQ, opcode.NullEQ:
		return truthOf(order == 0)
	case opcode.NE:
		return truthOf(order != 0)
	case opcode.LT:
		return truthOf(order < 0)
	case opcode.LE:
		return truthOf(order <= 0)
	case opcode.GT:
		return truthOf(order > 0)
	case opcode.GE:
		return truthOf(order >= 0)
	}
	return unknown
}

// A condition is a predicate whose columns are looked up.
type condition interface {
	eval(row []any) (truth, error)
}

// An order compares a value that is not NULL with a constant: -1, 0 or 1.
type order func(v any) (int, error)

// The conditions.
type (
	logicCondition struct {
		or          bool
		left, right condition
	}
	notCondition   struct{ operand condition }
	truthCondition struct {
		operand condition
		want    truth
	}
	compareCondition struct {
		column int
		op     opcode.Op
		order  order
	}
	columnsCondition struct {
		left, right int
		op          opcode.Op
		order       func(l, r any) (int, error)
	}
	inCondition struct {
		column  int
		orders  []order
		hasNull bool
	}
	likeCondition struct {
		column int
		match  func(v any) (bool, error)
	}
	nullCondition  struct{ column int }
	constCondition struct{ value truth }
)

func (c logicCondition) eval(row []any) (truth, error) {
	left, err := c.left.eval(row)
	if err != nil || c.or && left == yes || !c.or && left == no {
		return left, err
	}
	right, err := c.right.eval(row)
	if c.or {
		return max(left, right), err
	}
	return min(left, right), err
}

func (c notCondition) eval(row []any) (truth, error) {
	v, err := c.operand.eval(row)
	return yes - v, err
}

func (c truthCondition) eval(row []any) (truth, error) {
	v, err := c.operand.eval(row)
	return truthOf(v == c.want), err
}

func (c compareCondition) eval(row []any) (truth, error) {
	v := row[c.column]
	if v == nil {
		if c.op == opcode.NullEQ {
			return no, nil
		}
		return unknown, nil
	}
	order, err := c.order(v)
	return holds(c.op, order), err
}

func (c columnsCondition) eval(row []any) (truth, error) {
	l, r := row[c.left], row[c.right]
	if l == nil || r == nil {
		if c.op == opcode.NullEQ {
			return truthOf(l == nil && r == nil), nil
		}
		return unknown, nil
	}
	order, err := c.order(l, r)
	return holds(c.op, order), err
}

func (c inCondition) eval(row []any) (truth, error) {
	v := row[c.column]
	if v == nil {
		return unknown, nil
	}
	for _, order := range c.orders {
		o, err := order(v)
		if err != nil {
			return unknown, err
		}
		if o == 0 {
			return yes, nil
		}
	}
	if c.hasNull {
		return unknown, nil
	}
	return no, nil
}

func (c likeCondition) eval(row []any) (truth, error) {
	v := row[c.column]
	if v == nil {
		return unknown, nil
	}
	ok, err := c.match(v)
	return truthOf(ok), err
}

func (c nullCondition) eval(row []any) (truth, error)  { return truthOf(row[c.column] == nil), nil }
func (c constCondition) eval(row []any) (truth, error) { return c.value, nil }

package mapping

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
	"canalgo/mapping/collate"
)

// textOrder compares text, and the labels of ENUM and SET, by the column's collation.
func (b *binder) textOrder(ref columnRef, c *event.Column, op opcode.Op, k constant) (order, error) {
	if k.kind != textConstant {
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write text in quotes")
	}
	if classOf(c) == labelClass && op != opcode.EQ && op != opcode.NE && op != opcode.NullEQ {
		return nil, b.cannotCompare(ref, c, "ordered", "only =, <>, <=>, IN and IS NULL are handled for it")
	}
	collation, err := b.collation(ref, c, k)
	if err != nil {
		return nil, err
	}
	compare := collation.Order(k.text)
	return func(v any) (int, error) {
		s, err := asText(c, v)
		if err != nil {
			return 0, err
		}
		return compare(s), nil
	}, nil
}

func asText(c *event.Column, v any) (string, error) {
	if _, ok := v.([]byte); ok {
		return "", fmt.Errorf("column %s: %w", c.Name, errNoText)
	}
	s, ok := v.(string)
	if !ok {
		return "", unexpected(v)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("column %s: invalid UTF-8", c.Name)
	}
	return s, nil
}

// collation returns the column's collation if it can be followed for that constant.
func (b *binder) collation(ref columnRef, c *event.Column, k constant) (*collate.Collation, error) {
	found, ok := collate.Lookup(c.Collation)
	if !ok {
		return nil, b.cannotCompare(ref, c, fmt.Sprintf("compared by the collation %q, which is not handled", c.Collation),
			"handled are "+strings.Join(collate.Names(), ", "))
	}
	if !found.Holds(k.text) {
		return nil, b.cannotCompare(ref, c, fmt.Sprintf("compared with %s, which is not text of its character set %s", k.String(), c.Charset),
			"no row can have that value")
	}
	return found, nil
}

func (p likePredicate) bind(b *binder) (condition, error) {
	i, c, err := b.column(p.column)
	if err != nil {
		return nil, err
	}
	if classOf(c) != textClass {
		return nil, b.cannotCompare(p.column, c, "compared by LIKE", "LIKE is handled for CHAR, VARCHAR and TEXT")
	}
	collation, err := b.collation(p.column, c, p.pattern)
	if err != nil {
		return nil, err
	}
	match := collation.Pattern(p.pattern.text, p.escape)
	return likeCondition{column: i, match: func(v any) (bool, error) {
		s, err := asText(c, v)
		if err != nil {
			return false, err
		}
		return match(s), nil
	}}, nil
}

package mapping

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pingcap/tidb/pkg/parser/opcode"

	"canalgo/event"
)

// A collation compares text as MySQL's collation of that name does.
type collation struct {
	name string
	// pad is MySQL's PAD SPACE: the shorter text is compared as if blanks followed it.
	pad bool
}

// collations by name, for those that compare by code point.
var collations = map[string]collation{
	"utf8mb4_bin":      {pad: true},
	"utf8mb3_bin":      {pad: true},
	"utf8_bin":         {pad: true},
	"ascii_bin":        {pad: true},
	"utf8mb4_0900_bin": {},
}

// compare returns -1, 0 or 1.
func (c collation) compare(a, b string) int {
	if !c.pad {
		return strings.Compare(a, b)
	}
	shared := min(len(a), len(b))
	if order := strings.Compare(a[:shared], b[:shared]); order != 0 {
		return order
	}
	if rest := strings.TrimLeft(a[shared:], " "); rest != "" {
		return sign(rest[0] < ' ')
	}
	if rest := strings.TrimLeft(b[shared:], " "); rest != "" {
		return -sign(rest[0] < ' ')
	}
	return 0
}

// textOrder compares text by the column's collation.
func (b *binder) textOrder(ref columnRef, c *event.Column, op opcode.Op, k constant) (order, error) {
	if k.kind != textConstant {
		return nil, b.cannotCompare(ref, c, "compared with "+k.String(), "write text in quotes; MySQL would turn every value into a number")
	}
	collation, err := b.collation(ref, c, k.text)
	if err != nil {
		return nil, err
	}
	return func(v any) (int, error) {
		s, ok := v.(string)
		if !ok {
			return 0, unexpected(v)
		}
		if !utf8.ValidString(s) {
			return 0, fmt.Errorf("column %s: invalid UTF-8", c.Name)
		}
		return collation.compare(s, k.text), nil
	}, nil
}

// collation returns the column's collation if it can compare with that constant exactly.
func (b *binder) collation(ref columnRef, c *event.Column, text string) (collation, error) {
	found, ok := collations[c.Collation]
	if !ok {
		return collation{}, b.cannotCompare(ref, c, "compared by the collation "+c.Collation+", which is not handled", "collations that are handled: utf8mb4_bin, utf8mb4_0900_bin, utf8mb3_bin, ascii_bin")
	}
	found.name = c.Collation
	return found, nil
}

func (p likePredicate) bind(b *binder) (condition, error) {
	_, c, err := b.column(p.column)
	if err != nil {
		return nil, err
	}
	return nil, b.cannotCompare(p.column, c, "compared by LIKE", "LIKE is not handled yet")
}

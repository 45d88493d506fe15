package mapping

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"canalgo/event"
	"canalgo/sqltext"
)

// A link's columns may be of different types, character sets or collations. A literal in the place of one of them would then be compared by
// other rules than the join's, and documents be missed: so it is written as what the join sees.

// define notes a table's definition as the server has it.
func (r *Rule) define(t *event.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.defined[t.Name] == t {
		return
	}
	if r.defined == nil {
		r.defined = make(map[event.TableName]*event.Table)
	}
	r.defined[t.Name] = t
	clear(r.bounds)
}

// opposites are the columns with which the SQL compares those that lead from an element to the anchor; the zero Column is of none that is known.
func (r *Rule) opposites(e *element) []event.Column {
	first := e.path[0]
	out := make([]event.Column, len(first.toCols))
	t := r.defined[first.to.table]
	for i, name := range first.toCols {
		if t == nil {
			break
		}
		if k := t.Column(name); k >= 0 {
			out[i] = t.Columns[k]
		}
	}
	return out
}

// linkLiteral returns a value of a column as a literal that compares with another column as the column does.
func linkLiteral(c event.Column, value any, opposite event.Column) (string, error) {
	if label, ok := value.(string); ok && isLabel(c.Type) && !isNumber(opposite.Type) && utf8.ValidString(label) {
		c.Type = event.Char
	}
	literal, err := sqltext.Literal(c, value)
	switch {
	case err != nil || !isString(opposite.Type):
		return literal, err
	case c.Type == event.Date: // as dates, however the text writes them
		return "CAST(" + literal + " AS DATE)", nil
	case c.Type == event.DateTime, c.Type == event.Timestamp:
		return "CAST(" + literal + " AS DATETIME(6))", nil
	case c.Type == event.Time: // MySQL compares the column's text, MariaDB times
		return fmt.Sprintf("CAST(%s AS TIME(%d))", literal, c.Length), nil
	case hasCollation(c) && hasCollation(opposite) && decides(c, opposite):
		return fmt.Sprintf("CONVERT(%s USING %s) COLLATE %s", literal, c.Charset, c.Collation), nil
	case hasCollation(c) && !hasCollation(opposite): // its bytes are compared
		return fmt.Sprintf("CONVERT(%s USING %s)", literal, c.Charset), nil
	}
	return literal, nil
}

func isLabel(t event.Type) bool { return t == event.Enum || t == event.Set }

func isNumber(t event.Type) bool { return t >= event.TinyInt && t <= event.Year }

// isString reports whether a type's values are compared as text or bytes with those of the same kind.
func isString(t event.Type) bool { return t >= event.Char && t <= event.Set }

func hasCollation(c event.Column) bool { return c.Collation != "" && c.Charset != "binary" }

// decides reports whether the server compares a column with another by the collation of the first.
func decides(c, other event.Column) bool {
	if c.Charset == other.Charset {
		return c.Collation != other.Collation && strings.HasSuffix(c.Collation, "_bin")
	}
	return reach(c.Charset) > reach(other.Charset)
}

// reach orders character sets by which of two a comparison is made in; others cannot be compared.
func reach(set string) int {
	switch set {
	case "ascii":
		return 0
	case "utf8", "utf8mb3":
		return 2
	case "utf8mb4", "utf16", "utf16le", "utf32", "ucs2":
		return 3
	}
	return 1
}

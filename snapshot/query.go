package snapshot

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"canalgo/charset"
	"canalgo/event"
)

// Quote returns an identifier in backticks.
func Quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// A chunkQuery builds the SELECT for the next rows of a table in the order of its primary key.
type chunkQuery struct {
	table   *event.Table
	columns []int
	lock    bool // FOR SHARE: the server has no GTIDs to wait for
}

// after returns the query for at most limit rows behind key, which holds a literal for each key column; nil is the start.
func (q chunkQuery) after(key []string, limit int) string {
	return q.between(key, nil) + fmt.Sprintf(" LIMIT %d", limit) + q.suffix()
}

// first returns the query for one row, which needs no key.
func (q chunkQuery) first() string {
	if len(q.table.Key) > 0 {
		return q.after(nil, 1)
	}
	var b strings.Builder
	q.selectFrom(&b)
	return b.String() + " LIMIT 1"
}

// upTo returns the query for all rows behind key up to last; nil is the start or the end.
func (q chunkQuery) upTo(key, last []string) string { return q.between(key, last) + q.suffix() }

func (q chunkQuery) between(key, last []string) string {
	var b strings.Builder
	q.selectFrom(&b)
	word := " WHERE "
	if len(key) > 0 {
		b.WriteString(word + "(" + q.behind(key) + ")")
		word = " AND "
	}
	if len(last) > 0 {
		b.WriteString(word + "NOT (" + q.behind(last) + ")")
	}
	b.WriteString(" ORDER BY ")
	for i := range q.table.Key {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(q.keyExpr(i))
	}
	return b.String()
}

// behind compares the key: (a > x) OR (a = x AND b > y). A row comparison would not use the index.
func (q chunkQuery) behind(key []string) string {
	var b strings.Builder
	for i := range q.table.Key {
		if i > 0 {
			b.WriteString(" OR ")
		}
		b.WriteByte('(')
		for j := range i {
			fmt.Fprintf(&b, "%s = %s AND ", q.keyExpr(j), key[j])
		}
		fmt.Fprintf(&b, "%s > %s)", q.keyExpr(i), key[i])
	}
	return b.String()
}

// exactly returns the query for the row with that key.
func (q chunkQuery) exactly(key []string) string {
	var b strings.Builder
	q.selectFrom(&b)
	for i := range q.table.Key {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		fmt.Fprintf(&b, "%s%s = %s", word, q.keyExpr(i), key[i])
	}
	return b.String() + q.suffix()
}

func (q chunkQuery) selectFrom(b *strings.Builder) {
	b.WriteString("SELECT ")
	for i, c := range q.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Quote(q.table.Columns[c].Name))
	}
	fmt.Fprintf(b, " FROM %s.%s", Quote(q.table.Name.Schema), Quote(q.table.Name.Name))
}

func (q chunkQuery) suffix() string {
	if q.lock {
		return " FOR SHARE"
	}
	return ""
}

// keyExpr is how the i-th key column is compared: an ENUM or SET is ordered by its number, not its label.
func (q chunkQuery) keyExpr(i int) string {
	c := q.table.Columns[q.table.Key[i]]
	if c.Type == event.Enum || c.Type == event.Set {
		return Quote(c.Name) + "+0"
	}
	return Quote(c.Name)
}

// Key returns the literals of a row's primary key; values stand in the order of t.Columns.
func Key(t *event.Table, values []any) ([]string, error) {
	key := make([]string, len(t.Key))
	for i, k := range t.Key {
		lit, err := literal(t.Columns[k], values[k])
		if err != nil {
			return nil, fmt.Errorf("key of %s: %w", t.Name, err)
		}
		key[i] = lit
	}
	return key, nil
}

// literal returns a value as an SQL literal that compares with its column as the value does.
func literal(c event.Column, value any) (string, error) {
	switch v := value.(type) {
	case int8, int16, int32, int64, int, uint8, uint16, uint32, uint64, uint:
		return fmt.Sprint(v), nil
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 64), nil // the column's value is promoted exactly
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []byte:
		text := "X'" + hex.EncodeToString(v) + "'"
		if c.Charset != "" { // a text column, whose bytes are no text; without the set they would be compared as bytes
			text = "_" + c.Charset + " " + text
		}
		return text, nil
	case string:
		switch c.Type {
		case event.Decimal:
			return v, nil
		case event.Enum:
			for i, l := range c.Labels {
				if l == v {
					return strconv.Itoa(i + 1), nil
				}
			}
			return "0", nil
		case event.Set:
			return setMask(c.Labels, v), nil
		case event.Date, event.Time, event.DateTime, event.Timestamp:
			return "'" + v + "'", nil
		}
		if set := charset.Lookup(c.Charset); set != nil && !set.OneCode(v) {
			return "", &event.StopError{
				Reason: fmt.Sprintf("column %s has a character that its character set %s has twice, so the row cannot be found by it", c.Name, c.Charset),
				Fix:    "convert the key to utf8mb4"}
		}
		return "_utf8mb4 X'" + hex.EncodeToString([]byte(v)) + "'", nil
	}
	return "", fmt.Errorf("column %s: no literal for a %T", c.Name, value)
}

func setMask(labels []string, text string) string {
	var mask uint64
	for _, part := range strings.Split(text, ",") {
		for i, l := range labels {
			if l == part {
				mask |= 1 << i
			}
		}
	}
	return strconv.FormatUint(mask, 10)
}

// Package sqltext writes names, values and conditions as SQL text: what canalgo asks a source's server for.
package sqltext

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

// Table returns the name of a table with its schema.
func Table(t event.TableName) string { return Quote(t.Schema) + "." + Quote(t.Name) }

// Behind is the condition that a key is greater than another: (a > x) OR (a = x AND b > y). exprs are the key's columns, literals
// the other key's values. A row comparison would not use an index.
func Behind(exprs, literals []string) string {
	var b strings.Builder
	for i := range exprs {
		if i > 0 {
			b.WriteString(" OR ")
		}
		b.WriteByte('(')
		for j := range i {
			fmt.Fprintf(&b, "%s = %s AND ", exprs[j], literals[j])
		}
		fmt.Fprintf(&b, "%s > %s)", exprs[i], literals[i])
	}
	return b.String()
}

// Tuple puts several expressions into parentheses; one stands alone.
func Tuple(exprs []string) string {
	if len(exprs) == 1 {
		return exprs[0]
	}
	return "(" + strings.Join(exprs, ", ") + ")"
}

// In is the condition that a tuple of expressions is one of a list of tuples of literals, FALSE for an empty list.
func In(exprs []string, list [][]string) string {
	if len(list) == 0 {
		return "FALSE"
	}
	var b strings.Builder
	b.WriteString(Tuple(exprs) + " IN (")
	for i, literals := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Tuple(literals))
	}
	b.WriteByte(')')
	return b.String()
}

// Literal returns a value that is not NULL, as event.Row has it, as a literal that compares with its column as the value does.
func Literal(c event.Column, value any) (string, error) {
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

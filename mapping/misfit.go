package mapping

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"canalgo/event"
)

// A Misfit is a field of an index that exists which does not take all values of the column that becomes it.
type Misfit struct {
	Field  string
	Reason string
	Always bool // every value is refused, not only some
}

// An indexField is what an index says of a field, and an object's fields in it.
type indexField struct {
	Dynamic    any                   `json:"dynamic"`
	Type       string                `json:"type"`
	Format     string                `json:"format"`
	Ignore     any                   `json:"ignore_malformed"` // true or "true"
	Enabled    *bool                 `json:"enabled"`
	Properties map[string]indexField `json:"properties"`
}

// Misfits compares the documents with an index that exists: mappings is its {"dynamic": ..., "properties": {...}}.
func (m *Mapping) Misfits(t *event.Table, mappings []byte) ([]Misfit, error) {
	b, err := m.binding(t)
	if err != nil {
		return nil, err
	}
	var root indexField
	if err := json.Unmarshal(mappings, &root); err != nil {
		return nil, fmt.Errorf("the index's mappings: %w", err)
	}
	var all []Misfit
	for _, f := range b.fields {
		if reason, always := root.misfit(f.name, f.source, false); reason != "" {
			kind := f.source.Type.String()
			if f.source.Unsigned {
				kind += " unsigned"
			}
			all = append(all, Misfit{f.name, fmt.Sprintf("%s; column %s is %s", reason, f.source.Name, kind), always})
		}
	}
	return all, nil
}

// misfit says why the field of that name below an object does not take a column, or "". strict is what the object inherits.
func (in indexField) misfit(name string, c *event.Column, strict bool) (reason string, always bool) {
	if in.Dynamic != nil {
		strict = in.Dynamic == "strict"
	}
	head, tail, deeper := strings.Cut(name, ".")
	next, ok := in.Properties[head]
	switch {
	case !ok && strict:
		return "the index takes only fields that its mappings name (dynamic is strict), and they do not name this one", true
	case !ok, next.Enabled != nil && !*next.Enabled:
		return "", false
	case deeper:
		return next.misfit(tail, c, strict)
	}
	return next.refuses(c)
}

// integers are the numeric types that take a part of all numbers.
var integers = map[string]struct {
	low, high float64
	text      string
}{
	"byte": {math.MinInt8, math.MaxInt8, "-128 to 127"}, "short": {math.MinInt16, math.MaxInt16, "-32768 to 32767"},
	"integer": {math.MinInt32, math.MaxInt32, "-2147483648 to 2147483647"},
	"long":    {math.MinInt64, math.MaxInt64, "-9223372036854775808 to 9223372036854775807"}, "unsigned_long": {0, math.MaxUint64, "0 to 18446744073709551615"},
}

// refuses says which values of a column a field of this type refuses.
func (in indexField) refuses(c *event.Column) (reason string, always bool) {
	kind := in.Type
	if kind == "" {
		kind = "object"
	}
	if in.Ignore == true || in.Ignore == "true" {
		return "", false
	}
	values := shapeOf(c)
	isObject, isDate := kind == "object" || kind == "nested" || kind == "flattened", kind == "date" || kind == "date_nanos"
	limits, isInteger := integers[kind]
	isNumber := isInteger || kind == "float" || kind == "half_float" || kind == "double" || kind == "scaled_float"
	switch {
	case values == objectShape && !isObject:
		return fmt.Sprintf("the index has %s, which takes no objects", kind), false
	case values != objectShape && isObject:
		return fmt.Sprintf("the index has %s, which takes only objects", kind), true
	case isInteger && values == numberShape:
		if low, high := rangeOf(c); low < limits.low || high > limits.high {
			return fmt.Sprintf("the index has %s: numbers other than %s would be refused", kind, limits.text), false
		}
	case isNumber && (values == textShape || values == dateShape):
		return fmt.Sprintf("the index has %s: text that is no number would be refused", kind), values == dateShape
	case kind == "boolean":
		return "the index has boolean, which takes only true and false", true
	case isDate && values == dateShape && in.Format != "" && !strings.Contains(in.Format, "date_optional_time"):
		return fmt.Sprintf("the index has %s of the format %q; documents have 2026-01-02T03:04:05, so it needs strict_date_optional_time", kind, in.Format), true
	case isDate && values == textShape:
		return fmt.Sprintf("the index has %s: text that is no date would be refused", kind), false
	}
	return "", false
}

// The shapes of a column's values in a document.
type shape uint8

const (
	textShape shape = iota
	numberShape
	dateShape
	objectShape
)

func shapeOf(c *event.Column) shape {
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt, event.Decimal, event.Float, event.Double, event.Bit, event.Year:
		return numberShape
	case event.Date, event.DateTime, event.Timestamp:
		return dateShape
	case event.JSON, event.Geometry:
		return objectShape
	}
	return textShape
}

// rangeOf returns the least and the largest number of a column, infinite when that depends on the value.
func rangeOf(c *event.Column) (low, high float64) {
	bits := map[event.Type]int{event.TinyInt: 8, event.SmallInt: 16, event.MediumInt: 24, event.Int: 32, event.BigInt: 64}[c.Type]
	switch {
	case bits > 0 && c.Unsigned:
		return 0, math.Exp2(float64(bits)) - 1
	case bits > 0:
		return -math.Exp2(float64(bits - 1)), math.Exp2(float64(bits-1)) - 1
	case c.Type == event.Year:
		return 0, 2155
	case c.Type == event.Bit:
		return 0, math.Exp2(float64(c.Length)) - 1
	case c.Type == event.Decimal:
		high = math.Pow10(c.Length - c.Scale)
		return -high, high
	}
	return math.Inf(-1), math.Inf(1)
}

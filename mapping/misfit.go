package mapping

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"canalgo/event"
)

// A Misfit is a field of an index that exists which does not take all values of the column that becomes it.
type Misfit struct {
	Field  string
	Reason string
	Always bool // every value is refused, not only some
	// Settings are those of the field that would have something else written instead; "" when none would.
	Settings string
}

// An indexField is what an index says of a field, and an object's fields in it.
type indexField struct {
	Dynamic    any                   `json:"dynamic"`
	Type       string                `json:"type"`
	Format     string                `json:"format"`
	Ignore     any                   `json:"ignore_malformed"` // true or "true"
	Enabled    *bool                 `json:"enabled"`
	Properties map[string]indexField `json:"properties"`
	Relations  map[string]any        `json:"relations"` // of a join field: parent to a child, or a list of them
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
		if found := root.misfit(f.name, &f, false); found != nil {
			found.Field = f.name
			found.Reason += fmt.Sprintf("; column %s is %s", f.source.Name, strings.ToLower(typeName(f.source)))
			all = append(all, *found)
		}
	}
	return all, nil
}

// fieldOf returns what an index's mappings say of a field; the zero value when they do not name it.
func fieldOf(mappings []byte, name string) (indexField, error) {
	var in indexField
	if err := json.Unmarshal(mappings, &in); err != nil {
		return in, fmt.Errorf("the index's mappings: %w", err)
	}
	for part := range strings.SplitSeq(name, ".") {
		in = in.Properties[part]
	}
	return in, nil
}

// misfit says why the field of that name below an object does not take what is written, or nil. strict is what the object inherits.
func (in indexField) misfit(name string, f *field, strict bool) *Misfit {
	if in.Dynamic != nil {
		strict = in.Dynamic == "strict"
	}
	head, tail, deeper := strings.Cut(name, ".")
	next, ok := in.Properties[head]
	switch {
	case !ok && strict:
		return &Misfit{Reason: "the index takes only fields that its mappings name (dynamic is strict), and they do not name this one", Always: true}
	case !ok, next.Enabled != nil && !*next.Enabled:
		return nil
	case deeper:
		return next.misfit(tail, f, strict)
	}
	return next.refuses(f)
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

// refuses says what of a field's values this type refuses.
func (in indexField) refuses(f *field) *Misfit {
	kind := in.Type
	if kind == "" {
		kind = "object"
	}
	if in.Ignore == true || in.Ignore == "true" {
		return nil
	}
	some := func(settings, format string, args ...any) *Misfit {
		return &Misfit{Reason: fmt.Sprintf("the index has "+format, args...), Settings: settings}
	}
	always := func(format string, args ...any) *Misfit {
		return &Misfit{Reason: fmt.Sprintf("the index has "+format, args...), Always: true}
	}
	values := f.shape()
	isObject, isDate := kind == "object" || kind == "nested" || kind == "flattened", kind == "date" || kind == "date_nanos"
	limits, isInteger := integers[kind]
	isNumber := isInteger || kind == "float" || kind == "half_float" || kind == "double" || kind == "scaled_float"
	switch {
	case values == objectShape && !isObject:
		return some("", "%s, which takes no objects", kind)
	case values != objectShape && isObject:
		return always("%s, which takes only objects", kind)
	case isInteger && values == numberShape:
		if low, high := f.numbers(); low < limits.low || high > limits.high {
			settings := ""
			if slices.Contains(fieldTypes, kind) {
				settings = fmt.Sprintf("type = %q and on_overflow", kind)
			}
			return some(settings, "%s: numbers other than %s would be refused", kind, limits.text)
		}
	case isNumber && values == dateShape:
		return always("%s: text that is no number would be refused", kind)
	case isNumber && values == textShape:
		return some("", "%s: text that is no number would be refused", kind)
	case kind == "boolean":
		return always("boolean, which takes only true and false")
	case isDate && values == dateShape && in.Format != "" && !strings.Contains(in.Format, "date_optional_time"):
		return always("%s of the format %q; documents have 2026-01-02T03:04:05, so it needs strict_date_optional_time", kind, in.Format)
	case isDate && values == dateShape && f.choices.invalid == asString:
		return some(`another on_invalid`, "%s: dates of no calendar, which are written as text, would be refused", kind)
	case kind == "date_nanos" && values == dateShape && f.source.Type != event.Timestamp && (f.choices.limit == nil || f.choices.overflow == asString):
		return some(`type = "date_nanos" and on_overflow`, "date_nanos: years before 1970 and after 2262 would be refused")
	case isDate && values == textShape:
		return some("", "%s: text that is no date would be refused", kind)
	}
	return nil
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

// shape is that of the field's values.
func (f *field) shape() shape {
	if o := f.choices.object; o != nil && o.separator == "" {
		return objectShape
	}
	return shapeOf(f.source)
}

// numbers returns the least and the largest number that is written into the field.
func (f *field) numbers() (low, high float64) {
	low, high = rangeOf(f.source)
	if own, ok := integers[f.choices.kind]; ok && f.choices.limit != nil && f.choices.overflow != asString {
		low, high = max(low, own.low), min(high, own.high)
	}
	return low, high
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

package mapping

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"canalgo/charset"
	"canalgo/event"
)

// choices are what a field's settings make of its values. The zero value leaves all to the column's type.
type choices struct {
	kind     string // the field's type in the index; "" is that of the column
	limit    *limit // what kind takes; nil when nothing is looked at
	overflow string // refuse, clip, asString, null
	invalid  string
	quoted   bool           // a DECIMAL as text
	zone     *time.Location // of a TIMESTAMP, nil for UTC
	charset  *charset.Set   // of text
	object   *objField      // what a text stands for, nil for itself
}

// A limit says which values a field's type takes.
type limit struct {
	text string // for messages
	// beyond reports whether a value is not taken, and returns the nearest that is.
	beyond func(v any) (nearest any, is bool)
}

// changed counts values that are not in the document as they are in the row.
type changed struct{ nulled, clipped uint64 }

// append appends a value of the field.
func (f *field) append(dst []byte, v any, count *changed) ([]byte, error) {
	if v == nil {
		return append(dst, "null"...), nil
	}
	if f.choices.limit != nil {
		if nearest, beyond := f.choices.limit.beyond(v); beyond {
			switch f.choices.overflow {
			case null:
				count.nulled++
				return append(dst, "null"...), nil
			case asString:
				return f.appendText(dst, v)
			case clip:
				count.clipped++
				v = nearest
			default:
				return dst, fmt.Errorf("the field's type %s takes %s: on_overflow says what else to write", f.choices.kind, f.choices.limit.text)
			}
		}
	}
	out, err := f.appendValid(dst, v)
	if _, invalid := err.(invalidError); !invalid {
		return out, err
	}
	switch f.choices.invalid {
	case null:
		count.nulled++
		return append(dst, "null"...), nil
	case clip:
		count.clipped++
		return appendString(dst, f.validPart(v))
	case asString:
		return f.appendText(dst, v)
	}
	return dst, err
}

// appendValid appends a value that is not NULL; an invalidError says that it is none of its type.
func (f *field) appendValid(dst []byte, v any) ([]byte, error) {
	switch {
	case f.choices.object != nil:
		return f.choices.object.append(dst, f.form, v)
	case f.choices.quoted:
		dst, err := f.appendPlain(append(dst, '"'), v)
		return append(dst, '"'), err
	case f.choices.zone != nil:
		s, ok := v.(string)
		if !ok {
			return dst, unexpected(v)
		}
		return appendZoned(dst, s, f.choices.zone)
	}
	return f.appendPlain(dst, v)
}

func (f *field) appendPlain(dst []byte, v any) ([]byte, error) {
	if number, ok := v.(literal); ok {
		return append(dst, number...), nil
	}
	return f.form.appendValue(dst, v)
}

// appendText appends a number with all its digits, or a date as MySQL prints it, in quotes.
func (f *field) appendText(dst []byte, v any) ([]byte, error) {
	if s, ok := v.(string); ok && f.form != decimalForm {
		return appendString(dst, s)
	}
	dst, err := f.form.appendValue(append(dst, '"'), v)
	return append(dst, '"'), err
}

// validPart returns the characters before the first byte that is not text.
func (f *field) validPart(v any) string {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case []byte:
		text, _ = f.choices.charset.Text(v)
	}
	for i, r := range text {
		if _, n := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && n == 1 {
			return text[:i]
		}
	}
	return text
}

// appendZoned appends a TIMESTAMP, which is in UTC, as the time and offset of a zone.
func appendZoned(dst []byte, s string, zone *time.Location) ([]byte, error) {
	if dst, err := appendDate(dst, s, true); err != nil { // what is wrong with it
		return dst, err
	}
	at, err := time.Parse(time.DateTime, s)
	if err != nil {
		return dst, fmt.Errorf("%q is not a date", s)
	}
	_, offset := at.In(zone).Zone()
	// To the minute, as an offset is written: Monrovia's of 1971 had seconds.
	at = at.In(time.FixedZone("", offset/60*60))
	dst = at.AppendFormat(append(dst, '"'), "2006-01-02T15:04:05")
	dst = append(dst, s[len(time.DateTime):]...) // all digits of the fraction
	return append(at.AppendFormat(dst, "-07:00"), '"'), nil
}

// fieldTypes are the types that a field can be given.
var fieldTypes = []string{"byte", "short", "integer", "long", "float", "double", "keyword", "text", "date", "date_nanos"}

// fits reports whether a field of that type can hold values of a column.
func fits(kind string, c *event.Column) bool {
	switch shape := shapeOf(c); kind {
	case "keyword":
		return shape != objectShape && !isBytes(c)
	case "text":
		return shape == textShape && !isBytes(c)
	case "date", "date_nanos":
		return shape == dateShape
	default:
		return shape == numberShape
	}
}

func isBytes(c *event.Column) bool { return formOf(c) == bytesForm || formOf(c) == vectorForm }

// choices makes of a field's settings what they mean for a column. What means nothing is refused.
func (b *binder) choices(it item, c *event.Column) (choices, error) {
	if o := b.m.objects[it.name]; o != nil {
		return b.objChoices(it, c, o)
	}
	set := b.m.settings[it.name]
	r := choices{kind: set.Type, overflow: set.OnOverflow, invalid: set.OnInvalid, quoted: set.Decimal == "string", charset: charset.Lookup(c.Charset)}
	is := fmt.Sprintf("column %s is %s", c.Name, typeName(c))
	stop := func(key, reason, fix string) (choices, error) {
		return r, b.stop(fieldKey(it.name)+"."+key+": "+reason, fix)
	}
	if r.kind != "" && !fits(r.kind, c) {
		kinds := slices.DeleteFunc(slices.Clone(fieldTypes), func(kind string) bool { return !fits(kind, c) })
		fix := "leave it out"
		if len(kinds) > 0 {
			fix = "it can be " + strings.Join(kinds, ", ")
		}
		return stop("type", fmt.Sprintf("%s, which %s cannot hold", is, r.kind), fix)
	}
	if set.Decimal != "" && c.Type != event.Decimal {
		return stop("decimal", is, "leave it out: it is for DECIMAL")
	}
	if set.Timezone != "" {
		if c.Type != event.Timestamp {
			return stop("timezone", is, "leave it out: only a TIMESTAMP is a moment, and has a time in each zone")
		}
		r.zone, _ = zoneOf(set.Timezone) // Validate has looked at it
	}
	if r.overflow != "" {
		if r.kind == "" {
			r.kind = overflowType(c)
		}
		if r.limit = limitOf(r.kind, c); r.limit == nil {
			fix := "leave it out"
			if shapeOf(c) == numberShape {
				fix += ", or say which type the field has, for example type = \"integer\""
			}
			what := "the field"
			if r.kind != "" {
				what = "a field of the type " + r.kind
			}
			return stop("on_overflow", fmt.Sprintf("%s, and %s takes all its values", is, what), fix)
		}
		if r.overflow == asString && shapeOf(c) == textShape {
			return stop("on_overflow", is+": text that is too long is no shorter as text", `write "refuse", "clip" or "null"`)
		}
	}
	known := invalidChoices(c)
	if r.invalid != "" && !slices.Contains(known, r.invalid) {
		if len(known) == 0 {
			return stop("on_invalid", is+", and all its values are valid", "leave it out")
		}
		return stop("on_invalid", fmt.Sprintf("%s, for which %q means nothing", is, r.invalid), "it can be "+strings.Join(known, ", "))
	}
	if r.invalid == "" && shapeOf(c) == dateShape {
		r.invalid = null
	}
	return r, nil
}

func typeName(c *event.Column) string {
	name := strings.ToUpper(c.Type.String())
	if c.Unsigned {
		name += " UNSIGNED"
	}
	return name
}

// invalidChoices are what can be written for an invalid value of a column.
func invalidChoices(c *event.Column) []string {
	switch {
	case shapeOf(c) == dateShape:
		return []string{refuse, asString, null} // a day that does not exist has no nearest one
	case c.Type == event.Float, c.Type == event.Double, c.Type == event.Vector:
		return []string{refuse, null}
	case formOf(c) == textForm && c.Type != event.Time:
		return []string{refuse, clip, null} // what is no text cannot be written as text
	}
	return nil
}

// overflowType is the type whose limits count when on_overflow names none: that of the index that is created.
func overflowType(c *event.Column) string {
	switch {
	case c.Type == event.BigInt && c.Unsigned, c.Type == event.Bit && c.Length > 63:
		return "long"
	case c.Type == event.Set:
		return "keyword"
	}
	return ""
}

// maxKeyword is the longest value of a keyword, in bytes: Lucene's longest term.
const maxKeyword = 32766

// limitOf returns what a field's type takes of a column's values, nil when that is all.
func limitOf(kind string, c *event.Column) *limit {
	switch kind {
	case "byte":
		return integerLimit(math.MinInt8, math.MaxInt8)
	case "short":
		return integerLimit(math.MinInt16, math.MaxInt16)
	case "integer":
		return integerLimit(math.MinInt32, math.MaxInt32)
	case "long":
		return integerLimit(math.MinInt64, math.MaxInt64)
	case "float":
		if c.Type != event.Float {
			return floatLimit()
		}
	case "keyword":
		if c.Type == event.Char || c.Type == event.Text || c.Type == event.Set {
			return &limit{fmt.Sprintf("%d bytes", maxKeyword), func(v any) (any, bool) {
				text, ok := v.(string)
				if !ok || len(text) <= maxKeyword {
					return nil, false
				}
				end := maxKeyword
				for end > 0 && !utf8.RuneStart(text[end]) {
					end--
				}
				return text[:end], true
			}}
		}
	case "date_nanos":
		if c.Type != event.Timestamp {
			return dateLimit("1970-01-01 00:00:00.000000", "2262-04-11 23:47:16.854775")
		}
	}
	return nil
}

func integerLimit(low, high int64) *limit {
	return numberLimit(literal(formatInt(low)), literal(formatInt(high)), func(digits string) bool {
		d, ok := parseDecimal(digits)
		return ok && (d.compareInt(true, uint64(-low)) > 0 || d.compareInt(false, uint64(high)) < 0)
	})
}

func floatLimit() *limit {
	const largest = "3.4028235e+38"
	return numberLimit("-"+largest, largest, func(digits string) bool {
		_, err := strconv.ParseFloat(digits, 32)
		return errors.Is(err, strconv.ErrRange)
	})
}

// A literal is a number as it is written.
type literal string

// numberLimit is a limit of numbers; beyond gets their digits.
func numberLimit(low, high literal, beyond func(digits string) bool) *limit {
	return &limit{fmt.Sprintf("%s to %s", low, high), func(v any) (any, bool) {
		digits := digitsOf(v)
		switch {
		case !beyond(digits):
			return nil, false
		case digits[0] == '-':
			return low, true
		}
		return high, true
	}}
}

// digitsOf returns a number without an exponent; of what is none, something that is none either.
func digitsOf(v any) string {
	switch v := v.(type) {
	case string: // a DECIMAL
		return v
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits, _ := appendInteger(nil, v)
	return string(digits)
}

// dateLimit is a limit of dates and times as MySQL prints them, of whatever width.
func dateLimit(low, high string) *limit {
	return &limit{fmt.Sprintf("%s to %s", low, high), func(v any) (any, bool) {
		text, ok := v.(string)
		if !ok || len(text) > len(low) {
			return nil, false
		}
		if _, err := appendDate(nil, text, false); err != nil { // invalid, which is another thing
			return nil, false
		}
		switch low, high := low[:len(text)], high[:len(text)]; {
		case text < low:
			return low, true
		case text > high:
			return high, true
		}
		return nil, false
	}}
}

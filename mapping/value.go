package mapping

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"canalgo/event"
)

// form says how a value is written. docs/types.md has the reasons.
type form uint8

const (
	integerForm form = iota + 1
	yearForm
	floatForm
	decimalForm
	dateForm
	dateTimeForm
	timestampForm
	textForm // also TIME, ENUM, SET
	jsonForm
	bytesForm
	geometryForm
	vectorForm
)

// formOf returns how values of a column are written.
func formOf(c *event.Column) form {
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt, event.Bit:
		return integerForm
	case event.Year:
		return yearForm
	case event.Float, event.Double:
		return floatForm
	case event.Decimal:
		return decimalForm
	case event.Date:
		return dateForm
	case event.DateTime:
		return dateTimeForm
	case event.Timestamp:
		return timestampForm
	case event.JSON:
		return jsonForm
	case event.Binary, event.VarBinary, event.Blob:
		return bytesForm
	case event.Geometry:
		return geometryForm
	case event.Vector:
		return vectorForm
	}
	if c.Charset == "binary" {
		return bytesForm
	}
	return textForm
}

// appendBody appends the document of an image; routing is its parent's id.
func (b *binding) appendBody(dst []byte, row []any, routing string, count *changed) (body []byte, err error) {
	if len(b.fields) == 0 && b.relation == nil {
		return append(dst, "{}"...), nil
	}
	for i := range b.fields {
		f := &b.fields[i]
		dst = append(dst, f.prefix...)
		if dst, err = f.append(dst, row[f.column], count); err != nil {
			return nil, fmt.Errorf("column %s: %w", f.source.Name, err)
		}
	}
	if b.relation != nil {
		if dst, err = b.relation.append(dst, routing); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendValue appends a value that is not NULL as JSON. An invalidError says that it is none of its type.
func (f form) appendValue(dst []byte, v any) ([]byte, error) {
	switch f {
	case integerForm, yearForm:
		return appendInteger(dst, v)
	case floatForm:
		return appendFloat(dst, v)
	case textForm:
		switch v := v.(type) {
		case string:
			return appendString(dst, v)
		case []byte:
			return dst, errNoText
		}
	case decimalForm:
		if s, ok := v.(string); ok {
			return appendDecimal(dst, s)
		}
	case dateForm, dateTimeForm, timestampForm:
		if s, ok := v.(string); ok {
			return appendDate(dst, s, f == timestampForm)
		}
	case jsonForm:
		if s, ok := v.(string); ok {
			return appendJSON(dst, s)
		}
	case bytesForm:
		switch v := v.(type) {
		case []byte:
			dst = append(dst, '"')
			return append(base64.StdEncoding.AppendEncode(dst, v), '"'), nil
		case string: // CHAR with the character set binary
			dst = append(dst, '"')
			return append(base64.StdEncoding.AppendEncode(dst, []byte(v)), '"'), nil
		}
	case geometryForm:
		if raw, ok := v.([]byte); ok {
			return appendGeometry(dst, raw)
		}
	case vectorForm:
		if raw, ok := v.([]byte); ok {
			return appendVector(dst, raw)
		}
	}
	return dst, unexpected(v)
}

// An invalidError says that a value is none of its column's type.
type invalidError string

func (e invalidError) Error() string { return string(e) }

const (
	errNoText = invalidError("holds bytes that are not text of its character set")
	errNoUTF8 = invalidError("invalid UTF-8")
	errNoDate = invalidError("holds a date that no calendar has")
)

func unexpected(v any) error { return fmt.Errorf("a value of the unexpected type %T", v) }

// appendKey appends a value that is not NULL as part of a document's id: numbers and text as MySQL prints them, bytes in
// base64 as in the document.
func (f form) appendKey(dst []byte, v any) ([]byte, error) {
	switch f {
	case integerForm:
		return appendInteger(dst, v)
	case yearForm:
		digits, err := appendInteger(nil, v)
		if len(digits) == 1 { // 0 is the year 0000
			digits = []byte("0000")
		}
		return append(dst, digits...), err
	case decimalForm:
		if s, ok := v.(string); ok {
			return appendDecimal(dst, s)
		}
	case textForm, dateForm, dateTimeForm, timestampForm:
		if s, ok := v.(string); ok {
			if !utf8.ValidString(s) {
				return dst, errNoUTF8
			}
			return append(dst, s...), nil
		}
		if _, ok := v.([]byte); ok {
			return dst, errNoText
		}
	case bytesForm:
		switch v := v.(type) {
		case []byte:
			return base64.StdEncoding.AppendEncode(dst, v), nil
		case string:
			return base64.StdEncoding.AppendEncode(dst, []byte(v)), nil
		}
	}
	return dst, unexpected(v)
}

func appendInteger(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case int32:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case uint64:
		return strconv.AppendUint(dst, v, 10), nil
	case uint32:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case int8:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case uint8:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case int16:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case uint16:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	}
	return dst, unexpected(v)
}

// appendFloat appends the shortest digits that give the same number in the value's own width.
func appendFloat(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case float64:
		return appendShortest(dst, v, 64)
	case float32:
		return appendShortest(dst, float64(v), 32)
	}
	return dst, unexpected(v)
}

func appendShortest(dst []byte, v float64, bits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, invalidError(fmt.Sprintf("%v is not a number that JSON can hold", v))
	}
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, bits), nil
}

// appendDecimal appends a DECIMAL with all its digits. Leading zeros (ZEROFILL, which the stream does not have) and the
// sign of zero go.
func appendDecimal(dst []byte, s string) ([]byte, error) {
	d, ok := parseDecimal(s)
	if !ok {
		return dst, fmt.Errorf("%q is not a decimal number", s)
	}
	if s[0] == '-' {
		s = s[1:]
	}
	for len(s) > 1 && s[0] == '0' && s[1] != '.' {
		s = s[1:]
	}
	if d.neg {
		dst = append(dst, '-')
	}
	if s[0] == '.' {
		dst = append(dst, '0')
	}
	return append(dst, s...), nil
}

// appendDate appends "2024-02-29" or "2024-02-29T23:59:59.120", with a Z behind a TIMESTAMP. errNoDate: it is zero, partial or impossible.
func appendDate(dst []byte, s string, utc bool) ([]byte, error) {
	const day = len("2024-02-29")
	if len(s) < day || s[4] != '-' || s[7] != '-' || len(s) > day && (len(s) < len("2024-02-29 23:59:59") || s[day] != ' ') {
		return dst, fmt.Errorf("%q is not a date", s)
	}
	for i := range len(s) { // so that nothing needs an escape
		if c := s[i]; (c < '0' || c > '9') && c != '-' && c != ':' && c != '.' && c != ' ' {
			return dst, fmt.Errorf("%q is not a date", s)
		}
	}
	year, month, dayOfMonth := number(s[:4]), number(s[5:7]), number(s[8:10])
	if year == 0 || month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > daysIn(year, month) {
		return dst, errNoDate
	}
	dst = append(dst, '"')
	dst = append(dst, s[:day]...)
	if len(s) > day {
		dst = append(dst, 'T')
		dst = append(dst, s[day+1:]...)
	}
	if utc {
		dst = append(dst, 'Z')
	}
	return append(dst, '"'), nil
}

// number returns the value of digits.
func number(digits string) int {
	n := 0
	for i := range len(digits) {
		n = n*10 + int(digits[i]-'0')
	}
	return n
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// appendVector appends an array of 32-bit floats, little endian, as numbers.
func appendVector(dst, raw []byte) ([]byte, error) {
	if len(raw)%4 != 0 {
		return dst, fmt.Errorf("a VECTOR of %d bytes, which is not a multiple of 4", len(raw))
	}
	dst = append(dst, '[')
	for i := 0; i < len(raw); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		dst, err = appendShortest(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i:]))), 32)
		if err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

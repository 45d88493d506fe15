package entry

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"canalgo/binlog"
	"canalgo/event"
)

// Numbers of types, by java.sql.Types.
const (
	javaBit       = -7
	javaTinyInt   = -6
	javaBigInt    = -5
	javaChar      = 1
	javaDecimal   = 3
	javaInteger   = 4
	javaSmallInt  = 5
	javaReal      = 7
	javaDouble    = 8
	javaVarchar   = 12
	javaDate      = 91
	javaTime      = 92
	javaTimestamp = 93
	javaOther     = 1111
	javaBlob      = 2004
	javaClob      = 2005
)

// sqlType is the number of a value's type. An unsigned number that does not fit into the type of its column has that of the next one.
func sqlType(c *column, v any) int {
	switch c.Type {
	case event.TinyInt:
		if u, ok := v.(uint8); ok && u > math.MaxInt8 {
			return javaSmallInt
		}
		return javaTinyInt
	case event.SmallInt:
		if u, ok := v.(uint16); ok && u > math.MaxInt16 {
			return javaInteger
		}
		return javaSmallInt
	case event.Int:
		if u, ok := v.(uint32); ok && u > math.MaxInt32 {
			return javaBigInt
		}
		return javaInteger
	case event.BigInt:
		if u, ok := v.(uint64); ok && u > math.MaxInt64 {
			return javaDecimal
		}
		return javaBigInt
	case event.Char:
		if c.fixed {
			return javaChar
		}
		return javaVarchar
	case event.Set:
		if v == nil {
			return javaBlob
		}
		return javaBit
	case event.JSON:
		if v == nil {
			return javaOther
		}
		return javaVarchar
	}
	return javaTypes[c.Type]
}

// javaTypes are those that do not depend on the value.
var javaTypes = map[event.Type]int{event.MediumInt: javaInteger, event.Decimal: javaDecimal, event.Float: javaReal, event.Double: javaDouble,
	event.Bit: javaBit, event.Year: javaVarchar, event.Date: javaDate, event.DateTime: javaTimestamp, event.Timestamp: javaTimestamp,
	event.Time: javaTime, event.Text: javaClob, event.Binary: javaBlob, event.VarBinary: javaBlob, event.Blob: javaBlob,
	event.Geometry: javaBlob, event.Vector: javaBlob, event.Enum: javaInteger}

// valueField is the field of a column that holds the value.
const valueField = 8

// value writes the text of a value that is not NULL.
func (m *Maker) value(c *column, v any) error {
	w := &m.buffer
	m.text = m.text[:0]
	switch v := v.(type) {
	case string:
		if c.Type == event.Timestamp && m.options.Zone != time.UTC {
			m.text = appendLocal(m.text, v, m.options.Zone)
			break
		}
		w.text(valueField, v)
		return nil
	case []byte:
		m.bytes(c, v)
		return nil
	case uint16:
		if c.Type == event.Year && v == 0 {
			m.text = append(m.text, "0000"...)
			break
		}
		m.text = strconv.AppendUint(m.text, uint64(v), 10)
	case int8:
		m.text = strconv.AppendInt(m.text, int64(v), 10)
	case int16:
		m.text = strconv.AppendInt(m.text, int64(v), 10)
	case int32:
		m.text = strconv.AppendInt(m.text, int64(v), 10)
	case int64:
		m.text = strconv.AppendInt(m.text, v, 10)
	case uint8:
		m.text = strconv.AppendUint(m.text, uint64(v), 10)
	case uint32:
		m.text = strconv.AppendUint(m.text, uint64(v), 10)
	case uint64:
		m.text = strconv.AppendUint(m.text, v, 10)
	case float32:
		m.text = appendJava(m.text, float64(v), 32)
	case float64:
		m.text = appendJava(m.text, v, 64)
	default:
		return fmt.Errorf("a value of type %T", v)
	}
	w.raw(m.text)
	w.head(valueField, len(m.text))
	return nil
}

// bytes writes a value that has no text of its own, or none that its character set knows.
func (m *Maker) bytes(c *column, v []byte) {
	w := &m.buffer
	before := w.size()
	switch c.Type {
	case event.Char, event.Text:
		w.raw(bytes.ToValidUTF8(v, []byte("\uFFFD")))
	default:
		w.latin(v)
	}
	w.message(valueField, before)
}

// appendLocal appends a TIMESTAMP, which comes in UTC, as the time of a zone: 2006-01-02 15:04:05 and a fraction, which stays.
func appendLocal(dst []byte, text string, zone *time.Location) []byte {
	const layout = "2006-01-02 15:04:05"
	if len(text) < len(layout) {
		return append(dst, text...)
	}
	t, err := time.Parse(layout, text[:len(layout)])
	if err != nil { // the zero time
		return append(dst, text...)
	}
	return append(t.In(zone).AppendFormat(dst, layout), text[len(layout):]...)
}

// appendJava appends a number as Java prints it: with digits behind the point always, and with an exponent from 10^7 on and below 10^-3.
func appendJava(dst []byte, f float64, bits int) []byte {
	if f == 0 || math.Abs(f) >= 1e-3 && math.Abs(f) < 1e7 {
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
		if bytes.IndexByte(dst[start:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	var scratch [32]byte
	text := strconv.AppendFloat(scratch[:0], f, 'e', -1, bits)
	at := bytes.IndexByte(text, 'e')
	if at < 0 {
		return append(dst, text...)
	}
	if bytes.IndexByte(text[:at], '.') < 0 { // one digit: Java gives two, which is another one for the smallest numbers
		two := strconv.AppendFloat(nil, f, 'e', 1, bits)
		if g, err := strconv.ParseFloat(string(two), bits); err == nil && g == f {
			text, at = two, bytes.IndexByte(two, 'e')
		}
	}
	dst = append(dst, text[:at]...)
	if bytes.IndexByte(text[:at], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	exponent, _ := strconv.Atoi(string(text[at+1:]))
	return strconv.AppendInt(append(dst, 'E'), int64(exponent), 10)
}

// jsonStyle prints documents as canal does.
var jsonStyle = binlog.JSONStyle{
	Quoted:   appendQuoted,
	Double:   func(dst []byte, f float64) []byte { return appendJava(dst, f, 64) },
	Opaque:   func(dst []byte, _ byte, value []byte) []byte { return appendQuoted(dst, value) },
	Midnight: true,
}

// appendQuoted escapes quotes, backslashes, and all that is no sign to be seen below U+00A1.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r < ' ' || r >= 0x7f && r <= 0xa0:
			const hex = "0123456789ABCDEF"
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
		text = text[size:]
	}
	return append(dst, '"')
}

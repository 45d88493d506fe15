package binlog

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// The types of values in MySQL's binary JSON. Small and large differ in the size of offsets: 2 and 4 bytes.
const (
	jsonSmallObject = 0x00
	jsonLargeObject = 0x01
	jsonSmallArray  = 0x02
	jsonLargeArray  = 0x03
	jsonLiteral     = 0x04
	jsonInt16       = 0x05
	jsonUint16      = 0x06
	jsonInt32       = 0x07
	jsonUint32      = 0x08
	jsonInt64       = 0x09
	jsonUint64      = 0x0a
	jsonDouble      = 0x0b
	jsonString      = 0x0c
	jsonOpaque      = 0x0f
)

// maxJSONDepth is above the 100 that MySQL allows.
const maxJSONDepth = 200

var errJSON = errors.New("malformed binary JSON")

// document returns the text of a document of MySQL's binary JSON: type:u8 | value.
func (s *JSONStyle) document(b []byte) (any, error) {
	if len(b) == 0 {
		return s.Empty, nil
	}
	p := jsonPrinter{limit: maxJSONGrowth*len(b) + 64, JSONStyle: *s}
	out, err := p.value(make([]byte, 0, len(b)+len(b)/2), b[0], b[1:], 0)
	if err != nil {
		return nil, err
	}
	return shared(out), nil
}

// A JSONStyle says how the values are printed that programs print in different ways. Each function appends to dst.
type JSONStyle struct {
	Quoted func(dst, text []byte) []byte                    // a text or a key
	Double func(dst []byte, f float64) []byte               // a number with a fraction
	Opaque func(dst []byte, kind byte, value []byte) []byte // a value of another type of SQL than DECIMAL and the times
	// Midnight has a DATE printed with a time, too.
	Midnight bool
	Empty    string // an empty document, which INSERT IGNORE makes of NULL
}

// mysqlStyle is what the server prints.
var mysqlStyle = JSONStyle{Quoted: appendQuoted, Double: appendDouble, Opaque: appendBase64, Empty: "null"}

// maxJSONGrowth is above how many times longer a text can be than its document: values that refer to each other could grow without end.
const maxJSONGrowth = 16

type jsonPrinter struct {
	limit int
	JSONStyle
}

// value appends the value of a type that begins b; b may go on behind it.
func (p jsonPrinter) value(dst []byte, kind byte, b []byte, depth int) ([]byte, error) {
	if depth > maxJSONDepth {
		return dst, fmt.Errorf("%w: nested deeper than %d", errJSON, maxJSONDepth)
	}
	need := map[byte]int{jsonLiteral: 1, jsonInt16: 2, jsonUint16: 2, jsonInt32: 4, jsonUint32: 4, jsonInt64: 8, jsonUint64: 8, jsonDouble: 8}[kind]
	if len(b) < need {
		return dst, errJSON
	}
	switch kind {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return p.container(dst, kind, b, depth)
	case jsonLiteral:
		if b[0] > 2 {
			return dst, errJSON
		}
		return append(dst, [...]string{"null", "true", "false"}[b[0]]...), nil
	case jsonInt16:
		return strconv.AppendInt(dst, int64(int16(binary.LittleEndian.Uint16(b))), 10), nil
	case jsonUint16:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint16(b)), 10), nil
	case jsonInt32:
		return strconv.AppendInt(dst, int64(int32(binary.LittleEndian.Uint32(b))), 10), nil
	case jsonUint32:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(b)), 10), nil
	case jsonInt64:
		return strconv.AppendInt(dst, int64(binary.LittleEndian.Uint64(b)), 10), nil
	case jsonUint64:
		return strconv.AppendUint(dst, binary.LittleEndian.Uint64(b), 10), nil
	case jsonDouble:
		return p.Double(dst, math.Float64frombits(binary.LittleEndian.Uint64(b))), nil
	case jsonString:
		text, err := variable(b)
		return p.Quoted(dst, text), err
	case jsonOpaque:
		if len(b) == 0 {
			return dst, errJSON
		}
		value, err := variable(b[1:])
		if err != nil {
			return dst, err
		}
		return p.opaque(dst, b[0], value)
	}
	return dst, fmt.Errorf("%w: type %d", errJSON, kind)
}

// container appends an object or array.
func (p jsonPrinter) container(dst []byte, kind byte, b []byte, depth int) ([]byte, error) {
	c, err := openJSON(kind, b)
	if err != nil {
		return dst, err
	}
	opening, closing := byte('['), byte(']')
	if c.object {
		opening, closing = '{', '}'
	}
	dst = append(dst, opening)
	for i := range c.count {
		if len(dst) > p.limit {
			return dst, fmt.Errorf("%w: its text would be larger than %d bytes", errJSON, p.limit)
		}
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if c.object {
			key, err := c.key(i)
			if err != nil {
				return dst, err
			}
			dst = append(p.Quoted(dst, key), ": "...)
		}
		kind, value, err := c.value(i)
		if err != nil {
			return dst, err
		}
		if dst, err = p.value(dst, kind, value, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, closing), nil
}

// A jsonContainer is a stored object or array; every offset counts from its beginning:
//
//	count | bytes | for each key: offset, length:u16 | for each value: type:u8, offset or the value itself | keys | values
type jsonContainer struct {
	b      []byte
	object bool
	width  int // of counts and offsets
	count  int
}

func openJSON(kind byte, b []byte) (jsonContainer, error) {
	c := jsonContainer{object: kind == jsonSmallObject || kind == jsonLargeObject, width: 2}
	if kind == jsonLargeObject || kind == jsonLargeArray {
		c.width = 4
	}
	if len(b) < 2*c.width {
		return c, errJSON
	}
	size := int(little(b[c.width : 2*c.width]))
	c.count = int(little(b[:c.width]))
	if size > len(b) || c.values()+c.count*(1+c.width) > size {
		return c, errJSON
	}
	c.b = b[:size]
	return c, nil
}

// values is where the entries of values begin.
func (c jsonContainer) values() int {
	if c.object {
		return 2*c.width + c.count*(c.width+2)
	}
	return 2 * c.width
}

func (c jsonContainer) key(i int) ([]byte, error) {
	entry := c.b[2*c.width+i*(c.width+2):]
	offset, length := int(little(entry[:c.width])), int(binary.LittleEndian.Uint16(entry[c.width:]))
	if offset+length > len(c.b) {
		return nil, errJSON
	}
	return c.b[offset : offset+length], nil
}

// value returns the type of a value, and bytes that begin with it.
func (c jsonContainer) value(i int) (kind byte, value []byte, err error) {
	entry := c.b[c.values()+i*(1+c.width):][:1+c.width]
	kind, value = entry[0], entry[1:]
	if kind == jsonLiteral || kind == jsonInt16 || kind == jsonUint16 || c.width == 4 && (kind == jsonInt32 || kind == jsonUint32) {
		return kind, value, nil // it stands in the entry
	}
	offset := int(little(value))
	if offset > len(c.b) {
		return 0, nil, errJSON
	}
	return kind, c.b[offset:], nil
}

// variable reads bytes whose length stands before them, 7 bits in each byte, the lowest first.
func variable(b []byte) ([]byte, error) {
	n := 0
	for i := 0; i < 5 && i < len(b); i++ {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if n > len(b)-i-1 {
				return nil, errJSON
			}
			return b[i+1 : i+1+n], nil
		}
	}
	return nil, errJSON
}

// appendQuoted escapes as MySQL does: what JSON demands, nothing else.
func appendQuoted(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		default:
			if i := strings.IndexByte("\b\f\n\r\t", c); i >= 0 {
				dst = append(dst, '\\', "bfnrt"[i])
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
		}
	}
	return append(dst, '"')
}

// opaque appends a value of an SQL type that JSON has none for.
func (p jsonPrinter) opaque(dst []byte, kind byte, value []byte) ([]byte, error) {
	switch kind {
	case mysql.MYSQL_TYPE_NEWDECIMAL: // precision:u8 | scale:u8 | digits
		if len(value) < 2 || value[0] < value[1] || value[0] > maxPrecision || value[0] == 0 ||
			len(value) != 2+decimalBytes(int(value[0]), int(value[1])) {
			return dst, errJSON
		}
		return appendDecimal(dst, value[2:], int(value[0]), int(value[1])), nil
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_TIME:
		if len(value) != 8 {
			return dst, errJSON
		}
		if kind == mysql.MYSQL_TYPE_DATE && p.Midnight {
			kind = mysql.MYSQL_TYPE_DATETIME
		}
		return append(appendPackedTime(append(dst, '"'), kind, int64(binary.LittleEndian.Uint64(value))), '"'), nil
	}
	return p.Opaque(dst, kind, value), nil
}

// appendBase64 appends a value as the server prints those that it knows no better text for.
func appendBase64(dst []byte, kind byte, value []byte) []byte {
	dst = append(strconv.AppendInt(append(dst, `"base64:type`...), int64(kind), 10), ':')
	for len(value) > base64Line { // the server's encoder breaks lines
		dst = append(base64.StdEncoding.AppendEncode(dst, value[:base64Line]), `\n`...)
		value = value[base64Line:]
	}
	return append(base64.StdEncoding.AppendEncode(dst, value), '"')
}

// base64Line is how many bytes make a line of 76 characters.
const base64Line = 57

// appendPackedTime appends a time that is packed as year*13+month:17 day:5 hour:5 minute:6 second:6 microseconds:24, or hour:10
// minute:6 second:6 microseconds:24.
func appendPackedTime(dst []byte, kind byte, v int64) []byte {
	if v < 0 {
		dst = append(dst, '-')
		v = -v
	}
	micros, hms := uint32(v&0xffffff), uint32(v>>24)
	if kind == mysql.MYSQL_TYPE_TIME {
		return appendFraction(appendClock(dst, hms>>12&0x3ff, hms>>6&0x3f, hms&0x3f), micros, 6)
	}
	ym := uint32(v >> 46)
	dst = appendDate(dst, ym/13, ym%13, uint32(v>>41&31))
	if kind == mysql.MYSQL_TYPE_DATE {
		return dst
	}
	return appendFraction(appendClock(append(dst, ' '), hms>>12&31, hms>>6&0x3f, hms&0x3f), micros, 6)
}

// appendDouble appends the shortest digits that give the same number back: with an exponent when it is below 1e-15, or is
// a whole number of more than 15 digits, else with a point always.
func appendDouble(dst []byte, f float64) []byte {
	var buf [32]byte
	e := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	at := bytes.IndexByte(e, 'e')
	if at < 0 {
		return append(dst, "null"...) // no number; MySQL stores none
	}
	exponent, _ := strconv.Atoi(string(e[at+1:]))
	digits := len(bytes.TrimLeft(e[:at], "-"))
	if digits > 1 {
		digits-- // the point
	}
	if exponent < -15 || exponent > 14 && exponent >= digits-1 {
		return strconv.AppendInt(append(append(dst, e[:at]...), 'e'), int64(exponent), 10)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[start:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}

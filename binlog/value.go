package binlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"canalgo/event"
)

// A rowReader reads row images. Reading behind the end of data panics; Decode makes an error of that.
type rowReader struct {
	data   []byte
	pos    int
	layout *layout
	style  *JSONStyle // of JSON documents
	parts  *jsonParts // of an event whose JSON documents may come as changes; else nil
	// Memory that rows and printed values are cut from, to allocate less often.
	values []any
	texts  []byte
}

// How much is allocated at once.
const (
	slabValues = 512
	slabTexts  = 4 << 10
	// longestText is that of a DECIMAL, the longest value that is printed.
	longestText = maxPrecision + 3
)

// begin goes on with another rows event. Nothing may be read behind its end, whatever the memory there holds.
func (r *rowReader) begin(l *layout, data []byte, pos int) {
	r.layout, r.data, r.pos, r.parts = l, slices.Clip(data), pos, nil
}

// image reads one row: a bit for each column, set for NULL, and the values of the others. Of columns that are not present there is
// neither; they have the value of another image, or event.Absent without one. All are present when that is nil.
func (r *rowReader) image(present []byte, other []any) ([]any, error) {
	columns := r.layout.columns
	if len(r.values) < len(columns) {
		r.values = make([]any, max(slabValues, len(columns)))
	}
	row := r.values[:len(columns):len(columns)]
	r.values = r.values[len(columns):]
	if present != nil {
		return row, r.partial(row, present, other)
	}
	nulls := r.take((len(columns) + 7) / 8)
	for i := range columns {
		if nulls[i>>3]&(1<<(i&7)) != 0 {
			continue
		}
		v, err := r.value(&columns[i])
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", r.layout.table.Columns[i].Name, err)
		}
		row[i] = v
	}
	return row, nil
}

// partial reads an image that lacks columns: its bits for NULL are those of the columns that are present.
func (r *rowReader) partial(row []any, present []byte, other []any) error {
	columns, there := r.layout.columns, 0
	for i := range columns {
		there += int(present[i>>3] >> (i & 7) & 1)
	}
	nulls, bit := r.take((there+7)/8), 0
	for i := range columns {
		if present[i>>3]&(1<<(i&7)) == 0 {
			if row[i] = event.Absent; other != nil {
				row[i] = other[i]
			}
			continue
		}
		null := nulls[bit>>3]&(1<<(bit&7)) != 0
		if bit++; null {
			continue
		}
		v, err := r.value(&columns[i])
		if err != nil {
			return fmt.Errorf("column %s: %w", r.layout.table.Columns[i].Name, err)
		}
		row[i] = v
	}
	return nil
}

func (r *rowReader) take(n int) []byte {
	b := r.data[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// text takes bytes whose length, of size bytes, stands before them.
func (r *rowReader) text(size int) []byte { return r.take(int(little(r.take(size)))) }

func (r *rowReader) value(c *columnLayout) (any, error) {
	switch c.store {
	case storeInt8:
		v := r.take(1)[0]
		if c.unsigned {
			return v, nil
		}
		return int8(v), nil
	case storeInt16:
		v := binary.LittleEndian.Uint16(r.take(2))
		if c.unsigned {
			return v, nil
		}
		return int16(v), nil
	case storeInt24:
		v := uint32(little(r.take(3)))
		if c.unsigned {
			return v, nil
		}
		return int32(v<<8) >> 8, nil
	case storeInt32:
		v := binary.LittleEndian.Uint32(r.take(4))
		if c.unsigned {
			return v, nil
		}
		return int32(v), nil
	case storeInt64:
		v := binary.LittleEndian.Uint64(r.take(8))
		if c.unsigned {
			return v, nil
		}
		return int64(v), nil
	case storeText:
		return textValue(c.text, r.text(c.size)), nil
	case storeBytes:
		return r.text(c.size), nil
	case storePadded:
		return padded(r.text(c.size), c.scale), nil
	case storeFloat:
		return math.Float32frombits(binary.LittleEndian.Uint32(r.take(4))), nil
	case storeDouble:
		return math.Float64frombits(binary.LittleEndian.Uint64(r.take(8))), nil
	case storeDecimal, storeDate, storeTime, storeDateTime, storeTimestamp:
		return r.printed(c), nil
	case storeYear:
		if v := r.take(1)[0]; v != 0 {
			return 1900 + uint16(v), nil
		}
		return uint16(0), nil
	case storeBit:
		return big(r.take(c.size)), nil
	case storeEnum:
		return enumLabel(c.labels, little(r.take(c.size)))
	case storeSet:
		return setLabels(c.labels, little(r.take(c.size)))
	case storeNumber:
		return little(r.take(c.size)), nil
	case storeJSON:
		return r.parts.document(r.style, c, r.text(c.size))
	}
	return nil, fmt.Errorf("is stored in a way that is not known (%d)", c.store)
}

// printed returns the text of a value that is stored as numbers.
func (r *rowReader) printed(c *columnLayout) string {
	if cap(r.texts)-len(r.texts) < longestText {
		r.texts = make([]byte, 0, slabTexts)
	}
	start := len(r.texts)
	switch c.store {
	case storeDecimal:
		r.texts = appendDecimal(r.texts, r.take(decimalBytes(c.size, c.scale)), c.size, c.scale)
	case storeDate:
		v := uint32(little(r.take(3)))
		r.texts = appendDate(r.texts, v>>9, v>>5&15, v&31)
	case storeTime:
		r.texts = appendTime(r.texts, r.take(3+fractionBytes(c.scale)), c.scale)
	case storeDateTime:
		r.texts = appendDateTime(r.texts, r.take(5+fractionBytes(c.scale)), c.scale)
	case storeTimestamp:
		r.texts = appendTimestamp(r.texts, r.take(4+fractionBytes(c.scale)), c.scale)
	}
	return shared(r.texts[start:])
}

// padded gives back the zeros that the server strips from the end of BINARY values.
func padded(b []byte, length int) []byte {
	if len(b) >= length {
		return b
	}
	out := make([]byte, length)
	copy(out, b)
	return out
}

// enumLabel: 0 is what an invalid value becomes without strict mode; it prints as the empty text.
func enumLabel(labels []string, i uint64) (any, error) {
	switch {
	case i == 0:
		return "", nil
	case i > uint64(len(labels)):
		return nil, fmt.Errorf("has value %d of %d", i, len(labels))
	}
	return labels[i-1], nil
}

func setLabels(labels []string, mask uint64) (any, error) {
	if len(labels) < 64 && mask>>len(labels) != 0 {
		return nil, fmt.Errorf("has the mask %x for %d values", mask, len(labels))
	}
	if mask&(mask-1) == 0 { // one or none
		for i := range labels {
			if mask == 1<<i {
				return labels[i], nil
			}
		}
		return "", nil
	}
	var b strings.Builder
	for i, label := range labels {
		if mask&(1<<i) != 0 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(label)
		}
	}
	return b.String(), nil
}

// little and big read an integer of up to 8 bytes.
func little(b []byte) (v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func big(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

const maxPrecision = 65

// A DECIMAL is stored as groups of nine digits in four bytes, big-endian; fewer digits take fewer bytes. The first bit is inverted, and
// all bits are for a negative number.
var digitBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

func decimalBytes(precision, scale int) int {
	whole := precision - scale
	return whole/9*4 + digitBytes[whole%9] + scale/9*4 + digitBytes[scale%9]
}

func appendDecimal(out, b []byte, precision, scale int) []byte {
	var invert uint32
	if b[0]&0x80 == 0 {
		invert = math.MaxUint32
	}
	pos := 0
	group := func(digits int) uint32 {
		n := digitBytes[digits]
		v := uint32(big(b[pos : pos+n]))
		if pos == 0 {
			v ^= 0x80 << (8 * (n - 1))
		}
		pos += n
		return v ^ invert>>(32-8*n)
	}
	if invert != 0 {
		out = append(out, '-')
	}
	start := len(out)
	whole := precision - scale
	write := func(digits int) {
		if len(out) == start {
			if v := group(digits); v != 0 {
				out = appendDigits(out, v, 0)
			}
			return
		}
		out = appendDigits(out, group(digits), digits)
	}
	if whole%9 > 0 {
		write(whole % 9)
	}
	for range whole / 9 {
		write(9)
	}
	if len(out) == start {
		out = append(out, '0')
	}
	if scale > 0 {
		out = append(out, '.')
		for range scale / 9 {
			out = appendDigits(out, group(9), 9)
		}
		if scale%9 > 0 {
			out = appendDigits(out, group(scale%9), scale%9)
		}
	}
	return out
}

// appendDigits appends v with at least width digits.
func appendDigits(dst []byte, v uint32, width int) []byte {
	var buf [10]byte
	i := len(buf)
	for v > 0 || width > 0 {
		i--
		buf[i] = '0' + byte(v%10)
		v /= 10
		width--
	}
	return append(dst, buf[i:]...)
}

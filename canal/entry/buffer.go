package entry

import (
	"encoding/binary"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// A buffer takes a protobuf message from its end to its beginning: a nested message stands there before its length has to be written, and
// nothing is copied from one level to the next. What is written last comes first.
type buffer struct {
	b  []byte
	at int // b[at:] is written
}

func (w *buffer) reset() { w.at = len(w.b) }

// size is how much is written.
func (w *buffer) size() int { return len(w.b) - w.at }

// room makes n bytes before what is written and returns them.
func (w *buffer) room(n int) []byte {
	if w.at < n {
		b := make([]byte, max(2*len(w.b), 2*(w.size()+n), 4<<10))
		at := len(b) - w.size()
		copy(b[at:], w.b[w.at:])
		w.b, w.at = b, at
	}
	w.at -= n
	return w.b[w.at : w.at+n]
}

func (w *buffer) raw(b []byte) { copy(w.room(len(b)), b) }

func (w *buffer) varint(v uint64) {
	n := protowire.SizeVarint(v)
	b := w.room(n)
	if n == 1 {
		b[0] = byte(v)
		return
	}
	binary.PutUvarint(b, v)
}

// number writes a field with a number, 0 too: clients of some versions ask whether a field is there.
func (w *buffer) number(field protowire.Number, v int64) {
	w.varint(uint64(v))
	w.varint(protowire.EncodeTag(field, protowire.VarintType))
}

func (w *buffer) boolean(field protowire.Number, v bool) {
	var n int64
	if v {
		n = 1
	}
	w.number(field, n)
}

// text writes a field with a text, the empty one too.
func (w *buffer) text(field protowire.Number, s string) {
	copy(w.room(len(s)), s)
	w.head(field, len(s))
}

// some writes a field with a text, or none when it is empty.
func (w *buffer) some(field protowire.Number, s string) {
	if s != "" {
		w.text(field, s)
	}
}

// head writes what stands before the bytes of a field.
func (w *buffer) head(field protowire.Number, size int) {
	w.varint(uint64(size))
	w.varint(protowire.EncodeTag(field, protowire.BytesType))
}

// message writes what stands before a nested message that began when the buffer had that size.
func (w *buffer) message(field protowire.Number, before int) { w.head(field, w.size()-before) }

// latin writes bytes as text in which each is the character of its number.
func (w *buffer) latin(bytes []byte) {
	high := 0
	rest := bytes
	for ; len(rest) >= 8; rest = rest[8:] {
		high += bits.OnesCount64(binary.LittleEndian.Uint64(rest) & 0x8080808080808080)
	}
	for _, c := range rest {
		high += int(c >> 7)
	}
	out := w.room(len(bytes) + high)
	if high == 0 {
		copy(out, bytes)
		return
	}
	i := 0
	for _, c := range bytes {
		if c < 0x80 {
			out[i] = c
			i++
			continue
		}
		out[i], out[i+1] = 0xc0|c>>6, 0x80|c&0x3f
		i += 2
	}
}

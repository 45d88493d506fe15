// Package charset turns text of MySQL's character sets into UTF-8, exactly as the server does when it is asked for utf8mb4.
//
// The server's sets are not those of the same name elsewhere: its latin1 is Windows-1252, its sjis has a backslash where others
// have a wide one, and koi8u, cp866, tis620, big5, gb2312, gb18030, ujis and eucjpms differ from what WHATWG publishes, in two to
// two thousand places each. So the tables are the server's own: tables.bin is written by a test from what MySQL 9.7 answers for
// every sequence of bytes, and the same test compares all of them again (TestCharacterSets in integration). Where the server puts a
// question mark or U+FFFD, because a sequence stands for no character, there is no text: nothing is replaced.
package charset

import (
	"maps"
	"slices"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// A Set is one character set. It may be used by several goroutines.
type Set struct {
	decode func(b []byte) (text string, ok bool)
	twice  func() map[rune]bool // characters of more than one code; nil when there are none
}

// Lookup returns the set that MySQL 8 calls by that name, nil when there is none. What is binary is no text.
func Lookup(name string) *Set { return sets[name] }

// Names returns the names of all sets, sorted.
func Names() []string { return slices.Sorted(maps.Keys(sets)) }

// Text returns UTF-8, which can share b's memory: b must not be changed any more. ok is false when b is not text of the set; text is
// then what stands before the first byte that is none. Bytes of utf8mb4 and utf8mb3 are handed on without a look, because whoever
// writes a text has to check it in any case.
func (s *Set) Text(b []byte) (text string, ok bool) { return s.decode(b) }

// OneCode reports whether each character of a text has one code only, so that the server makes the same bytes of it again.
func (s *Set) OneCode(text string) bool {
	if s.twice == nil {
		return true
	}
	several := s.twice()
	for _, r := range text {
		if several[r] {
			return false
		}
	}
	return true
}

var sets = allSets()

func allSets() map[string]*Set {
	utf8 := &Set{decode: func(b []byte) (string, bool) { return shared(b), true }}
	all := map[string]*Set{
		"utf8mb4": utf8,
		"utf8mb3": utf8,
		"ucs2":    {decode: wide(2, func(b []byte) (rune, int) { return bigEndian(b[:2]), 2 })},
		"utf16":   {decode: wide(2, utf16(bigEndian))},
		"utf16le": {decode: wide(2, utf16(littleEndian))},
		"utf32":   {decode: wide(4, func(b []byte) (rune, int) { return bigEndian(b[:4]), 4 })},
	}
	for i, name := range tabled {
		t := sync.OnceValue(func() *table { return readTable(i) })
		all[name] = &Set{
			decode: func(b []byte) (string, bool) { return t().text(b) },
			twice:  sync.OnceValue(func() map[rune]bool { return t().twice() }),
		}
	}
	return all
}

// wide returns the decoder of a set of whole units of bytes. character reads the one at the start of at least a unit and says how many
// bytes it has, which may be more than there are.
func wide(unit int, character func(b []byte) (rune, int)) func([]byte) (string, bool) {
	return func(b []byte) (string, bool) {
		out := make([]byte, 0, len(b))
		for len(b) > 0 {
			if len(b) < unit {
				return shared(out), false
			}
			r, n := character(b)
			if n > len(b) || !utf8.ValidRune(r) {
				return shared(out), false
			}
			out = utf8.AppendRune(out, r)
			b = b[n:]
		}
		return shared(out), true
	}
}

// utf16 returns what reads a character of one or two units.
func utf16(unit func([]byte) rune) func([]byte) (rune, int) {
	return func(b []byte) (rune, int) {
		high := unit(b[:2])
		if high < 0xd800 || high > 0xdbff {
			return high, 2
		}
		if len(b) < 4 {
			return -1, 2
		}
		low := unit(b[2:4])
		if low < 0xdc00 || low > 0xdfff {
			return -1, 2
		}
		return 0x10000 + (high-0xd800)<<10 + low - 0xdc00, 4
	}
}

// bigEndian and littleEndian return the number in at most four bytes.
func bigEndian(b []byte) (r rune) {
	for _, c := range b {
		r = r<<8 | rune(c)
	}
	return r
}

func littleEndian(b []byte) (r rune) {
	for i := len(b) - 1; i >= 0; i-- {
		r = r<<8 | rune(b[i])
	}
	return r
}

// shared makes a string of bytes that nobody changes any more, without copying them.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

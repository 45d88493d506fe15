package charset

import (
	_ "embed"
	"slices"
	"sort"
	"sync"
	"unicode/utf8"

	"canalgo/packed"
)

// tables.bin, compressed by zlib, has a block for each of the sets below, in this order. A block is
//
//	runs:uvarint | run...
//	run: number minus the one behind the last run:uvarint | character minus the one behind the last run:varint | length minus 1:uvarint
//
// in which numbers and characters both rise by one. A number is that of Number. The integration test for character sets writes it.
//
//go:embed tables.bin
var tables []byte

// tabled are the sets in the order of tables.bin. Those with much in common stand together, which makes the file smaller.
var tabled = [...]string{"ascii", "latin1", "latin2", "latin5", "latin7", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "koi8r", "koi8u",
	"greek", "hebrew", "tis620", "armscii8", "geostd8", "dec8", "hp8", "keybcs2", "macce", "macroman", "swe7",
	"gb2312", "gbk", "gb18030", "big5", "euckr", "sjis", "cp932", "ujis", "eucjpms"}

// Tabled returns the names of the sets that have a table, in the order of tables.bin.
func Tabled() []string { return slices.Clone(tabled[:]) }

// The numbers of codes of three and of four bytes begin here.
const (
	threeBytes = 0x10000
	fourBytes  = 0x20000
)

// Number numbers the codes: of one or two bytes by their value; of three, which begin with 0x8F, by the other two; of four, which are
// gb18030's, without gaps in their order, because their second and fourth bytes are digits.
func Number(code []byte) int {
	switch len(code) {
	case 3:
		return threeBytes + int(bigEndian(code[1:]))
	case 4:
		return fourBytes + ((int(code[0]-0x81)*10+int(code[1]-'0'))*126+int(code[2]-0x81))*10 + int(code[3]-'0')
	}
	return int(bigEndian(code))
}

// A table has the characters of one set.
type table struct {
	characters []rune // by number, below fourBytes; none where the number stands for none
	runs       []run  // from fourBytes on
	ascii      bool   // the first 128 numbers are themselves
	most       int    // bytes of a code
}

const none rune = -1

// A run is some numbers, one behind the other, whose characters are so, too.
type run struct {
	number    int
	character rune
	length    int
}

// content is what is in tables.bin: each set's runs.
var content = sync.OnceValue(func() [][]run {
	r := packed.NewReader("charset: tables.bin", tables)
	unsigned := func() int { return int(r.Uvarint()) }
	all := make([][]run, len(tabled))
	for i := range all {
		all[i] = make([]run, unsigned())
		number, character := 0, rune(0)
		for j := range all[i] {
			number += unsigned()
			character += rune(r.Varint())
			length := unsigned() + 1
			all[i][j] = run{number, character, length}
			number, character = number+length, character+rune(length)
		}
	}
	return all
})

func readTable(i int) *table {
	t := &table{ascii: true, most: 1}
	runs := content()[i]
	size := 0x100
	for _, r := range runs {
		switch {
		case r.number >= fourBytes:
			t.most = 4
		case r.number >= threeBytes:
			t.most, size = 3, fourBytes
		case r.number > 0xff && t.most == 1:
			t.most, size = 2, threeBytes
		}
	}
	t.characters = make([]rune, size)
	for n := range t.characters {
		t.characters[n] = none
	}
	for _, r := range runs {
		if r.number >= fourBytes {
			t.runs = append(t.runs, r)
			continue
		}
		for k := range r.length {
			t.characters[r.number+k] = r.character + rune(k)
		}
	}
	for n := range utf8.RuneSelf {
		t.ascii = t.ascii && t.characters[n] == rune(n)
	}
	return t
}

// text decodes b. Its memory is shared when there is nothing to change.
func (t *table) text(b []byte) (string, bool) {
	if t.ascii {
		high := 0
		for _, c := range b {
			high += int(c >> 7)
		}
		if high == 0 {
			return shared(b), true
		}
	}
	out := make([]byte, 0, len(b)+len(b)/2)
	for len(b) > 0 {
		r, n := t.next(b)
		if r == none {
			return shared(out), false
		}
		out = utf8.AppendRune(out, r)
		b = b[n:]
	}
	return shared(out), true
}

// next returns the first character and the length of its code.
func (t *table) next(b []byte) (rune, int) {
	if r := t.characters[b[0]]; r != none {
		return r, 1
	}
	switch {
	case t.most == 1 || len(b) < 2:
		return none, 0
	case t.most == 3 && b[0] == 0x8f:
		if len(b) < 3 {
			return none, 0
		}
		return t.characters[Number(b[:3])], 3
	case t.most == 4 && isDigit(b[1]):
		if len(b) < 4 || b[0] < 0x81 || b[2] < 0x81 || !isDigit(b[3]) {
			return none, 0
		}
		return t.character(Number(b[:4])), 4
	}
	return t.characters[Number(b[:2])], 2
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// character returns that of a code of four bytes.
func (t *table) character(number int) rune {
	i := sort.Search(len(t.runs), func(i int) bool { return t.runs[i].number > number }) - 1
	if i < 0 || number >= t.runs[i].number+t.runs[i].length {
		return none
	}
	return t.runs[i].character + rune(number-t.runs[i].number)
}

// twice returns the characters that have more than one code.
func (t *table) twice() map[rune]bool {
	seen, several := map[rune]bool{}, map[rune]bool{}
	for _, r := range t.characters {
		if r != none && seen[r] {
			several[r] = true
		}
		seen[r] = true
	}
	return several
}

package collate

import (
	_ "embed"
	"sync"

	"canalgo/packed"
)

// weights.bin, compressed by zlib, has a block for each of the tables below, in this order. A block is
//
//	entries:uvarint | entry...
//	entry: character minus the one before:varint | number of weights:uvarint | weight minus the one before:varint...
//
// and leaves out the characters that their table's rule gives right. The integration test for collations writes it.
//
//go:embed weights.bin
var weights []byte

// blocks are the tables in the order of weights.bin.
var blocks = [...]struct {
	name        string
	rule        rule
	byCodePoint bool
}{
	{name: "utf8mb4_0900_ai_ci", rule: ruleUCA900},
	{name: "utf8mb4_unicode_ci", rule: ruleUCA400},
	{name: "utf8mb4_general_ci", rule: ruleCodePoint, byCodePoint: true},
	{name: "latin1_swedish_ci", rule: ruleNone},
	{name: "latin1_general_ci", rule: ruleNone},
	{name: "latin1_bin", rule: ruleNone},
}

var (
	uca900        = lazily(0)
	uca400        = lazily(1)
	general       = lazily(2)
	latin1Swedish = lazily(3)
	latin1General = lazily(4)
	latin1Bin     = lazily(5)
)

func lazily(block int) func() *table { return sync.OnceValue(func() *table { return load(block) }) }

// A table maps characters to weights.
type table struct {
	rule rule
	// byCodePoint: characters that are not listed have one weight, which LIKE compares too.
	byCodePoint bool
	pages       [0x110000 >> 8]*[256]uint32 // 1 + offset in pool << 5 | number of weights; 0: the rule says it
	pool        []uint16
}

// entry returns the weights of a character that the table lists.
func (t *table) entry(r rune) ([]uint16, bool) {
	page := t.pages[r>>8]
	if page == nil || page[r&0xFF] == 0 {
		return nil, false
	}
	e := page[r&0xFF] - 1
	return t.pool[e>>5 : e>>5+e&31], true
}

// weights returns the weights of a character.
func (t *table) weights(r rune) []uint16 {
	if listed, ok := t.entry(r); ok {
		return listed
	}
	return t.rule(t, r).list()
}

// likeEntry returns the weights that LIKE compares. The UCA collations compare what their lists leave out by code point.
func (t *table) likeEntry(r rune) ([]uint16, bool) {
	if listed, ok := t.entry(r); ok || !t.byCodePoint {
		return listed, ok
	}
	return t.weights(r), true
}

// load unpacks one block.
func load(block int) *table {
	r := packed.NewReader("collate: weights.bin", weights)
	for i := 0; ; i++ {
		t := &table{rule: blocks[i].rule, byCodePoint: blocks[i].byCodePoint}
		var character, weight int64
		for range r.Uvarint() {
			character += r.Varint()
			page := &t.pages[character>>8]
			if *page == nil {
				*page = new([256]uint32)
			}
			count := r.Uvarint()
			(*page)[character&0xFF] = 1 + (uint32(len(t.pool))<<5 | uint32(count))
			for range count {
				weight += r.Varint()
				t.pool = append(t.pool, uint16(weight))
			}
		}
		if i == block {
			return t
		}
	}
}

// A rule gives the weights of the characters that a table does not list.
type rule func(t *table, r rune) few

// few is up to three weights, passed by value.
type few struct {
	n       int
	weights [3]uint16
}

func (f few) list() []uint16 { return f.weights[:f.n] }

func ruleNone(*table, rune) few { return few{} }

// ruleCodePoint: a character is its own weight, and all beyond 16 bits are one.
func ruleCodePoint(_ *table, r rune) few {
	if r > 0xFFFF {
		r = 0xFFFD
	}
	return few{1, [3]uint16{uint16(r)}}
}

// ruleUCA400 makes the weights of ideographs and of what is not assigned; all characters beyond 16 bits are one.
func ruleUCA400(t *table, r rune) few {
	if r > 0xFFFF {
		return ruleCodePoint(t, r)
	}
	return implicit(r, 0x9FA5, 0x4DB5)
}

// ruleUCA900 does the same with Unicode 9.0's ideographs, and takes Hangul syllables apart.
func ruleUCA900(t *table, r rune) few {
	const first, last, vowels, tails = 0xAC00, 0xD7A3, 21, 28
	if r < first || r > last {
		return implicit(r, 0x9FD5, 0x2CEA1)
	}
	n := r - first
	var syllable few
	for _, jamo := range [...]rune{0x1100 + n/(vowels*tails), 0x1161 + n%(vowels*tails)/tails, 0x11A7 + n%tails} {
		if listed, ok := t.entry(jamo); ok && jamo != 0x11A7 { // that is no tail
			syllable.weights[syllable.n] = listed[0]
			syllable.n++
		}
	}
	return syllable
}

// implicit is the Unicode Collation Algorithm's: two weights made of the code point, in a different range for unified
// ideographs, for their extensions, and for the rest. lastUnified and lastExtension say where they end.
func implicit(r, lastUnified, lastExtension rune) few {
	base := rune(0xFBC0)
	switch {
	case 0x4E00 <= r && r <= lastUnified, isCompatibleUnified(r):
		base = 0xFB40
	case r <= lastExtension && (0x3400 <= r && r <= 0x4DB5 || 0x20000 <= r && r <= 0x2A6D6 || 0x2A700 <= r && r <= 0x2B734 ||
		0x2B740 <= r && r <= 0x2B81D || 0x2B820 <= r && r <= 0x2CEA1):
		base = 0xFB80
	}
	return few{2, [3]uint16{uint16(base + r>>15), uint16(r&0x7FFF | 0x8000)}}
}

// isCompatibleUnified names the twelve unified ideographs that stand among the compatibility ideographs.
func isCompatibleUnified(r rune) bool {
	switch r {
	case 0xFA0E, 0xFA0F, 0xFA11, 0xFA13, 0xFA14, 0xFA1F, 0xFA21, 0xFA23, 0xFA24, 0xFA27, 0xFA28, 0xFA29:
		return true
	}
	return false
}

// Rule returns the weights that a table's rule gives a character that the table does not list: what weights.bin leaves out.
// Tables are named as in blocks; of another it is nil.
func Rule(name string, r rune) []uint16 {
	c, ok := collations[name]
	if !ok || c.table == nil {
		return nil
	}
	t := c.table()
	return t.rule(t, r).list()
}

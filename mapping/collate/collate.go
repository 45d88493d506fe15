// Package collate compares text exactly as MySQL's collations do.
//
// It has the collations for which one number, or a short run of numbers, per character decides: those that compare code
// points, and those of one level (…_ci without _as_). The numbers, MySQL's weights, come from a server: what WEIGHT_STRING
// gives for every character, kept in weights.bin. A collation that is not here is not handled, and nothing is guessed.
package collate

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Collation is one of MySQL's collations. It is safe for several goroutines.
type Collation struct {
	name    string
	charset string
	pad     bool // PAD SPACE: the shorter text is compared as if blanks followed it
	// table gives the weights of a character; nil compares code points.
	table func() *table
}

// Lookup returns the collation of that name, if it is handled.
func Lookup(name string) (*Collation, bool) {
	c, ok := collations[name]
	return c, ok
}

// Names returns the names of all handled collations, sorted.
func Names() []string {
	names := make([]string, 0, len(collations))
	for name := range collations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// collations by name. utf8mb3 has the weights of utf8mb4 in its part of Unicode.
var collations = byName(
	Collation{name: "utf8mb4_bin", pad: true},
	Collation{name: "utf8mb4_0900_bin"},
	Collation{name: "utf8mb3_bin", pad: true},
	Collation{name: "utf8_bin", pad: true},
	Collation{name: "ascii_bin", pad: true},
	Collation{name: "latin1_bin", pad: true, table: latin1Bin},
	Collation{name: "utf8mb4_0900_ai_ci", table: uca900},
	Collation{name: "utf8mb4_unicode_ci", pad: true, table: uca400},
	Collation{name: "utf8mb3_unicode_ci", pad: true, table: uca400},
	Collation{name: "utf8_unicode_ci", pad: true, table: uca400},
	Collation{name: "utf8mb4_general_ci", pad: true, table: general},
	Collation{name: "utf8mb3_general_ci", pad: true, table: general},
	Collation{name: "utf8_general_ci", pad: true, table: general},
	Collation{name: "ascii_general_ci", pad: true, table: general},
	Collation{name: "latin1_swedish_ci", pad: true, table: latin1Swedish},
	Collation{name: "latin1_general_ci", pad: true, table: latin1General},
)

func byName(list ...Collation) map[string]*Collation {
	named := make(map[string]*Collation, len(list))
	for i := range list {
		c := &list[i]
		c.charset, _, _ = strings.Cut(c.name, "_")
		named[c.name] = c
	}
	return named
}

// Holds reports whether the collation's character set has every character of s. MySQL converts the column, and compares by
// another collation, when a constant does not fit.
func (c *Collation) Holds(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		switch c.charset {
		case "ascii":
			if r >= utf8.RuneSelf {
				return false
			}
		case "utf8mb3", "utf8":
			if r > 0xFFFF {
				return false
			}
		case "latin1":
			if _, ok := latin1Bin().entry(r); !ok {
				return false
			}
		}
	}
	return true
}

// Weights returns the numbers that are compared for one character; none for a character that does not count. It is nil for
// collations that compare code points.
func (c *Collation) Weights(r rune) []uint16 {
	if c.table == nil {
		return nil
	}
	return slices.Clone(c.table().weights(r))
}

// Order returns a function that compares text with a constant: -1, 0 or 1. Both must be UTF-8.
func (c *Collation) Order(constant string) func(s string) int {
	if c.table == nil {
		if !c.pad {
			return func(s string) int { return strings.Compare(s, constant) }
		}
		return func(s string) int { return comparePadded(s, constant) }
	}
	t := c.table()
	var want []uint16
	for _, r := range constant {
		want = append(want, t.weights(r)...)
	}
	blank := t.weights(' ')[0]
	if !c.pad {
		blank = 0
	}
	return func(s string) int { return t.compare(s, want, blank) }
}

// comparePadded compares code points, which is comparing the bytes of UTF-8.
func comparePadded(a, b string) int {
	shared := min(len(a), len(b))
	if order := strings.Compare(a[:shared], b[:shared]); order != 0 {
		return order
	}
	if rest := strings.TrimLeft(a[shared:], " "); rest != "" {
		return againstBlank(rest[0])
	}
	if rest := strings.TrimLeft(b[shared:], " "); rest != "" {
		return -againstBlank(rest[0])
	}
	return 0
}

func againstBlank(c byte) int {
	if c < ' ' {
		return -1
	}
	return 1
}

// compare compares text with weights. What one side lacks counts as blank, or as less than anything when blank is 0.
func (t *table) compare(s string, want []uint16, blank uint16) int {
	for _, r := range s {
		weights, ok := t.entry(r)
		var made few
		if !ok {
			made = t.rule(t, r)
			weights = made.weights[:made.n]
		}
		for _, w := range weights {
			other := blank
			if len(want) > 0 {
				other, want = want[0], want[1:]
			}
			if w != other {
				return cmp.Compare(w, other)
			}
		}
	}
	for _, other := range want {
		if other != blank {
			return cmp.Compare(blank, other)
		}
	}
	return 0
}

package binlog

import (
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/pingcap/tidb/pkg/parser/charset"
)

// newCollations are MySQL's that the parser's list does not have, by id - 310, without "utf8mb4_" and "_0900".
var newCollations = [...]string{"nb_ai_ci", "nb_as_cs", "nn_ai_ci", "nn_as_cs", "sr_latn_ai_ci", "sr_latn_as_cs", "bs_ai_ci", "bs_as_cs",
	"bg_ai_ci", "bg_as_cs", "gl_ai_ci", "gl_as_cs", "mn_cyrl_ai_ci", "mn_cyrl_as_cs"}

// collationNames returns the names of a collation and its character set as MySQL 8 spells them.
func collationNames(id uint64) (set, collation string) {
	if i := id - 310; i < uint64(len(newCollations)) {
		name := newCollations[i]
		cut := len(name) - len("_ai_ci")
		return "utf8mb4", "utf8mb4_" + name[:cut] + "_0900" + name[cut:]
	}
	if id < 1<<31 {
		if c, err := charset.GetCollationByID(int(id)); err == nil {
			return mb3(c.CharsetName), mb3(c.Name)
		}
	}
	return fmt.Sprintf("unknown-%d", id), fmt.Sprintf("unknown-%d", id)
}

// mb3 gives utf8 the name that it has had since 8.0.30.
func mb3(name string) string {
	if name == "utf8" || strings.HasPrefix(name, "utf8_") {
		return "utf8mb3" + name[len("utf8"):]
	}
	return name
}

// An encoding says how the bytes of a text column become a Go string.
type encoding uint8

const (
	foreign encoding = iota // not at all: the bytes stay, and the mapping refuses the column
	unicode                 // UTF-8 as it stands; ASCII too
	latin1
)

func encodingOf(set string) encoding {
	switch set {
	case "utf8mb4", "utf8mb3", "ascii":
		return unicode
	case "latin1":
		return latin1
	}
	return foreign
}

// cp1252 is what MySQL's latin1 means from 0x80 to 0x9f. The five bytes that cp1252 leaves undefined stand for themselves.
var cp1252 = [32]rune{0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178}

// fromLatin1 returns UTF-8. A text of ASCII shares b's memory.
func fromLatin1(b []byte) string {
	high := 0
	for _, c := range b {
		high += int(c >> 7)
	}
	if high == 0 {
		return shared(b)
	}
	out := make([]byte, 0, len(b)+2*high)
	for _, c := range b {
		switch {
		case c < 0x80:
			out = append(out, c)
		case c < 0xa0:
			out = utf8.AppendRune(out, cp1252[c-0x80])
		default:
			out = utf8.AppendRune(out, rune(c))
		}
	}
	return shared(out)
}

// shared makes a string of bytes that nobody changes any more, without copying them.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

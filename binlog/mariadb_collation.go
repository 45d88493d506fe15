package binlog

import "strings"

// MariaDB numbers its own collations in three ranges. Some languages have 576 + 32 for each character set. A NO PAD one is the PAD SPACE one of MySQL's number and noPad; those of UCA 14.0.0
// are built of their parts:
//
//	uca1400 + set << 8 | tailoring << 3 | NO PAD << 2 | accents << 1 | case
const (
	language = 576
	noPad    = 1 << 10
	uca1400  = 1 << 11
)

var (
	uca1400Sets       = []string{"utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32"}
	uca1400Tailorings = []string{"", "icelandic", "latvian", "romanian", "slovenian", "polish", "estonian", "spanish", "swedish", "turkish", "czech",
		"danish", "lithuanian", "slovak", "spanish2", "roman", "persian", "esperanto", "hungarian", "sinhala", "german2", "?",
		"?", "vietnamese", "croatian"}
	languageSets = []string{"utf8mb3", "utf8mb4", "ucs2", "utf16", "?", "utf32"}
	languages    = []string{"croatian_ci", "myanmar_ci", "thai_520_w2"}
)

// mariadbCollation returns the names of a collation that only MariaDB has, and its character set's.
func mariadbCollation(id uint64) (set, collation string, ok bool) {
	switch {
	case id >= uca1400 && id < uca1400+uint64(len(uca1400Sets))<<8:
		tailoring := int(id >> 3 & 31)
		if tailoring >= len(uca1400Tailorings) || uca1400Tailorings[tailoring] == "?" {
			return "", "", false
		}
		set = uca1400Sets[id>>8&7]
		parts := []string{set, "uca1400"}
		if tailoring > 0 {
			parts = append(parts, uca1400Tailorings[tailoring])
		}
		if id&4 != 0 {
			parts = append(parts, "nopad")
		}
		parts = append(parts, [...]string{"ai_ci", "ai_cs", "as_ci", "as_cs"}[id&3])
		return set, strings.Join(parts, "_"), true
	case id >= noPad && id < uca1400:
		set, collation = collationNames(id - noPad)
		cut := strings.LastIndexByte(collation, '_')
		if cut < 0 {
			return "", "", false
		}
		return set, collation[:cut] + "_nopad" + collation[cut:], true
	case id >= language && id < language+uint64(len(languageSets))<<5 && id&31 < uint64(len(languages)):
		set = languageSets[(id-language)>>5]
		return set, set + "_" + languages[id&31], set != "?"
	}
	return "", "", false
}

package binlog

import (
	"fmt"
	"strings"
	"unsafe"

	parser "github.com/pingcap/tidb/pkg/parser/charset"

	"canalgo/charset"
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
	if set, collation, ok := mariadbCollation(id); ok {
		return set, collation
	}
	if id < 1<<31 {
		if c, err := parser.GetCollationByID(int(id)); err == nil {
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

// textValue is a string, or the bytes themselves when they are not text of the set or the set is not known.
func textValue(set *charset.Set, b []byte) any {
	if set != nil {
		if text, ok := set.Text(b); ok {
			return text
		}
	}
	return b
}

// labelsOf returns the labels of an ENUM or SET as text. One that is none cannot be taken for text: it begins with a byte that UTF-8 has
// nowhere, so that the rows that hold it are set aside.
func labelsOf(set *charset.Set, raw []string) []string {
	labels := make([]string, len(raw))
	for i, label := range raw {
		text, ok := textValue(set, []byte(label)).(string)
		if !ok {
			text = "\xff" + label
		}
		labels[i] = text
	}
	return labels
}

// shared makes a string of bytes that nobody changes any more, without copying them.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

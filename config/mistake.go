package config

import (
	"fmt"
	"slices"
	"strings"

	"canalgo/nearest"
)

// A Mistake is one thing in a file that cannot be used.
type Mistake struct {
	Line   int    // 1 for the first; 0 when it is about the file as a whole
	Column int    // 1 for the first; 0 when only the line is known
	Key    string // "source.shop.password"; "" when it is about the file as a whole
	Text   string // what is wrong and what would be right; never holds a secret
}

// Mistakes is the error of a file: everything that is wrong with it, one line each.
type Mistakes struct {
	File string
	List []Mistake
}

// Error prints one line for each mistake: FILE:LINE:COLUMN: KEY: TEXT.
func (m *Mistakes) Error() string {
	var out strings.Builder
	for i, one := range m.List {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(m.File)
		if one.Line > 0 {
			fmt.Fprintf(&out, ":%d", one.Line)
		}
		if one.Column > 0 {
			fmt.Fprintf(&out, ":%d", one.Column)
		}
		out.WriteString(": ")
		if one.Key != "" {
			out.WriteString(one.Key + ": ")
		}
		out.WriteString(strings.Join(strings.Fields(one.Text), " "))
	}
	return out.String()
}

// sorted orders the mistakes as the file reads, those about the whole file last.
func (m *Mistakes) sorted() {
	slices.SortStableFunc(m.List, func(a, b Mistake) int {
		if (a.Line == 0) != (b.Line == 0) {
			return b.Line - a.Line
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
}

// didYouMean is the end of a sentence about an unknown name: the nearest one, or all there are.
func didYouMean(name string, candidates []string) string {
	if near := nearest.Name(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	sorted := slices.Sorted(slices.Values(candidates))
	return "known are " + strings.Join(sorted, ", ")
}

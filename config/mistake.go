package config

import (
	"fmt"
	"slices"
	"strings"
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

// nearest returns the candidate that a name was probably meant to be, or "".
func nearest(name string, candidates []string) string {
	best, distance := "", len(name)/3+2
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(name), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// didYouMean is the end of a sentence about an unknown name: the nearest one, or all there are.
func didYouMean(name string, candidates []string) string {
	if near := nearest(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	sorted := slices.Sorted(slices.Values(candidates))
	return "known are " + strings.Join(sorted, ", ")
}

// editDistance counts the letters to insert, delete, replace or swap with the next to get from a to b.
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}

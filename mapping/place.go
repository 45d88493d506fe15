package mapping

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A SQLError is a place in a mapping's SQL that cannot be read or cannot be followed.
type SQLError struct {
	Mapping string // the mapping's name
	Line    int    // 1 for the first
	Column  int    // in characters, 1 for the first
	Near    string // the text from there, shortened
	Reason  string
}

// Error prints mapping NAME: sql LINE:COLUMN: near "TEXT": REASON.
func (e *SQLError) Error() string {
	near := "at the end"
	if e.Near != "" {
		near = fmt.Sprintf("near %q", e.Near)
	}
	return fmt.Sprintf("mapping %s: sql %d:%d: %s: %s", e.Mapping, e.Line, e.Column, near, e.Reason)
}

// nearLength is how many characters of the SQL an error quotes.
const nearLength = 40

// source is the text of a mapping's SQL, for errors that point into it.
type source struct {
	mapping string
	sql     string
	bare    string // sql with comments, quoted text and quoted names blanked, byte for byte
}

func newSource(mapping, sql string) source {
	return source{mapping: mapping, sql: sql, bare: blankQuoted(sql)}
}

// errorAt points to the byte offset at; the first blanks there are skipped.
func (s source) errorAt(at int, format string, args ...any) *SQLError {
	at = min(max(at, 0), len(s.sql))
	at += len(s.sql[at:]) - len(strings.TrimLeft(s.sql[at:], " \t\r\n"))
	before := s.sql[:at]
	line := strings.LastIndexByte(before, '\n') + 1
	near, _, _ := strings.Cut(s.sql[at:], "\n")
	near = strings.TrimRight(near, " \t\r;")
	if runes := []rune(near); len(runes) > nearLength {
		near = string(runes[:nearLength]) + "..."
	}
	return &SQLError{
		Mapping: s.mapping,
		Line:    strings.Count(before, "\n") + 1,
		Column:  utf8.RuneCountInString(before[line:]) + 1,
		Near:    near,
		Reason:  fmt.Sprintf(format, args...),
	}
}

// find returns the offset of the first match of a pattern outside quotes and comments at or after from, or from itself.
// The parser keeps no places for clauses.
func (s source) find(pattern string, from int) int {
	from = min(max(from, 0), len(s.bare))
	loc := regexp.MustCompile(`(?i)` + pattern).FindStringIndex(s.bare[from:])
	if loc == nil {
		return from
	}
	return from + loc[0]
}

// has reports whether a pattern matches outside quotes and comments.
func (s source) has(pattern string) bool {
	return regexp.MustCompile(`(?i)` + pattern).MatchString(s.bare)
}

// blankQuoted replaces what stands in quotes, backticks and comments by blanks of the same length.
func blankQuoted(sql string) string {
	out := []byte(sql)
	blank := func(from, to int) int {
		to = min(to, len(out))
		for i := from; i < to; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
		return to
	}
	after := func(i int, end string) int {
		if j := strings.Index(sql[i:], end); j >= 0 {
			return i + j + len(end)
		}
		return len(sql)
	}
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			i = blank(i, endOfQuote(sql, i))
		case c == '#' || strings.HasPrefix(sql[i:], "-- ") || strings.HasPrefix(sql[i:], "--\n"):
			i = blank(i, after(i, "\n"))
		case strings.HasPrefix(sql[i:], "/*") && !strings.HasPrefix(sql[i:], "/*!"):
			i = blank(i, after(i+2, "*/"))
		default:
			i++
		}
	}
	return string(out)
}

// endOfQuote returns the offset behind the quoted text that begins at i.
func endOfQuote(sql string, i int) int {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && quote != '`':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++ // doubled, so it stands for itself
		default:
			return i + 1
		}
	}
	return len(sql)
}

package binlog

import (
	"slices"
	"strings"

	"canalgo/event"
)

// inMySQLWords rewrites what only MariaDB's syntax has. When instead is not 0, it stands for Alter: more happens than that.
func inMySQLWords(text string) (plain string, instead event.Action) {
	s := scanner{text: text}
	// SET STATEMENT variable = value, ... FOR statement, ANALYZE [FORMAT = JSON] statement
	switch first, second, _ := leadingWords(text); {
	case first == "SET" && second == "STATEMENT":
		for word, quoted := s.next(); word != ""; word, quoted = s.next() {
			if !quoted && strings.EqualFold(word, "FOR") {
				return inMySQLWords(text[s.at:])
			}
		}
	case first == "ANALYZE" && second == "FORMAT":
		for range 4 {
			s.word()
		}
		return text[s.at:], 0
	case first == "ANALYZE" && slices.Contains([]string{"INSERT", "REPLACE", "UPDATE", "DELETE"}, second):
		s.word()
		return text[s.at:], 0
	case first == "CREATE" && second == "OR":
		for range 3 {
			s.word()
		}
		return "CREATE" + text[s.at:], event.Drop // all rows of a table that was there before
	case first == "ALTER" && (second == "ONLINE" || second == "IGNORE"):
		s.word()
		rest := text[s.at:]
		for word := s.word(); strings.EqualFold(word, "ONLINE") || strings.EqualFold(word, "IGNORE"); word = s.word() {
			if rest = text[s.at:]; strings.EqualFold(word, "IGNORE") {
				instead = event.Change // a unique key removes rows
			}
		}
		return "ALTER" + rest, instead
	}
	return text, 0
}

// endsOrWaits reports whether nothing is left of a statement but perhaps how long it waits for locks.
func (s *scanner) endsOrWaits() bool {
	switch strings.ToUpper(s.word()) {
	case "":
	case "NOWAIT":
	case "WAIT":
		if n := s.word(); n == "" || strings.Trim(n, "0123456789") != "" {
			return false
		}
	default:
		return false
	}
	return s.word() == ""
}

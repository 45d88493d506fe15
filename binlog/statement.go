package binlog

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pingcap/tidb/pkg/parser/ast"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // the parser wants some driver for values

	"canalgo/event"
)

// clipBytes is how much of a statement's text travels, for messages.
const clipBytes = 300

// classify says what a statement does to tables; nil when it changes neither rows nor definitions of any. Statements about accounts
// hold password hashes and are always nil.
func classify(q query) *event.Stmt {
	s, _ := understand(q)
	return s
}

// understand is classify, with the statement as the parser has it; nil when it does not understand it.
func understand(q query) (*event.Stmt, ast.StmtNode) {
	q.text = q.inUTF8()
	text := clip(q.text)
	plain, instead := inMySQLWords(q.text)
	q.text = plain
	first, second, _ := leadingWords(q.text)
	if !mayTouchTables(first, second) {
		return nil, nil
	}
	var action event.Action
	var tables []event.TableName
	tree, err := q.parse()
	if err == nil {
		action, tables = byTree(tree)
	} else {
		tree = nil
		action, tables = byWords(q)
	}
	if action == 0 {
		return nil, nil
	}
	if action == event.Alter && instead != 0 {
		action = instead
	}
	for i := range tables {
		if strings.Contains(tables[i].Schema+tables[i].Name, unreadable) { // it may be any table
			return &event.Stmt{Action: event.Unparsed, Text: text}, nil
		}
		if tables[i].Schema == "" {
			tables[i].Schema = q.schema
		}
	}
	return &event.Stmt{Action: action, Tables: tables, Text: text}, tree
}

// withoutTransaction cuts off what a server adds to a CREATE TABLE whose rows follow it (CREATE TABLE ... SELECT).
func withoutTransaction(text string) string {
	const added = "START TRANSACTION"
	if end := len(text) - len(added); end > 0 && strings.EqualFold(text[end:], added) {
		return text[:end]
	}
	return text
}

// mayTouchTables tells by the first two words. A kind of statement that is not known may.
func mayTouchTables(first, second string) bool {
	switch first {
	case "", "GRANT", "REVOKE", "SET", "FLUSH", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "CHECKSUM", "INSTALL", "UNINSTALL", "USE",
		"RESET", "PURGE", "KILL", "SHOW", "LOCK", "UNLOCK":
		return false
	case "CREATE", "ALTER", "DROP", "RENAME":
		switch second {
		case "TABLE", "TABLES":
			return true
		case "DATABASE", "SCHEMA", "INDEX":
			return first == "DROP"
		}
		return false // views, new indexes, routines, accounts, temporary tables, ...
	}
	return true
}

// byTree reads a parsed statement. Action 0 is one that touches no table of the log.
func byTree(node ast.StmtNode) (event.Action, []event.TableName) {
	switch n := node.(type) {
	case *ast.TruncateTableStmt:
		return event.Truncate, names(n.Table)
	case *ast.DropTableStmt:
		if n.TemporaryKeyword != ast.TemporaryNone {
			return 0, nil
		}
		return event.Drop, names(n.Tables...)
	case *ast.DropDatabaseStmt:
		return event.Drop, []event.TableName{{Schema: n.Name.O}}
	case *ast.RenameTableStmt:
		var tables []event.TableName
		for _, pair := range n.TableToTables {
			tables = append(tables, names(pair.OldTable, pair.NewTable)...)
		}
		return event.Alter, tables
	case *ast.CreateTableStmt:
		if n.TemporaryKeyword != ast.TemporaryNone {
			return 0, nil
		}
		if n.Select != nil {
			return event.Change, names(n.Table)
		}
		return event.Alter, names(n.Table)
	case *ast.AlterTableStmt:
		action, tables := event.Alter, names(n.Table)
		for _, spec := range n.Specs {
			switch spec.Tp {
			case ast.AlterTableDropPartition, ast.AlterTableTruncatePartition, ast.AlterTableExchangePartition,
				ast.AlterTableDiscardTablespace, ast.AlterTableImportTablespace,
				ast.AlterTableDiscardPartitionTablespace, ast.AlterTableImportPartitionTablespace:
				action = event.Change // rows come or go, and no event says which
			}
			if spec.NewTable != nil {
				tables = append(tables, names(spec.NewTable)...)
			}
		}
		return action, tables
	case *ast.DropIndexStmt:
		if !isPrimary(n.IndexName) {
			return 0, nil
		}
		return event.Alter, names(n.Table)
	case *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.LoadDataStmt, *ast.ImportIntoStmt:
		var c collector
		n.Accept(&c)
		return event.Change, c.tables
	}
	return event.Unparsed, nil
}

func names(nodes ...*ast.TableName) []event.TableName {
	tables := make([]event.TableName, len(nodes))
	for i, n := range nodes {
		tables[i] = event.TableName{Schema: n.Schema.O, Name: n.Name.O}
	}
	return tables
}

// A collector finds all tables that a statement names.
type collector struct{ tables []event.TableName }

func (c *collector) Enter(n ast.Node) (ast.Node, bool) {
	if t, ok := n.(*ast.TableName); ok {
		if name := names(t)[0]; !slices.Contains(c.tables, name) {
			c.tables = append(c.tables, name)
		}
	}
	return n, false
}

func (c *collector) Leave(n ast.Node) (ast.Node, bool) { return n, true }

// byWords reads what the parser does not: newer syntax. What ends in Alter keeps all rows for sure.
func byWords(q query) (event.Action, []event.TableName) {
	s := q.words()
	first := strings.ToUpper(s.word())
	if first == "DROP" && s.index() {
		return s.dropIndex()
	}
	switch first {
	case "CREATE", "ALTER":
		s.word() // TABLE
		table, ok := s.table()
		if !ok {
			return event.Unparsed, nil
		}
		tables := []event.TableName{table}
		for w, quoted := s.next(); w != ""; w, quoted = s.next() {
			if quoted {
				continue
			}
			switch w = strings.ToUpper(w); {
			case w == "VERSIONING": // MariaDB's history of rows
				return event.Unparsed, tables
			case first == "ALTER" && slices.Contains([]string{"PARTITION", "TABLESPACE", "RENAME"}, w),
				first == "CREATE" && w == "SELECT":
				return event.Unparsed, tables
			}
		}
		return event.Alter, tables
	case "TRUNCATE", "DROP", "RENAME", "INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "IMPORT":
		for w, quoted := s.next(); w != ""; w, quoted = s.next() {
			if quoted || !isKeyword(w) {
				s.back()
				if table, ok := s.table(); ok {
					if first == "TRUNCATE" && s.endsOrWaits() {
						return event.Truncate, []event.TableName{table}
					}
					return event.Unparsed, []event.TableName{table}
				}
				break
			}
		}
	}
	return event.Unparsed, nil
}

// index reports whether INDEX comes next, and passes over it.
func (s *scanner) index() bool {
	if word, quoted := s.next(); quoted || !strings.EqualFold(word, "INDEX") {
		s.back()
		return false
	}
	return true
}

// dropIndex reads what follows DROP INDEX.
func (s *scanner) dropIndex() (event.Action, []event.TableName) {
	primary := false
	for w, quoted := s.next(); w != ""; w, quoted = s.next() {
		primary = primary || isPrimary(w)
		if quoted || !strings.EqualFold(w, "ON") {
			continue
		}
		if table, ok := s.table(); ok && primary {
			return event.Alter, []event.TableName{table}
		}
		break
	}
	return 0, nil
}

// isKeyword reports whether a word may stand between a statement's first word and the table it is about.
func isKeyword(word string) bool {
	return slices.Contains([]string{"TABLE", "TABLES", "IF", "NOT", "EXISTS", "INTO", "FROM", "IGNORE", "LOW_PRIORITY",
		"DELAYED", "HIGH_PRIORITY", "QUICK"}, strings.ToUpper(word))
}

// A scanner reads the words of a statement: names, keywords, numbers and single signs. Comments are blanks, but what stands in
// a versioned comment is read; strings are passed over.
type scanner struct {
	text            string
	at, last        int
	ansi, noEscapes bool
}

// word returns the next word, "" at the end.
func (s *scanner) word() string { w, _ := s.next(); return w }

// back makes the last word the next one again.
func (s *scanner) back() { s.at = s.last }

// next returns the next word and whether it was quoted as a name.
func (s *scanner) next() (word string, quoted bool) {
	for {
		s.blanks()
		s.last = s.at
		if s.at >= len(s.text) {
			return "", false
		}
		switch c := s.text[s.at]; {
		case c == '`' || c == '"' && s.ansi:
			return s.quoted(c), true
		case c == '\'' || c == '"':
			s.quoted(c)
		case isNameByte(c):
			start := s.at
			for s.at < len(s.text) && isNameByte(s.text[s.at]) {
				s.at++
			}
			return s.text[start:s.at], false
		default:
			s.at++
			return s.text[s.at-1 : s.at], false
		}
	}
}

// table returns the name of a table that comes next, IF [NOT] EXISTS before it left out.
func (s *scanner) table() (event.TableName, bool) {
	word, quoted := s.next()
	for !quoted && isKeyword(word) {
		word, quoted = s.next()
	}
	if word == "" || !quoted && !isNameByte(word[0]) {
		return event.TableName{}, false
	}
	name := event.TableName{Name: word}
	if dot, _ := s.next(); dot == "." {
		second, quoted := s.next()
		if second == "" || !quoted && !isNameByte(second[0]) {
			return event.TableName{}, false
		}
		return event.TableName{Schema: word, Name: second}, true
	}
	s.back()
	return name, true
}

func isNameByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// quoted reads up to the closing quote; a doubled one stands for itself.
func (s *scanner) quoted(quote byte) string {
	var b strings.Builder
	for s.at++; s.at < len(s.text); s.at++ {
		c := s.text[s.at]
		switch {
		case c == '\\' && quote != '`' && !s.noEscapes:
			if s.at+1 < len(s.text) { // nothing is escaped at the very end
				s.at++
			}
			continue
		case c == quote && s.at+1 < len(s.text) && s.text[s.at+1] == quote:
			s.at++
		case c == quote:
			s.at++
			return b.String()
		}
		b.WriteByte(c)
	}
	return b.String()
}

// blanks passes over blanks and comments.
func (s *scanner) blanks() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v;", rest[0]) >= 0:
			s.at++
		case strings.HasPrefix(rest, "/*!"), strings.HasPrefix(rest, "/*M!"): // what follows counts, its end mark does not
			s.at += strings.IndexByte(rest, '!') + 1
			for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
				s.at++
			}
		case strings.HasPrefix(rest, "*/"):
			s.at += 2
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				s.at = len(s.text)
				return
			}
			s.at += 2 + end + 2
		case rest[0] == '#' || strings.HasPrefix(rest, "-- ") || strings.HasPrefix(rest, "--\n"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				s.at = len(s.text)
				return
			}
			s.at += end + 1
		default:
			return
		}
	}
}

// clip cuts a statement's text for messages, between two characters.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= clipBytes {
		return text
	}
	end := clipBytes
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"

	"canalgo/event"
)

// A Text is a statement as it stands in the log, whole. Those about accounts hold password hashes: a Text is for a destination, never for a
// message.
type Text struct {
	Schema string // the default one
	SQL    string
	Thread uint32 // of the connection that ran it
	// Rows says that it is the text of a statement whose rows follow, and nothing happens by it.
	Rows bool

	query query
}

var errNoText = errors.New("no statement, or a malformed one")

// ReadText reads the raw bytes of an event.Query, event.Begin or event.Commit.
func ReadText(raw []byte) (Text, error) {
	if len(raw) < headerSize {
		return Text{}, errNoText
	}
	kind, body := raw[4], raw[headerSize:]
	if len(body) < shortest(kind) {
		return Text{}, errNoText
	}
	size := queryHeader
	switch kind {
	case typeRowsQuery: // length:u8 | text; the length is cut short
		if len(body) == 0 {
			return Text{}, errNoText
		}
		return Text{SQL: string(body[1:]), Rows: true}, nil
	case typeAnnotateRows:
		return Text{SQL: string(body), Rows: true}, nil
	case typeExecuteLoadQuery:
		size += loadHeader
	case typeQuery, typeQueryCompressed:
	default:
		return Text{}, errNoText
	}
	q, ok := readQuery(body, size)
	if !ok {
		return Text{}, errNoText
	}
	if kind == typeQueryCompressed {
		text, err := inflate([]byte(q.text))
		if err != nil {
			return Text{}, err
		}
		q.text = string(text)
	}
	return Text{Schema: q.schema, SQL: q.text, Thread: binary.LittleEndian.Uint32(body), query: q}, nil
}

// Words returns the first two words of the statement in upper case, comments left out.
func (t Text) Words() (first, second string) {
	first, second, _ = leadingWords(t.SQL)
	return first, second
}

// Table returns the table that is named behind the first two words of a statement about one, such as ALTER TABLE.
func (t Text) Table() (event.TableName, bool) {
	q := t.readable()
	s := q.words()
	s.word()
	if second := s.word(); !isKeyword(second) {
		return event.TableName{}, false
	}
	name, ok := s.table()
	if name.Schema == "" {
		name.Schema = t.Schema
	}
	return name, ok
}

// readable returns the statement with its text in UTF-8.
func (t Text) readable() query {
	q := t.query
	q.text = t.SQL
	q.text = q.inUTF8()
	return q
}

// Parse returns the statement as a tree; an error when the parser does not know its syntax.
func (t Text) Parse() (ast.StmtNode, error) {
	q := t.readable()
	q.text, _ = inMySQLWords(q.text)
	return q.parse()
}

// parse reads a statement that has no words of MariaDB's own.
func (q query) parse() (ast.StmtNode, error) {
	tree, err := q.tree()
	if err == nil {
		return tree, nil
	}
	if plain := q.withoutVisibility(); plain != q.text {
		q.text = plain
		if tree, err := q.tree(); err == nil {
			return tree, nil
		}
	}
	return nil, err
}

// tree is parse for what the parser knows.
func (q query) tree() (tree ast.StmtNode, err error) {
	p := parser.New()
	var mode mysql.SQLMode
	if q.mode&modeANSIQuotes != 0 {
		mode |= mysql.ModeANSIQuotes
	}
	if q.mode&modeNoBackslashEscapes != 0 {
		mode |= mysql.ModeNoBackslashEscapes
	}
	p.SetSQLMode(mode)
	err = guard("a statement", func() (err error) { // it panics, for one, when a number has more than 81 digits
		tree, err = p.ParseOneStmt(withoutTransaction(q.text), "", "")
		return err
	})
	return tree, err
}

// withoutVisibility returns the text with an empty comment wherever it says VISIBLE or INVISIBLE, which the parser knows for indexes
// only. A row in the log has the column either way. A comment may stand wherever a column's visibility may, and nowhere that a
// name may: a column that has this word as its name does not become another one.
func (q query) withoutVisibility() string {
	var b strings.Builder
	s, written := q.words(), 0
	for word, quoted := s.next(); word != ""; word, quoted = s.next() {
		if !quoted && (strings.EqualFold(word, "VISIBLE") || strings.EqualFold(word, "INVISIBLE")) {
			b.WriteString(q.text[written:s.last])
			b.WriteString("COMMENT ''")
			written = s.at
		}
	}
	b.WriteString(q.text[written:])
	return b.String()
}

// words returns the scanner of the statement's words.
func (q query) words() scanner {
	return scanner{text: q.text, ansi: q.mode&modeANSIQuotes != 0, noEscapes: q.mode&modeNoBackslashEscapes != 0}
}

// ReadGroup reads the logical times of the raw bytes of an event.Group: when the transaction was committed, and the last one that it may
// depend on. ok is false for a MariaDB's, which has none.
func ReadGroup(raw []byte) (committed, depends int64, ok bool, err error) {
	if len(raw) < headerSize || len(raw)-headerSize < shortest(raw[4]) {
		return 0, 0, false, errNoText
	}
	var e replication.GTIDEvent
	err = guard("a GTID", func() error {
		switch raw[4] {
		case typeTaggedGTID:
			var tagged replication.GtidTaggedLogEvent
			err := tagged.Decode(raw[headerSize:])
			e = tagged.GTIDEvent
			return err
		case typeGTID, typeAnonymousGTID:
			return e.Decode(raw[headerSize:])
		case typeMariaDBGTID:
			return nil
		}
		return fmt.Errorf("has type %d", raw[4])
	})
	return e.SequenceNumber, e.LastCommitted, raw[4] != typeMariaDBGTID, err
}

// ReadXID returns the number of a transaction of a storage engine that the raw bytes of an event.Commit end; false when they are another end.
func ReadXID(raw []byte) (uint64, bool) {
	if len(raw) < headerSize+8 || raw[4] != typeXID {
		return 0, false
	}
	return binary.LittleEndian.Uint64(raw[headerSize:]), true
}

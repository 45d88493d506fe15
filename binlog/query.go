package binlog

import (
	"context"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"canalgo/charset"
	"canalgo/event"
)

const (
	// queryHeader is what heads the body of a query event:
	//
	//	thread:u32 | seconds:u32 | schema length:u8 | error:u16 | status length:u16 | status | schema | 0 | text
	queryHeader = 13
	// loadHeader follows it in the event that ends a LOAD DATA: file:u32 | start:u32 | end:u32 | duplicates:u8
	loadHeader = 13
)

// A query is a statement as it stands in the log.
type query struct {
	schema string // the default
	text   string
	mode   uint64 // sql_mode
	set    string // the client's character set, in which the text is; "" when the log does not say
}

// The bits of sql_mode that change how a statement is read.
const (
	modeANSIQuotes         = 1 << 2
	modeNoBackslashEscapes = 1 << 20
)

// readQuery reads the body of a query event, whose head has size bytes.
func readQuery(body []byte, size int) (query, bool) {
	schema, status := int(body[8]), int(binary.LittleEndian.Uint16(body[11:]))
	rest := body[size:]
	if len(rest) < status+schema+1 {
		return query{}, false
	}
	q := query{schema: string(rest[status : status+schema]), text: string(rest[status+schema+1:])}
	q.readStatus(rest[:status])
	return q, true
}

// readStatus reads the status variables, code:u8 and value each, up to the first that is of no interest and may have any length:
//
//	0 flags2:u32 | 1 sql_mode:u64 | 3 auto_increment:u32 | 4 collations of client, connection and server:u16 each | 6 catalog: length:u8 and bytes
func (q *query) readStatus(status []byte) {
	for len(status) > 1 {
		code, value := status[0], status[1:]
		size, ok := map[byte]int{0: 4, 1: 8, 3: 4, 4: 6, 6: 1 + int(value[0])}[code]
		if !ok || len(value) < size {
			return
		}
		switch code {
		case 1:
			q.mode = binary.LittleEndian.Uint64(value)
		case 4:
			q.set, _ = collationNames(uint64(binary.LittleEndian.Uint16(value)))
		}
		status = value[size:]
	}
}

// inUTF8 returns the statement's text in UTF-8. What nobody can read is U+FFFD there.
func (q query) inUTF8() string {
	text := q.text
	if !ascii(text) && q.set != "" && q.set != "binary" && !q.byServer() { // a server takes names in binary for UTF-8
		text = converted(q.set, text)
	}
	return strings.ToValidUTF8(text, unreadable)
}

const unreadable = string(utf8.RuneError)

// converted makes UTF-8 of a text. Of one that is none in its set only ASCII is left.
func converted(set, text string) string {
	if set := charset.Lookup(set); set != nil {
		if text, ok := set.Text([]byte(text)); ok {
			return text
		}
	}
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < utf8.RuneSelf {
			b.WriteByte(c)
		} else {
			b.WriteString(unreadable)
		}
	}
	return b.String()
}

// byServer reports whether a server wrote the text itself: CREATE TABLE ... SELECT, and LIKE a temporary table, as SHOW CREATE TABLE has
// them. That is UTF-8, whatever the client's character set is.
func (q query) byServer() bool {
	first, _, _ := leadingWords(q.text)
	return first == "CREATE" && utf8.ValidString(q.text) && strings.Contains(q.text, "` (\n  `")
}

// query takes a query event: a transaction's frame, or a statement.
func (t *tracker) query(ctx context.Context, raw, body []byte) error {
	q, ok := readQuery(body, queryHeader)
	if !ok {
		return t.stop("a malformed query event", "")
	}
	return t.queryText(ctx, raw, q)
}

// queryCompressed takes a query event of MariaDB whose text is compressed.
func (t *tracker) queryCompressed(ctx context.Context, raw, body []byte) error {
	q, ok := readQuery(body, queryHeader)
	if !ok {
		return t.stop("a malformed query event", "")
	}
	text, err := inflate([]byte(q.text))
	if err != nil {
		return t.stop("a compressed query event: "+err.Error(), "")
	}
	q.text = string(text)
	return t.queryText(ctx, raw, q)
}

func (t *tracker) queryText(ctx context.Context, raw []byte, q query) error {
	first, second, rest := leadingWords(q.text)
	t.tx.open = true
	switch first {
	case "BEGIN":
		t.tx.begun = true
		t.bound(event.Begin, raw)
		return nil
	case "COMMIT":
		t.bound(event.Commit, raw)
		return t.end(ctx)
	case "ROLLBACK":
		if second != "TO" {
			return t.rollback(ctx)
		}
		// What followed the savepoint stands in the log, because something in it cannot be rolled back.
		if err := t.step(); err != nil {
			return err
		}
		t.statementText(raw)
		for _, table := range t.tx.tables {
			t.statement(&event.Stmt{Action: event.Change, Tables: []event.TableName{table}, Text: clip(q.text)})
		}
		return nil
	case "SAVEPOINT", "RELEASE":
		t.bound(event.Query, raw)
		return nil
	case "XA":
		return t.statementXA(ctx, raw, second, rest)
	}
	if err := t.step(); err != nil {
		return err
	}
	t.statementText(raw)
	s, tree := understand(q)
	t.statement(s)
	if err := t.redefine(ctx, q, s, tree); err != nil {
		return err
	}
	if !t.tx.begun {
		return t.end(ctx)
	}
	return t.cut(ctx)
}

// loadQuery takes a LOAD DATA that was logged as a statement.
func (t *tracker) loadQuery(ctx context.Context, raw, body []byte) error {
	q, ok := readQuery(body, queryHeader+loadHeader)
	if !ok {
		return t.stop("a malformed LOAD DATA event", "")
	}
	t.tx.open = true
	if err := t.step(); err != nil {
		return err
	}
	t.statementText(raw)
	t.statement(classify(q))
	if !t.tx.begun {
		return t.end(ctx)
	}
	return t.cut(ctx)
}

// leadingWords returns the first two words of a statement in upper case, comments left out, and what follows them.
func leadingWords(text string) (first, second, rest string) {
	s := scanner{text: text}
	first = strings.ToUpper(s.word())
	second = strings.ToUpper(s.word())
	return first, second, strings.TrimSpace(s.text[s.at:])
}

// Package entry makes of the events of a binary log what canal's clients read: messages of its EntryProtocol.
//
// One event of rows becomes one entry, as do the beginning and the end of a transaction and each statement. Header fields, numbers of types
// and the text of values are those that canal 1.1.x gives; what is to be known of them is in its EntryProtocol.proto, LogEventConvert and
// RowsLogBuffer. Three things differ on purpose: text is decoded by each column's own character set, names and types of columns are those
// that the rows were written with, and the rows of an XA transaction come at its XA COMMIT.
package entry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/binlog"
	"canalgo/event"
)

// Kind says what an Entry is, by the numbers of the protocol.
type Kind int

// The kinds of entries that reach a client.
const (
	Begin Kind = iota + 1
	RowData
	End
)

// Numbers of what happened, by the protocol's EventType. A header without one has none.
const (
	typeNone       = 0
	typeInsert     = 1
	typeUpdate     = 2
	typeDelete     = 3
	typeCreate     = 4
	typeAlter      = 5
	typeErase      = 6
	typeQuery      = 7
	typeTruncate   = 8
	typeRename     = 9
	typeCreateIdx  = 10
	typeDropIdx    = 11
	typeXACommit   = 13
	typeXARollback = 14
)

const (
	headerVersion = 1
	sourceMySQL   = 2
)

// An Entry is one message.
type Entry struct {
	Kind Kind
	DDL  bool // a statement that changes definitions
	Data []byte
}

// Options say how a Maker fills entries.
type Options struct {
	Zone  *time.Location // of TIMESTAMP values
	GTIDs bool           // headers carry what is executed
}

// A Maker makes the entries of one stream. It is for one goroutine.
type Maker struct {
	// Want says of which tables entries are made.
	Want func(event.TableName) bool
	// Describe returns a table as it is now, or nil: what a log does not tell of the types of columns is taken from there. It may be nil.
	Describe func(event.TableName) *event.Table

	options Options
	decoder *binlog.Decoder
	tables  map[*event.Table]*table
	buffer  buffer
	text    []byte // of one value

	gtid, executed     string
	committed, depends int64 // logical times of the transaction
	logical            bool  // it has them
}

// New returns a Maker for a stream from its beginning, or from where its batches begin again.
func New(options Options, want func(event.TableName) bool) *Maker {
	if options.Zone == nil {
		options.Zone = time.UTC
	}
	return &Maker{Want: want, options: options, decoder: binlog.NewLiteralDecoder(jsonStyle), tables: make(map[*event.Table]*table)}
}

// Transaction says which transaction the events that follow belong to, and what is executed with it.
func (m *Maker) Transaction(gtid event.GTID, executed string) {
	if m.options.GTIDs {
		m.gtid, m.executed = gtid.String(), executed
	}
}

// Entry makes the entry of an event; false when it makes none. An *event.StopError says that what happened cannot be told.
func (m *Maker) Entry(e *event.Event) (Entry, bool, error) {
	m.buffer.reset()
	switch e.Kind {
	case event.FormatDescription, event.TableMap, event.Defined:
		if e.Kind != event.FormatDescription && !m.Want(e.Table) { // a definition that nobody can follow is no matter of who does not want it
			return Entry{}, false, nil
		}
		_, err := m.decoder.Decode([]event.Event{*e})
		return Entry{}, false, err
	case event.Group:
		var err error
		m.committed, m.depends, m.logical, err = binlog.ReadGroup(e.Raw)
		return Entry{}, false, fault(e, err)
	case event.Begin:
		return m.begin(e)
	case event.Commit:
		return m.commit(e)
	case event.Rows:
		if !m.Want(e.Table) {
			return Entry{}, false, nil
		}
		return m.rows(e)
	case event.Query:
		return m.statement(e)
	case event.Statement:
		return Entry{}, false, m.missing(e)
	}
	return Entry{}, false, fmt.Errorf("entry of an event of kind %d", e.Kind)
}

// fault names the place of an event that cannot be read.
func fault(e *event.Event, err error) error {
	var stop *event.StopError
	if err == nil || errors.As(err, &stop) {
		return err
	}
	return &event.StopError{Reason: fmt.Sprintf("%s:%d: %s", e.Origin.File, e.Origin.Offset, err), Fix: "check the server's log with mysqlbinlog"}
}

// missing refuses to pass over rows that changed and that nobody can read.
func (m *Maker) missing(e *event.Event) error {
	if e.Statement.Action != event.Missing || len(e.Statement.Tables) > 0 && !slices.ContainsFunc(e.Statement.Tables, m.Want) {
		return nil
	}
	return &event.StopError{Reason: fmt.Sprintf("rows change, and nobody can read them: %s", e.Statement.Text),
		Fix: "read the tables again, unsubscribe, and subscribe"}
}

// A pair is one of the properties of a message.
type pair struct{ key, value string }

// pairs writes properties.
func (w *buffer) pairs(field protowire.Number, pairs []pair) {
	for _, p := range slices.Backward(pairs) {
		before := w.size()
		w.text(2, p.value)
		w.text(1, p.key)
		w.message(field, before)
	}
}

// finish puts the header and the kind before the store value, which is all that the buffer holds.
func (m *Maker) finish(e *event.Event, kind Kind, name event.TableName, what int64, rows int) Entry {
	w := &m.buffer
	w.head(3, w.size()) // storeValue
	w.number(2, int64(kind))
	before := w.size()
	if m.options.GTIDs {
		w.some(13, m.executed)
	}
	var props []pair
	if m.options.GTIDs && m.logical && m.gtid != "" {
		props = append(props, pair{"curtGtid", m.gtid}, pair{"curtGtidSn", strconv.FormatInt(m.committed, 10)},
			pair{"curtGtidLct", strconv.FormatInt(m.depends, 10)})
	}
	if rows > 0 {
		props = append(props, pair{"rowsCount", strconv.Itoa(rows)})
	}
	w.pairs(12, props)
	if what != typeNone {
		w.number(11, what)
	}
	w.number(10, int64(e.Origin.Size))
	w.text(9, valid(name.Name))
	w.text(8, valid(name.Schema))
	w.number(7, sourceMySQL)
	w.number(6, 1000*int64(binary.LittleEndian.Uint32(e.Raw)))
	w.text(5, "UTF-8")
	w.number(4, int64(binary.LittleEndian.Uint32(e.Raw[5:])))
	w.number(3, int64(e.Origin.Offset))
	w.text(2, e.Origin.File)
	w.number(1, headerVersion)
	w.message(1, before)
	out := Entry{Kind: kind, Data: slices.Clone(w.b[w.at:])}
	if len(w.b) > maxScratch {
		w.b = nil
	}
	return out
}

// maxScratch bounds the memory that a Maker keeps from one entry to the next, in bytes.
const maxScratch = 1 << 20

// begin makes the entry that begins a transaction.
func (m *Maker) begin(e *event.Event) (Entry, bool, error) {
	text, err := binlog.ReadText(e.Raw)
	if err != nil {
		return Entry{}, false, fault(e, err)
	}
	m.buffer.number(4, int64(text.Thread))
	m.buffer.pairs(3, xaPairs(text.SQL, xaStart))
	return m.finish(e, Begin, event.TableName{}, typeNone, 0), true, nil
}

// commit makes the entry that ends a transaction.
func (m *Maker) commit(e *event.Event) (Entry, bool, error) {
	id := uint64(0)
	var props []pair
	if xid, ok := binlog.ReadXID(e.Raw); ok {
		id = xid
	} else {
		text, err := binlog.ReadText(e.Raw)
		if err != nil {
			return Entry{}, false, fault(e, err)
		}
		props = xaPairs(text.SQL, xaEnd)
	}
	m.buffer.pairs(3, props)
	m.buffer.text(2, strconv.FormatUint(id, 10))
	return m.finish(e, End, event.TableName{}, typeNone, 0), true, nil
}

// What begins the statements of XA, as the server logs them.
const (
	xaStart    = "XA START"
	xaEnd      = "XA END"
	xaCommit   = "XA COMMIT"
	xaRollback = "XA ROLLBACK"
)

// xaPairs returns the properties of a statement of XA, with all that stands behind its verb; none for another one.
func xaPairs(sql, verb string) []pair {
	if len(sql) < len(verb) || !strings.EqualFold(sql[:len(verb)], verb) {
		return nil
	}
	return []pair{{"XA_TYPE", verb}, {"XA_XID", sql[len(verb):]}}
}

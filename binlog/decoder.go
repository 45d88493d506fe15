package binlog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"canalgo/event"
)

// A Decoder turns the events of one feed into rows. Rows share the memory of the events. It is for one goroutine.
type Decoder struct {
	parser *replication.BinlogParser
	format []byte                      // the description that the parser has
	maps   map[uint64]*layout          // what the parser has, by table id
	tables map[event.TableName]*layout // the newest of each table, so that equal definitions stay one Table
	known  map[event.TableName]*told

	literal bool // see NewLiteralDecoder
	widths  bool // the server prints the widths of integers

	reader rowReader
	last   int // how many rows the last Decode gave

	// of the event that is being decoded
	source *event.Event
	rows   []event.Row
	err    error // why its rows could not be decoded; the parser would make a text of it
}

// NewDecoder returns a Decoder that knows no table yet.
func NewDecoder() *Decoder {
	return &Decoder{tables: make(map[event.TableName]*layout), known: make(map[event.TableName]*told), reader: rowReader{style: &mysqlStyle}}
}

// NewLiteralDecoder returns a Decoder for whoever passes on what stands in the log: ENUM as its index and SET as its mask, both as uint64,
// BINARY without the zeros at its end; what an update's After lacks in a Partial row is Absent. Columns have their Declared type, and JSON
// is printed in a style.
func NewLiteralDecoder(style JSONStyle) *Decoder {
	d := NewDecoder()
	d.literal, d.reader.style = true, &style
	return d
}

// A told is the definition that a feed has told last of a table.
type told struct {
	event.Definition
	raw []byte
}

// maxMaps bounds how many table ids are remembered; a server gives new ones at each change of a definition.
const maxMaps = 1000

// maxGuess bounds how many rows are made room for in advance.
const maxGuess = 5000

// Decode returns the rows of events, in order. Rows of tables with equal definitions have the same *event.Table. What cannot be
// decoded without guessing is an *event.StopError; the rows before it are lost with it.
func (d *Decoder) Decode(events []event.Event) (rows []event.Row, err error) {
	at := 0
	defer func() {
		if r := recover(); r != nil {
			rows, err = nil, stopf("check the server's log with mysqlbinlog", "%s: malformed: %v", describeEvent(&events[at]), r)
		}
		d.source, d.rows, d.err = nil, nil, nil
	}()
	d.rows = make([]event.Row, 0, min(d.last, maxGuess))
	for at = range events {
		if err := d.event(&events[at]); err != nil {
			return nil, err
		}
	}
	d.last = len(d.rows)
	return d.rows, nil
}

func stopf(fix, format string, args ...any) error {
	return &event.StopError{Reason: fmt.Sprintf(format, args...), Fix: fix}
}

// describeEvent names an event for a message.
func describeEvent(e *event.Event) string {
	kind := map[event.Kind]string{event.FormatDescription: "format description", event.TableMap: "table map", event.Rows: "rows event",
		event.Statement: "statement", event.Defined: "definition"}[e.Kind]
	if e.Version != 0 {
		kind += " " + e.Version.String()
	}
	if !e.Table.IsZero() {
		kind += " of " + e.Table.String()
	}
	return kind
}

func (d *Decoder) event(e *event.Event) error {
	switch e.Kind {
	case event.Statement:
		return d.statement(e)
	case event.Defined:
		return d.define(e)
	}
	if len(e.Raw) < headerSize || int(readHeader(e.Raw).size) != len(e.Raw) {
		return stopf("", "%s: malformed", describeEvent(e))
	}
	h, raw := readHeader(e.Raw), slices.Clip(e.Raw) // what stands behind an event's end must not be taken for its own
	switch {
	case e.Kind == event.FormatDescription && h.kind == typeFormatDescription:
		return d.describe(raw)
	case d.parser == nil:
		return stopf("", "%s: no format description came before it", describeEvent(e))
	case e.Kind == event.TableMap && h.kind == typeTableMap:
		return d.tableMap(e, raw)
	case e.Kind == event.Rows && isRows(h.kind):
		d.source = e
		if _, err := d.parser.Parse(raw); err != nil {
			return d.malformed(e, err)
		}
		return d.err
	}
	return stopf("", "%s has type %d", describeEvent(e), h.kind)
}

// describe begins a log file, or another server's: table ids may mean other tables.
func (d *Decoder) describe(raw []byte) error {
	if d.parser != nil && bytes.Equal(d.format, raw) && len(d.maps) < maxMaps {
		return nil
	}
	parser := replication.NewBinlogParser()
	parser.SetRowsEventDecodeFunc(d.decodeRows)
	parsed, err := parser.Parse(raw)
	if err != nil {
		return stopf("", "format description: malformed: %v", err)
	}
	version := parsed.Event.(*replication.FormatDescriptionEvent).ServerVersion
	d.widths = isMariaDB(version) || !atLeast(version, 8, 0, 19)
	if isMariaDB(version) {
		parser.SetFlavor(mysql.MariaDBFlavor) // it gives spatial columns a character set in its table maps
	}
	d.parser, d.format, d.maps = parser, raw, make(map[uint64]*layout)
	return nil
}

// define takes a table's definition. Most are those of the transaction before.
func (d *Decoder) define(e *event.Event) error {
	if known := d.known[e.Table]; known != nil && bytes.Equal(known.raw, e.Raw) {
		return nil
	}
	next, err := event.DecodeDefinition(e.Raw)
	if err != nil {
		return stopf("", "%s: malformed: %v", describeEvent(e), err)
	}
	// Table maps without names look the same with other ones.
	delete(d.tables, e.Table)
	maps.DeleteFunc(d.maps, func(_ uint64, l *layout) bool { return l.table.Name == e.Table })
	d.known[e.Table] = &told{next, bytes.Clone(e.Raw)}
	return nil
}

// tableMap makes sure that the parser and the layouts know the table. Most maps are those of the transaction before.
func (d *Decoder) tableMap(e *event.Event, raw []byte) error {
	body := raw[headerSize:]
	id := tableID(body)
	if known := d.maps[id]; known != nil && bytes.Equal(known.body, body) {
		return nil
	}
	parsed, err := d.parser.Parse(raw)
	if err != nil {
		return d.malformed(e, err)
	}
	m := parsed.Event.(*replication.TableMapEvent)
	name := event.TableName{Schema: string(m.Schema), Name: string(m.Table)}
	// The id heads the body: two ids may stand for the same definition.
	if known := d.tables[name]; known != nil && bytes.Equal(known.body[8:], body[8:]) {
		d.maps[id] = known.withBody(body)
		return nil
	}
	var definition *event.Definition
	if known := d.known[name]; known != nil {
		definition = &known.Definition
	}
	l, err := newLayout(name, m, body, definition)
	if err != nil {
		return err
	}
	if d.literal {
		l.takeLiterally(m, d.widths)
	}
	d.maps[id], d.tables[name] = l, l
	return nil
}

// malformed explains what the parser does not understand. Its own text would hold the whole event.
func (d *Decoder) malformed(e *event.Event, err error) error {
	text := err.Error()
	if wrapped := (*replication.EventError)(nil); errors.As(err, &wrapped) {
		text = wrapped.Err
	}
	return stopf("check the server's log with mysqlbinlog", "%s: malformed: %s", describeEvent(e), short(text))
}

// decodeRows is called by the parser for each rows event.
func (d *Decoder) decodeRows(e *replication.RowsEvent, data []byte) error {
	pos, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	// The parser forgets its table maps behind the last event of a statement. We keep ours, and so must it.
	e.Flags &^= replication.RowsEventStmtEndFlag
	l := d.maps[e.TableID]
	if l == nil {
		return fmt.Errorf("no table map with id %d came before it", e.TableID)
	}
	if int(e.ColumnCount) != len(l.columns) {
		return fmt.Errorf("%d columns, the table map has %d", e.ColumnCount, len(l.columns))
	}
	row := event.Row{Table: l.table, Version: d.source.Version, Time: time.Unix(int64(readHeader(d.source.Raw).timestamp), 0).UTC()}
	switch e.Type() {
	case replication.EnumRowsEventTypeInsert:
		row.Op = event.Insert
	case replication.EnumRowsEventTypeDelete:
		row.Op = event.Delete
	default: // an update, of parts of JSON documents too
		row.Op = event.Update
	}
	switch readHeader(d.source.Raw).kind {
	case typeWriteRowsCompressed, typeUpdateRowsCompressed, typeDeleteRowsCompressed:
		if data, err = inflate(data[pos:]); err != nil {
			return err
		}
		pos = 0
	}
	r := &d.reader
	r.begin(l, data, pos)
	before, after := columnsIn(e.ColumnBitmap1, len(l.columns)), columnsIn(e.ColumnBitmap1, len(l.columns))
	row.Partial = before != nil
	fill := !d.literal || !row.Partial // of what the log does not have, whoever passes it on knows nothing
	if row.Op == event.Update {
		after = columnsIn(e.ColumnBitmap2, len(l.columns))
	}
	if readHeader(d.source.Raw).kind == typePartialUpdateRows {
		r.parts = newJSONParts(row.Partial && fill)
	}
	if row.Op == event.Insert && pos == len(data) && empty(after, len(l.columns)) { // VALUES () with binlog_row_image=MINIMAL: a row of defaults
		return d.row(row, nil, after, fill)
	}
	for r.pos < len(data) && d.err == nil {
		at := r.pos
		if err := d.row(row, before, after, fill); err != nil {
			return err
		}
		if r.pos == at {
			return errors.New("a row without a column, and bytes behind it")
		}
	}
	return nil
}

// row reads the images of the next row and adds it.
func (d *Decoder) row(row event.Row, before, after []byte, fill bool) (err error) {
	r := &d.reader
	if row.Op != event.Insert {
		r.parts.beforeImage()
		if row.Before, err = r.image(before, nil); err != nil {
			return err
		}
	}
	if row.Op != event.Delete {
		if err := r.parts.afterImage(r); err != nil {
			return err
		}
		var other []any
		if fill {
			other = row.Before
		}
		if row.After, err = r.image(after, other); err != nil {
			return d.partial(err)
		}
	}
	d.rows = append(d.rows, row)
	return nil
}

// columnsIn returns which of n columns an image has, nil when it has all.
func columnsIn(bitmap []byte, n int) []byte {
	if full(bitmap, n) {
		return nil
	}
	return bitmap
}

// empty reports whether an image has none of n columns, by what columnsIn returns.
func empty(present []byte, n int) bool {
	for i := range n {
		if present == nil || present[i>>3]&(1<<(i&7)) != 0 {
			return false
		}
	}
	return true
}

// partial says what to do about parts of a JSON document that cannot be put together; another error is returned.
func (d *Decoder) partial(err error) error {
	if !errors.Is(err, errJSONDiff) {
		return err
	}
	d.err = stopf("load the table again behind it; SET PERSIST binlog_row_value_options = '' writes whole documents, once sessions have reconnected",
		"%s: %v", describeEvent(d.source), err)
	return nil
}

// full reports whether the first n bits are set.
func full(bitmap []byte, n int) bool {
	for i := range n / 8 {
		if bitmap[i] != 0xff {
			return false
		}
	}
	rest := byte(1<<(n%8) - 1)
	return rest == 0 || bitmap[n/8]&rest == rest
}

// statement turns what empties tables into rows and refuses what changes rows nobody can see.
func (d *Decoder) statement(e *event.Event) error {
	s := e.Statement
	if s == nil {
		return stopf("", "%s: malformed", describeEvent(e))
	}
	var op event.Op
	switch s.Action {
	case event.Alter:
		return nil // the next table map says it all
	case event.Truncate:
		op = event.DeleteAll
	case event.Drop:
		op = event.DropTable
	case event.Change:
		return stopf("load the table again; for row events set binlog_format = ROW in every session",
			"%s changes rows of %s, but the log does not say which: %s", e.Version, tableList(s.Tables), s.Text)
	case event.Missing:
		return stopf("load the table again behind it", "%s: rows of %s change, and nobody can read them: %s", e.Version, tableList(s.Tables), s.Text)
	default:
		return stopf("load the table again behind it", "%s: a statement that is not understood may concern %s: %s", e.Version, tableList(s.Tables), s.Text)
	}
	for _, name := range s.Tables {
		d.rows = append(d.rows, event.Row{Table: &event.Table{Name: name}, Op: op, Version: e.Version})
	}
	return nil
}

func tableList(tables []event.TableName) string {
	if len(tables) == 0 {
		return "any table"
	}
	var b bytes.Buffer
	for i, t := range tables {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(tables)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t.String())
	}
	return b.String()
}

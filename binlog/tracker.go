package binlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"canalgo/event"
)

// pieceBytes is the size above which a transaction is cut into pieces.
const pieceBytes = 1 << 20

// A tracker turns the events of a log into batches. It keeps the numbering: every rows event and every statement event counts
// one, wanted or not, so that the same bytes get the same versions whoever reads them from whichever boundary.
type tracker struct {
	want      func(event.TableName) bool
	emit      func(context.Context, event.Batch) error
	previous  func(event.GTIDSet) // called with the GTIDs of earlier files, which head a file; may be nil
	lowerCase bool                // names of tables in the log are in lower case
	log       rereader            // for the rows of XA transactions; nil: only places are looked for
	history   History             // of definitions; nil: none is kept
	whole     bool                // bounds of transactions and texts of statements are wanted, too
	definer   definer             // asks the server for what history does not know; nil: nobody does
	seen      func(*event.Stmt)   // called with each statement that concerns tables; may be nil

	boundary event.Position // the end of the last transaction; without a file until the first one, after a start by GTIDs
	count    uint64         // of the last event counted
	file     string
	offset   uint64 // the end of the last event
	size     uint32 // of the last event, with its checksum
	passTo   uint64 // what ends before it in the file was read in an earlier dump

	format  []byte   // the format description, as it travels
	created struct { // the file that it heads, to recognise another one of the same name
		file string
		at   uint32
	}
	checksum uint64 // bytes behind each event in the file
	tables   map[uint64]*mapped
	zstd     *zstd.Decoder
	piece    int // numbers pieces

	formatted int // the last piece that begins with the format description

	tx      transaction
	xa      xa
	xid     string        // of the last XA transaction that was begun
	mariadb bool          // the log is one's
	byGTIDs bool          // the first dump leaves transactions out
	rereads bool          // an XA transaction whose end is known
	fixed   event.Version // of all events, when they are read again; 0: what they count

	events, filtered, bytes uint64 // read in all, for Status
}

// A transaction is what was read of one since the last boundary.
type transaction struct {
	open, begun bool // something of it was read; BEGIN was
	at          place
	xa          bool // it may end in a PREPARE
	xid         string
	gtid        event.GTID
	time        time.Time
	work        bool              // there is something to hand on
	tables      []event.TableName // to which it belongs
	batch       []event.Event
	bytes       int
	unkept      bool // batch has not all of it
	pieces      int  // that were emitted
}

func newTracker(from event.Position, want func(event.TableName) bool, emit func(context.Context, event.Batch) error) *tracker {
	from.GTIDs = ""
	t := &tracker{want: want, whole: want(event.TableName{}), emit: emit, boundary: from, tables: make(map[uint64]*mapped), piece: 1, xa: newXA(from), byGTIDs: from.File == ""}
	t.restart()
	return t
}

// restart goes back to the last boundary, for a new dump from there. What was read of a transaction is thrown away; pieces of
// it that were emitted will be emitted again, the same.
func (t *tracker) restart() {
	t.count, t.file, t.offset = t.boundary.Count, t.boundary.File, t.boundary.Offset
	t.passTo = 0
	if t.offset > 1<<32-1 {
		t.passTo = t.offset // see fileDumpCommand
	}
	t.drop()
	clear(t.tables)
}

// version is that of the event counted last.
func (t *tracker) version() event.Version {
	if t.fixed != 0 {
		return t.fixed
	}
	return event.NewVersion(t.boundary.Epoch, t.count)
}

// event takes the next event of a file and reports whether raw is kept.
func (t *tracker) event(ctx context.Context, raw []byte) (kept bool, err error) {
	h := readHeader(raw)
	t.events++
	t.bytes += uint64(len(raw))
	t.size = h.size + uint32(t.checksum)
	if h.end != 0 && h.flags&flagArtificial == 0 && h.kind != typeHeartbeat && h.kind != typeHeartbeatV2 {
		t.offset = extend(t.offset, h.end)
		if t.offset <= t.passTo && h.kind != typeFormatDescription && h.kind != typeRotate {
			return false, nil
		}
	}
	kept, err = t.take(ctx, h, raw)
	if err != nil {
		return kept, err
	}
	if !t.tx.open && t.boundary.File == t.file && t.boundary.File != "" {
		t.boundary.Offset = max(t.boundary.Offset, t.offset)
	}
	return kept, nil
}

// extend makes 64 bits of an event's end, given the end of the one before.
func extend(before uint64, end uint32) uint64 {
	offset := before&^(1<<32-1) | uint64(end)
	if offset < before {
		offset += 1 << 32
	}
	return offset
}

// take does what an event asks for; it may come from a file or from a compressed transaction.
func (t *tracker) take(ctx context.Context, h header, raw []byte) (kept bool, err error) {
	body := raw[headerSize:]
	if len(body) < shortest(h.kind) {
		return false, t.stop(fmt.Sprintf("an event of type %d with only %d bytes", h.kind, len(raw)), "")
	}
	switch kind := h.kind; {
	case kind == typeTableMap:
		return t.tableMap(raw)
	case isRows(kind):
		return t.rows(ctx, raw)
	case kind == typeQuery:
		return t.whole, t.query(ctx, raw, body)
	case kind == typeXID:
		t.bound(event.Commit, raw)
		return t.whole, t.end(ctx)
	case kind == typeGTID || kind == typeAnonymousGTID || kind == typeTaggedGTID:
		return t.whole, t.begin(h, raw)
	case kind == typeMariaDBGTID:
		return t.whole, t.beginMariaDB(h, raw)
	case (kind == typeRowsQuery || kind == typeAnnotateRows) && t.whole:
		t.tx.open = true
		t.bound(event.Query, raw)
		return true, nil // no piece without an event that counts: it would look like a whole transaction
	case kind == typeBinlogCheckpoint:
		return false, t.checkpoint(ctx)
	case kind == typeQueryCompressed:
		return t.whole, t.queryCompressed(ctx, raw, body)
	case kind == typeTransactionPayload:
		return false, t.payload(ctx, body)
	case kind == typeFormatDescription:
		return false, t.describe(h, raw)
	case kind == typeRotate:
		return false, t.rotate(ctx, h, body)
	case kind == typePreviousGTIDs:
		return false, t.previousGTIDs(body)
	case kind == typeGTIDList:
		return false, t.gtidList(body)
	case kind == typeXAPrepare:
		return false, t.prepared(ctx, body[0] != 0)
	case kind == typeExecuteLoadQuery:
		return t.whole, t.loadQuery(ctx, raw, body)
	case kind == typeIncident:
		return false, t.stop("the server notes that events are missing in its log (an incident)", "load the tables again")
	case kind == typeHeartbeat, kind == typeHeartbeatV2, kind == typeStop, kind == typeRowsQuery, kind == typeIgnorable,
		kind == typeIntVar, kind == typeRand, kind == typeUserVar, kind == typeTransactionContext, kind == typeViewChange,
		kind == typeAnnotateRows, kind == typeStartEncryption, // of the file: what is sent is plain
		kind == typeBeginLoadQuery, kind == typeAppendBlock, kind == typeDeleteFile, h.flags&flagIgnorable != 0:
		return false, nil
	}
	return false, t.stop(fmt.Sprintf("an event of the unknown type %d", h.kind), "upgrade canalgo")
}

// shortest is how many bytes the body of an event of a kind has at least.
func shortest(kind byte) int {
	switch {
	case kind == typeTableMap:
		return 6 + 2 + 1
	case isRows(kind):
		return 6 + 2
	case kind == typeQuery, kind == typeQueryCompressed:
		return queryHeader
	case kind == typeExecuteLoadQuery:
		return queryHeader + loadHeader
	case kind == typeGTID, kind == typeAnonymousGTID:
		return 1 + 16 + 8
	case kind == typeMariaDBGTID:
		return 8 + 4 + 1
	case kind == typeGTIDList:
		return 4
	case kind == typeTaggedGTID, kind == typeXAPrepare, kind == typeTransactionPayload:
		return 1
	case kind == typeFormatDescription:
		return 2 + 50 + 4 + 1 + 5
	case kind == typeRotate:
		return 8
	case kind == typePreviousGTIDs:
		return 8
	}
	return 0
}

// stop says that the log cannot be followed any further.
func (t *tracker) stop(reason, fix string) error {
	return &event.StopError{Reason: fmt.Sprintf("%s:%d: %s", t.file, t.offset, reason), Fix: fix}
}

// describe keeps the format description that the following events are in, marked as one whose events carry no checksum.
func (t *tracker) describe(h header, raw []byte) error {
	// header | version:u16 | server version:50 | created:u32 | header size:u8 | sizes by type | checksum:u8 | crc:u32
	format := bytes.Clone(raw)
	t.checksum = uint64(format[len(format)-checksumSize-1]) * checksumSize
	format[len(format)-checksumSize-1] = 0
	if size := format[headerSize+2+50+4]; size != headerSize {
		return t.stop(fmt.Sprintf("event headers of %d bytes", size), "use a MySQL server, 8.0 or later")
	}
	if t.created.file == t.file && t.created.at != h.timestamp && t.file != "" {
		return fmt.Errorf("%w: %s is another file of that name", ErrReset, t.file)
	}
	t.created.file, t.created.at = t.file, h.timestamp
	t.format = format
	clear(t.tables) // ids may be given anew
	return nil
}

// rotate goes to another file: position:u64 | name.
func (t *tracker) rotate(ctx context.Context, h header, body []byte) error {
	if t.tx.open { // a server that died while it wrote: the rest will never come
		if t.tx.pieces > 0 {
			return t.stop("a transaction has no end, but its beginning was handed on", "load the tables again")
		}
		t.drop()
		t.count = t.boundary.Count
	}
	file, offset := string(body[8:]), binary.LittleEndian.Uint64(body)
	same := file == t.file
	if !same {
		t.passTo = 0
	}
	t.file, t.offset = file, offset
	if same || t.boundary.File == "" || fileBefore(file, t.boundary.File) {
		return nil // the dump begins
	}
	t.boundary.File, t.boundary.Offset = file, offset
	return t.emit(ctx, event.Batch{End: t.boundary})
}

func (t *tracker) previousGTIDs(body []byte) error {
	if t.previous == nil {
		return nil
	}
	var e replication.PreviousGTIDsEvent
	if err := guard("the GTIDs of earlier files", func() error { return e.Decode(body) }); err != nil {
		return t.stop(err.Error(), "")
	}
	set, err := parseGTIDs(e.GTIDSets)
	if err != nil {
		return t.stop(err.Error(), "")
	}
	t.previous(set)
	return nil
}

// guard turns a panic of the library, which trusts lengths, into an error.
func guard(what string, decode func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: malformed: %v", what, r)
		}
	}()
	if err := decode(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// begin notes a transaction's GTID and commit time.
func (t *tracker) begin(h header, raw []byte) error {
	if err := t.beginAt(h); err != nil {
		return err
	}
	t.bound(event.Group, raw)
	body := raw[headerSize:]
	var e *replication.GTIDEvent
	err := guard("a GTID", func() error {
		if h.kind == typeTaggedGTID {
			var tagged replication.GtidTaggedLogEvent
			err := tagged.Decode(body)
			e = &tagged.GTIDEvent
			return err
		}
		e = new(replication.GTIDEvent)
		return e.Decode(body)
	})
	if err != nil {
		return t.stop(err.Error(), "")
	}
	if e.ImmediateCommitTimestamp > 0 {
		t.tx.time = time.UnixMicro(int64(e.ImmediateCommitTimestamp)).UTC()
	}
	if h.kind != typeAnonymousGTID && e.GNO > 0 {
		id, err := uuid.FromBytes(e.SID)
		if err != nil {
			return t.stop("a GTID: "+err.Error(), "")
		}
		t.tx.gtid = event.GTID{UUID: id, Tag: e.Tag.String(), N: e.GNO}
	}
	return nil
}

// beginAt begins a transaction with the event that was read last.
func (t *tracker) beginAt(h header) error {
	if t.tx.open && t.tx.pieces > 0 {
		return t.stop("a transaction has no end, but its beginning was handed on", "load the tables again")
	}
	t.drop()
	t.tx.open, t.tx.at = true, place{t.file, t.offset - uint64(h.size) - t.checksum}
	return nil
}

// step counts an event.
func (t *tracker) step() error {
	if t.count >= event.MaxCount {
		return t.stop("the numbers of this epoch are used up", "open a new epoch")
	}
	t.count++
	return nil
}

func (t *tracker) add(e event.Event) {
	t.tx.batch = append(t.tx.batch, e)
	t.tx.bytes += len(e.Raw)
	if e.Statement != nil {
		t.tx.bytes += len(e.Statement.Text)
	}
}

// origin is where the event that is taken stands.
func (t *tracker) origin() event.Origin {
	return event.Origin{File: t.file, Offset: t.offset - uint64(t.size), Size: t.size}
}

// boundCost is what an event that is only for who reads the whole log costs beyond its bytes: a transaction of one row has as many of them
// as others.
const boundCost = 128

// bound adds an event that is only for who reads the whole log.
func (t *tracker) bound(kind event.Kind, raw []byte) {
	if t.whole && !t.tx.unkept {
		t.add(event.Event{Kind: kind, Raw: raw, Origin: t.origin()})
		t.tx.bytes += boundCost
	}
}

// statementText adds a statement that counted.
func (t *tracker) statementText(raw []byte) {
	if t.whole && !t.tx.unkept {
		t.add(event.Event{Kind: event.Query, Version: t.version(), Raw: raw, Origin: t.origin()})
	}
}

// cut emits a piece when there is enough for one.
func (t *tracker) cut(ctx context.Context) error {
	if t.tx.bytes < pieceBytes {
		return nil
	}
	if t.tx.xa && !t.rereads { // nobody may apply these rows before the end is known
		t.tx.batch, t.tx.bytes, t.tx.unkept = nil, 0, true
		return nil
	}
	b := event.Batch{Events: t.tx.batch, GTID: t.tx.gtid, End: t.boundary, Bytes: t.tx.bytes}
	t.tx.batch, t.tx.bytes = nil, 0
	t.tx.pieces++
	t.piece++
	return t.emit(ctx, b)
}

// end emits what is left of the transaction; the position moves behind it.
func (t *tracker) end(ctx context.Context) error {
	t.boundary.File, t.boundary.Offset, t.boundary.Count = t.file, t.offset, t.count
	if !t.tx.time.IsZero() {
		t.boundary.Time = t.tx.time
	}
	b := event.Batch{Events: t.tx.batch, GTID: t.tx.gtid, End: t.boundary, Bytes: t.tx.bytes}
	t.drop()
	return t.emit(ctx, b)
}

// rollback ends a transaction without its rows.
func (t *tracker) rollback(ctx context.Context) error {
	if t.tx.pieces > 0 {
		return t.stop("a transaction was rolled back after its beginning was handed on", "load the tables again")
	}
	t.tx.batch, t.tx.bytes = nil, 0
	return t.end(ctx)
}

// drop forgets the transaction.
func (t *tracker) drop() {
	t.tx = transaction{}
	t.piece++
}

// inCase spells a table's name in a statement as the log does.
func (t *tracker) inCase(name event.TableName) event.TableName {
	if t.lowerCase {
		return event.TableName{Schema: strings.ToLower(name.Schema), Name: strings.ToLower(name.Name)}
	}
	return name
}

// statement adds a statement event if it concerns a wanted table, or may.
func (t *tracker) statement(s *event.Stmt) {
	if s == nil {
		return
	}
	wanted := len(s.Tables) == 0
	for i := range s.Tables {
		table := &s.Tables[i]
		*table = t.inCase(*table)
		wanted = wanted || table.Name == "" || t.want(*table)
	}
	if t.seen != nil {
		t.seen(s)
	}
	if !wanted {
		return
	}
	t.tx.work = true
	for _, table := range s.Tables {
		t.touch(table)
	}
	if !t.tx.unkept {
		t.add(event.Event{Kind: event.Statement, Version: t.version(), Statement: s})
	}
}

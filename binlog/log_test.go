package binlog

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"canalgo/event"
)

// formatHex is the body of a format description of MySQL 9.7, without checksums.
const formatHex = "0400392e372e342d32" + // version 4, "9.7.4-2"
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000" + // up to 50 bytes
	"00000000" + "13" + "000d0008000000000400040000006300041a08000000000000020000000a0a0a2a2a001234000a280000" + "00" + "00000000"

const testTime = 1_700_000_000

var testServer = uuid.MustParse("3e11fa47-71ca-11e1-9e33-c80aa9429562")

// A fakeLog writes the events of a binary log.
type fakeLog struct {
	end    uint32
	flags  uint16
	events [][]byte
}

// add frames an event and appends it. Inside a compressed transaction there are no positions.
func (l *fakeLog) add(kind byte, body ...[]byte) []byte {
	raw := slices.Concat(append([][]byte{make([]byte, headerSize)}, body...)...)
	l.end += uint32(len(raw))
	binary.LittleEndian.PutUint32(raw, testTime)
	raw[4] = kind
	binary.LittleEndian.PutUint32(raw[5:], 1)
	binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(raw[13:], l.end)
	binary.LittleEndian.PutUint16(raw[17:], l.flags)
	l.events = append(l.events, raw)
	return raw
}

// newFakeLog begins a file, as a dump from its start sends it.
func newFakeLog(file string) *fakeLog {
	l := &fakeLog{}
	l.artificialRotate(file, firstEvent)
	l.end = firstEvent
	l.format()
	return l
}

func (l *fakeLog) format() []byte { return l.formatOf(formatHex) }

func (l *fakeLog) formatOf(text string) []byte {
	body, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return l.add(typeFormatDescription, body)
}

func (l *fakeLog) artificialRotate(file string, offset uint64) {
	end := l.end
	l.flags = flagArtificial
	raw := l.add(typeRotate, binary.LittleEndian.AppendUint64(nil, offset), []byte(file))
	binary.LittleEndian.PutUint32(raw[13:], 0)
	l.flags, l.end = 0, end
}

func (l *fakeLog) rotate(file string) {
	l.add(typeRotate, binary.LittleEndian.AppendUint64(nil, firstEvent), []byte(file))
	l.end = firstEvent
}

func (l *fakeLog) gtid(n int64) {
	l.add(typeGTID, []byte{1}, testServer[:], binary.LittleEndian.AppendUint64(nil, uint64(n)), make([]byte, 17))
}

func (l *fakeLog) query(schema, text string) {
	head := make([]byte, queryHeader)
	head[8] = byte(len(schema))
	l.add(typeQuery, head, []byte(schema), []byte{0}, []byte(text))
}

func (l *fakeLog) begin(n int64) {
	l.gtid(n)
	l.query("", "BEGIN")
}

func (l *fakeLog) xid() { l.add(typeXID, make([]byte, 8)) }

// table describes schema.name: id INT PRIMARY KEY, v VARCHAR(n) in utf8mb4.
func (l *fakeLog) table(id uint64, name string) []byte {
	schema, table, _ := strings.Cut(name, ".")
	id6 := binary.LittleEndian.AppendUint64(nil, id)[:6]
	metadata := []byte{
		1, 1, 0, // signs
		2, 3, 0xfc, 255, 0, // default collation
		4, 5, 2, 'i', 'd', 1, 'v', // names
		8, 1, 0, // primary key
	}
	return l.add(typeTableMap, id6, []byte{1, 0}, []byte{byte(len(schema))}, []byte(schema), []byte{0}, []byte{byte(len(table))}, []byte(table), []byte{0},
		[]byte{2, 3, 15}, []byte{2}, binary.LittleEndian.AppendUint16(nil, 4000), []byte{2}, metadata)
}

// rows writes a rows event of a table of table's; values are id and v.
func (l *fakeLog) rows(kind byte, id uint64, rows ...fakeRow) []byte {
	body := append(binary.LittleEndian.AppendUint64(nil, id)[:6], 1, 0)
	if kind >= typeWriteRows {
		body = append(body, 2, 0) // nothing extra
	}
	body = append(body, 2, 0xff)
	if kind == typeUpdateRows {
		body = append(body, 0xff)
	}
	for _, r := range rows {
		body = append(body, 0)
		body = binary.LittleEndian.AppendUint32(body, uint32(r.id))
		body = binary.LittleEndian.AppendUint16(body, uint16(len(r.v)))
		body = append(body, r.v...)
	}
	return l.add(kind, body)
}

type fakeRow struct {
	id int32
	v  string
}

// compressed puts the events that write makes into a compressed transaction.
func (l *fakeLog) compressed(n int64, write func(*fakeLog)) {
	l.gtid(n)
	inner := &fakeLog{}
	write(inner)
	var plain []byte
	for _, raw := range inner.events {
		binary.LittleEndian.PutUint32(raw[13:], 0)
		plain = append(plain, raw...)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	packed := encoder.EncodeAll(plain, nil)
	l.add(typeTransactionPayload, []byte{2, 1, 0, 1, 1, 9, 3, 3, 0xfc, 0xff, 0xff, 0}, packed)
}

// collect feeds events to a tracker and returns what it emits.
func collect(ctx context.Context, tr *tracker, events [][]byte) ([]event.Batch, error) {
	var batches []event.Batch
	tr.emit = func(_ context.Context, b event.Batch) error {
		batches = append(batches, b)
		return nil
	}
	for _, raw := range events {
		if _, err := tr.event(ctx, raw); err != nil {
			return batches, err
		}
	}
	return batches, nil
}

// startOf is the position that fake logs are read from.
func startOf(file string) event.Position {
	return event.Position{ServerUUID: testServer.String(), Epoch: 3, Count: event.FirstCount, File: file, Offset: firstEvent}
}

func wantShop(t event.TableName) bool { return t.Schema == "shop" }

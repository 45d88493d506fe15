package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// A batch on the wire is a head, followed by the events' raw bytes, so that a sender need not copy those. Numbers are
// big-endian; uvarint and varint are those of encoding/binary; str is length:uvarint | bytes.
//
//	batch      version:u8 | length of head:u32 | head | raw bytes of each event, in order
//	head       seq:uvarint | bytes:uvarint | gtid | end | number of events:uvarint | events
//	gtid       n:varint, and unless n is 0: | uuid:16 bytes | tag:str
//	end        server:str | epoch:uvarint | count:uvarint | file:str | offset:uvarint | gtids:str | seconds:varint | nanoseconds:uvarint
//	event      kind and flags:u8 | version:u64 | length of raw:uvarint, by the flags: | table | statement
//	table      schema:str | name:str
//	statement  action:u8 | number of tables:uvarint | tables | text:str
//
// A batch with an event of kind Defined has version 2, any other one 1.
const (
	wireVersion        = 1
	wireVersionDefined = 2
)

// The first byte of an event: its kind and what it has.
const (
	kindBits     = 0x0f
	hasTable     = 0x10 // a table follows
	sameTable    = 0x20 // it has the table that followed last
	hasStatement = 0x40 // a statement follows
)

// What the smallest event and the smallest table cost on the wire: no more of them are taken than there is room for.
const (
	minEventBytes = 10
	minTableBytes = 2
)

const wirePrefix = 1 + 4 // version and length of head

// AppendHead appends b's encoding up to the events' raw bytes. The encoding is complete when Raw of each event, in
// order, has followed it.
func AppendHead(dst []byte, b *Batch) []byte {
	start := len(dst)
	dst = append(dst, wireVersion, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, b.Seq)
	dst = binary.AppendUvarint(dst, uint64(b.Bytes))
	dst = binary.AppendVarint(dst, b.GTID.N)
	if b.GTID.N != 0 {
		dst = append(dst, b.GTID.UUID[:]...)
		dst = appendString(dst, b.GTID.Tag)
	}
	dst = appendPosition(dst, &b.End)
	dst = binary.AppendUvarint(dst, uint64(len(b.Events)))
	var last TableName
	for i := range b.Events {
		e := &b.Events[i]
		if e.Kind == Defined {
			dst[start] = wireVersionDefined
		}
		first := byte(e.Kind) & kindBits
		switch {
		case e.Table.IsZero():
		case e.Table == last:
			first |= sameTable
		default:
			first |= hasTable
		}
		if e.Statement != nil {
			first |= hasStatement
		}
		dst = append(dst, first)
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Version))
		dst = binary.AppendUvarint(dst, uint64(len(e.Raw)))
		if first&hasTable != 0 {
			dst = appendTable(dst, e.Table)
			last = e.Table
		}
		if e.Statement != nil {
			dst = appendStatement(dst, e.Statement)
		}
	}
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-wirePrefix))
	return dst
}

// AppendBatch appends b's whole encoding.
func AppendBatch(dst []byte, b *Batch) []byte {
	dst = AppendHead(dst, b)
	for i := range b.Events {
		dst = append(dst, b.Events[i].Raw...)
	}
	return dst
}

func appendPosition(dst []byte, p *Position) []byte {
	dst = appendString(dst, p.ServerUUID)
	dst = binary.AppendUvarint(dst, uint64(p.Epoch))
	dst = binary.AppendUvarint(dst, p.Count)
	dst = appendString(dst, p.File)
	dst = binary.AppendUvarint(dst, p.Offset)
	dst = appendString(dst, p.GTIDs)
	dst = binary.AppendVarint(dst, p.Time.Unix()) // the zero time has a number, too
	return binary.AppendUvarint(dst, uint64(p.Time.Nanosecond()))
}

func appendStatement(dst []byte, s *Stmt) []byte {
	dst = append(dst, byte(s.Action))
	dst = binary.AppendUvarint(dst, uint64(len(s.Tables)))
	for _, t := range s.Tables {
		dst = appendTable(dst, t)
	}
	return appendString(dst, s.Text)
}

func appendTable(dst []byte, t TableName) []byte {
	return appendString(appendString(dst, t.Schema), t.Name)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

var errCutShort = errors.New("cut short")

// DecodeBatch decodes what AppendBatch made. Raw of the events is part of data, which must not be changed any more. What
// it allocates is at most a small multiple of data. Times are in UTC.
func DecodeBatch(data []byte) (Batch, error) {
	if len(data) < wirePrefix {
		return Batch{}, fmt.Errorf("batch: %w", errCutShort)
	}
	if data[0] != wireVersion && data[0] != wireVersionDefined {
		return Batch{}, fmt.Errorf("batch: version %d is not known: upgrade this node", data[0])
	}
	size := int64(binary.BigEndian.Uint32(data[1:]))
	raw := data[wirePrefix:]
	if size > int64(len(raw)) {
		return Batch{}, fmt.Errorf("batch: %w", errCutShort)
	}
	d := headDecoder{head: raw[:size], text: string(raw[:size]), raw: raw[size:]}
	b := d.batch()
	switch {
	case d.err != nil:
	case d.at < len(d.head):
		d.err = fmt.Errorf("%d bytes too many in the head", len(d.head)-d.at)
	case len(d.raw) > 0:
		d.err = fmt.Errorf("%d bytes too many behind the events", len(d.raw))
	}
	if d.err != nil {
		return Batch{}, fmt.Errorf("batch: %w", d.err)
	}
	return b, nil
}

// A headDecoder reads on until something is wrong; from then on it reads zeros.
type headDecoder struct {
	head []byte
	text string // the same bytes: all strings are cut out of it, for one allocation
	at   int    // what was read of the head
	raw  []byte // what no event has taken yet
	last TableName
	err  error
}

func (d *headDecoder) batch() Batch {
	b := Batch{Seq: d.uvarint(math.MaxUint64), Bytes: int(d.uvarint(math.MaxInt)), GTID: d.gtid(), End: d.position()}
	if n := d.number(minEventBytes); n > 0 {
		b.Events = make([]Event, n)
	}
	for i := range b.Events {
		if b.Events[i] = d.event(); d.err != nil {
			break
		}
	}
	return b
}

func (d *headDecoder) gtid() GTID {
	g := GTID{N: d.varint()}
	if g.N != 0 {
		copy(g.UUID[:], d.bytes(len(g.UUID)))
		g.Tag = d.string()
	}
	return g
}

func (d *headDecoder) position() Position {
	p := Position{ServerUUID: d.string(), Epoch: uint32(d.uvarint(math.MaxUint32)), Count: d.uvarint(math.MaxUint64), File: d.string(),
		Offset: d.uvarint(math.MaxUint64), GTIDs: d.string()}
	seconds := d.varint()
	p.Time = time.Unix(seconds, int64(d.uvarint(uint64(time.Second-1)))).UTC()
	return p
}

func (d *headDecoder) event() Event {
	first := d.byte()
	e := Event{Kind: Kind(first & kindBits)}
	if e.Kind < FormatDescription || e.Kind > Defined || first&^(kindBits|hasTable|sameTable|hasStatement) != 0 {
		d.fail(fmt.Errorf("event of kind %#x is not known", first))
		return Event{}
	}
	if v := d.bytes(8); v != nil {
		e.Version = Version(binary.BigEndian.Uint64(v))
	}
	size := d.uvarint(math.MaxUint64)
	if size > uint64(len(d.raw)) {
		d.fail(errCutShort)
		return Event{}
	}
	if size > 0 {
		e.Raw = d.raw[:size:size]
		d.raw = d.raw[size:]
	}
	switch {
	case first&hasTable != 0:
		e.Table = d.table()
		d.last = e.Table
	case first&sameTable != 0:
		e.Table = d.last
	}
	if first&hasStatement != 0 {
		e.Statement = d.statement()
	}
	return e
}

func (d *headDecoder) statement() *Stmt {
	s := &Stmt{Action: Action(d.byte())}
	if s.Action > Unparsed {
		d.fail(fmt.Errorf("statement with action %d is not known", s.Action))
	}
	if n := d.number(minTableBytes); n > 0 {
		s.Tables = make([]TableName, n)
	}
	for i := range s.Tables {
		s.Tables[i] = d.table()
	}
	s.Text = d.string()
	return s
}

func (d *headDecoder) table() TableName { return TableName{Schema: d.string(), Name: d.string()} }

func (d *headDecoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.at = len(d.head)
}

// number reads how many things follow, each of which has at least size bytes.
func (d *headDecoder) number(size int) int {
	n := d.uvarint(math.MaxUint64)
	if n > uint64((len(d.head)-d.at)/size) {
		d.fail(errCutShort)
		return 0
	}
	return int(n)
}

func (d *headDecoder) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(d.head[d.at:])
	switch {
	case n == 0:
		d.fail(errCutShort)
		return 0
	case n < 0, v > most:
		d.fail(errors.New("a number is out of range"))
		return 0
	}
	d.at += n
	return v
}

func (d *headDecoder) varint() int64 {
	v := d.uvarint(math.MaxUint64) // zigzag, as binary.Varint has it
	return int64(v>>1) ^ -int64(v&1)
}

func (d *headDecoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *headDecoder) bytes(n int) []byte {
	if n > len(d.head)-d.at {
		d.fail(errCutShort)
		return nil
	}
	d.at += n
	return d.head[d.at-n : d.at]
}

func (d *headDecoder) string() string {
	n := d.uvarint(math.MaxInt32)
	start := d.at
	d.bytes(int(n))
	if d.err != nil {
		return ""
	}
	return d.text[start:d.at]
}

package binlog

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"canalgo/event"
)

// largePacket is a packet with a "compressed" transaction of about 70 MiB that is stored as it is, and a checksum behind it.
func largePacket(spoil func(inner *fakeLog)) ([]byte, header) {
	inner := &fakeLog{}
	inner.query("", "BEGIN")
	inner.table(1, "shop.a")
	raw := inner.rows(typeWriteRows, 1, fakeRow{1, strings.Repeat("x", 60000)})
	for range largeRows - 1 {
		inner.events = append(inner.events, raw)
	}
	spoil(inner)
	inner.xid()
	for _, raw := range inner.events {
		binary.LittleEndian.PutUint32(raw[13:], 0)
	}
	l := &fakeLog{end: 1000}
	raw = l.add(typeTransactionPayload, []byte{2, 3, 0xfc, compressionNone, 0, payloadEnd}, slices.Concat(inner.events...), []byte{1, 2, 3, 4})
	return slices.Concat([]byte{0}, raw), readHeader(raw)
}

const largeRows = 1200

// TestLargePayload: a compressed transaction above maxEvent is taken while it arrives; its size is not what it says (M16).
func TestLargePayload(t *testing.T) {
	cut := errors.New("connection reset")
	for name, c := range map[string]struct {
		spoil   func(*fakeLog)
		upTo    float64 // how much of the packet arrives
		emit    error
		want    string // part of the transaction's error
		handled bool
	}{
		"whole":      {upTo: 1, handled: true},
		"cut short":  {upTo: 0.6},
		"malformed":  {spoil: func(l *fakeLog) { l.add(99, nil) }, upTo: 1, want: "unknown type 99", handled: true},
		"emit fails": {upTo: 1, emit: errors.New("no room"), want: "no room", handled: true},
	} {
		t.Run(name, func(t *testing.T) {
			spoil := c.spoil
			if spoil == nil {
				spoil = func(*fakeLog) {}
			}
			packet, h := largePacket(spoil)
			if h.size <= maxEvent {
				t.Fatalf("only %d bytes", h.size)
			}
			rows, ends, most := 0, 0, 0
			tr := newTracker(startOf("binlog.000009"), wantShop, func(_ context.Context, b event.Batch) error {
				most = max(most, b.Bytes)
				for _, e := range b.Events {
					if e.Kind == event.Rows {
						rows++
					}
				}
				if b.End.Offset == uint64(h.end) {
					ends++
				}
				return c.emit
			})
			if err := tr.describe(header{}, (&fakeLog{}).format()); err != nil {
				t.Fatal(err)
			}
			f := frame{received: new(atomic.Uint64)}
			f.large = func(h header, head []byte, rest io.Reader) error {
				return tr.largePayload(t.Context(), h, head, io.LimitReader(rest, int64(h.size)-headerSize-int64(len(head))-checksumSize))
			}
			var readErr error
			sent := 0
			for chunk := range slices.Chunk(packet[:int(c.upTo*float64(len(packet)))], 16<<10) {
				sent += len(chunk)
				if _, readErr = f.Write(chunk); readErr != nil {
					break
				}
			}
			if got := f.received.Load(); got != uint64(sent) {
				t.Errorf("%d bytes received of %d", got, sent)
			}
			if c.upTo < 1 {
				readErr = cut
			}
			err, handled := f.wait(readErr)
			if handled != c.handled || (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("handled %v, error %v", handled, err)
			}
			if name == "whole" && (rows != largeRows || ends != 1 || most > 2*pieceBytes || tr.count != event.FirstCount+largeRows) {
				t.Errorf("%d rows, %d ends, pieces up to %d bytes", rows, ends, most)
			}
			if name != "whole" && ends != 0 {
				t.Error("the transaction has an end")
			}
			if len(f.data) > 4*oversizedHead+1024 {
				t.Errorf("%d bytes kept", len(f.data))
			}
		})
	}
}

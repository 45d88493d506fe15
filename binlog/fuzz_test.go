package binlog

import (
	"encoding/binary"
	"errors"
	"runtime/metrics"
	"testing"

	"canalgo/event"
)

// fuzzedEvents is what a fuzzed log consists of, behind each other:
//
//	type:u8 | flags:u8 | length:u16, little-endian | body
func fuzzedEvents(l *fakeLog, data []byte) {
	for len(data) >= 4 {
		kind, flags, size := data[0], data[1], int(binary.LittleEndian.Uint16(data[2:]))
		data = data[4:]
		size = min(size, len(data))
		l.flags = uint16(flags)
		l.add(kind, data[:size])
		data = data[size:]
	}
}

// fuzzed is the other direction.
func fuzzed(l *fakeLog) (data []byte) {
	for _, raw := range l.events {
		body := raw[headerSize:]
		data = append(data, raw[4], raw[17])
		data = binary.LittleEndian.AppendUint16(data, uint16(len(body)))
		data = append(data, body...)
	}
	return data
}

// maxAllocated bounds what 64 KiB of log may cost, in bytes. A compressed transaction costs its window besides.
const maxAllocated = maxEvent + maxWindow + 32<<20

// allocated returns how many bytes were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// FuzzLog follows any log, from the dump's events to rows. What it cannot follow must stop by name.
func FuzzLog(f *testing.F) {
	for _, packed := range []bool{false, true} {
		l := &fakeLog{}
		write := func(l *fakeLog) {
			l.query("", "BEGIN")
			l.table(1, "shop.a")
			l.rows(typeUpdateRows, 1, fakeRow{1, "one"}, fakeRow{1, "two"})
			l.query("", "SAVEPOINT `s`")
			l.rows(typeDeleteRows, 1, fakeRow{1, "two"})
			l.xid()
		}
		if packed {
			l.compressed(1, write)
		} else {
			l.gtid(1)
			write(l)
		}
		l.gtid(2)
		l.query("shop", "TRUNCATE TABLE a")
		l.rotate("binlog.000010")
		f.Add(fuzzed(l))
	}
	l := &fakeLog{}
	l.gtid(1)
	l.query("shop", "XA START 'x'")
	l.add(typeTableMap, allTypesMap())
	l.add(typeWriteRows, []byte{1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 24, 0xff, 0xff, 0xff, 0, 0, 0}, make([]byte, 300))
	l.add(typeXAPrepare, []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x'})
	l.add(typeTaggedGTID, []byte{2, 80, 0, 0, 0, 4, 0})
	l.add(typePreviousGTIDs, []byte{1, 0, 0, 0, 0, 0, 0, 0}, testServer[:], []byte{1, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16))
	l.add(typeExecuteLoadQuery, make([]byte, queryHeader+loadHeader), []byte("\x00LOAD DATA INFILE 'x' INTO TABLE a"))
	f.Add(fuzzed(l))
	m := &fakeLog{}
	m.formatOf(mariadbFormat)
	m.add(typeGTIDList, []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0})
	m.mariadbGTID(0, 10, gtidGroupCommit, make([]byte, 8)...)
	m.table(1, "shop.a")
	plain := m.rows(typeWriteRowsV1, 1, fakeRow{1, "one"})
	const rows = headerSize + 6 + 2 + 1 + 1
	m.add(typeWriteRowsCompressed, plain[headerSize:rows], deflate(plain[rows:]))
	m.xid()
	m.mariadbGTID(0, 11, gtidStandalone)
	m.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0}, deflate([]byte("CREATE OR REPLACE TABLE shop.a (id INT)")))
	m.mariadbGTID(0, 12, gtidPreparedXA, 3, 0, 0, 0, 1, 1, 'a', 'b')
	m.add(typeXAPrepare, []byte{0})
	f.Add(fuzzed(m))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 64<<10)]
		before := allocated()
		l := newFakeLog("binlog.000009")
		fuzzedEvents(l, data)
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		tr.previous = func(event.GTIDSet) {}
		batches, err := collect(t.Context(), tr, l.events)
		var stop *event.StopError
		if err != nil && !errors.As(err, &stop) && !errors.Is(err, ErrReset) {
			t.Errorf("follow: %T %v", err, err)
		}
		d := NewDecoder()
		last := event.Version(0)
		for _, b := range batches {
			for _, e := range b.Events {
				if e.Version != 0 && e.Version <= last {
					t.Errorf("version %s behind %s", e.Version, last)
				}
				last = max(last, e.Version)
			}
			if _, err := d.Decode(b.Events); err != nil && !errors.As(err, &stop) {
				t.Errorf("decode: %T %v", err, err)
			}
		}
		if got := allocated() - before; got > maxAllocated {
			t.Errorf("%d bytes of log took %d bytes", len(data), got)
		}
	})
}

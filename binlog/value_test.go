package binlog

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"canalgo/charset"
	"canalgo/event"
	"canalgo/secret"
)

// What a value's bytes alone do not say: its sign, and what was stripped.
func TestStoredValues(t *testing.T) {
	for _, c := range []struct {
		column columnLayout
		stored []byte
		want   any
	}{
		{columnLayout{store: storeInt8, unsigned: true}, []byte{0xff}, uint8(255)},
		{columnLayout{store: storeInt8}, []byte{0xff}, int8(-1)},
		{columnLayout{store: storeInt16, unsigned: true}, []byte{0xfe, 0xff}, uint16(65534)},
		{columnLayout{store: storeInt16}, []byte{0xfe, 0xff}, int16(-2)},
		{columnLayout{store: storeInt24, unsigned: true}, []byte{0xfe, 0xff, 0xff}, uint32(1<<24 - 2)},
		{columnLayout{store: storeInt24}, []byte{0xfe, 0xff, 0xff}, int32(-2)},
		{columnLayout{store: storeInt32, unsigned: true}, []byte{0xfe, 0xff, 0xff, 0xff}, uint32(1<<32 - 2)},
		{columnLayout{store: storeInt32}, []byte{0xfe, 0xff, 0xff, 0xff}, int32(-2)},
		{columnLayout{store: storeInt64, unsigned: true}, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint64(1<<64 - 2)},
		{columnLayout{store: storeInt64}, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, int64(-2)},
		{columnLayout{store: storePadded, size: 1, scale: 4}, []byte{2, 'a', 0}, []byte{'a', 0, 0, 0}},
		{columnLayout{store: storeBytes, size: 1}, []byte{2, 'a', 0}, []byte{'a', 0}},
	} {
		var r rowReader
		r.begin(nil, c.stored, 0)
		if got, err := r.value(&c.column); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v, stored as %x: %v, %v; want %v", c.column, c.stored, got, err, c.want)
		}
	}
}

// Bytes that are not text stay bytes. A label that is none is no UTF-8, even if its bytes are.
func TestTextOfSets(t *testing.T) {
	for _, c := range []struct {
		set   string
		bytes string
		want  any
		label string
	}{
		{"gbk", "\xd6\xd0", "中", "中"},
		{"cp1252", "a", []byte("a"), "\xffa"},
		{"greek", "®", []byte("®"), "\xff®"},
		{"ucs2", "a", []byte("a"), "\xffa"},
	} {
		set := charset.Lookup(c.set)
		if got := textValue(set, []byte(c.bytes)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %x: got %q, want %q", c.set, c.bytes, got, c.want)
		}
		if got := labelsOf(set, []string{c.bytes}); got[0] != c.label {
			t.Errorf("the label %s %x: got %q, want %q", c.set, c.bytes, got, c.label)
		}
	}
}

// ALTER TABLE can leave a definition as long as it was, and a restarted server gives its ids anew.
func TestDecodeAfterAlter(t *testing.T) {
	for _, id := range []uint64{1, 2} {
		l := newFakeLog("binlog.000009")
		l.begin(1)
		l.table(1, "shop.a")
		l.rows(typeWriteRows, 1, fakeRow{1, "one"})
		l.xid()
		l.begin(2)
		raw := l.table(id, "shop.a")
		renamed := strings.LastIndexByte(string(raw), 'v')
		raw[renamed] = 'w'
		l.rows(typeWriteRows, id, fakeRow{2, "two"})
		l.xid()
		rows, err := NewDecoder().Decode(eventsOf(t, l))
		if err != nil {
			t.Fatal(err)
		}
		if got := []string{rows[0].Table.Columns[1].Name, rows[1].Table.Columns[1].Name}; got[0] != "v" || got[1] != "w" {
			t.Errorf("table id %d: columns %q, want v and then w", id, got)
		}
	}
}

// TestTrackerConnectsAgain has the connection end behind each event of a log: nothing of a half transaction stays, and no position
// lies inside of one.
func TestTrackerConnectsAgain(t *testing.T) {
	events := story(false).events[:20] // one file
	clean, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), events)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 3; cut < len(events); cut++ {
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		before, err := collect(t.Context(), tr, events[:cut])
		if err != nil {
			t.Fatal(err)
		}
		from := tr.boundary
		if tr.tx.open {
			last := startOf("binlog.000009")
			if len(before) > 0 {
				last = before[len(before)-1].End
			}
			if from.File == last.File && from.Offset > max(last.Offset, uint64(firstEvent+len(events[1]))) {
				t.Fatalf("%d events: the position is %s, the last transaction ended at %s", cut, from, last)
			}
		}
		tr.restart()
		again := &fakeLog{}
		again.artificialRotate(from.File, from.Offset)
		again.format()
		copy(again.events[1][13:17], []byte{0, 0, 0, 0}) // it is sent out of place
		rest := events[2:]
		for len(rest) > 0 && uint64(readHeader(rest[0]).end) <= from.Offset {
			rest = rest[1:]
		}
		after, err := collect(t.Context(), tr, append(again.events, rest...))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := append(flat(before), flat(after)...), flat(clean); !reflect.DeepEqual(got, want) {
			t.Errorf("%d events, then all again from %s:\n got %.300q\nwant %.300q", cut, from, got, want)
		}
	}
}

func TestConnectErrorsShowNoPassword(t *testing.T) {
	cfg := valid()
	cfg.Addr, cfg.Password = "127.0.0.1:1", secret.New("c4n4ry-hunter2")
	s, err := New(cfg, "c", "n", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Connect(t.Context(), "")
	if stop := (*event.StopError)(nil); err == nil || errors.As(err, &stop) || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("error %v", err)
	}
}

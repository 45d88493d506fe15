package binlog

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"canalgo/event"
)

// eventsOf tracks a log and returns the events of all its batches.
func eventsOf(t testing.TB, l *fakeLog) []event.Event {
	t.Helper()
	batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	for _, b := range batches {
		events = append(events, b.Events...)
	}
	return events
}

func TestDecode(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "one"}, fakeRow{-2, "zwei ü"})
	l.rows(typeUpdateRows, 1, fakeRow{1, "one"}, fakeRow{1, "uno"})
	l.xid()
	l.begin(2)
	l.table(7, "shop.a") // the same definition under another id
	l.rows(typeDeleteRows, 7, fakeRow{1, "uno"})
	l.xid()
	l.gtid(3)
	l.query("shop", "TRUNCATE a")
	rows, err := NewDecoder().Decode(eventsOf(t, l))
	if err != nil {
		t.Fatal(err)
	}
	version := func(n uint64) event.Version { return event.NewVersion(3, event.FirstCount+n) }
	table := rows[0].Table
	want := []event.Row{
		{Op: event.Insert, Version: version(1), After: []any{int32(1), "one"}},
		{Op: event.Insert, Version: version(1), After: []any{int32(-2), "zwei ü"}},
		{Op: event.Update, Version: version(2), Before: []any{int32(1), "one"}, After: []any{int32(1), "uno"}},
		{Op: event.Delete, Version: version(3), Before: []any{int32(1), "uno"}},
		{Op: event.DeleteAll, Version: version(4)},
	}
	for i, r := range rows {
		if r.Op != event.DeleteAll && (r.Table != table || r.Time.Unix() != testTime) {
			t.Errorf("row %d: table %p, want %p; time %s", i, r.Table, table, r.Time)
		}
		r.Table, r.Time = nil, want[0].Time
		if !reflect.DeepEqual(r, want[i]) {
			t.Errorf("row %d: %+v, want %+v", i, r, want[i])
		}
	}
	wantTable := &event.Table{Name: event.TableName{Schema: "shop", Name: "a"}, Key: []int{0}, Columns: []event.Column{
		{Name: "id", Type: event.Int}, {Name: "v", Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci"}}}
	if !reflect.DeepEqual(table, wantTable) {
		t.Errorf("table %+v, want %+v", table, wantTable)
	}
	if got := rows[4].Table.Name; got != wantTable.Name {
		t.Errorf("truncated %s", got)
	}
}

// TestDecodePartial reads images that lack columns, as binlog_row_image=MINIMAL and NOBLOB write them: what an update does not set is as it
// was.
func TestDecodePartial(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	const id, v, both, neither = 0xfd, 0xfe, 0xff, 0 // which columns an image has
	rows := func(kind byte, bitmaps string, images string) {
		l.add(kind, []byte("\x01\x00\x00\x00\x00\x00\x01\x00\x02\x00\x02"+bitmaps+images))
	}
	at := func(columns ...byte) string { return string(columns) }
	const seven, eight, text = "\x07\x00\x00\x00", "\x08\x00\x00\x00", "\x01\x00x"
	rows(typeUpdateRows, at(id, v), "\xfc"+seven+"\xfe"+text+"\xfc"+eight+"\xff") // two rows; the second sets NULL
	rows(typeUpdateRows, at(id, id), "\xfc"+seven+"\xfc"+eight)
	rows(typeUpdateRows, at(both, id), "\xfc"+seven+text+"\xfc"+eight)
	rows(typeDeleteRows, at(id), "\xfc"+seven)
	rows(typeWriteRows, at(v), "\xfe"+text)
	rows(typeWriteRows, at(neither), "") // VALUES ()
	l.xid()
	got, err := NewDecoder().Decode(eventsOf(t, l))
	if err != nil {
		t.Fatal(err)
	}
	none := event.Absent
	want := []event.Row{
		{Op: event.Update, Partial: true, Before: []any{int32(7), none}, After: []any{int32(7), "x"}},
		{Op: event.Update, Partial: true, Before: []any{int32(8), none}, After: []any{int32(8), nil}},
		{Op: event.Update, Partial: true, Before: []any{int32(7), none}, After: []any{int32(8), none}},
		{Op: event.Update, Before: []any{int32(7), "x"}, After: []any{int32(8), "x"}},
		{Op: event.Delete, Partial: true, Before: []any{int32(7), none}},
		{Op: event.Insert, Partial: true, After: []any{none, "x"}},
		{Op: event.Insert, Partial: true, After: []any{none, none}},
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i, r := range got {
		r.Table, r.Version, r.Time = nil, 0, want[i].Time
		if !reflect.DeepEqual(r, want[i]) {
			t.Errorf("row %d: %+v, want %+v", i, r, want[i])
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "one"})
	l.xid()
	good := eventsOf(t, l)
	name := event.TableName{Schema: "shop", Name: "a"}
	changed := func(i int, change func([]byte) []byte) []event.Event {
		events := append([]event.Event{}, good...)
		raw := change(append([]byte{}, events[i].Raw...))
		binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
		events[i].Raw = raw
		return events
	}
	for what, c := range map[string]struct {
		events []event.Event
		want   string
	}{
		"no format":      {good[1:], "no format description"},
		"no table map":   {[]event.Event{good[0], good[2]}, "table map"},
		"cut short":      {changed(2, func(b []byte) []byte { return b[:len(b)-1] }), "rows event 3.4294967297 of shop.a: malformed"},
		"no columns":     {changed(2, func(b []byte) []byte { b[headerSize+6+2+2+1] = 0; return b }), "rows event 3.4294967297 of shop.a: malformed: a row without a column"},
		"cut in the map": {changed(1, func(b []byte) []byte { return b[:len(b)-4] }), "table map of shop.a: malformed"},
		"no names":       {changed(1, func(b []byte) []byte { b[len(b)-10] = 99; return b }), "table map of shop.a has no column names"},
		"other type":     {changed(2, func(b []byte) []byte { b[4] = typeQuery; return b }), "has type 2"},
		"change":         {[]event.Event{{Kind: event.Statement, Version: 5, Statement: &event.Stmt{Action: event.Change, Tables: []event.TableName{name}, Text: "UPDATE a"}}}, "UPDATE a"},
		"unparsed":       {[]event.Event{{Kind: event.Statement, Version: 5, Statement: &event.Stmt{Action: event.Unparsed, Text: "FROB"}}}, "any table: FROB"},
		"missing":        {[]event.Event{{Kind: event.Statement, Version: 5, Statement: &event.Stmt{Action: event.Missing, Tables: []event.TableName{name}, Text: "purged"}}}, "rows of shop.a change, and nobody can read them: purged"},
	} {
		rows, err := NewDecoder().Decode(c.events)
		var stop *event.StopError
		if !errors.As(err, &stop) || !strings.Contains(err.Error(), c.want) || rows != nil {
			t.Errorf("%s: %d rows, %v; want %q", what, len(rows), err, c.want)
		}
	}
	if rows, err := NewDecoder().Decode([]event.Event{{Kind: event.Statement, Statement: &event.Stmt{Action: event.Alter}}}); len(rows) != 0 || err != nil {
		t.Errorf("alter: %d rows, %v", len(rows), err)
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		precision, scale int
		bytes            []byte
		want             string
	}{
		{14, 4, []byte{0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2}, "1234567890.1234"},
		{14, 4, []byte{0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d}, "-1234567890.1234"},
		{5, 0, []byte{0x80, 0, 0}, "0"},
		{4, 4, []byte{0x80, 0x01}, "0.0001"},
		{4, 4, []byte{0x7f, 0xfe}, "-0.0001"},
		{18, 9, []byte{0x80, 0, 0, 0, 0, 0, 0, 7}, "0.000000007"},
		{1, 0, []byte{0x89}, "9"},
	} {
		if got := string(appendDecimal(nil, c.bytes, c.precision, c.scale)); got != c.want || decimalBytes(c.precision, c.scale) != len(c.bytes) {
			t.Errorf("DECIMAL(%d,%d) %x: %s, want %s", c.precision, c.scale, c.bytes, got, c.want)
		}
	}
}

// TestDoubleText holds what MySQL 9.7 printed.
func TestDoubleText(t *testing.T) {
	for f, want := range map[float64]string{
		1: "1.0", math.Copysign(0, -1): "-0.0", 1e14: "100000000000000.0", 1e15: "1e15", 1.23456789012345e15: "1.23456789012345e15", 1234567890123456.7: "1234567890123456.8",
		9007199254740992: "9.007199254740992e15", 12345678901234567: "1.2345678901234568e16", 1e-15: "0.000000000000001", 1.5e-15: "0.0000000000000015", 1e-16: "1e-16",
		1.2345678901234567e-14: "0.000000000000012345678901234567", 5e-324: "5e-324", math.MaxFloat64: "1.7976931348623157e308", -1.5: "-1.5",
	} {
		if got := string(appendDouble(nil, f)); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
}

func TestLabels(t *testing.T) {
	got, err := parseLabels(`enum('a','b,c','d''e','f(g)','','h"i','back\\slash','line\nend','nul\0')`)
	want := []string{"a", "b,c", "d'e", "f(g)", "", `h"i`, `back\slash`, "line\nend", "nul\x00"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"enum", "enum(", "enum('a", "enum('a'x)", "enum('a'"} {
		if got, err := parseLabels(bad); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
}

func TestCollationNames(t *testing.T) {
	for id, want := range map[uint64][2]string{
		8: {"latin1", "latin1_swedish_ci"}, 33: {"utf8mb3", "utf8mb3_general_ci"}, 63: {"binary", "binary"}, 83: {"utf8mb3", "utf8mb3_bin"}, 45: {"utf8mb4", "utf8mb4_general_ci"},
		255: {"utf8mb4", "utf8mb4_0900_ai_ci"}, 309: {"utf8mb4", "utf8mb4_0900_bin"}, 310: {"utf8mb4", "utf8mb4_nb_0900_ai_ci"}, 323: {"utf8mb4", "utf8mb4_mn_cyrl_0900_as_cs"},
		1 << 60: {"unknown-1152921504606846976", "unknown-1152921504606846976"},
	} {
		if set, collation := collationNames(id); set != want[0] || collation != want[1] {
			t.Errorf("%d: %s, %s", id, set, collation)
		}
	}
}

func FuzzDecode(f *testing.F) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeUpdateRows, 1, fakeRow{1, "one"}, fakeRow{1, "two"})
	l.xid()
	events := eventsOf(f, l)
	f.Add(events[0].Raw, events[1].Raw, events[2].Raw)
	all := newFakeLog("binlog.000009")
	everyType := all.add(typeTableMap, allTypesMap())
	f.Add(events[0].Raw, everyType, all.add(typeWriteRows, []byte{1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 24, 0xff, 0xff, 0xff, 0, 0, 0}, make([]byte, 300)))
	f.Fuzz(func(t *testing.T, format, table, rows []byte) {
		for _, raw := range [][]byte{format, table, rows} {
			if len(raw) >= headerSize {
				binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
			}
		}
		d := NewDecoder()
		name := event.TableName{Schema: "shop", Name: "a"}
		decoded, err := d.Decode([]event.Event{{Kind: event.FormatDescription, Raw: format}, {Kind: event.TableMap, Table: name, Raw: table}, {Kind: event.Rows, Table: name, Version: 1, Raw: rows}})
		if err != nil {
			var stop *event.StopError
			if !errors.As(err, &stop) || decoded != nil {
				t.Errorf("%T %v with %d rows", err, err, len(decoded))
			}
			return
		}
		for _, r := range decoded {
			if n := len(r.Table.Columns); r.Before != nil && len(r.Before) != n || r.After != nil && len(r.After) != n {
				t.Errorf("a row of %d and %d values for %d columns", len(r.Before), len(r.After), n)
			}
		}
	})
}

// allTypesMap is the body of a table map with a column of each type.
func allTypesMap() []byte {
	types := []byte{1, 2, 9, 3, 8, 4, 5, 246, 16, 13, 10, 19, 18, 17, 15, 254, 254, 252, 255, 242, 245, 254, 254, 15}
	meta := []byte{4, 8, 10, 2, 1, 1, 3, 3, 3, 40, 0, 254, 10, 254, 20, 2, 4, 4, 4, 247, 1, 248, 1, 44, 1}
	body := append([]byte{1, 0, 0, 0, 0, 0, 1, 0, 4}, "shop\x00\x01a\x00"...)
	body = append(append(body, byte(len(types))), types...)
	body = append(append(body, byte(len(meta))), meta...)
	body = append(body, 0xff, 0xff, 0xff)
	var names []byte
	for i := range types {
		names = append(names, 1, 'a'+byte(i))
	}
	body = append(append(body, 4, byte(len(names))), names...)
	return append(body, 2, 1, 45)
}

// TestJSONMalformed: arrays that hold themselves, or the same next one twice, must not be followed for ever.
func TestJSONMalformed(t *testing.T) {
	if v, err := mysqlStyle.document([]byte{jsonSmallArray, 2, 0, 10, 0, jsonSmallArray, 0, 0, jsonSmallArray, 0, 0}); !errors.Is(err, errJSON) {
		t.Errorf("a loop: %v, %v", v, err)
	}
	const levels = 90
	doc := []byte{jsonSmallArray}
	for i := range levels {
		size := uint16(10 * (levels - i))
		doc = binary.LittleEndian.AppendUint16(append(doc, 2, 0), size)
		doc = append(doc, jsonSmallArray, 10, 0, jsonSmallArray, 10, 0)
	}
	copy(doc[len(doc)-6:], []byte{jsonLiteral, 1, 0, jsonLiteral, 1, 0})
	if v, err := mysqlStyle.document(doc); !errors.Is(err, errJSON) {
		t.Errorf("%d levels: %.50s, %v", levels, v, err)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte{0x00, 1, 0, 15, 0, 11, 0, 1, 0, 0x0c, 12, 0, 'a', 2, 'h', 'i'})
	f.Add([]byte{0x02, 2, 0, 10, 0, 0x05, 1, 0, 0x04, 1, 0})
	f.Add([]byte{0x0f, 246, 4, 2, 1, 0x85, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := mysqlStyle.document(b)
		if err == nil && v == "" {
			t.Error("an empty text")
		}
	})
}

// wideLog is a transaction of n rows with 6 columns of about 200 bytes together.
func wideLog(n int) *fakeLog {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	types := []byte{8, 15, 15, 246, 18, 3}
	meta := []byte{0x90, 1, 0x90, 1, 10, 2, 0}
	body := append([]byte{1, 0, 0, 0, 0, 0, 1, 0, 4}, "shop\x00\x01a\x00"...)
	body = append(append(body, byte(len(types))), types...)
	body = append(append(body, byte(len(meta))), meta...)
	body = append(body, 0x3e, 4, 12, 1, 'a', 1, 'b', 1, 'c', 1, 'd', 1, 'e', 1, 'f', 2, 3, 0xfc, 255, 0, 1, 1, 0, 8, 1, 0)
	l.add(typeTableMap, body)
	for n > 0 {
		rows := []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 6, 0xff}
		for range min(n, 40) {
			n--
			rows = append(rows, 0xc0)
			rows = binary.LittleEndian.AppendUint64(rows, uint64(n))
			for range 2 {
				rows = binary.LittleEndian.AppendUint16(rows, 80)
				rows = append(rows, strings.Repeat("x", 80)...)
			}
			rows = append(rows, 0x80, 0, 0x12, 0x34, 0x22)
			rows = append(rows, 0x99, 0xb2, 0x7a, 0x4c, 0x21)
			rows = binary.LittleEndian.AppendUint32(rows, uint32(n))
		}
		l.add(typeWriteRows, rows)
	}
	l.xid()
	return l
}

const benchRows = 2000

func BenchmarkDecode(b *testing.B) {
	events := eventsOf(b, wideLog(benchRows))
	d := NewDecoder()
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		rows, err := d.Decode(events)
		if err != nil || len(rows) != benchRows {
			b.Fatal(len(rows), err)
		}
	}
	perCPU(b, start)
}

// cpuTime is what the process has used, the garbage collector included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perCPU(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(b.N)*benchRows/(cpuTime()-start).Seconds(), "rows/cpu-s")
}

func BenchmarkLibrary(b *testing.B) {
	events := eventsOf(b, wideLog(benchRows))
	b.ReportAllocs()
	p := replication.NewBinlogParser()
	start := cpuTime()
	for b.Loop() {
		n := 0
		for _, e := range events {
			parsed, err := p.Parse(e.Raw)
			if err != nil {
				b.Fatal(err)
			}
			if r, ok := parsed.Event.(*replication.RowsEvent); ok {
				n += len(r.Rows)
			}
		}
		if n != benchRows {
			b.Fatal(n)
		}
	}
	perCPU(b, start)
}

func BenchmarkTrack(b *testing.B) {
	l := wideLog(benchRows)
	b.ReportAllocs()
	bytes := 0
	for b.Loop() {
		batches, err := collect(b.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
		if err != nil {
			b.Fatal(err)
		}
		for _, batch := range batches {
			bytes += batch.Bytes
		}
	}
	b.SetBytes(int64(bytes / b.N))
}

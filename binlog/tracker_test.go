package binlog

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"canalgo/event"
)

// story is a log with a little of everything, its transactions compressed or not.
func story(packed bool) *fakeLog {
	l := newFakeLog("binlog.000009")
	n := int64(0)
	transaction := func(write func(*fakeLog)) {
		n++
		if packed {
			l.compressed(n, func(in *fakeLog) { in.query("", "BEGIN"); write(in); in.xid() })
			return
		}
		l.begin(n)
		write(l)
		l.xid()
	}
	transaction(func(l *fakeLog) {
		l.table(1, "shop.a")
		l.rows(typeWriteRows, 1, fakeRow{1, "one"})
		l.table(2, "other.b")
		l.rows(typeWriteRows, 2, fakeRow{1, "not wanted"})
		l.rows(typeDeleteRows, 1, fakeRow{1, "one"})
	})
	n++
	l.gtid(n)
	l.query("other", "TRUNCATE TABLE b")
	n++
	l.gtid(n)
	l.query("shop", "TRUNCATE TABLE a")
	transaction(func(l *fakeLog) {
		l.table(2, "other.b")
		l.rows(typeWriteRows, 2, fakeRow{2, "not wanted"})
	})
	l.rotate("binlog.000010")
	l.artificialRotate("binlog.000010", firstEvent)
	l.format()
	transaction(func(l *fakeLog) {
		l.table(1, "shop.a")
		l.query("", "SAVEPOINT `s`")
		for i := range 300 {
			l.rows(typeWriteRows, 1, fakeRow{int32(i), strings.Repeat("x", 8000)})
		}
	})
	transaction(func(l *fakeLog) {
		l.table(1, "shop.a")
		l.rows(typeUpdateRows, 1, fakeRow{1, "x"}, fakeRow{1, "y"})
	})
	return l
}

// flat is what must be the same whichever way a place is read.
func flat(batches []event.Batch) []string {
	var out []string
	for _, b := range batches {
		for _, e := range b.Events {
			switch {
			case e.Kind == event.Statement:
				out = append(out, fmt.Sprint(e.Version, " ", e.Statement.Action, e.Statement.Tables))
			case e.Version != 0:
				out = append(out, fmt.Sprint(e.Version, " ", e.Table, len(e.Raw), e.Raw[4]))
			}
		}
	}
	return out
}

func TestTrackerNumbersTheSameWhereverItBegins(t *testing.T) {
	plain, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), story(false).events)
	if err != nil {
		t.Fatal(err)
	}
	for _, packed := range []bool{false, true} {
		l := story(packed)
		// each boundary, and how many events were read up to it
		type place struct {
			end  event.Position
			read int
		}
		var places []place
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		var all []event.Batch
		for i, raw := range l.events {
			batches, err := collect(t.Context(), tr, [][]byte{raw})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, batches...)
			if !tr.tx.open {
				places = append(places, place{tr.boundary, i + 1})
			}
		}
		if got, want := flat(all), flat(plain); !reflect.DeepEqual(got, want) {
			t.Errorf("compressed %v: numbered otherwise\n got %.300q\nwant %.300q", packed, got, want)
		}
		if len(places) < 11 {
			t.Fatalf("only %d boundaries", len(places))
		}
		for _, p := range places {
			again := newTracker(p.end, wantShop, nil)
			resumed := &fakeLog{}
			resumed.artificialRotate(p.end.File, p.end.Offset)
			resumed.format()
			// a description that is sent out of place has no position
			copy(resumed.events[1][13:17], []byte{0, 0, 0, 0})
			batches, err := collect(t.Context(), again, append(resumed.events, l.events[p.read:]...))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, line := range flat(plain) {
				var epoch uint32
				var count uint64
				if _, err := fmt.Sscanf(line, "%d.%d", &epoch, &count); err != nil {
					t.Fatal(err)
				}
				if count > p.end.Count {
					want = append(want, line)
				}
			}
			if got := flat(batches); !reflect.DeepEqual(got, want) {
				t.Errorf("compressed %v, from %s: %d events, want %d\n got %.200q\nwant %.200q", packed, p.end, len(got), len(want), got, want)
			}
		}
	}
}

func TestTrackerBatches(t *testing.T) {
	batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), story(false).events)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range batches {
		var kinds []string
		for _, e := range b.Events {
			if k := fmt.Sprint(e.Kind); len(kinds) == 0 || kinds[len(kinds)-1] != k {
				kinds = append(kinds, k)
			}
		}
		got = append(got, fmt.Sprintf("%s gtid=%d %d", strings.Join(kinds, ","), b.GTID.N, b.End.Count-event.FirstCount))
	}
	// 1 is a format description, 2 a table map, 3 rows, 4 a statement
	want := []string{"1,2,3 gtid=1 3", " gtid=2 4", "4 gtid=3 5", " gtid=4 6", " gtid=0 6",
		"1,2,3 gtid=5 6", "1,2,3 gtid=5 6", "1,2,3 gtid=5 306", "1,2,3 gtid=6 307"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("batches\n got %q\nwant %q", got, want)
	}
	for i, b := range batches {
		size := 0
		for _, e := range b.Events {
			size += len(e.Raw)
		}
		if len(b.Events) > 0 && b.Events[0].Kind == event.FormatDescription && (b.Bytes != size || size > pieceBytes+20000) {
			t.Errorf("batch %d has %d bytes, says %d", i, size, b.Bytes)
		}
	}
	if end := batches[4].End; end.File != "binlog.000010" || end.Offset != firstEvent {
		t.Errorf("after the rotation: %s", end)
	}
	if batches[5].End != batches[4].End && batches[5].End.Offset <= firstEvent {
		t.Errorf("a piece ends at %s", batches[5].End)
	}
	if !batches[0].End.Time.IsZero() { // no commit time in these GTIDs
		t.Errorf("time %s", batches[0].End.Time)
	}
}

func TestTrackerStops(t *testing.T) {
	large := func(l *fakeLog) {
		for i := range 200 {
			l.rows(typeWriteRows, 1, fakeRow{int32(i), strings.Repeat("x", 8000)})
		}
	}
	for name, c := range map[string]struct {
		write func(l *fakeLog)
		want  string // of the error; "" for none
	}{
		"incident":           {func(l *fakeLog) { l.add(typeIncident, []byte{1, 0, 0}) }, "incident"},
		"unknown":            {func(l *fakeLog) { l.add(99, []byte{1}) }, "unknown type 99"},
		"unknown, ignorable": {func(l *fakeLog) { l.flags = flagIgnorable; l.add(99, []byte{1}) }, ""},
		"rows of a beta version": {func(l *fakeLog) {
			l.table(1, "shop.a")
			l.add(20, make([]byte, 30))
		}, "unknown type 20"},
		"no table map": {func(l *fakeLog) { l.begin(1); l.rows(typeWriteRows, 5, fakeRow{1, ""}) }, "id 5"},
		"dummy rows":   {func(l *fakeLog) { l.begin(1); l.rows(typeWriteRows, 0xffffff) }, ""},
		"rollback": {func(l *fakeLog) {
			l.begin(1)
			l.table(1, "shop.a")
			l.rows(typeWriteRows, 1, fakeRow{1, ""})
			l.query("", "ROLLBACK")
		}, ""},
		"rollback of pieces": {func(l *fakeLog) { l.begin(1); l.table(1, "shop.a"); large(l); l.query("", "ROLLBACK") }, "rolled back"},
		"no end": {func(l *fakeLog) {
			l.begin(1)
			l.table(1, "shop.a")
			l.rows(typeWriteRows, 1, fakeRow{1, ""})
			l.artificialRotate("binlog.000010", 4)
		}, ""},
		"no end of pieces": {func(l *fakeLog) { l.begin(1); l.table(1, "shop.a"); large(l); l.artificialRotate("binlog.000010", 4) }, "no end"},
		"short event":      {func(l *fakeLog) { l.add(typeQuery, []byte{1, 2}) }, "only 21 bytes"},
		"short table map":  {func(l *fakeLog) { l.add(typeTableMap, []byte{1, 0, 0, 0, 0, 0, 0, 0, 200, 'x'}) }, "malformed table map"},
		"short query":      {func(l *fakeLog) { l.add(typeQuery, []byte{0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 99, 0}) }, "malformed query"},
		"payload":          {func(l *fakeLog) { l.add(typeTransactionPayload, []byte{2, 1, 0, 0, 1, 2, 3}) }, "compressed transaction"},
		"payload's head":   {func(l *fakeLog) { l.add(typeTransactionPayload, []byte{2, 99, 0}) }, "compressed transaction"},
		"payload's kind":   {func(l *fakeLog) { l.add(typeTransactionPayload, []byte{2, 1, 7, 0}) }, "unknown compression 7"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newFakeLog("binlog.000009")
			c.write(l)
			batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
			var stop *event.StopError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error %v", err)
			case c.want != "" && (!errors.As(err, &stop) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "binlog.0000")):
				t.Errorf("error %v, want %q", err, c.want)
			case c.want == "" && len(flat(batches)) > 0:
				t.Errorf("emitted %q", flat(batches))
			}
		})
	}
}

// TestTrackerBehind4GiB: the ends in headers have 32 bits; what was read before is passed over by position, in its file only.
func TestTrackerBehind4GiB(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "first"})
	l.end = 1<<32 - 20 // a huge transaction
	l.xid()
	first := uint64(1<<32) + uint64(l.end)
	l.begin(2)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{2, "second"})
	l.xid()
	second := uint64(1<<32) + uint64(l.end)
	l.rotate("binlog.000010")
	l.artificialRotate("binlog.000010", firstEvent)
	l.format()
	l.begin(3)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{3, "third"})
	l.xid()
	all, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 || all[0].End.Offset != first || all[1].End.Offset != second || all[3].End.Offset != uint64(l.end) {
		t.Fatalf("%d batches, ends %d, want %d and more", len(all), all[0].End.Offset, first)
	}
	rest, err := collect(t.Context(), newTracker(all[0].End, wantShop, nil), l.events) // the whole file again
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(flat(rest), flat(all[1:])) || len(rest) != 3 || rest[0].End != all[1].End || rest[2].End != all[3].End {
		t.Errorf("from %s: %q, want %q", all[0].End, flat(rest), flat(all[1:]))
	}
	if command := fileDumpCommand(5, all[0].End, useHeartbeatV2); !bytes.Contains(command, []byte{firstEvent, 0, 0, 0}) {
		t.Errorf("command %x", command)
	}
}

func TestTrackerOversized(t *testing.T) {
	head := func(l *fakeLog, id uint64) []byte {
		raw := l.rows(typeWriteRows, id, fakeRow{1, strings.Repeat("x", 600)})
		raw[9], raw[10], raw[11], raw[12] = 0, 0, 0, 5 // 80 MiB
		return raw[:oversizedHead]
	}
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.table(2, "other.b")
	tr := newTracker(startOf("binlog.000009"), wantShop, nil)
	if _, err := collect(t.Context(), tr, l.events); err != nil {
		t.Fatal(err)
	}
	if err := tr.oversized(t.Context(), head(l, 2)); err != nil || tr.count != event.FirstCount+1 {
		t.Errorf("rows of another table: %v, count %d", err, tr.count-event.FirstCount)
	}
	if err := tr.oversized(t.Context(), head(l, 1)); err != nil {
		t.Fatal(err)
	}
	end := &fakeLog{end: l.end}
	end.xid()
	batches, err := collect(t.Context(), tr, end.events)
	if err != nil || len(batches) != 1 || len(batches[0].Events) != 1 {
		t.Fatalf("%v, %+v", err, batches)
	}
	s := batches[0].Events[0].Statement
	if s == nil || s.Action != event.Missing || s.Tables[0].String() != "shop.a" || !strings.Contains(s.Text, "83886080") {
		t.Errorf("rows of ours: %+v", s)
	}
}

// TestTrackerSharesTableMaps: an unchanged table map is not kept again.
func TestTrackerSharesTableMaps(t *testing.T) {
	l := newFakeLog("binlog.000009")
	for n := range int64(3) {
		l.begin(n + 1)
		l.table(1, "shop.a")
		l.rows(typeWriteRows, 1, fakeRow{1, "x"})
		l.xid()
	}
	batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 3; i++ {
		for e := range 2 {
			if &batches[i].Events[e].Raw[0] != &batches[0].Events[e].Raw[0] {
				t.Errorf("batch %d, event %d has memory of its own", i, e)
			}
		}
	}
}

// TestTrackerLowerCase: with lower_case_table_names the log has names in lower case, statements as they were written.
func TestTrackerLowerCase(t *testing.T) {
	for _, lowerCase := range []bool{false, true} {
		l := newFakeLog("binlog.000009")
		l.gtid(1)
		l.query("SHOP", "TRUNCATE Orders")
		tr := newTracker(startOf("binlog.000009"), func(n event.TableName) bool { return n == event.TableName{Schema: "shop", Name: "orders"} }, nil)
		tr.lowerCase = lowerCase
		batches, err := collect(t.Context(), tr, l.events)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(batches[0].Events) == 1; got != lowerCase {
			t.Errorf("lower case %v: wanted %v", lowerCase, got)
		}
	}
}

// TestTrackerRollbackTo: rows after the savepoint stand in the log although they were undone.
func TestTrackerRollbackTo(t *testing.T) {
	for _, rows := range []int{1, 300} { // 300: in pieces, the first of which were handed on
		l := newFakeLog("binlog.000009")
		l.begin(1)
		l.table(1, "shop.a")
		l.rows(typeWriteRows, 1, fakeRow{0, "x"})
		l.table(2, "shop.b")
		for i := range rows {
			l.rows(typeWriteRows, 2, fakeRow{int32(i), strings.Repeat("x", 8000)})
		}
		l.query("", "ROLLBACK TO `s`")
		l.xid()
		batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
		if err != nil {
			t.Fatal(err)
		}
		var undone []string
		for _, e := range batches[len(batches)-1].Events {
			if e.Kind == event.Statement && e.Statement.Action == event.Change {
				undone = append(undone, e.Statement.Tables[0].String())
			}
		}
		if want := []string{"shop.a", "shop.b"}; !reflect.DeepEqual(undone, want) {
			t.Errorf("%d rows: undone in %q, want %q", rows, undone, want)
		}
	}
}

// TestTrackerHalfTransaction: what a server wrote of a transaction before it died is not numbered.
func TestTrackerHalfTransaction(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "never"})
	l.artificialRotate("binlog.000010", firstEvent)
	l.end = firstEvent
	l.format()
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{2, "after"})
	l.xid()
	batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
	if err != nil {
		t.Fatal(err)
	}
	if got := flat(batches); len(got) != 1 || !strings.HasPrefix(got[0], event.NewVersion(3, event.FirstCount+1).String()+" ") {
		t.Errorf("events %q", got)
	}
	if rows, err := NewDecoder().Decode(batches[len(batches)-1].Events); err != nil || len(rows) != 1 || rows[0].After[1] != "after" {
		t.Errorf("%v, %v", rows, err)
	}
}

// TestTrackerStatementInside: CREATE TABLE ... SELECT is a statement and rows in one transaction.
func TestTrackerStatementInside(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.query("shop", "CREATE TABLE a (id INT) START TRANSACTION")
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "x"})
	l.xid()
	batches, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) != 1 || batches[0].GTID.N != 1 || len(flat(batches)) != 2 {
		t.Errorf("%d batches with %q", len(batches), flat(batches))
	}
}

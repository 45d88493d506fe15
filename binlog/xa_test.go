package binlog

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
)

// fakeFiles is a log of several files that can be read again.
type fakeFiles struct {
	names []string
	files map[string]*fakeLog
	reads []string // where reading began
}

func (f *fakeFiles) add(name string) *fakeLog {
	l := newFakeLog(name)
	if f.files == nil {
		f.files = map[string]*fakeLog{}
	}
	f.names, f.files[name] = append(f.names, name), l
	return l
}

// from is what a dump from there sends.
func (f *fakeFiles) from(file string, offset uint64) [][]byte {
	var events [][]byte
	for _, name := range f.names[slices.Index(f.names, file):] {
		if name != file {
			offset = firstEvent
		}
		head := &fakeLog{}
		if offset > 1<<32-1 {
			head.artificialRotate(name, firstEvent)
		} else {
			head.artificialRotate(name, offset)
		}
		head.end = firstEvent
		if format := head.format(); offset > firstEvent {
			copy(format[13:17], []byte{0, 0, 0, 0}) // a description that is sent out of place has no position
		}
		events = append(events, head.events...)
		for _, raw := range f.files[name].events[2:] {
			if h := readHeader(raw); uint64(h.end-h.size) >= offset || offset > 1<<32-1 { // as fileDumpCommand asks
				events = append(events, raw)
			}
		}
	}
	return events
}

func (f *fakeFiles) logNames(context.Context) ([]string, error) { return f.names, nil }

func (f *fakeFiles) reread(ctx context.Context, t *tracker, done func() bool) error {
	at := t.boundary
	f.reads = append(f.reads, at.String())
	if !slices.Contains(f.names, at.File) {
		return fmt.Errorf("%w: %s", ErrPurged, at.File)
	}
	for _, raw := range f.from(at.File, at.Offset) {
		if done() {
			return nil
		}
		if _, err := t.event(ctx, raw); err != nil {
			return err
		}
	}
	if !done() {
		return errors.New("the log ended")
	}
	return nil
}

func (l *fakeLog) xa(n int64, xid string, rows int, size int, table string) {
	l.gtid(n)
	l.query("", "XA START "+xid)
	l.table(1, table)
	for i := range rows {
		l.rows(typeWriteRows, 1, fakeRow{int32(i), strings.Repeat("x", size)})
	}
	l.query("", "XA END "+xid)
	l.add(typeXAPrepare, []byte{0}, make([]byte, 16))
}

func (l *fakeLog) ends(n int64, verb, xid string) {
	l.gtid(n)
	l.query("", "XA "+verb+" "+xid)
}

// rowsHead is what heads the body of an event of fakeLog.rows.
const rowsHead = 6 + 2 + 2 + 1 + 1

func rowsAt(n int, count uint64, size int) []string {
	return slices.Repeat([]string{fmt.Sprint(event.NewVersion(3, event.FirstCount+count), " shop.a ", size)}, n)
}

func rowsOf(batches []event.Batch) []string {
	var out []string
	for _, b := range batches {
		for _, e := range b.Events {
			switch e.Kind {
			case event.Rows:
				out = append(out, fmt.Sprint(e.Version, " ", e.Table, " ", len(e.Raw)-headerSize-rowsHead-1-4-2))
			case event.Statement:
				out = append(out, fmt.Sprint(e.Version, " ", e.Statement.Action, e.Statement.Tables))
			}
		}
	}
	return out
}

// TestXA: the rows of an XA transaction come at its XA COMMIT, with its version, or never (M7). The last column is how often the
// log is read again.
func TestXA(t *testing.T) {
	const a, b = "X'61',X'',1", "X'62',X'62',7"
	for name, c := range map[string]struct {
		write  func(*fakeLog)
		want   []string
		events uint64 // counted
		reads  int
	}{
		"prepared only": {func(l *fakeLog) { l.xa(1, a, 2, 5, "shop.a") }, nil, 2, 0},
		"committed":     {func(l *fakeLog) { l.xa(1, a, 2, 5, "shop.a"); l.ends(2, "COMMIT", a) }, rowsAt(2, 3, 5), 3, 0},
		"rolled back":   {func(l *fakeLog) { l.xa(1, a, 2, 5, "shop.a"); l.ends(2, "ROLLBACK", a) }, nil, 3, 0},
		"two at once": {func(l *fakeLog) {
			l.xa(1, a, 1, 5, "shop.a")
			l.xa(2, b, 1, 6, "shop.a")
			l.ends(3, "COMMIT", b)
			l.ends(4, "COMMIT", a)
		}, append(rowsAt(1, 3, 6), rowsAt(1, 4, 5)...), 4, 0},
		"an xid used again": {func(l *fakeLog) {
			l.xa(1, a, 1, 5, "shop.a")
			l.ends(2, "ROLLBACK", a)
			l.xa(3, a, 1, 6, "shop.a")
			l.ends(4, "COMMIT", a)
		}, rowsAt(1, 4, 6), 4, 0},
		"other table":        {func(l *fakeLog) { l.xa(1, a, 2, 5, "other.a"); l.ends(2, "COMMIT", a) }, nil, 3, 0},
		"other table, large": {func(l *fakeLog) { l.xa(1, a, 300, 8000, "other.a"); l.ends(2, "COMMIT", a) }, nil, 301, 0},
		"large":              {func(l *fakeLog) { l.xa(1, a, 300, 8000, "shop.a"); l.ends(2, "COMMIT", a) }, rowsAt(300, 301, 8000), 301, 1},
		"large, rolled back": {func(l *fakeLog) { l.xa(1, a, 300, 8000, "shop.a"); l.ends(2, "ROLLBACK", a) }, nil, 301, 0},
		"more than can be kept": {func(l *fakeLog) {
			for i := range 12 {
				l.xa(int64(i), fmt.Sprintf("X'%02x',X'',1", i), 100, 8000, "shop.a")
			}
			l.ends(12, "COMMIT", "X'00',X'',1") // the first one's rows had to go
			l.ends(13, "COMMIT", "X'0b',X'',1")
		}, append(rowsAt(100, 1201, 8000), rowsAt(100, 1202, 8000)...), 1202, 1},
		"statement inside": {func(l *fakeLog) {
			l.gtid(1)
			l.query("", "XA START "+a)
			l.query("shop", "UPDATE a SET v = RAND()")
			l.add(typeXAPrepare, []byte{0}, make([]byte, 16))
			l.ends(2, "COMMIT", a)
		}, []string{event.NewVersion(3, event.FirstCount+2).String() + " change [shop.a]"}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeFiles{}
			l := f.add("binlog.000009")
			c.write(l)
			tr := newTracker(startOf("binlog.000009"), wantShop, nil)
			tr.log = f
			batches, err := collect(t.Context(), tr, l.events)
			if err != nil {
				t.Fatal(err)
			}
			if got := rowsOf(batches); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %.100q, want %.100q", got, c.want)
			}
			end := batches[len(batches)-1].End
			if end.Count != event.FirstCount+c.events || end.Offset != uint64(l.end) {
				t.Errorf("ends at %s, count %d", end, end.Count-event.FirstCount)
			}
			if len(f.reads) != c.reads {
				t.Errorf("read again at %q", f.reads)
			}
			for i, b := range batches { // pieces stay at the boundary before
				if i > 0 && b.End.Before(batches[i-1].End) {
					t.Errorf("batch %d ends at %s, before %s", i, b.End, batches[i-1].End)
				}
				if b.Bytes > pieceBytes+20000 {
					t.Errorf("batch %d has %d bytes", i, b.Bytes)
				}
			}
			if tr.xa.kept > keptBytes {
				t.Errorf("keeps %d bytes", tr.xa.kept)
			}
		})
	}
}

// TestXAOnePhase: XA COMMIT ... ONE PHASE is a commit as any; the rows have their own versions, however many there are.
func TestXAOnePhase(t *testing.T) {
	for _, rows := range []int{2, 300} {
		f := &fakeFiles{}
		l := f.add("binlog.000009")
		l.xa(1, "X'61',X'',1", rows, 8000, "shop.a")
		l.events[len(l.events)-1][headerSize] = 1
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		tr.log = f
		batches, err := collect(t.Context(), tr, l.events)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range rows {
			want = append(want, rowsAt(1, uint64(i+1), 8000)...)
		}
		if got := rowsOf(batches); !reflect.DeepEqual(got, want) {
			t.Errorf("%d rows: got %.100q, want %.100q", rows, got, want)
		}
	}
}

// severalFiles has XA transactions that are prepared in one file and end in another one.
func severalFiles() *fakeFiles {
	f := &fakeFiles{}
	l := f.add("binlog.000009")
	l.xa(1, "X'01',X'',1", 1, 1, "shop.a") // committed in 11
	l.xa(2, "X'02',X'',1", 1, 2, "shop.a") // rolled back in 10
	l.xa(3, "X'03',X'',1", 1, 3, "shop.a") // rolled back, and used again
	l.ends(4, "ROLLBACK", "X'03',X'',1")
	l.rotate("binlog.000010")
	l = f.add("binlog.000010")
	l.compressed(5, func(l *fakeLog) {
		l.query("", "XA START X'03',X'',1")
		l.table(1, "shop.a")
		l.rows(typeWriteRows, 1, fakeRow{1, "xxx"})
		l.add(typeXAPrepare, []byte{0}, make([]byte, 16))
	})
	l.ends(6, "ROLLBACK", "X'02',X'',1")
	l.xa(7, "X'04',X'',1", 300, 8000, "shop.a")
	l.rotate("binlog.000011")
	l = f.add("binlog.000011")
	l.ends(8, "COMMIT", "X'04',X'',1")
	l.ends(9, "COMMIT", "X'03',X'',1")
	l.ends(10, "COMMIT", "X'01',X'',1")
	return f
}

// TestXAWhereverItBegins: whoever begins between PREPARE and XA COMMIT finds the rows by looking back, and gives them the same
// versions (M7). The log is the only memory: nothing of a prepared transaction is saved.
func TestXAWhereverItBegins(t *testing.T) {
	f := severalFiles()
	first := newTracker(startOf("binlog.000009"), wantShop, nil)
	first.log = f
	var all []event.Batch
	var places []event.Position
	for _, raw := range f.from("binlog.000009", firstEvent) {
		batches, err := collect(t.Context(), first, [][]byte{raw})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batches...)
		if !first.tx.open && first.boundary.Count > event.FirstCount {
			places = append(places, first.boundary)
		}
	}
	whole := rowsOf(all)
	if want := slices.Concat(rowsAt(300, 307, 8000), rowsAt(1, 308, 3), rowsAt(1, 309, 1)); !reflect.DeepEqual(whole, want) {
		t.Fatalf("got %.100q\nwant %.100q", whole, want)
	}
	if state := first.xa.state; state.Open != 0 {
		t.Errorf("open at the end: %+v", state)
	}
	for _, from := range places {
		f.reads = nil
		again := newTracker(from, wantShop, nil)
		again.log = f
		batches, err := collect(t.Context(), again, f.from(from.File, from.Offset))
		if err != nil {
			t.Fatalf("from %s: %v", from, err)
		}
		left := 0 // rows whose XA COMMIT follows
		for _, line := range whole {
			var epoch uint32
			var count uint64
			if _, err := fmt.Sscanf(line, "%d.%d", &epoch, &count); err != nil {
				t.Fatal(err)
			}
			if count > from.Count {
				left++
			}
		}
		if got, want := rowsOf(batches), whole[len(whole)-left:]; !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			t.Errorf("from %s: got %.100q\nwant %.100q", from, got, want)
		}
		if len(f.reads) > 6 { // each file once to look for places, large or unknown transactions once more
			t.Errorf("from %s: read again at %q", from, f.reads)
		}
		if again.xa.state.Open != 0 {
			t.Errorf("from %s: open at the end: %+v", from, again.xa.state)
		}
	}
	// by GTIDs, which leave out what was read: in no order of the files
	again := newTracker(event.Position{ServerUUID: testServer.String(), Epoch: 3, Count: event.FirstCount + 306}, wantShop, nil)
	again.log = f
	batches, err := collect(t.Context(), again, f.from("binlog.000011", firstEvent))
	if err != nil {
		t.Fatal(err)
	}
	if got := rowsOf(batches); !reflect.DeepEqual(got, whole) {
		t.Errorf("by GTIDs: got %.100q", got)
	}
}

// TestXAPurged: an XA COMMIT whose rows the server no longer has stops by name those whose rows they may be.
func TestXAPurged(t *testing.T) {
	f := severalFiles()
	tr := newTracker(startOf("binlog.000009"), wantShop, nil)
	tr.log = f
	events := f.from("binlog.000009", firstEvent)
	f.names = f.names[2:]
	batches, err := collect(t.Context(), tr, events)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{event.NewVersion(3, event.FirstCount+307).String() + " missing [shop.a]"}, append(rowsAt(1, 308, 3), rowsAt(1, 309, 1)...)...)
	if got := rowsOf(batches); !reflect.DeepEqual(got, want) {
		t.Errorf("got %.100q, want %q", got, want)
	}
	// one that nobody knows may concern any table
	late := startOf("binlog.000011")
	late.Count += 306
	tr = newTracker(late, wantShop, nil)
	tr.log = f
	if batches, err = collect(t.Context(), tr, f.from("binlog.000011", firstEvent)); err != nil {
		t.Fatal(err)
	}
	want = nil
	for n := range uint64(3) {
		want = append(want, event.NewVersion(3, event.FirstCount+307+n).String()+" missing []")
	}
	if got := rowsOf(batches); !reflect.DeepEqual(got, want) {
		t.Errorf("got %.100q, want %q", got, want)
	}
}

// TestXABehind4GiB: a transaction that was prepared behind 4 GiB of its file is found there.
func TestXABehind4GiB(t *testing.T) {
	f := &fakeFiles{}
	l := f.add("binlog.000009")
	l.begin(1)
	l.end = 1<<32 - 20 // a huge transaction
	l.xid()
	l.xa(2, "X'01',X'',1", 300, 8000, "shop.a")
	commit := len(l.events)
	l.ends(3, "COMMIT", "X'01',X'',1")
	whole := newTracker(startOf("binlog.000009"), wantShop, nil)
	whole.log = f
	batches, err := collect(t.Context(), whole, l.events[:commit])
	if err != nil {
		t.Fatal(err)
	}
	from := batches[len(batches)-1].End
	if from.Offset < 1<<32 || whole.xa.state.At.Offset < 1<<32 {
		t.Fatalf("prepared at %s, up to %s", whole.xa.state.At, from)
	}
	for name, tr := range map[string]*tracker{"read on": whole, "begun behind the PREPARE": newTracker(from, wantShop, nil)} {
		tr.log = f
		events := l.events[commit:]
		if tr != whole {
			events = f.from(from.File, from.Offset) // the whole file again
		}
		batches, err := collect(t.Context(), tr, events)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := rowsOf(batches); !reflect.DeepEqual(got, rowsAt(300, 301, 8000)) {
			t.Errorf("%s: got %.100q", name, got)
		}
	}
}

// TestXAState: status says what is open.
func TestXAState(t *testing.T) {
	f := &fakeFiles{}
	l := f.add("binlog.000009")
	start := uint64(l.end)
	l.xa(1, "X'01',X'',1", 1, 1, "shop.a")
	l.xa(2, "X'02',X'',1", 1, 1, "shop.a")
	l.xa(3, "X'03',X'',1", 1, 1, "other.a")
	tr := newTracker(startOf("binlog.000009"), wantShop, nil)
	if _, err := collect(t.Context(), tr, l.events); err != nil {
		t.Fatal(err)
	}
	if s := tr.xa.state; s.Open != 2 || s.At.File != "binlog.000009" || s.At.Offset != start {
		t.Errorf("%+v, want 2 from %d on", s, start)
	}
}

// TestXAReadAgainAfterABrokenConnection: what was handed on of an XA transaction comes again, the same, when its reading broke off.
func TestXAReadAgainAfterABrokenConnection(t *testing.T) {
	f := &fakeFiles{}
	l := f.add("binlog.000009")
	l.xa(1, "X'61',X'',1", 300, 8000, "shop.a")
	commit := len(l.events)
	l.ends(2, "COMMIT", "X'61',X'',1")
	tr := newTracker(startOf("binlog.000009"), wantShop, nil)
	tr.log = breaking{f, 150}
	if _, err := collect(t.Context(), tr, l.events[:commit]); err != nil {
		t.Fatal(err)
	}
	boundary := tr.boundary
	first, err := collect(t.Context(), tr, l.events[commit:])
	if err == nil || len(first) == 0 || tr.boundary != boundary {
		t.Fatalf("%d pieces, %v, boundary %s", len(first), err, tr.boundary)
	}
	tr.restart()
	tr.log = f
	second, err := collect(t.Context(), tr, f.from(boundary.File, boundary.Offset))
	if err != nil {
		t.Fatal(err)
	}
	if got := rowsOf(second); !reflect.DeepEqual(got, rowsAt(300, 301, 8000)) || !reflect.DeepEqual(rowsOf(first), got[:len(rowsOf(first))]) {
		t.Errorf("got %.100q", got)
	}
}

// breaking is a log whose reading breaks off after some events.
type breaking struct {
	*fakeFiles
	after int
}

func (b breaking) reread(ctx context.Context, t *tracker, done func() bool) error {
	for _, raw := range b.from(t.boundary.File, t.boundary.Offset)[:b.after] {
		if _, err := t.event(ctx, raw); err != nil {
			return err
		}
	}
	return errors.New("the connection broke")
}

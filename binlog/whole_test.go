package binlog

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"canalgo/event"
)

var kindNames = map[event.Kind]string{event.FormatDescription: "format", event.TableMap: "map", event.Rows: "rows", event.Statement: "statement", event.Group: "group",
	event.Begin: "begin", event.Commit: "commit", event.Query: "query"}

// Who reads the whole log has the bounds of transactions and all statements besides, with the same numbers as everybody, and each event says where
// it stands.
func TestWholeLog(t *testing.T) {
	for _, packed := range []bool{false, true} {
		l := story(packed)
		wantAll := func(name event.TableName) bool { return name.IsZero() || wantShop(name) }
		whole, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantAll, nil), l.events)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := collect(t.Context(), newTracker(startOf("binlog.000009"), wantShop, nil), l.events)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		var rows []event.Batch
		at := make(map[event.Origin]bool)
		for _, b := range whole {
			var kinds []string
			kept := b
			kept.Events = nil
			for _, e := range b.Events {
				kinds = append(kinds, kindNames[e.Kind])
				switch e.Kind {
				case event.Rows, event.Group, event.Begin, event.Commit, event.Query:
					if e.Origin.File == "" || e.Origin.Size < headerSize || !packed && at[e.Origin] {
						t.Errorf("a %s at %+v", kindNames[e.Kind], e.Origin)
					}
					at[e.Origin] = true
				}
				if e.Kind == event.Rows && !packed && !stands(l, e) {
					t.Errorf("rows at %+v: another event stands there", e.Origin)
				}
				if e.Kind <= event.Defined {
					kept.Events = append(kept.Events, e)
				}
			}
			rows = append(rows, kept)
			if b.Ends() {
				got = append(got, strings.Join(kinds, " ")+".")
			} else {
				got = append(got, strings.Join(kinds, " "))
			}
		}
		large := func(n int) string { return strings.Repeat(" rows", n) }
		want := []string{"group begin format map rows rows commit.", "group query.", "group query statement.", "group begin commit.", ".",
			"group begin query format map" + large(132), "format map" + large(132), "format map" + large(36) + " commit.", "group begin format map rows commit."}
		for i, line := range got { // the sizes of pieces are of no interest here
			if strings.Count(line, "rows") > 30 && strings.Count(want[i], "rows") > 30 {
				got[i] = strings.Replace(line, large(strings.Count(line, " rows")), large(strings.Count(want[i], " rows")), 1)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("compressed %v: got\n%s\nwant\n%s", packed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got, want := fmt.Sprint(flat(rows)), fmt.Sprint(flat(plain)); got != want {
			t.Errorf("compressed %v: rows of the whole log are others", packed)
		}
	}
}

// stands reports whether an event stands in the log where its origin says.
func stands(l *fakeLog, e event.Event) bool {
	for _, raw := range l.events {
		if h := readHeader(raw); bytes.Equal(raw, e.Raw) && uint64(h.end-h.size) == e.Origin.Offset && h.size == e.Origin.Size {
			return true
		}
	}
	return false
}

// The rows of an XA transaction have the bounds that it was prepared in, and the statement that ends it comes behind them.
func TestWholeXA(t *testing.T) {
	const xid = "X'61',X'',1"
	for name, rows := range map[string]int{"kept": 1, "read again": 300} {
		f := &fakeFiles{}
		l := f.add("binlog.000009")
		l.gtid(1)
		l.query("", "XA START "+xid)
		l.table(1, "shop.a")
		for range rows {
			l.rows(typeWriteRows, 1, fakeRow{1, strings.Repeat("x", 8000)})
		}
		l.query("", "XA END "+xid)
		l.add(typeXAPrepare, []byte{0}, make([]byte, 16))
		l.gtid(2)
		l.query("", "XA COMMIT "+xid)
		tr := newTracker(startOf("binlog.000009"), func(name event.TableName) bool { return name.IsZero() || wantShop(name) }, nil)
		tr.log = f
		batches, err := collect(t.Context(), tr, l.events)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, b := range batches {
			for _, e := range b.Events {
				if kind := kindNames[e.Kind]; e.Kind >= event.Group || e.Kind == event.Rows && (len(kinds) == 0 || kinds[len(kinds)-1] != kind) {
					kinds = append(kinds, kind)
				}
				if e.Version != 0 && e.Version != batches[len(batches)-1].End.Version() {
					t.Errorf("%s: a %s has version %s", name, kindNames[e.Kind], e.Version)
				}
			}
		}
		if got, want := strings.Join(kinds, " "), "group group begin rows commit query"; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

package binlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
)

// unnamed describes schema.name as table does, without names and key, as binlog_row_metadata=MINIMAL has it.
func (l *fakeLog) unnamed(id uint64, name string, kinds ...byte) {
	schema, table, _ := strings.Cut(name, ".")
	if kinds == nil {
		kinds = []byte{3, 15}
	}
	meta := binary.LittleEndian.AppendUint16(nil, 4000)
	if !slices.Contains(kinds, 15) {
		meta = nil
	}
	l.add(typeTableMap, binary.LittleEndian.AppendUint64(nil, id)[:6], []byte{1, 0}, []byte{byte(len(schema))}, []byte(schema), []byte{0},
		[]byte{byte(len(table))}, []byte(table), []byte{0}, []byte{byte(len(kinds))}, kinds, []byte{byte(len(meta))}, meta, []byte{2},
		[]byte{1, 1, 0, 2, 3, 0xfc, 255, 0}) // signs, default collation
}

// a fakeHistory keeps definitions in order; it is its own server, too.
type fakeHistory struct {
	definitions []event.Definition
	notes       []string
	refuses     error

	server event.Definition
	asked  []string
}

func (h *fakeHistory) At(table event.TableName, v event.Version) (found event.Definition, ok bool) {
	for _, d := range h.definitions {
		if d.Table.Name == table && d.From <= v && (!ok || d.From >= found.From) {
			found, ok = d, true
		}
	}
	return found, ok
}

func (h *fakeHistory) Kept() (names []event.TableName) {
	for _, d := range h.definitions {
		names = append(names, d.Table.Name)
	}
	return names
}

func (h *fakeHistory) Note(_ context.Context, definitions []event.Definition) error {
	if h.refuses != nil {
		return h.refuses
	}
	for _, d := range definitions {
		h.notes = append(h.notes, fmt.Sprintf("%d %s: %s", d.From.Count()-event.FirstCount, d.Table.Name.Name, printDefinition(d)))
	}
	h.definitions = append(h.definitions, definitions...)
	return nil
}

func (h *fakeHistory) define(_ context.Context, table event.TableName, at event.Position, await awaited) (event.Definition, error) {
	h.asked = append(h.asked, fmt.Sprintf("%s at %s %+v", table.Name, at, await))
	return h.server, nil
}

// idAndV is what unnamed describes.
func idAndV(names ...string) event.Definition {
	return event.Definition{From: event.NewVersion(3, event.FirstCount), Collation: "utf8mb4_0900_ai_ci", Table: event.Table{
		Name: event.TableName{Schema: "shop", Name: "a"}, Key: []int{0}, Columns: []event.Column{{Name: names[0], Type: event.Int},
			{Name: names[1], Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_0900_ai_ci"}}}}
}

// trackWith tracks a log with a history and returns the decoded rows, each as version and columns, as a feed would tell them.
func trackWith(t *testing.T, h *fakeHistory, l *fakeLog) ([]string, error) {
	t.Helper()
	tracker := newTracker(startOf("binlog.000009"), wantShop, nil)
	tracker.history, tracker.definer = noting{h}, h
	batches, err := collect(t.Context(), tracker, l.events)
	if err != nil {
		return nil, err
	}
	d := NewDecoder()
	var out []string
	for _, b := range batches {
		for i, e := range b.Events {
			if e.Kind != event.Defined {
				continue
			}
			if e.Version != 0 || b.Events[i+1].Kind != event.TableMap || b.Events[i+2].Kind != event.Rows {
				t.Fatalf("a definition stands in %+v", b.Events)
			}
			known, _ := h.At(e.Table, b.Events[i+2].Version)
			if b.Events[i].Raw, err = event.EncodeDefinition(known); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := d.Decode(b.Events)
		if err != nil {
			return out, err
		}
		for _, r := range rows {
			text := fmt.Sprintf("%d", r.Version.Count()-event.FirstCount)
			for i, c := range r.Table.Columns {
				text += fmt.Sprintf(" %s=%v", c.Name, r.After[i])
			}
			out = append(out, text)
		}
	}
	return out, nil
}

// between is a log in which a statement stands between two rows whose table maps look the same.
func between(statement string) *fakeLog {
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.unnamed(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "one"})
	l.xid()
	l.gtid(2)
	l.query("shop", statement)
	l.begin(3)
	l.unnamed(2, "shop.a")
	l.rows(typeWriteRows, 2, fakeRow{2, "two"})
	l.xid()
	return l
}

func TestHistoryFollowsStatements(t *testing.T) {
	h := &fakeHistory{definitions: []event.Definition{idAndV("id", "v")}}
	l := between("ALTER TABLE a RENAME COLUMN v TO w")
	for range 2 { // the second time it is there
		rows, err := trackWith(t, h, l)
		if want := []string{"1 id=1 v=one", "3 id=2 w=two"}; err != nil || !reflect.DeepEqual(rows, want) {
			t.Errorf("rows %q, %v, want %q", rows, err, want)
		}
	}
	if want := []string{"2 a: id int, w char utf8mb4_0900_ai_ci, key id"}; !reflect.DeepEqual(h.notes, want) || h.asked != nil {
		t.Errorf("noted %q, asked %q, want %q and nothing", h.notes, h.asked, want)
	}
}

func TestHistoryAsksForWhatIsNotCertain(t *testing.T) {
	h := &fakeHistory{definitions: []event.Definition{idAndV("id", "v")}, server: idAndV("x", "y")}
	rows, err := trackWith(t, h, between("ALTER TABLE a FROBNICATE COLUMN v"))
	if want := []string{"1 id=1 v=one", "3 x=2 y=two"}; err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("rows %q, %v, want %q", rows, err, want)
	}
	if want := testServer.String() + ":2"; len(h.asked) != 1 || !strings.Contains(h.asked[0], want) {
		t.Errorf("asked %q, want once, behind %s", h.asked, want)
	}
	h = &fakeHistory{definitions: []event.Definition{idAndV("id", "v")}, server: event.Definition{Table: event.Table{Name: idAndV("", "").Table.Name}, Unknown: "too late"}}
	rows, err = trackWith(t, h, between("ALTER TABLE a FROBNICATE COLUMN v"))
	var stop *event.StopError
	if !errors.As(err, &stop) || !strings.Contains(stop.Reason, "shop.a") || !strings.Contains(stop.Reason, "FROBNICATE") || !strings.Contains(stop.Reason, "too late") || len(rows) != 1 {
		t.Errorf("rows %q, %v", rows, err)
	}
}

func TestHistoryAsksForWhatItLacks(t *testing.T) {
	for name, h := range map[string]*fakeHistory{
		"nothing":       {},
		"another count": {definitions: []event.Definition{{From: 1, Table: event.Table{Name: idAndV("", "").Table.Name}}}},
		"another type": {definitions: []event.Definition{{From: 1, Table: event.Table{Name: idAndV("", "").Table.Name,
			Columns: []event.Column{{Name: "a", Type: event.Char}, {Name: "b", Type: event.Int}}}}}},
	} {
		h.server = idAndV("x", "y")
		rows, err := trackWith(t, h, between("CREATE VIEW w AS SELECT 1"))
		if want := []string{"1 x=1 y=one", "3 x=2 y=two"}; err != nil || !reflect.DeepEqual(rows, want) {
			t.Errorf("%s: rows %q, %v, want %q", name, rows, err, want)
		}
		if want := []string{"0 a: x int, y char utf8mb4_0900_ai_ci, key x"}; !reflect.DeepEqual(h.notes, want) {
			t.Errorf("%s: noted %q, want %q", name, h.notes, want)
		}
	}
	// With names in the log nobody asks.
	h := &fakeHistory{}
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.table(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "one"})
	l.xid()
	l.gtid(2)
	l.query("shop", "ALTER TABLE a ADD b INT")
	if rows, err := trackWith(t, h, l); err != nil || len(rows) != 1 || h.asked != nil || h.notes != nil {
		t.Errorf("rows %q, %v, asked %q, noted %q", rows, err, h.asked, h.notes)
	}
}

// What a server hides from the source's user looks gone, while rows of it come. It is asked once, not for each transaction.
func TestHistoryAsksOnceForWhatIsHidden(t *testing.T) {
	hidden := event.Definition{Table: event.Table{Name: idAndV("", "").Table.Name}}
	h := &fakeHistory{server: hidden}
	_, err := trackWith(t, h, between("CREATE VIEW w AS SELECT 1"))
	if stop := (*event.StopError)(nil); !errors.As(err, &stop) || !strings.Contains(stop.Reason, "shop.a") || !strings.Contains(stop.Reason, "may not read it") {
		t.Errorf("%v", err)
	}
	if len(h.asked) != 1 || !reflect.DeepEqual(h.notes, []string{"0 a: ?"}) {
		t.Errorf("asked %q, noted %q", h.asked, h.notes)
	}
}

// What follows a statement is not handed on before its definition is kept.
func TestHistoryIsNotedFirst(t *testing.T) {
	refused := errors.New("no leader")
	h := &fakeHistory{definitions: []event.Definition{idAndV("id", "v")}, refuses: refused}
	tracker := newTracker(startOf("binlog.000009"), wantShop, nil)
	tracker.history = noting{h}
	batches, err := collect(t.Context(), tracker, between("ALTER TABLE a RENAME COLUMN v TO w").events)
	var ends *emitError
	if !errors.As(err, &ends) || len(batches) != 1 {
		t.Errorf("%d batches, %v", len(batches), err)
	}
}

func TestDecoderWithoutAFittingDefinition(t *testing.T) {
	name := idAndV("", "").Table.Name
	for want, d := range map[string]event.Definition{
		"has 2 columns": {Table: event.Table{Name: name, Columns: []event.Column{{Name: "a", Type: event.Int}}}},
		"has a char as its column 2, and b is a blob": {Table: event.Table{Name: name, Columns: []event.Column{{Name: "a", Type: event.Int}, {Name: "b", Type: event.Blob}}}},
	} {
		h := &fakeHistory{definitions: []event.Definition{d}, server: d}
		_, err := trackWith(t, h, between("CREATE VIEW w AS SELECT 1"))
		if stop := (*event.StopError)(nil); !errors.As(err, &stop) || !strings.Contains(stop.Reason, want) || stop.Fix == "" {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestColumnsOfATableMap(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.table(1, "shop.a")
	l.unnamed(1, "shop.a")
	l.unnamed(1, "shop.a", 3, 3, 3)
	for i, want := range []struct {
		columns []byte
		named   bool
	}{{[]byte{3, 15}, true}, {[]byte{3, 15}, false}, {[]byte{3, 3, 3}, false}} {
		raw := l.events[len(l.events)-3+i]
		rest := raw[headerSize+8+1+len("shop")+1+1+len("a")+1:]
		if columns, named := columnsOf(rest); !slices.Equal(columns, want.columns) || named != want.named {
			t.Errorf("map %d: %v, %v, want %v, %v", i, columns, named, want.columns, want.named)
		}
		for n := range rest {
			columnsOf(rest[:n]) // must not panic
		}
	}
}

// The statement of CREATE TABLE ... SELECT stands before its rows, in their transaction: a decoder that begins there can read them.
func TestRowsBehindAStatementInTheirTransaction(t *testing.T) {
	h := &fakeHistory{definitions: []event.Definition{{Table: event.Table{Name: idAndV("", "").Table.Name}}}}
	l := newFakeLog("binlog.000009")
	l.begin(1)
	l.query("shop", "CREATE TABLE `a` (\n  `x` int DEFAULT NULL,\n  `y` varchar(9) DEFAULT NULL\n) DEFAULT CHARSET=utf8mb4 START TRANSACTION")
	l.unnamed(1, "shop.a")
	l.rows(typeWriteRows, 1, fakeRow{1, "one"})
	l.xid()
	if rows, err := trackWith(t, h, l); err != nil || !reflect.DeepEqual(rows, []string{"2 x=1 y=one"}) {
		t.Errorf("rows %q, %v", rows, err)
	}
}

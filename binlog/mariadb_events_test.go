package binlog

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
)

// mariadbFormat is the body of a format description of MariaDB 10.11, without checksums.
var mariadbFormat = "040031302e31312e31382d4d617269614442" + strings.Repeat("00", 34) + // version 4, "10.11.18-MariaDB" up to 50 bytes
	"00000000" + "13" + "380d000800120004040404120000e400041a08000000080808020000000a0a0a0000000000000a0a0a" + strings.Repeat("00", 119) +
	"041304000d0808080a0a0a" + "00" + "00000000"

// mariadbGTID begins a transaction of MariaDB; more is what the flags say that follows.
func (l *fakeLog) mariadbGTID(domain uint32, n uint64, flags byte, more ...byte) {
	body := binary.LittleEndian.AppendUint64(nil, n)
	body = binary.LittleEndian.AppendUint32(body, domain)
	l.add(typeMariaDBGTID, append(append(body, flags), more...), make([]byte, 6))
}

// deflate compresses as MariaDB does.
func deflate(plain []byte) []byte {
	var b bytes.Buffer
	b.WriteByte(0x80 | 2)
	b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(plain))))
	w := zlib.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestMariaDBTransactions: a GTID begins a transaction by itself, and a statement alone ends one.
func TestMariaDBTransactions(t *testing.T) {
	l := newFakeLog("binlog.000009")
	l.formatOf(mariadbFormat)
	l.add(typeGTIDList, binary.LittleEndian.AppendUint32(nil, 2),
		binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 7|1<<32), 5), binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 1<<32), 99))
	l.add(typeStartEncryption, make([]byte, 17))
	l.add(typeBinlogCheckpoint, []byte("binlog.000009"))
	l.mariadbGTID(0, 100, 0)
	l.add(typeAnnotateRows, []byte("INSERT INTO a"))
	l.table(1, "shop.a")
	plain := l.rows(typeWriteRowsV1, 1, fakeRow{1, "one"}, fakeRow{2, strings.Repeat("two", 100)})
	l.xid()
	l.mariadbGTID(7, 6, gtidGroupCommit, 1, 2, 3, 4, 5, 6, 7, 8)
	l.table(1, "shop.a")
	const head = headerSize + 6 + 2 + 1 + 1 // up to the rows
	l.add(typeWriteRowsCompressed, plain[headerSize:head], deflate(plain[head:]))
	l.query("", "COMMIT") // of a table without transactions
	l.mariadbGTID(0, 101, gtidStandalone)
	l.query("shop", "TRUNCATE TABLE a")
	l.mariadbGTID(0, 102, gtidStandalone)
	l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0}, deflate([]byte("TRUNCATE TABLE shop.a")))

	l.add(typeBinlogCheckpoint, []byte("binlog.000009"))

	tr := newTracker(startOf("binlog.000009"), wantShop, nil)
	before := ""
	tr.previous = func(set event.GTIDSet) { before = set.String() }
	batches, err := collect(t.Context(), tr, l.events)
	if err != nil {
		t.Fatal(err)
	}
	if before != "0-1-99,7-1-5" {
		t.Errorf("the file begins behind %s", before)
	}
	var gtids []string
	d := NewDecoder()
	var rows []event.Row
	for _, b := range batches {
		gtids = append(gtids, fmt.Sprint(b.GTID, " ", len(b.Events)))
		decoded, err := d.Decode(b.Events)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, decoded...)
	}
	if want := []string{" 0", "0-1-100 3", "7-1-6 3", "0-1-101 1", "0-1-102 1", " 0"}; !slices.Equal(gtids, want) {
		t.Errorf("transactions %q, want %q", gtids, want)
	}
	if end := batches[len(batches)-1].End; end.Offset != uint64(l.end) {
		t.Errorf("the position ends at %s, the log at %d", end, l.end)
	}
	var ops []string
	for _, r := range rows {
		ops = append(ops, fmt.Sprint(r.Version.Count()-event.FirstCount, " ", r.Op))
	}
	if want := []string{"1 insert", "1 insert", "2 insert", "2 insert", "3 truncate", "4 truncate"}; !slices.Equal(ops, want) {
		t.Errorf("rows %q, want %q", ops, want)
	}
	if !reflect.DeepEqual(rows[0].After, rows[2].After) || !reflect.DeepEqual(rows[1].After, rows[3].After) {
		t.Errorf("compressed: %v %v, plain: %v %v", rows[2].After, rows[3].After, rows[0].After, rows[1].After)
	}
}

// TestMariaDBXA: the GTID of a transaction that is prepared names it as its XA COMMIT does.
func TestMariaDBXA(t *testing.T) {
	for _, flags := range []byte{gtidPreparedXA, gtidPreparedXA | gtidGroupCommit} {
		l := newFakeLog("binlog.000009")
		xid := []byte{3, 0, 0, 0, 2, 1, 0x0a, 0xff, 'b'}
		if flags&gtidGroupCommit != 0 {
			xid = append(make([]byte, 8), xid...)
		}
		l.mariadbGTID(0, 100, flags, xid...)
		l.table(1, "shop.a")
		l.rows(typeWriteRowsV1, 1, fakeRow{1, "one"})
		l.query("", "XA END X'0aff',X'62',3")
		l.add(typeXAPrepare, []byte{0})
		l.mariadbGTID(0, 101, gtidStandalone|gtidCompletedXA, xid...)
		l.query("", "XA COMMIT X'0aff',X'62',3")
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		batches, err := collect(t.Context(), tr, l.events)
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) != 2 || len(batches[0].Events) != 0 || len(batches[1].Events) != 3 || batches[1].Events[2].Version.Count() != event.FirstCount+2 {
			t.Errorf("flags %d: %+v", flags, batches)
		}
	}
}

// TestMariaDBMalformed: what a server cannot have meant stops the stream.
func TestMariaDBMalformed(t *testing.T) {
	for name, write := range map[string]func(*fakeLog){
		"a malformed list of GTIDs":             func(l *fakeLog) { l.add(typeGTIDList, []byte{9, 0, 0, 0}) },
		"a malformed GTID of an XA transaction": func(l *fakeLog) { l.mariadbGTID(0, 1, gtidPreparedXA, 1, 0, 0, 0, 200, 0) },
		"21 bytes unpacked instead of 22": func(l *fakeLog) {
			body := deflate([]byte("TRUNCATE TABLE shop.a"))
			body[2] = 22
			l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0}, body)
		},
		"more than 20 bytes unpacked": func(l *fakeLog) {
			body := deflate([]byte("TRUNCATE TABLE shop.a"))
			body[2] = 20
			l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0}, body)
		},
		"zlib: invalid checksum": func(l *fakeLog) {
			body := deflate([]byte("TRUNCATE TABLE shop.a"))
			body[len(body)-1]++
			l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0}, body)
		},
		"claims to have 65535 unpacked":         func(l *fakeLog) { l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0, 0x82, 255, 255}) },
		"compressed in a way that is not known": func(l *fakeLog) { l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0, 0xf1, 1}) },
		"more than the 67108864 that are taken": func(l *fakeLog) { l.add(typeQueryCompressed, make([]byte, queryHeader), []byte{0, 0x84, 255, 0, 0, 0}) },
		"an event of the unknown type 169":      func(l *fakeLog) { l.add(169, make([]byte, 20)) },
	} {
		l := newFakeLog("binlog.000009")
		write(l)
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		tr.previous = func(event.GTIDSet) {}
		if _, err := collect(t.Context(), tr, l.events); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMariaDBCollations(t *testing.T) {
	for id, want := range map[uint64]string{
		45: "utf8mb4 utf8mb4_general_ci", 576: "utf8mb3 utf8mb3_croatian_ci", 610: "utf8mb4 utf8mb4_thai_520_w2", 736: "utf32 utf32_croatian_ci",
		1032: "latin1 latin1_swedish_nopad_ci", 1069: "utf8mb4 utf8mb4_general_nopad_ci", 1070: "utf8mb4 utf8mb4_nopad_bin",
		1270: "utf8mb4 utf8mb4_unicode_520_nopad_ci", 2048: "utf8mb3 utf8mb3_uca1400_ai_ci", 2304: "utf8mb4 utf8mb4_uca1400_ai_ci",
		2311: "utf8mb4 utf8mb4_uca1400_nopad_as_cs", 2371: "utf8mb4 utf8mb4_uca1400_swedish_as_cs", 2496: "utf8mb4 utf8mb4_uca1400_croatian_ai_ci",
		2472: "unknown-2472 unknown-2472", 700: "unknown-700 unknown-700",
	} {
		if set, collation := collationNames(id); set+" "+collation != want {
			t.Errorf("%d: %s %s, want %s", id, set, collation, want)
		}
	}
}

// TestMariaDBXAAfterACrash: the log of a server that crashed between an XA COMMIT in its log and the commit has two ends. Each prepared
// transaction has four events: what the second XA COMMIT hands on has its version.
func TestMariaDBXAAfterACrash(t *testing.T) {
	const xid = "X'0aff',X'62',3"
	raw := []byte{3, 0, 0, 0, 2, 1, 0x0a, 0xff, 'b'}
	prepare := func(l *fakeLog, table string) {
		l.mariadbGTID(0, 100, gtidPreparedXA, raw...)
		l.table(1, table)
		l.rows(typeWriteRows, 1, fakeRow{1, "one"})
		l.query("", "XA END "+xid)
		l.add(typeXAPrepare, []byte{0})
	}
	end := func(l *fakeLog, verb string) {
		l.mariadbGTID(0, 101, gtidStandalone|gtidCompletedXA, raw...)
		l.query("", "XA "+verb+" "+xid)
	}
	for _, c := range []struct {
		name  string
		write func(before, after *fakeLog)
		want  []string
	}{
		{"committed twice", func(before, after *fakeLog) {
			prepare(before, "shop.a")
			end(before, "COMMIT")
			end(after, "COMMIT")
		}, append(rowsAt(1, 2, 3), rowsAt(1, 3, 3)...)},
		{"rolled back, then committed", func(before, after *fakeLog) {
			prepare(before, "shop.a")
			end(before, "ROLLBACK")
			end(after, "COMMIT")
		}, rowsAt(1, 3, 3)},
		{"committed, then rolled back", func(before, after *fakeLog) {
			prepare(before, "shop.a")
			end(before, "COMMIT")
			end(after, "ROLLBACK")
		}, append(rowsAt(1, 2, 3), fmt.Sprint(event.NewVersion(3, event.FirstCount+3), " missing [shop.a]"))},
		{"rolled back twice", func(before, after *fakeLog) {
			prepare(before, "shop.a")
			end(before, "ROLLBACK")
			end(after, "ROLLBACK")
		}, nil},
		{"of a table that nobody wants", func(before, after *fakeLog) {
			prepare(before, "other.a")
			end(before, "COMMIT")
			end(after, "ROLLBACK")
		}, nil},
		{"used again", func(before, after *fakeLog) {
			prepare(before, "shop.a")
			end(before, "COMMIT")
			prepare(after, "shop.a")
			end(after, "ROLLBACK")
		}, rowsAt(1, 2, 3)},
		{"nowhere in the log", func(before, after *fakeLog) { end(after, "COMMIT") },
			[]string{fmt.Sprint(event.NewVersion(3, event.FirstCount+1), " missing []")}},
	} {
		f := &fakeFiles{}
		before := f.add("binlog.000009")
		after := f.add("binlog.000010")
		c.write(before, after)
		before.rotate("binlog.000010")
		tr := newTracker(startOf("binlog.000009"), wantShop, nil)
		tr.log = f
		batches, err := collect(t.Context(), tr, f.from("binlog.000009", firstEvent))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := rowsOf(batches); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		// Who begins at a boundary gets the same from there on.
		for _, b := range batches[:len(batches)-1] {
			tr := newTracker(b.End, wantShop, nil)
			tr.log = f
			rest, err := collect(t.Context(), tr, f.from(b.End.File, b.End.Offset))
			if err != nil {
				t.Fatalf("%s from %s: %v", c.name, b.End, err)
			}
			want := slices.DeleteFunc(slices.Clone(c.want), func(row string) bool {
				return row <= fmt.Sprint(b.End.Version(), "~")
			})
			if got := rowsOf(rest); !slices.Equal(got, want) {
				t.Errorf("%s from %s: %q, want %q", c.name, b.End, got, want)
			}
		}
	}
}

package oracle

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

func TestLedgerKnowsWhatCameOfAChange(t *testing.T) {
	l := newLedger()
	made := func(outcome Outcome, gtid string, changes int) (first int64) {
		first = l.begin(1)
		for range changes {
			l.change(1)
		}
		l.end(1, outcome, gtid)
		return first
	}
	committed := made(Committed, "u:7", 3)
	made(Committed, "u:8", 0)
	taken := made(RolledBack, "", 2)
	unknown := made(Unknown, "", 1)
	l.begin(1)
	l.change(1)
	undone := l.change(1)
	l.undoLast(1)
	kept := l.change(1)
	l.end(1, Committed, "u:9")
	prepared := made(Unknown, "", 1)
	l.settle(1, prepared, RolledBack, "")
	l.begin(1)
	open := l.change(1)
	for _, c := range []struct {
		seq     int64
		outcome Outcome
		gtid    string
	}{
		{committed, Committed, "u:7"}, {committed + 2, Committed, "u:7"}, {taken, RolledBack, ""}, {taken + 1, RolledBack, ""},
		{unknown, Unknown, ""}, {undone - 1, Committed, "u:9"}, {undone, RolledBack, ""}, {kept, Committed, "u:9"},
		{prepared, RolledBack, ""}, {open, Open, ""},
	} {
		if outcome, gtid, found := l.Find(1, c.seq); !found || outcome != c.outcome || gtid != c.gtid {
			t.Errorf("change %d: %s, %q, found: %v; want %s, %q", c.seq, outcome, gtid, found, c.outcome, c.gtid)
		}
	}
	for _, c := range []change{{1, 0}, {1, open + 1}, {2, 1}} {
		if _, _, found := l.Find(c.writer, c.seq); found {
			t.Errorf("%+v was found", c)
		}
	}
	seen := map[change]string{}
	for _, c := range []change{{1, committed}, {1, taken}, {1, unknown}, {1, undone}, {1, kept}, {1, open}, {2, 1}} {
		seen[c] = fmt.Sprintf("%d:%d", c.writer, c.seq)
	}
	want := fmt.Sprintf("document 1:%d: change %[1]d of writer 1 was rolled back\ndocument 1:%d: change %[2]d of writer 1 was rolled back\ndocument 2:1: writer 2 never made a change 1", taken, undone)
	if got := strings.Join(l.judge(seen), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAccountSeesWhatIsTorn(t *testing.T) {
	long := strings.Repeat("1:2,", 29) + "0,1:5,2:3" // cut off in its first entry, 125 characters
	long = long[len(long)-maxText:]
	for _, c := range []struct {
		row, change string // change is the document's field that differs from the row
		txt         string
		want        string
	}{
		{"7|3|1|4|-1250|ä|note|1:3,2:9,1:4", ``, "1:3,2:9,1:4", ""},
		{"7|3|1|4|-1250|ä|note|1:3,2:9,1:4", `"ver":4,`, "1:3,2:9,1:4", "torn"},
		{"7|3|1|4|-1250|ä|note|1:3,2:9,1:4", `"bal":-12.51,`, "1:3,2:9,1:4", "torn"},
		{"7|3|1|4|-1250|ä|-|1:4", `"note":null,`, "1:4", ""},
		{"7|3|1|4|-1250|ä|note|1:5,2:9,1:4", ``, "1:5,2:9,1:4", "out of order"},
		{"7|3|1|4|-1250|ä|note|1:3,2:9", ``, "1:3,2:9", "does not end with 1:4"},
		{"7|3|1|4|-1250|ä|note|", ``, "", "entry"},
		{"7|3|2|3|-1250|ä|note|" + long, `"writer":2,"seq":3,`, long, "out of order"}, // 1:2 again and again
	} {
		doc := fmt.Sprintf(`{"id":7,"ver":3,"writer":1,"seq":4,"bal":-12.50,"name":"ä","note":"note",%s"txt":%q,"crc":%d}`, c.change, c.txt, crc32.ChecksumIEEE([]byte(c.row)))
		var a account
		if err := json.Unmarshal([]byte(doc), &a); err != nil {
			t.Fatal(err)
		}
		changes, err := a.changes()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", doc, err, c.want)
		}
		if err == nil && changes[len(changes)-1] != (change{1, 4}) {
			t.Errorf("%s: changes %v", doc, changes)
		}
	}
}

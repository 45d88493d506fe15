package event_test

import (
	"testing"

	"github.com/google/uuid"

	"canalgo/event"
)

// FuzzGTIDSet reads any text as a set.
func FuzzGTIDSet(f *testing.F) {
	for _, text := range []string{
		"", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:9-10,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:1:tag:3",
		"3e11fa47-71ca-11e1-9e33-c80aa9429562:5-1", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9223372036854775807", "3E11FA47-71CA-11E1-9E33-C80AA9429562:0", ",", ":",
		"0-1-100", "7-2-5,0-1-100", "0-1-100,0-2-101", "0-1-0", "0-1-100,x", "4294967296-1-1", "0-1-9223372036854775808", "007-1-1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := event.ParseGTIDSet(text)
		if err != nil {
			return
		}
		printed := set.String()
		again, err := event.ParseGTIDSet(printed)
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, printed, err)
		}
		if again.String() != printed || !again.Contains(set) || !set.Contains(again) {
			t.Errorf("%q is printed as %q, and that as %q", text, printed, again.String())
		}
		var sum event.GTIDSet
		sum.AddSet(set)
		if sum.String() != printed {
			t.Errorf("%q summed up is %q, want %q", text, sum.String(), printed)
		}
		set.Encode()
	})
}

// FuzzGTIDRuns adds runs to a set and to a plain list of numbers. What was not added must not be in the set: a gap that is
// closed by mistake is a transaction that is never read.
func FuzzGTIDRuns(f *testing.F) {
	f.Add([]byte{0, 1, 4, 0, 5, 0, 0, 8, 1, 0, 2, 1, 1, 0, 0, 2, 6, 6})
	f.Add([]byte{0, 9, 1, 0, 7, 1, 0, 1, 0, 0, 3, 0, 0, 2, 0})
	names := []event.GTID{{UUID: uuid.UUID{1}}, {UUID: uuid.UUID{1}, Tag: "tag"}, {UUID: uuid.UUID{2}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 32
		var set, half event.GTIDSet
		added := make(map[event.GTID]bool)
		for n := 0; n+3 <= len(data) && n < 3*50; n += 3 {
			run := event.GTIDRun{First: names[int(data[n])%len(names)]}
			run.First.N = int64(data[n+1]%most) + 1
			run.Last = min(run.First.N+int64(data[n+2]%8), most)
			set.Add(run)
			for g := run.First; g.N <= run.Last; g.N++ {
				added[g] = true
			}
			if n == 3 {
				half = set.Clone()
			}
		}
		half.AddSet(set)
		for _, g := range names {
			for g.N = 1; g.N <= most+1; g.N++ {
				var one event.GTIDSet
				one.Add(g.Run())
				if got := set.Contains(one); got != added[g] {
					t.Errorf("%s: in the set is %t, was added is %t: %s", g, got, added[g], set)
				}
			}
		}
		if half.String() != set.String() {
			t.Errorf("a half and the whole are %s, want %s", half, set)
		}
	})
}

// TestMariaDBGTIDs: the last transaction of a domain in the log stands for the domain.
func TestMariaDBGTIDs(t *testing.T) {
	var set event.GTIDSet
	for _, g := range []event.GTID{event.MariaDBGTID(7, 1, 1), event.MariaDBGTID(0, 1, 99), event.MariaDBGTID(0, 2, 100), event.MariaDBGTID(7, 1, 3)} {
		set.Add(g.Run())
	}
	if got := set.String(); got != "0-2-100,7-1-3" {
		t.Errorf("got %s", got)
	}
	copied := set.Clone()
	set.Add(event.GTIDRun{First: event.MariaDBGTID(0, 2, 101), Last: 105})
	if got := set.String(); got != "0-2-105,7-1-3" || copied.String() != "0-2-100,7-1-3" {
		t.Errorf("got %s, the copy %s", got, copied)
	}
	for _, text := range []string{"0-2-105,7-1-2", "7-1-3,0-1-9"} {
		other, err := event.ParseGTIDSet(text)
		if err != nil {
			t.Fatal(err)
		}
		copied.AddSet(other)
	}
	if got := copied.String(); got != "0-2-105,7-1-3" {
		t.Errorf("both together: %s", got)
	}
	for _, c := range []struct {
		other string
		in    bool
	}{{"", true}, {"0-1-100", true}, {"0-2-105,7-1-3", true}, {"0-2-106", false}, {"8-1-1", false}, {"7-1-3,8-1-1", false},
		{"3e11fa47-71ca-11e1-9e33-c80aa9429562:1", false}} {
		other, err := event.ParseGTIDSet(c.other)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Contains(other); got != c.in {
			t.Errorf("%s in %s: %v", c.other, set, got)
		}
	}
	for _, text := range []string{"0-1-100,0-2-101", "0-1-0", "4294967296-1-1", "0-1-9223372036854775808", "0-1-1,"} {
		if got, err := event.ParseGTIDSet(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

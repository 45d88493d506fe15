package event_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"canalgo/event"
)

func TestVersionPacksEpochAndCount(t *testing.T) {
	for _, c := range []struct {
		epoch uint32
		count uint64
	}{{0, event.FirstCount}, {1, event.FirstCount + 1}, {event.MaxEpoch, event.MaxCount}} {
		v := event.NewVersion(c.epoch, c.count)
		if v.Epoch() != c.epoch || v.Count() != c.count || v > 1<<63-1 {
			t.Errorf("%d.%d became %s (%d)", c.epoch, c.count, v, v)
		}
	}
	if event.NewVersion(2, event.FirstCount) <= event.NewVersion(1, event.MaxCount) {
		t.Error("a new epoch is not above all of the last one")
	}
}

func TestEpochCountsMinutes(t *testing.T) {
	at := time.Date(2024, 1, 2, 0, 0, 59, 0, time.UTC)
	if got := event.EpochAt(at); got != 24*60 {
		t.Errorf("got %d, want %d", got, 24*60)
	}
	if got := event.EpochAt(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)); got != 0 {
		t.Errorf("a clock at 1970 gives epoch %d, want 0", got)
	}
}

func TestPositionsAreOrdered(t *testing.T) {
	at := func(count uint64, file string, offset uint64) event.Position {
		return event.Position{ServerUUID: "s", Epoch: 1, Count: event.FirstCount + count, File: file, Offset: offset}
	}
	for _, c := range []struct {
		name         string
		first, later event.Position
	}{
		{"by count", at(1, "b.000009", 900), at(2, "b.000001", 4)},
		{"by offset where nothing was counted", at(1, "b.000001", 4), at(1, "b.000001", 8)},
		{"by file", at(1, "b.000001", 900), at(1, "b.000002", 4)},
		{"by the file's number, not its text", at(1, "b.999999", 4), at(1, "b.1000000", 4)},
		{"by epoch", event.Position{Epoch: 1, Count: event.MaxCount}, event.Position{Epoch: 2, Count: event.FirstCount}},
	} {
		if !c.first.Before(c.later) || c.later.Before(c.first) || c.first.Before(c.first) {
			t.Errorf("%s: %+v and %+v are not in order", c.name, c.first, c.later)
		}
	}
	elsewhere := at(1, "b.000009", 4)
	elsewhere.ServerUUID = "other"
	if at(1, "b.000001", 4).Before(elsewhere) {
		t.Error("files of two servers were compared")
	}
}

func TestGTIDSetKeepsGaps(t *testing.T) {
	sid := uuid.MustParse("3e11fa47-71ca-11e1-9e33-c80aa9429562")
	run := func(first, last int64, tag string) event.GTIDRun {
		return event.GTIDRun{First: event.GTID{UUID: sid, Tag: tag, N: first}, Last: last}
	}
	var set event.GTIDSet
	for _, r := range []event.GTIDRun{run(1, 5, ""), run(6, 6, ""), run(9, 10, ""), run(3, 4, ""), run(1, 1, "tag"), {}} {
		set.Add(r)
	}
	want := sid.String() + ":1-6:9-10:tag:1"
	if got := set.String(); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	parsed, err := event.ParseGTIDSet(want)
	if err != nil || parsed.String() != want || !parsed.Contains(set) || !set.Contains(parsed) {
		t.Errorf("parsed back: %s, %v", parsed, err)
	}
	before := set.Clone()
	set.Add(run(7, 8, ""))
	if before.String() != want || set.String() != sid.String()+":1-10:tag:1" {
		t.Errorf("after closing the gap: %s, the copy %s", set, before)
	}
	if before.Contains(set) || !set.Contains(before) || !before.Contains(event.GTIDSet{}) {
		t.Error("containment is wrong")
	}
	var sum event.GTIDSet
	sum.AddSet(set)
	if sum.String() != set.String() {
		t.Errorf("sum %s, want %s", sum, set)
	}
}

func TestParseGTIDSetRefusesGarbage(t *testing.T) {
	for _, text := range []string{"x", "3e11fa47-71ca-11e1-9e33-c80aa9429562:", "3e11fa47-71ca-11e1-9e33-c80aa9429562:5-1"} {
		if set, err := event.ParseGTIDSet(text); err == nil {
			t.Errorf("%q was taken as %q", text, set)
		}
	}
	if set, err := event.ParseGTIDSet(""); err != nil || !set.IsEmpty() {
		t.Errorf("the empty set: %v, %v", set, err)
	}
}

func TestColumnsAreFoundInAnyLetterCase(t *testing.T) {
	table := event.Table{Columns: []event.Column{{Name: "Id"}, {Name: "größe"}}}
	for name, want := range map[string]int{"id": 0, "ID": 0, "größe": 1, "x": -1, "": -1} {
		if got := table.Column(name); got != want {
			t.Errorf("column %q: got %d, want %d", name, got, want)
		}
	}
}

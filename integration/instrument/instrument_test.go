package instrument_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"canalgo/integration/instrument"
)

// Every bug still fits the product, and every failpoint is where it can be found. Whoever changes a line that a bug changes, too,
// reads here which file to mend.
func TestBugsFitTheProduct(t *testing.T) {
	if _, err := instrument.Overlay(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	bugs, err := instrument.Bugs()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range bugs {
		if len(b.Caught) == 0 {
			t.Errorf("bug %s: no test is named that catches it", name)
		}
	}
}

func TestPoints(t *testing.T) {
	got, err := instrument.Points()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"feed.after_open", "fsm.before_apply", "leader.before_save", "lease.after_renew", "raft.after_propose", "relay.after_chunk",
		"sink.after_write", "sink.before_write", "snapshot.mid_persist", "source.before_emit", "worker.before_ack"}
	if !slices.Equal(got, want) {
		t.Errorf("failpoints %v, want %v", got, want)
	}
}

const product = `package p

func f() error {
	one()
	//failpoint p.first
	err := two()
	//failpoint p.second err
	return err
}
`

func TestChange(t *testing.T) {
	files := fstest.MapFS{"p/p.go": {Data: []byte(product)}, "p/p_test.go": {Data: []byte(product)}, "integration/q.go": {Data: []byte(product)}}
	changed, points, err := instrument.Change(files, map[string]string{"twice": `f does two again.
caught: ./p ^TestF$
file: p/p.go
-- old
	one()
-- new
	if !bug {
		one()
	}
`})
	if err != nil {
		t.Fatal(err)
	}
	want := `package p; import "canalgo/integration/instrument/seeded"; import "canalgo/integration/instrument/failpoint"

func f() error {
	if !seeded.On("twice") {
		one()
	}
failpoint.Hit("p.first")
	err := two()
failpoint.Hit("p.second", &err)
	return err
}
`
	if len(changed) != 1 || changed["p/p.go"] != want {
		t.Errorf("changed %q, want %q", changed, want)
	}
	if !slices.Equal(points, []string{"p.first", "p.second"}) {
		t.Errorf("failpoints %v", points)
	}
}

func TestBugsAreRefused(t *testing.T) {
	files := fstest.MapFS{"p/p.go": {Data: []byte(product)}}
	bug := func(file, old, new string) string {
		return "It is wrong.\ncaught: ./p ^TestF$\nfile: " + file + "\n-- old\n" + old + "-- new\n" + new
	}
	for _, c := range []struct {
		name string
		bugs map[string]string
		want string
	}{
		{"gone", map[string]string{"a": bug("p/p.go", "\tthree()\n", "\tbug()\n")}, "bug a no longer fits: its old text occurs 0 times in p/p.go"},
		{"twice", map[string]string{"a": bug("p/p.go", "()\n", "(bug)\n")}, "occurs 2 times in p/p.go"},
		{"no file", map[string]string{"a": bug("p/q.go", "\tone()\n", "\tbug()\n")}, "bug a: there is no file p/q.go"},
		{"overlap", map[string]string{"a": bug("p/p.go", "\tone()\n", "\tbug()\n"), "b": bug("p/p.go", "{\n\tone()\n", "{\n\tbug()\n")}, "change the same text of p/p.go"},
		{"always on", map[string]string{"a": bug("p/p.go", "\tone()\n", "\tdebug()\n")}, "the word bug"},
		{"no new text", map[string]string{"a": bug("p/p.go", "\tone()\n", "")}, "lacks"},
		{"no sentence", map[string]string{"a": "\n" + bug("p/p.go", "\tone()\n", "\tbug()\n")}, "belongs to nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := instrument.Change(files, c.bugs)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

package sink_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"canalgo/mapping"
)

// TestReplacedChangeStillLeaves: of several changes of a document only the last is sent, and it leaves all places of those before it.
func TestReplacedChangeStillLeaves(t *testing.T) {
	at := func(c mapping.Change, routing string, left ...string) mapping.Change {
		c.Routing, c.Left = routing, left
		return c
	}
	gone := func(id string) mapping.Change {
		return mapping.Change{Op: mapping.Delete, Index: "i", ID: id, Version: 5}
	}
	for _, c := range []struct {
		name    string
		changes []mapping.Change
		routing string
		left    []string
	}{
		{"moved twice", []mapping.Change{at(write("a"), "2", "1"), at(write("a"), "3", "2")}, "3", []string{"1", "2"}},
		{"moved and back", []mapping.Change{at(write("a"), "2", "1"), at(write("a"), "1", "2")}, "1", []string{"2"}},
		{"deleted and made anew", []mapping.Change{at(gone("a"), "1"), at(write("a"), "2")}, "2", []string{"1"}},
		{"moved and deleted", []mapping.Change{at(write("a"), "2", "1"), at(gone("a"), "2")}, "2", []string{"1"}},
		{"a parent", []mapping.Change{write("a"), gone("a")}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, script{1: c.changes}, small)
				var sent []mapping.Change
				b.dest.answer = func(changes []mapping.Change) error {
					sent = append(sent, changes...)
					return nil
				}
				if err := b.worker.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(sent) != 1 || sent[0].Routing != c.routing || !slices.Equal(slices.Sorted(slices.Values(sent[0].Left)), c.left) {
					t.Errorf("sent %+v, want one at %q that leaves %q", sent, c.routing, c.left)
				}
			})
		})
	}
}

// TestBadChangeStillLeaves: where no document can be made of a row any more, the one that was made of it goes from where its row no longer
// is.
func TestBadChangeStillLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := mapping.Change{Op: mapping.Write, Index: "i", ID: "a", Left: []string{"1", "2"}, Version: 5, Err: errors.New("no parent")}
		b := newBench(t, script{1: {bad}}, small)
		var sent []mapping.Change
		b.dest.answer = func(changes []mapping.Change) error {
			sent = append(sent, changes...)
			return nil
		}
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(sent) != 1 || sent[0].Op != mapping.Delete || sent[0].Routing != "1" || len(sent[0].Left) != 1 || sent[0].Left[0] != "2" {
			t.Errorf("sent %+v, want a delete at 1 that leaves 2", sent)
		}
		aside := b.keeper.all()
		if len(aside) != 1 || aside[0].Document != "a" || len(aside[0].Routings) != 2 {
			t.Errorf("set aside %v", aside)
		}
	})
}

package sink_test

import (
	"testing"
	"testing/synctest"
	"time"

	"canalgo/mapping"
	"canalgo/sink"
)

// TestEveryChangeIsAccountedFor looks at each moment at what became of the changes: merged, refused, older, undecided, retried, written.
func TestEveryChangeIsAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a"), write("a"), write("bad")}, 2: {write("old"), write("a")}, 3: {write("new"), write("busy")}, 4: {write("b")}}, small)
		b.feed.settled, b.feed.hold = false, make(chan struct{})
		b.dest.takes = 10 * time.Millisecond
		busy := 3
		b.dest.answer = func(changes []mapping.Change) error {
			var e sink.PartialError
			for _, c := range changes {
				switch {
				case c.ID == "bad":
					e.Rejected = append(e.Rejected, sink.Rejection{Change: c, Reason: "strict"})
				case c.ID == "old":
					e.Conflicts = append(e.Conflicts, sink.Conflict{Change: c, Has: 900})
				case c.ID == "new":
					e.Conflicts = append(e.Conflicts, sink.Conflict{Change: c, Has: 1001})
				case c.ID == "busy" && busy > 0:
					busy--
					e.Retry = append(e.Retry, c)
				}
			}
			if len(e.Rejected)+len(e.Conflicts)+len(e.Retry) > 0 {
				return &e
			}
			return nil
		}
		done := make(chan error, 1)
		go func() { done <- b.worker.Run(t.Context()) }()
		look := func() sink.Account {
			a := b.worker.Progress().Account
			if a.Changes != a.Merged+a.Applied+a.Older+a.SetAside+a.Held {
				t.Fatalf("not accounted for: %+v", a)
			}
			return a
		}
		for range 1000 {
			look()
			time.Sleep(time.Millisecond)
		}
		want := sink.Account{Changes: 8, Merged: look().Merged, Applied: 5 - look().Merged, Older: 1, SetAside: 1, Held: 1}
		if got := look(); got != want || got.Merged == 0 {
			t.Errorf("while the newest version is not known: %+v, want %+v", got, want)
		}
		b.feed.mu.Lock()
		b.feed.newest = 1001
		b.feed.mu.Unlock()
		time.Sleep(time.Second)
		want.Older, want.Held = 2, 0
		if got := look(); got != want {
			t.Errorf("then: %+v, want %+v", got, want)
		}
		close(b.feed.hold)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAccountsAddUp(t *testing.T) {
	earlier := sink.Account{Changes: 10, Merged: 1, Applied: 4, Older: 1, SetAside: 1, Held: 3}
	got := sink.Account{Changes: 5, Applied: 2, Held: 3}.Add(earlier)
	if want := (sink.Account{Changes: 12, Merged: 1, Applied: 6, Older: 1, SetAside: 1, Held: 3}); got != want {
		t.Errorf("got %+v, want %+v: what the earlier one held comes again", got, want)
	}
}

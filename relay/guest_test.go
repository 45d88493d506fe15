package relay_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/relay"
)

func newGuest(t *testing.T, l *relay.Log, from event.Position) *relay.Guest {
	t.Helper()
	g, err := l.NewGuest(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func takeWhole(t *testing.T, g *relay.Guest) event.Batch {
	t.Helper()
	b, err := g.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGuestTakesWholeBatchesBehindItsPosition(t *testing.T) {
	l := newLog(t, 1<<20)
	silent := event.Batch{End: at(2)} // a transaction in which nothing counts
	silent.End.Offset += 50
	appendAll(t, l, transaction(1, user), transaction(2, other), silent, transaction(3, other))
	g := newGuest(t, l, at(2))
	if got := takeWhole(t, g); got.End != silent.End {
		t.Errorf("first batch ends at %s, want %s", got.End, silent.End)
	}
	got := takeWhole(t, g)
	if got.End != at(3) || len(got.Events) != 3 {
		t.Errorf("second batch ends at %s with %d events, want all three of transaction 3", got.End, len(got.Events))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Take(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing is left: got %v, want the context's error", err)
	}
	appendAll(t, l, transaction(4, user))
	if b, err := g.Take(ended); err != nil || b.End != at(4) {
		t.Errorf("what is there was not given: %v", err)
	}
}

func TestGuestEndsWhereItIsTold(t *testing.T) {
	l := newLog(t, 1<<20)
	appendAll(t, l, transaction(1, user), transaction(2, user))
	g, err := l.NewGuest(at(0), func(p event.Position) bool { return p.Count >= event.FirstCount+1 })
	if err != nil {
		t.Fatal(err)
	}
	takeWhole(t, g)
	if _, err := g.Take(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}

// A cursor that moves keeps a full log waiting; a guest does not.
func TestGuestHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1000)
		c := newCursor(t, l, at(0), user)
		g := newGuest(t, l, at(0))
		began := time.Now()
		go func() {
			for n := uint64(1); n <= 10; n++ {
				_ = l.Append(t.Context(), transaction(n, user))
			}
		}()
		takeWhole(t, g)
		for range 10 {
			next(t, c)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the guest held the cursor up for %s", waited)
		}
		if _, err := g.Take(t.Context()); !errors.Is(err, relay.ErrBehind) {
			t.Errorf("the guest got %v, want ErrBehind", err)
		}
	})
}

package relay_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/relay"
)

// TestToldToEnd ends a feed whose node has megabytes waiting and takes nothing: it writes the transaction that it has begun to
// the end, and no other. That is so where the leader has begun no further one: it cannot know whether its node has, and sends the
// rest of it first. So six pieces fill the window, at the end of a transaction, and taking one of them grants no seventh.
func TestToldToEnd(t *testing.T) {
	const size = 700 << 10
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 64<<20)
		c := newCursor(t, l, at(0), user)
		f, served := connect(t, c)
		for n := uint64(1); n <= 20; n += 2 { // each of two pieces
			piece, rest := transaction(n, user), transaction(n+1, user)
			piece.End, piece.GTID = at(n-1), event.GTID{}
			for _, b := range []*event.Batch{&piece, &rest} {
				b.Events[2].Raw, b.Bytes = make([]byte, size), size
			}
			appendAll(t, l, piece, rest)
		}
		time.Sleep(1100 * time.Millisecond) // as much has arrived as the node is granted, and no progress, told every 500 ms, is due
		take(t, f)
		c.End()
		time.Sleep(time.Second)
		last := take(t, f)
		if b, err := f.Next(t.Context()); !errors.Is(err, relay.ErrToldToEnd) || !errors.Is(err, io.EOF) {
			t.Errorf("got batch %d, %v, want the end", b.Seq, err)
		}
		if err := f.Ack(t.Context(), last.Seq); err != nil {
			t.Fatal(err)
		}
		finish(t, f, served)
		if got := count(c.Position()); got != 2 {
			t.Errorf("position at %d, want 2", got)
		}
	})
}

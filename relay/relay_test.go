package relay_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"canalgo/event"
	"canalgo/relay"
)

var (
	user  = event.TableName{Schema: "shop", Name: "user"}
	other = event.TableName{Schema: "shop", Name: "other"}
	sid   = uuid.MustParse("3e11fa47-71ca-11e1-9e33-c80aa9429562")
)

const epoch = 7

func at(count uint64) event.Position {
	return event.Position{ServerUUID: "s", Epoch: epoch, Count: event.FirstCount + count, File: "binlog.000001", Offset: 100 * count}
}

// transaction is the n-th transaction: one rows event of the table, ordinal n.
func transaction(n uint64, table event.TableName) event.Batch {
	end := at(n)
	b := event.Batch{End: end, GTID: event.GTID{UUID: sid, N: int64(n)}, Bytes: 100}
	b.Events = []event.Event{{Kind: event.FormatDescription}, {Kind: event.TableMap, Table: table}, {Kind: event.Rows, Table: table, Version: end.Version()}}
	return b
}

func newLog(t *testing.T, maxBytes int) *relay.Log {
	t.Helper()
	l, err := relay.NewLog(maxBytes, at(0), func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newCursor(t *testing.T, l *relay.Log, from event.Position, table event.TableName) *relay.Cursor {
	t.Helper()
	c, err := l.NewCursor(from, func(n event.TableName) bool { return n == table })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func appendAll(t *testing.T, l *relay.Log, batches ...event.Batch) {
	t.Helper()
	for _, b := range batches {
		if err := l.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func next(t *testing.T, c *relay.Cursor) event.Batch {
	t.Helper()
	b, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCursorDeliversItsTablesInOrder(t *testing.T) {
	l := newLog(t, 1<<20)
	c := newCursor(t, l, at(0), user)
	appendAll(t, l, transaction(1, user), transaction(2, other), transaction(3, user))
	for _, want := range []uint64{1, 3} {
		b := next(t, c)
		if got := b.End.Count - event.FirstCount; got != want {
			t.Fatalf("got transaction %d, want %d", got, want)
		}
	}
}

func TestPositionFollowsAcknowledgements(t *testing.T) {
	l := newLog(t, 1<<20)
	c := newCursor(t, l, at(0), user)
	appendAll(t, l, transaction(1, user), transaction(2, other), transaction(3, user), transaction(4, other))
	first, second := next(t, c), next(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Next(ctx); !errors.Is(err, context.Canceled) { // passes the 4th
		t.Fatalf("got %v, want canceled", err)
	}
	steps := []struct {
		ack   uint64
		count uint64
		gtids string
	}{
		{0, 0, ""},
		{first.Seq, 2, sid.String() + ":1-2"},
		{second.Seq, 4, sid.String() + ":1-4"},
	}
	for _, s := range steps {
		if s.ack > 0 {
			if err := c.Ack(t.Context(), s.ack); err != nil {
				t.Fatal(err)
			}
		}
		p := c.Position()
		if p.Count-event.FirstCount != s.count || p.GTIDs != s.gtids {
			t.Errorf("after ack %d: got count %d, GTIDs %q; want %d, %q", s.ack, p.Count-event.FirstCount, p.GTIDs, s.count, s.gtids)
		}
	}
}

func TestIdleTableDoesNotPinTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1<<20)
		c := newCursor(t, l, at(0), user)
		go func() { _, _ = c.Next(t.Context()) }()
		appendAll(t, l, transaction(1, other), transaction(2, other))
		synctest.Wait()
		if got := c.Position().Count - event.FirstCount; got != 2 {
			t.Errorf("position at %d, want 2", got)
		}
	})
}

func TestPieceKeepsThePositionBeforeItsTransaction(t *testing.T) {
	l := newLog(t, 1<<20)
	c := newCursor(t, l, at(0), user)
	piece, rest := transaction(1, user), transaction(2, user)
	piece.End, piece.GTID = at(0), rest.GTID // which is not executed before its end
	appendAll(t, l, piece)
	if got := l.Boundary().GTIDs; got != "" {
		t.Errorf("GTIDs inside the transaction: %s", got)
	}
	appendAll(t, l, rest)
	if err := c.Ack(t.Context(), next(t, c).Seq); err != nil {
		t.Fatal(err)
	}
	if p := c.Position(); p.Count != event.FirstCount || p.GTIDs != "" {
		t.Errorf("position inside the transaction: %s", p)
	}
	if err := c.Ack(t.Context(), next(t, c).Seq); err != nil {
		t.Fatal(err)
	}
	if got := c.Position().Count - event.FirstCount; got != 2 {
		t.Errorf("position at %d, want 2", got)
	}
}

// A GTID is executed behind the whole transaction, also for a duty that its first piece does not concern.
func TestPieceOfAnotherTableDoesNotExecuteItsTransaction(t *testing.T) {
	l := newLog(t, 1<<20)
	c := newCursor(t, l, at(0), user)
	piece, rest := transaction(1, other), transaction(2, user)
	piece.End, piece.GTID = at(0), rest.GTID
	appendAll(t, l, piece, rest)
	b := next(t, c)
	if p := c.Position(); p.Count != event.FirstCount || p.GTIDs != "" {
		t.Errorf("position inside the transaction: %s with GTIDs %q", p, p.GTIDs)
	}
	if err := c.Ack(t.Context(), b.Seq); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Position().GTIDs, rest.GTID.String(); got != want {
		t.Errorf("GTIDs behind the transaction: %q, want %q", got, want)
	}
}

func TestCursorLeavesOutWhatTheDestinationHas(t *testing.T) {
	l := newLog(t, 1<<20)
	appendAll(t, l, transaction(1, user), transaction(2, user), transaction(3, user))
	c := newCursor(t, l, at(2), user)
	if got := next(t, c).End.Count - event.FirstCount; got != 3 {
		t.Errorf("first transaction is %d, want 3", got)
	}
}

func TestFullLogWaitsForTheOnlyReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1000)
		c := newCursor(t, l, at(0), user)
		written := 0
		go func() {
			for n := uint64(1); n <= 10; n++ {
				if l.Append(t.Context(), transaction(n, user)) != nil {
					return
				}
				written++
			}
		}()
		time.Sleep(time.Minute) // virtual: far beyond the patience
		synctest.Wait()
		if written >= 10 {
			t.Fatal("the writer did not wait")
		}
		for n := uint64(1); n <= 10; n++ {
			if got := next(t, c).End.Count - event.FirstCount; got != n {
				t.Fatalf("got transaction %d, want %d", got, n)
			}
		}
	})
}

func TestNothingIsDroppedBeforeTheExpectedReadersCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1000)
		l.Expect(2)
		const all = 20
		done := make(chan time.Duration, 1)
		began := time.Now()
		go func() {
			for n := range uint64(all) {
				appendAll(t, l, transaction(n+1, user))
			}
			done <- time.Since(began)
		}()
		time.Sleep(time.Second)
		read := func() {
			c := newCursor(t, l, at(0), user)
			for n := range uint64(all) {
				if b := next(t, c); b.Seq != n+1 {
					t.Errorf("batch %d, want %d", b.Seq, n+1)
				}
			}
		}
		go read()
		synctest.Wait()
		read()
		if took := <-done; took < time.Second || took > patience {
			t.Errorf("written within %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) { // who does not come is not waited for
		l := newLog(t, 1000)
		l.Expect(1)
		began := time.Now()
		for n := range uint64(20) {
			appendAll(t, l, transaction(n+1, user))
		}
		if took := time.Since(began); took < patience || took > 2*patience {
			t.Errorf("written after %s, want %s", took, patience)
		}
	})
}

// patience is how long the log waits for a reader.
const patience = 2 * time.Second

func TestHeldSaysThatTheWriterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1000)
		c := newCursor(t, l, at(0), user)
		appendAll(t, l, transaction(1, user))
		if l.Held() {
			t.Error("held with room left")
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			appendAll(t, l, transaction(2, user), transaction(3, user), transaction(4, user))
		}()
		synctest.Wait()
		if !l.Held() {
			t.Error("not held while the writer waits")
		}
		for range 4 {
			next(t, c)
		}
		<-done
		if l.Held() {
			t.Error("held when all is read")
		}
	})
}

func TestCursorThatHoldsUpAnotherFallsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1000)
		stuck := newCursor(t, l, at(0), user)
		quick := newCursor(t, l, at(0), user)
		got := 0
		go func() {
			for {
				if _, err := quick.Next(t.Context()); err != nil {
					return
				}
				got++
			}
		}()
		appended := make(chan error, 1)
		go func() {
			for n := uint64(1); n <= 10; n++ {
				if err := l.Append(t.Context(), transaction(n, user)); err != nil {
					appended <- err
					return
				}
			}
			appended <- nil
		}()
		if err := <-appended; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got != 10 {
			t.Errorf("the quick cursor got %d of 10", got)
		}
		if _, err := stuck.Next(t.Context()); !errors.Is(err, relay.ErrBehind) {
			t.Errorf("the stuck cursor got %v, want ErrBehind", err)
		}
		if _, err := l.NewCursor(at(0), func(event.TableName) bool { return true }); !errors.Is(err, relay.ErrBehind) {
			t.Errorf("a new cursor at the start got %v, want ErrBehind", err)
		}
		l.Close(io.EOF)
	})
}

func TestUntilEndsTheFeedAtABoundary(t *testing.T) {
	l := newLog(t, 1<<20)
	c := newCursor(t, l, at(0), user)
	c.Until = func(p event.Position) bool { return p.Count-event.FirstCount >= 1 }
	appendAll(t, l, transaction(1, user), transaction(2, user))
	next(t, c)
	if _, err := c.Next(t.Context()); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
}

// TestAClosedLogIsNotSettled: what asks it about the stream that reads now would take what that has given for a foreign writer's.
func TestAClosedLogIsNotSettled(t *testing.T) {
	l := newLog(t, 1<<20)
	c := newCursor(t, l, at(0), user)
	appendAll(t, l, transaction(1, user))
	if newest, settled := c.Newest(); newest != at(1).Version() || !settled {
		t.Errorf("newest %s, settled %t while it is open", newest, settled)
	}
	l.Close(io.EOF)
	if newest, settled := c.Newest(); newest != at(1).Version() || settled {
		t.Errorf("newest %s, settled %t when it is closed", newest, settled)
	}
}

func TestBoundaryHoldsTheGTIDsRead(t *testing.T) {
	l := newLog(t, 1<<20)
	appendAll(t, l, transaction(1, user), transaction(2, other))
	if p := l.Boundary(); p.Count-event.FirstCount != 2 || p.GTIDs != sid.String()+":1-2" {
		t.Errorf("boundary %d, GTIDs %q", p.Count-event.FirstCount, p.GTIDs)
	}
}

package sink_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

func TestWorkerWritesAllAndAcknowledgesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a"), write("b"), write("c")}, 2: {write("d")}, 3: {write("a")}, 4: {}}, small)
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.dest.written["a"] != 3 || b.dest.written["b"] != 1 || b.dest.written["d"] != 2 {
			t.Errorf("written: %v", b.dest.written)
		}
		if !slices.IsSorted(b.feed.acked) || b.feed.lastAck() != 4 {
			t.Errorf("acknowledged %v, want in order up to 4", b.feed.acked)
		}
	})
}

func TestWorkerSendsOnlyTheLastOperationOfADocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script{1: {write("x")}, 2: {write("a")}, 3: {write("a")}, 4: {{Op: mapping.Delete, Index: "i", ID: "a"}}}
		b := newBench(t, s, small) // while x is in flight, the others gather
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.dest.written["a"]; got != 4 {
			t.Errorf("a at version %d, want 4", got)
		}
		for _, o := range b.dest.order {
			if o == "a@3" {
				t.Error("an overtaken operation was sent")
			}
		}
	})
}

// TestWorkerSendsLargeDocumentsAlone: what is in flight is bounded in bytes (rule 7), however large a document is.
func TestWorkerSendsLargeDocumentsAlone(t *testing.T) {
	for bytes, want := range map[int]int{10: 4, 20_000: 1} { // of a document; bundles in flight at once
		synctest.Test(t, func(t *testing.T) {
			s := script{}
			for seq := range uint64(8) {
				c := write(fmt.Sprint(seq))
				c.Body = make([]byte, bytes)
				s[seq+1] = []mapping.Change{c}
			}
			b := newBench(t, s, sink.Limits{BulkBytes: 1000, BulkDocs: 1, InFlight: 4})
			most := 0
			done := make(chan error, 1)
			go func() { done <- b.worker.Run(t.Context()) }()
			for b.feed.lastAck() < 8 {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				b.dest.mu.Lock()
				most = max(most, len(b.dest.inFlight))
				b.dest.mu.Unlock()
			}
			if err := <-done; err != nil || most != want {
				t.Errorf("%d at once, want %d; %v", most, want, err)
			}
		})
	}
}

func TestWorkerDoesNotAcknowledgeWhatIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a")}, 2: {write("b")}}, sink.Limits{BulkBytes: 1 << 20, BulkDocs: 1, InFlight: 2})
		down := true
		b.dest.answer = func(changes []mapping.Change) error {
			if down && changes[0].ID == "a" {
				return errors.New("connection refused")
			}
			return nil
		}
		done := make(chan error, 1)
		go func() { done <- b.worker.Run(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.dest.written["b"] != 2 {
			t.Error("another document was held up")
		}
		if got := b.feed.lastAck(); got != 0 {
			t.Errorf("acknowledged %d before the destination had it", got)
		}
		if p := b.worker.Progress(); p.Stage != sink.Failing || p.LastError == "" {
			t.Errorf("progress says %+v, want failing with the error", p)
		}
		b.dest.mu.Lock()
		down = false
		b.dest.mu.Unlock()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if b.dest.written["a"] != 1 || b.feed.lastAck() != 2 {
			t.Errorf("written %v, acknowledged %d", b.dest.written, b.feed.lastAck())
		}
	})
}

func TestWorkerRetriesOnlyWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a"), write("b")}}, small)
		first := true
		b.dest.answer = func(changes []mapping.Change) error {
			if !first {
				if len(changes) != 1 || changes[0].ID != "b" {
					t.Errorf("sent again: %v, want b alone", changes)
				}
				return nil
			}
			first = false
			b.dest.written["a"] = 1
			return &sink.PartialError{Retry: changes[1:], Cause: errors.New("429")}
		}
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.dest.written["b"] != 1 || b.feed.lastAck() != 1 {
			t.Errorf("written %v, acknowledged %d", b.dest.written, b.feed.lastAck())
		}
	})
}

// TestWorkerWaitsNoLongerWhileItGetsOn: each request is refused but for one document.
func TestWorkerWaitsNoLongerWhileItGetsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batch []mapping.Change
		for i := range 50 {
			batch = append(batch, write(fmt.Sprint(i)))
		}
		b := newBench(t, script{1: batch}, sink.Limits{BulkBytes: 1 << 20, BulkDocs: 50, InFlight: 1})
		b.dest.takes = 0
		b.dest.answer = func(changes []mapping.Change) error {
			if len(changes) == 1 {
				return nil
			}
			b.dest.written[changes[0].ID] = 1
			return &sink.PartialError{Retry: changes[1:], Cause: errors.New("429")}
		}
		began := time.Now()
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second || len(b.dest.written) != 50 {
			t.Errorf("%d of 50 documents after %s", len(b.dest.written), took)
		}
	})
}

func TestWorkerSetsRefusedDocumentsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := write("c")
		broken.Err = errors.New("not UTF-8")
		b := newBench(t, script{1: {write("a"), write("b"), broken}}, sink.Limits{BulkBytes: 1 << 20, BulkDocs: 10, InFlight: 1})
		b.dest.answer = func(changes []mapping.Change) error {
			if len(changes) != 2 {
				t.Errorf("sent %d changes, want 2", len(changes))
			}
			return &sink.PartialError{Rejected: []sink.Rejection{{Change: changes[0], Reason: "strict"}}}
		}
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range b.keeper.all() {
			got[r.Document] = r.Reason
		}
		if len(got) != 2 || got["a"] != "strict" || got["c"] != "not UTF-8" {
			t.Errorf("set aside: %v", got)
		}
		if b.feed.lastAck() != 1 {
			t.Error("the batch was not acknowledged")
		}
	})
}

func TestWorkerJudgesConflicts(t *testing.T) {
	conflict := func(has event.Version) func([]mapping.Change) error {
		return func(changes []mapping.Change) error {
			return &sink.PartialError{Conflicts: []sink.Conflict{{Change: changes[0], Has: has}}}
		}
	}
	t.Run("our own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, script{1: {write("a")}}, small)
			b.dest.answer = conflict(900)
			if err := b.worker.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(b.keeper.all()) != 0 || b.worker.Progress().Account.Older != 1 || b.feed.lastAck() != 1 {
				t.Errorf("set aside %v, older %d, ack %d", b.keeper.all(), b.worker.Progress().Account.Older, b.feed.lastAck())
			}
		})
	})
	t.Run("foreign", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, script{1: {write("a")}}, small)
			b.dest.answer = conflict(1001)
			b.feed.hold = make(chan struct{})
			done := make(chan error, 1)
			go func() { done <- b.worker.Run(t.Context()) }()
			time.Sleep(time.Minute)
			close(b.feed.hold)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if r := b.keeper.all(); len(r) != 1 || r[0].Foreign != 1001 {
				t.Errorf("set aside %+v, want a with the foreign version 1001", r)
			}
		})
	})
	t.Run("not known at the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, script{1: {write("a")}}, small)
			b.dest.answer = conflict(1001)
			if err := b.worker.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(b.keeper.all()) != 0 || b.feed.lastAck() != 0 {
				t.Errorf("set aside %+v, ack %d: want it left to the next feed", b.keeper.all(), b.feed.lastAck())
			}
		})
	})
	t.Run("not known yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, script{1: {write("a")}, 2: {write("b")}}, sink.Limits{BulkBytes: 1 << 20, BulkDocs: 1, InFlight: 1})
			b.feed.settled = false
			b.feed.hold = make(chan struct{})
			b.dest.answer = func(changes []mapping.Change) error {
				if changes[0].ID == "a" {
					return conflict(1001)(changes)
				}
				return nil
			}
			done := make(chan error, 1)
			go func() { done <- b.worker.Run(t.Context()) }()
			time.Sleep(time.Minute)
			synctest.Wait()
			if b.dest.written["b"] != 2 || b.feed.lastAck() != 0 || len(b.keeper.all()) != 0 {
				t.Errorf("written %v, ack %d, aside %v: want b written and nothing acknowledged", b.dest.written, b.feed.lastAck(), b.keeper.all())
			}
			b.feed.mu.Lock()
			b.feed.newest = 1001 // it was our own, from before a crash
			b.feed.mu.Unlock()
			time.Sleep(time.Second)
			close(b.feed.hold)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if b.feed.lastAck() != 2 || len(b.keeper.all()) != 0 {
				t.Errorf("ack %d, aside %v", b.feed.lastAck(), b.keeper.all())
			}
		})
	})
}

func TestClearWaitsForWhatIsBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a"), write("b"), write("c")}, 2: {{Op: mapping.Clear, Index: "i"}}, 3: {write("d")}}, small)
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		i := slices.Index(b.dest.order, "clear@2")
		if i != 3 || len(b.dest.order) != 5 || b.feed.lastAck() != 3 {
			t.Errorf("order %v, ack %d", b.dest.order, b.feed.lastAck())
		}
	})
}

func TestWorkerBeginsNoWriteWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a")}}, small)
		ended := errors.New("lease ended")
		b.worker = sink.NewWorker(sink.Parts{Feed: b.feed, Decoder: decoder{}, Mapper: script{1: {write("a")}}, Sink: b.dest, Keeper: b.keeper, Own: mapping.Own{Index: "i"},
			Gate: sink.NewGate(), Begin: func() error { return ended }, Log: hclog.NewNullLogger()}, small)
		if err := b.worker.Run(t.Context()); !errors.Is(err, ended) {
			t.Errorf("got %v, want %v", err, ended)
		}
		if len(b.dest.written) > 0 || b.feed.lastAck() > 0 {
			t.Errorf("written %v, ack %d", b.dest.written, b.feed.lastAck())
		}
	})
}

func TestQuarantineHearsOfWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {write("a"), write("bad"), write("old")}, 2: {{Op: mapping.Clear}},
			3: {write("bad"), {Op: mapping.Delete, Index: "i", ID: "none", Nowhere: true}}}, small)
		first := true
		b.dest.answer = func(changes []mapping.Change) error {
			var e sink.PartialError
			for _, c := range changes {
				switch {
				case c.ID == "old":
					e.Conflicts = append(e.Conflicts, sink.Conflict{Change: c, Has: 5})
				case c.ID == "bad" && first:
					first = false
					e.Rejected = append(e.Rejected, sink.Rejection{Change: c, Reason: "strict"})
				}
			}
			if len(e.Rejected)+len(e.Conflicts) > 0 {
				return &e
			}
			return nil
		}
		if err := b.worker.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(b.keeper.written), "[a@1 clear@2 bad@3 none@3]"; got != want {
			t.Errorf("heard of %s, want %s", got, want)
		}
		if _, deleted := b.dest.written["none"]; deleted {
			t.Error("what had no document is deleted")
		}
	})
}

// stopping is a mapper that needs a person at a batch.
type stopping struct {
	script
	at uint64
}

func (s stopping) Map(rows []event.Row) ([]mapping.Change, error) {
	if uint64(rows[0].Version) == s.at {
		return nil, &event.StopError{Reason: "nobody can go on"}
	}
	return s.script.Map(rows)
}

// What came before a place at which the worker stops is written and acknowledged.
func TestWritesUpToAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := script{1: {write("x"), write("y")}, 2: {write("b")}, 3: {write("c")}, 4: {write("d")}}
		b := newBench(t, all, sink.Limits{BulkBytes: 1 << 20, BulkDocs: 2, InFlight: 2, Linger: time.Minute})
		b.worker.Mapper = stopping{all, 3}
		var stop *event.StopError
		if err := b.worker.Run(t.Context()); !errors.As(err, &stop) {
			t.Errorf("ended by %v", err)
		}
		if got := b.feed.lastAck(); got != 2 || b.dest.written["b"] != 2 || b.dest.written["c"] != 0 {
			t.Errorf("acknowledged %d, written %v", got, b.dest.written)
		}
	})
}

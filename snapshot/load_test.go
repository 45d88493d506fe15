package snapshot_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

func TestLoadWritesEveryRowOnceAndSweeps(t *testing.T) {
	const rows = 2*snapshot.ChunkRows + 7
	b := newBench(rows)
	b.dest.docs["orphan"], b.dest.version["orphan"] = "old", 5
	var last snapshot.Progress
	err := b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
		last = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.dest.docs) != rows || b.dest.docs["orphan"] != "" {
		t.Errorf("%d documents, want %d and no orphan", len(b.dest.docs), rows)
	}
	if last.Rows != rows || last.Swept != 1 || last.First != version(10) || b.dest.cleared != version(10) {
		t.Errorf("progress %+v, swept below %s", last, b.dest.cleared)
	}
	for _, w := range b.server.waited {
		if w != "set" {
			t.Error("a SELECT did not wait for the transactions that its ordinal covers")
		}
	}
}

// TestLoadOfFewRowsAtOnce: no SELECT and no request to the destination has more.
func TestLoadOfFewRowsAtOnce(t *testing.T) {
	b := newBench(25)
	b.reader.Rows = 7
	most := &counting{destination: b.dest}
	b.reader.Sink = most
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if len(b.dest.docs) != 25 || most.most != 7 || len(b.server.queries) != 4 {
		t.Errorf("%d documents, at most %d in a request, %d SELECTs; want 25, 7 and 4", len(b.dest.docs), most.most, len(b.server.queries))
	}
	for _, query := range b.server.queries {
		if !strings.HasSuffix(query, "LIMIT 7") {
			t.Errorf("asked %s", query)
		}
	}
}

// counting is a destination that notes the size of the largest request.
type counting struct {
	*destination
	most int
}

func (d *counting) Write(ctx context.Context, changes []mapping.Change) error {
	d.mu.Lock()
	d.most = max(d.most, len(changes))
	d.mu.Unlock()
	return d.destination.Write(ctx, changes)
}

// slowStart is a destination that writes the first document only when it is released.
type slowStart struct {
	*destination
	release chan struct{}
}

func (d *slowStart) Write(ctx context.Context, changes []mapping.Change) error {
	if changes[0].ID == "1" {
		<-d.release
	}
	return d.destination.Write(ctx, changes)
}

func TestLoadSavesInOrderWhileChunksAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(3 * snapshot.ChunkRows)
		slow := &slowStart{destination: b.dest, release: make(chan struct{})}
		b.reader.Sink = slow
		var saved []uint64
		done := make(chan error, 1)
		go func() {
			done <- b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
				saved = append(saved, p.Rows)
				return nil
			})
		}()
		synctest.Wait()
		b.dest.mu.Lock()
		written := len(b.dest.docs)
		b.dest.mu.Unlock()
		if written == 0 || len(saved) > 0 {
			t.Errorf("%d documents written and %d times saved before the first chunk is; want some and none", written, len(saved))
		}
		close(slow.release)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(saved) || saved[len(saved)-1] != 3*snapshot.ChunkRows || len(b.dest.docs) != 3*snapshot.ChunkRows {
			t.Errorf("saved %v, %d documents", saved, len(b.dest.docs))
		}
	})
}

// scales is a destination that takes its time and notes how much is on its way to it at once.
type scales struct {
	*destination
	now, most int
}

func (d *scales) Write(ctx context.Context, changes []mapping.Change) error {
	size := 0
	for _, c := range changes {
		size += len(c.Body)
	}
	d.mu.Lock()
	d.now += size
	d.most = max(d.most, d.now)
	d.mu.Unlock()
	time.Sleep(time.Second) // virtual
	d.mu.Lock()
	d.now -= size
	d.mu.Unlock()
	return d.destination.Write(ctx, changes)
}

// TestHugeRowsAreWrittenFewAtATime: nobody knows how large the next rows are when a SELECT is made.
func TestHugeRowsAreWrittenFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(0)
		huge := strings.Repeat("x", 12<<20)
		const rows = 6
		for id := range int64(rows) {
			b.server.rows[id+1] = huge
		}
		dest := &scales{destination: b.dest}
		b.reader.Sink = dest
		var last snapshot.Progress
		err := b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
			last = p
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(b.dest.docs) != rows || last.Rows != rows {
			t.Errorf("%d documents, %d rows counted, want %d", len(b.dest.docs), last.Rows, rows)
		}
		if dest.most > 16<<20 {
			t.Errorf("%d MiB on their way at once", dest.most>>20)
		}
	})
}

func TestLargeRowsMakeSmallChunks(t *testing.T) {
	b := newBench(0)
	for id := range int64(1200) {
		b.server.rows[id+1] = strings.Repeat("x", 40<<10)
	}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	for _, query := range b.server.queries[1:] {
		if rows := number(limit, query, 0); rows < 50 || rows > 110 { // 4 MiB
			t.Errorf("a chunk of %d rows of 40 KiB", rows)
		}
	}
	if len(b.dest.docs) != 1200 || len(b.server.queries) < 7 {
		t.Errorf("%d documents by %d queries", len(b.dest.docs), len(b.server.queries))
	}
}

func TestLoadGoesOnWhereItWas(t *testing.T) {
	b := newBench(20)
	p := snapshot.Progress{First: version(2), LastKey: []string{"15"}, Rows: 15}
	if err := b.reader.Load(t.Context(), p, keep(t)); err != nil {
		t.Fatal(err)
	}
	if len(b.dest.docs) != 5 || b.dest.docs["16"] == "" || b.dest.cleared != version(2) {
		t.Errorf("wrote %d documents, swept below %s; want 16 to 20 and the first run's ordinal", len(b.dest.docs), b.dest.cleared)
	}
}

func TestLoadReadsAgainWhatBecameTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(3)
		calls := 0
		b.dest.fail = func() error {
			if calls++; calls == 1 {
				time.Sleep(time.Minute) // the destination does not answer; meanwhile row 2 is deleted
				b.server.mu.Lock()
				delete(b.server.rows, 2)
				b.server.mu.Unlock()
				b.newest = 20
				return errors.New("timeout")
			}
			return nil
		}
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		if _, there := b.dest.docs["2"]; there || len(b.dest.docs) != 2 {
			t.Errorf("documents %v: a deleted row came back", b.dest.docs)
		}
		if b.dest.version["1"] != version(20) {
			t.Errorf("written at %s, want the ordinal of the second reading", b.dest.version["1"])
		}
	})
}

// A busy destination answers the first bulk after a minute, that it has taken nothing of it yet.
type busy struct {
	*destination
	meanwhile func()
}

func (b *busy) Write(ctx context.Context, changes []mapping.Change) error {
	if b.meanwhile == nil {
		return b.destination.Write(ctx, changes)
	}
	time.Sleep(time.Minute)
	b.meanwhile()
	b.meanwhile = nil
	return &sink.PartialError{Retry: changes, Cause: errors.New("429")}
}

// What an item that is tried again holds gets old, too.
func TestLoadReadsAgainWhatWasTriedForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(3)
		b.reader.Sink = &busy{b.dest, func() {
			b.server.mu.Lock()
			defer b.server.mu.Unlock()
			delete(b.server.rows, 2)
			b.newest = 20
		}}
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		if _, there := b.dest.docs["2"]; there || len(b.dest.docs) != 2 {
			t.Errorf("documents %v: a deleted row came back", b.dest.docs)
		}
	})
}

// A slow server's stream goes on while it gives its rows.
type slow struct {
	*server
	goesOn func()
}

func (s slow) Select(ctx context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	defer s.goesOn()
	return s.server.Select(ctx, at, query, columns, row)
}

func TestRowsHaveTheOrdinalFromBeforeTheyWereRead(t *testing.T) {
	b := newBench(1)
	b.reader.Selector = slow{b.server, func() { b.newest = 20 }}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if got := b.dest.version["1"]; got != version(10) {
		t.Errorf("written at %s, want %s: the row may have changed after that", got, version(10))
	}
}

func TestLoadSetsForeignVersionsAside(t *testing.T) {
	b := newBench(2)
	b.dest.docs["1"], b.dest.version["1"] = "foreign", 1<<62
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if len(b.keeper.refusals) != 1 || b.keeper.refusals[0].Document != "1" || b.keeper.refusals[0].Foreign != 1<<62 {
		t.Errorf("set aside: %+v", b.keeper.refusals)
	}
}

func TestRenderWritesTheRowAsItIsNow(t *testing.T) {
	b := newBench(3)
	b.dest.docs["9"] = "of a row that is gone"
	if err := b.reader.Render(t.Context(), "i", "2", nil, []string{"2"}); err != nil {
		t.Fatal(err)
	}
	if err := b.reader.Render(t.Context(), "i", "9", nil, []string{"9"}); err != nil {
		t.Fatal(err)
	}
	if b.dest.docs["2"] != "row" || len(b.dest.docs) != 1 {
		t.Errorf("documents: %v", b.dest.docs)
	}
}

func TestLoadRefusesATableWithoutKey(t *testing.T) {
	b := newBench(1)
	b.reader.Table = &event.Table{Name: table.Name, Columns: table.Columns}
	var stop *event.StopError
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); !errors.As(err, &stop) || !strings.Contains(err.Error(), "primary key") {
		t.Errorf("got %v, want a StopError about the key", err)
	}
}

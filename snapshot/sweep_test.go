package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/snapshot"
)

// TestLoadReadsNothingBelowItsFirstOrdinal: a stream that begins again at an earlier place while the load is under way has a lower newest
// ordinal for a while. What was written at it would be swept with the documents of no row.
func TestLoadReadsNothingBelowItsFirstOrdinal(t *testing.T) {
	const rows = snapshot.ChunkRows + 7
	for _, c := range []struct {
		name string
		from snapshot.Progress
		ends []uint64 // that the stream has reached, one after the other
	}{
		{"in one run", snapshot.Progress{}, []uint64{10, 7, 9, 10}},
		{"in a run that goes on", snapshot.Progress{First: version(10), LastKey: []string{"500"}}, []uint64{8, 9, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(rows)
				for id := range 500 * len(c.from.LastKey) {
					b.dest.docs[fmt.Sprint(id+1)], b.dest.version[fmt.Sprint(id+1)] = "row", version(10)
				}
				b.dest.docs["orphan"], b.dest.version["orphan"] = "old", version(9)
				asked := 0
				b.reader.Boundary = func() (event.Position, error) {
					n := c.ends[min(asked, len(c.ends)-1)]
					asked++
					return event.Position{Epoch: epoch, Count: event.FirstCount + n, GTIDs: "set"}, nil
				}
				if err := b.reader.Load(t.Context(), c.from, keep(t)); err != nil {
					t.Fatal(err)
				}
				if asked < len(c.ends) || len(b.dest.docs) != rows || b.dest.docs["orphan"] != "" {
					t.Errorf("%d documents, asked %d times; want %d, no orphan, and %d at least", len(b.dest.docs), asked, rows, len(c.ends))
				}
			})
		})
	}
}

// TestATableIsEmptiedWhileALoadWaitsForTheStream: the stream gets on only when it has emptied the table, which waits for the gate.
func TestATableIsEmptiedWhileALoadWaitsForTheStream(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails int // which write, from 1, so that rows are read again; 0 for none
		ends  []uint64
		says  string // why it does not get on, for who asks
	}{
		{"for more rows", 0, []uint64{10, 7}, "the stream is behind"},
		{"for the same rows again", 1, []uint64{10, 10, 7}, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(snapshot.ChunkRows + 7)
				b.dest.fail = func() error {
					if c.fails--; c.fails == 0 {
						return errors.New("no answer")
					}
					return nil
				}
				b.newest = 11
				var emptied atomic.Bool
				asked := 0
				b.reader.Boundary = func() (event.Position, error) {
					b.dest.mu.Lock()
					defer b.dest.mu.Unlock()
					n := c.ends[min(asked, len(c.ends)-1)]
					asked++
					if emptied.Load() {
						n = 11
					}
					return event.Position{Epoch: epoch, Count: event.FirstCount + n, GTIDs: "set"}, nil
				}
				loaded := make(chan error, 1)
				go func() { loaded <- b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)) }()
				time.Sleep(20 * time.Second)
				if name, since, err := b.reader.Doing(); name == "" || time.Since(since) < 15*time.Second || err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("it does %q since %s: %v; want a stall: %s", name, time.Since(since), err, c.says)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				release, err := b.reader.Gate.Close(ctx)
				if err != nil {
					t.Fatal("the load keeps the gate: ", err)
				}
				emptied.Store(true)
				release()
				if err := <-loaded; err != nil {
					t.Fatal(err)
				}
				if len(b.dest.docs) != snapshot.ChunkRows+7 {
					t.Errorf("%d documents", len(b.dest.docs))
				}
			})
		})
	}
}

// TestATableIsEmptiedWhileAChunkWaitsForThoseBeforeIt: they may be waiting for the stream, which has to empty the table before it gets on.
func TestATableIsEmptiedWhileAChunkWaitsForThoseBeforeIt(t *testing.T) {
	for _, c := range []struct {
		name string
		rows int
		text string
	}{
		{"for its turn", 3 * snapshot.ChunkRows, "row"},
		{"for room", 3, strings.Repeat("x", 12<<20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(0)
				for id := range c.rows {
					b.server.rows[int64(id+1)] = c.text
				}
				var away atomic.Bool
				var read atomic.Uint64 // up to where the stream is
				away.Store(true)
				read.Store(10)
				b.dest.fail = func() error {
					if away.Load() {
						return errors.New("no answer")
					}
					return nil
				}
				b.newest = 11
				b.reader.Boundary = func() (event.Position, error) {
					return event.Position{Epoch: epoch, Count: event.FirstCount + read.Load(), GTIDs: "set"}, nil
				}
				loaded := make(chan error, 1)
				go func() { loaded <- b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)) }()
				time.Sleep(20 * time.Second) // virtual
				read.Store(7)                // another leader begins at an earlier place
				time.Sleep(20 * time.Second)
				away.Store(false)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				release, err := b.reader.Gate.Close(ctx)
				if err != nil {
					t.Fatal("the load keeps the gate: ", err)
				}
				read.Store(11)
				release()
				if err := <-loaded; err != nil {
					t.Fatal(err)
				}
				if len(b.dest.docs) != c.rows {
					t.Errorf("%d documents, want %d", len(b.dest.docs), c.rows)
				}
			})
		})
	}
}

// TestLoadOfAPartSweepsNothing: a document of a row that the part leaves out looks as one of no row does.
func TestLoadOfAPartSweepsNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		floor uint64 // the count below which the stream has deleted all documents meanwhile
		want  []string
	}{
		{"as it is", 0, []string{"1", "2", "other", "orphan"}},
		{"the table was emptied", 7, []string{"1", "2", "other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(2)
			b.dest.docs["orphan"], b.dest.version["orphan"] = "old", 5
			b.dest.docs["other"], b.dest.version["other"] = "old", version(8)
			b.reader.Part = snapshot.Part{Where: "`u`.`n` > 1", Called: "u"}
			if c.floor > 0 {
				b.reader.Floor = func() event.Version { return version(c.floor) }
			}
			var last snapshot.Progress
			err := b.reader.Load(t.Context(), snapshot.Progress{}, func(_ context.Context, p snapshot.Progress) error {
				last = p
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(b.dest.docs)); !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
				t.Errorf("documents %q, want %q", got, c.want)
			}
			if last.Rows != 2 || !last.Sweeping {
				t.Errorf("progress %+v", last)
			}
			if query := b.server.queries[0]; !strings.Contains(query, "FROM `shop`.`user` AS `u` WHERE (`u`.`n` > 1) ORDER BY") {
				t.Errorf("asked %s", query)
			}
		})
	}
}

// TestSweepWaitsForWhatMayStillArrive: the table is emptied after its row was sent, and the row arrives long after its sender gave up.
func TestSweepWaitsForWhatMayStillArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(1)
		old, sent := version(10), false
		b.dest.fail = func() error {
			if sent {
				return nil
			}
			sent = true
			time.AfterFunc(snapshot.StragglerTime-time.Second, func() {
				b.dest.mu.Lock()
				defer b.dest.mu.Unlock()
				b.dest.docs["1"], b.dest.version["1"] = "row", old
			})
			b.server.mu.Lock()
			defer b.server.mu.Unlock()
			clear(b.server.rows)
			b.newest = 20
			return errors.New("timeout")
		}
		b.reader.Floor = func() event.Version { return version(20) }
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(snapshot.StragglerTime)
		if len(b.dest.docs) > 0 {
			t.Errorf("documents %v of an empty table", b.dest.docs)
		}
	})
}

func TestLoadLeavesWhatTheStreamWrote(t *testing.T) {
	b := newBench(2)
	b.newest = 30
	b.dest.docs["1"], b.dest.version["1"] = "newer", version(25)
	b.reader.Boundary = func() (event.Position, error) {
		return event.Position{Epoch: epoch, Count: event.FirstCount + 20}, nil
	}
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	if b.dest.docs["1"] != "newer" || b.dest.docs["2"] != "row" || len(b.keeper.refusals) != 0 {
		t.Errorf("documents %v, set aside %v", b.dest.docs, b.keeper.refusals)
	}
}

func TestLoadMeetsAnEarlierLife(t *testing.T) {
	b := newBench(2)
	b.dest.docs["1"], b.dest.version["1"] = "earlier", version(5000)
	err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t))
	var higher *snapshot.HigherError
	if !errors.As(err, &higher) || higher.Version != version(5000) {
		t.Errorf("got %v, want a HigherError with the version", err)
	}
}

func TestSweepMeetsAnEarlierLife(t *testing.T) {
	b := newBench(2)
	b.dest.docs["orphan"], b.dest.version["orphan"] = "of a row that is gone", version(5000)
	err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t))
	var higher *snapshot.HigherError
	if !errors.As(err, &higher) || higher.Version != version(5000) {
		t.Errorf("got %v, want a HigherError with the orphan's version", err)
	}
}

// Package snapshot writes the rows that exist beside the running stream: loads of all rows or a part, fan-outs, single rows. It reads them
// for look-ups and for verify, too.
//
// It knows one way to read (design: rows at an ordinal): take the end W of a transaction that the stream has read, wait
// until the server shows that transaction, SELECT, and write with W. A row that changed after W has a later event, which
// wins; a row that is not there has none, or a later one. Locks are taken only when the server has no GTIDs to wait for.
package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/backoff"
	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// maxAge is how old a chunk's W may be when it is sent: Elasticsearch forgets the version of a deleted document after
// index.gc_deletes, 60 s by default, and an older write would bring it back.
const maxAge = 30 * time.Second

// ChunkRows is the most rows that one SELECT returns. The first SELECT returns fewer, because nobody knows yet how large rows
// are; the others as many as make documents of chunkBytes.
const (
	ChunkRows  = 5000
	firstRows  = 500
	chunkBytes = 4 << 20
	// cutBytes ends a SELECT early, whatever its LIMIT: rows may be much larger than those before them.
	cutBytes = 2 * chunkBytes
	// pendingBytes bounds the documents of all chunks that are being written; a chunk with more is written alone.
	pendingBytes = 4 * chunkBytes
)

// A Selector reads rows of the source's own server.
type Selector interface {
	// Select waits until the server shows the transactions before at, if that has GTIDs, runs the query and calls row with
	// each row, its values as event.Row has them. The slice is row's to keep. When at has a server, another one is an error.
	Select(ctx context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error
}

// Progress is how far a load has come, as it is kept.
type Progress struct {
	// First is W of the first chunk: what is older belongs to no row when all are written. Of a part it is the version below which all
	// documents were deleted meanwhile, 0 when none were.
	First    event.Version
	LastKey  []string // literals of the key of the last row that the destination has; empty at the start
	Rows     uint64
	Sweeping bool
	Swept    uint64
}

// HigherError says that a document holds a version that the source has not given in this epoch: its index was written
// by an earlier life of this source whose state is gone. Raising the epoch above it cures it.
type HigherError struct {
	Document string // "" when it is not known
	Version  event.Version
}

func (e *HigherError) Error() string {
	return fmt.Sprintf("document %q has the version %s, which this source has not given yet", e.Document, e.Version)
}

// A Part of a mapping's rows is what a load can be of. The zero value is all.
type Part struct {
	Where  string // a condition of the table's rows; of the anchor's where the server renders documents
	Called string // the name by which it calls the table
}

// A Reader reads rows of one mapping's table at an ordinal and writes their documents.
type Reader struct {
	Selector Selector
	Table    *event.Table  // as the server describes it now
	Columns  []int         // of Table, which the mapping needs
	Rule     *mapping.Rule // when the server renders the documents; Table is what it answers then
	Anchor   *event.Table  // with a Rule: the table whose columns make the id
	Mapper   sink.Mapper
	Sink     sink.Sink
	Own      mapping.Own // the mapping's documents, for the sweep
	Begin    func() error
	// Boundary returns the end of the newest transaction that the stream has read, with its GTIDs; an error while there
	// is no stream.
	Boundary func() (event.Position, error)
	Newest   func() (event.Version, bool) // as sink.Feed
	Keeper   sink.Keeper
	// Written, if there is one, is told of the documents that the destination has taken, by several goroutines.
	Written func(context.Context, []mapping.Change) error
	Gate    *sink.Gate
	// Floor returns the version below which the stream has deleted all documents meanwhile, and SweepAfter says when the sweep may begin:
	// what others have sent earlier for rows that are gone has arrived by then.
	Floor      func() event.Version
	SweepAfter time.Time
	Part       Part
	Rows       int  // that are read and written at once; 0 for as many as are best, at most ChunkRows
	Locks      bool // the server has no GTIDs: lock the rows that are read
	Limits     sink.Limits
	Log        hclog.Logger

	steps   steps
	unknown atomic.Int64 // when a request was last given up whose answer nobody knows, in Unix nanoseconds
}

// StragglerTime is how long what was sent may be under way after who sent it gave it up, or ended.
const StragglerTime = 10 * time.Second

// sweepAfter returns when everything has arrived that was sent for rows which may be gone.
func (r *Reader) sweepAfter() time.Time {
	after := r.SweepAfter
	if given := r.unknown.Load(); given > 0 {
		if up := time.Unix(0, given).Add(StragglerTime); up.After(after) {
			after = up
		}
	}
	return after
}

// A chunk is some rows' documents, read at one ordinal.
type chunk struct {
	at      event.Version
	read    time.Time // when W was taken
	changes []mapping.Change
	rows    int
	cut     bool       // there were more rows than it took
	end     bool       // nothing is behind it
	last    []any      // the values of the last row
	lastKey []string   // literals of its key, or of the last one that was looked at; nil while there is none
	done    chan error // gives what came of its writing
}

// bytes is the size of its documents.
func (c chunk) bytes() int {
	size := 0
	for i := range c.changes {
		size += len(c.changes[i].Body)
	}
	return size
}

// chunkRows is the most rows of a chunk.
func (r *Reader) chunkRows() int { return cmp.Or(r.Rows, ChunkRows) }

func (r *Reader) firstRows() int { return min(firstRows, r.chunkRows()) }

// nextRows says how many rows the chunk behind c should have, by the size of its documents.
func (r *Reader) nextRows(c chunk) int {
	if c.rows == 0 { // keys without documents
		return r.firstRows()
	}
	return min(r.chunkRows(), max(1, chunkBytes*c.rows/max(1, c.bytes())))
}

// Load copies the table from where progress says, then sweeps. save keeps the progress; it is called after each chunk
// that the destination has.
func (r *Reader) Load(ctx context.Context, p Progress, save func(context.Context, Progress) error) error {
	if err := RequireKey(r.Table); err != nil {
		return err
	}
	if !p.Sweeping {
		err := r.copy(ctx, r, p.First, p.LastKey, func(ctx context.Context, c chunk) error {
			if p.First == 0 && r.Part.Where == "" {
				p.First = c.at
			}
			p.Rows += uint64(c.rows)
			if len(c.lastKey) > 0 {
				p.LastKey = c.lastKey
			}
			return save(ctx, p)
		})
		if err != nil {
			return err
		}
		p.Sweeping = true
		if err := save(ctx, p); err != nil {
			return err
		}
	}
	clearer, ok := r.Sink.(sink.Clearer)
	if !ok {
		return nil
	}
	timer := time.NewTimer(time.Until(r.sweepAfter()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.Floor != nil {
		p.First = max(p.First, r.Floor())
	}
	if p.First == 0 { // of a part, which says nothing about the other rows' documents
		return save(ctx, p)
	}
	// What is older than the first chunk belongs to no row.
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		if err := r.Begin(); err != nil {
			return err
		}
		cleared, err := clearer.Clear(ctx, r.Own, p.First)
		p.Swept += uint64(cleared.Deleted)
		if err == nil {
			if newest, settled := r.Newest(); settled && cleared.Highest > newest && plausible(cleared.Highest) {
				return &HigherError{Version: cleared.Highest} // it may belong to no row, and the sweep did not reach it
			}
			return save(ctx, p)
		}
		r.Log.Warn("sweep again", "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// RequireKey returns an *event.StopError when a table has no primary key: nothing says which row became which document, and
// no load can go through it in order.
func RequireKey(t *event.Table) error {
	if len(t.Key) == 0 {
		return &event.StopError{Reason: fmt.Sprintf("table %s has no primary key", t.Name), Fix: "give it one: ALTER TABLE " + t.Name.String() + " ADD PRIMARY KEY (...)"}
	}
	return nil
}

// Render reads the row with that key and writes its document; when the row is gone, or now makes another document, the
// given one is deleted. The document is nowhere else then, as far as routings, beside its id, say where it may be.
func (r *Reader) Render(ctx context.Context, index, document string, routings, key []string) error {
	release, err := r.Gate.Share(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := r.readOnce(ctx, 0, r.query().exactly(key), math.MaxInt)
	if err != nil {
		return err
	}
	was := mapping.Change{Op: mapping.Delete, Index: index, ID: document, Version: c.at, Row: &event.Row{Table: r.Table}}
	if len(routings) > 0 {
		was.Routing, was.Left = routings[0], routings[1:]
	}
	own := false
	for i, change := range c.changes {
		if change.ID == document {
			own, c.changes[i] = true, change.After(was)
		}
	}
	if !own {
		c.changes = append(c.changes, was)
	}
	step := r.steps.begin(Writing)
	defer step.end()
	return r.write(ctx, c, step)
}

// First reads the first row of a table in its key's order, for a look at it; there may be none.
func First(ctx context.Context, s Selector, t *event.Table) ([]event.Row, error) {
	all := make([]int, len(t.Columns))
	for i := range all {
		all[i] = i
	}
	query := chunkQuery{table: t, columns: all}.first()
	var rows []event.Row
	err := s.Select(ctx, event.Position{}, query, t.Columns, func(values []any) error {
		rows = append(rows, event.Row{Table: t, Op: event.Insert, Version: 1, After: values})
		return nil
	})
	return rows, err
}

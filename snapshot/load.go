// Package snapshot writes the rows that exist beside the running stream: loads of whole tables and single rows.
//
// It knows one way to read (design: rows at an ordinal): take the end W of a transaction that the stream has read, wait
// until the server shows that transaction, SELECT, and write with W. A row that changed after W has a later event, which
// wins; a row that is not there has none, or a later one. Locks are taken only when the server has no GTIDs to wait for.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

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
	First    event.Version // W of the first chunk
	LastKey  []string      // literals of the key of the last row that the destination has; empty at the start
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

// A Reader reads rows of one mapping's table at an ordinal and writes their documents.
type Reader struct {
	Selector Selector
	Table    *event.Table  // as the server describes it now
	Columns  []int         // of Table, which the mapping needs
	Rule     *mapping.Rule // when the server renders the documents; Table is what it answers then
	Mapper   sink.Mapper
	Sink     sink.Sink
	Begin    func() error
	// Boundary returns the end of the newest transaction that the stream has read, with its GTIDs; an error while there
	// is no stream.
	Boundary func() (event.Position, error)
	Newest   func() (event.Version, bool) // as sink.Feed
	Keeper   sink.Keeper
	Gate     *sink.Gate
	// Floor returns the version below which the stream has deleted all documents meanwhile, and SweepAfter says when the sweep may begin:
	// what was sent earlier for rows that are gone has arrived by then.
	Floor      func() event.Version
	SweepAfter time.Time
	Locks      bool // the server has no GTIDs: lock the rows that are read
	Limits     sink.Limits
	Log        hclog.Logger

	steps steps
}

// A chunk is some rows' documents, read at one ordinal.
type chunk struct {
	at      event.Version
	read    time.Time // when W was taken
	changes []mapping.Change
	rows    int
	cut     bool // there were more rows than it took
	end     bool // nothing is behind it
	lastKey []string
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

// nextRows says how many rows the next chunk should have, by the size of this one's documents.
func (c chunk) nextRows() int {
	if c.rows == 0 { // keys without documents
		return firstRows
	}
	return min(ChunkRows, max(1, chunkBytes*c.rows/max(1, c.bytes())))
}

// Load copies the table from where progress says, then sweeps. save keeps the progress; it is called after each chunk
// that the destination has.
func (r *Reader) Load(ctx context.Context, p Progress, save func(context.Context, Progress) error) error {
	if err := RequireKey(r.Table); err != nil {
		return err
	}
	if !p.Sweeping {
		if err := r.copy(ctx, &p, save); err != nil {
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
	timer := time.NewTimer(time.Until(r.SweepAfter))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.Floor != nil {
		p.First = max(p.First, r.Floor())
	}
	// What is older than the first chunk belongs to no row.
	index := ""
	if m, ok := r.Mapper.(interface{ Index() string }); ok {
		index = m.Index()
	}
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		if err := r.Begin(); err != nil {
			return err
		}
		cleared, err := clearer.Clear(ctx, index, p.First)
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

// copy reads chunk after chunk; while one is read, the two before it are written. Progress is saved in their order.
func (r *Reader) copy(ctx context.Context, p *Progress, save func(context.Context, Progress) error) error {
	g, ctx := errgroup.WithContext(ctx)
	chunks := make(chan chunk, 1)
	room := semaphore.NewWeighted(pendingBytes)
	g.Go(func() error {
		defer close(chunks)
		key, limit := p.LastKey, firstRows
		for {
			r.Gate.RLock()
			c, err := r.next(ctx, key, limit)
			if err != nil {
				r.Gate.RUnlock()
				return err
			}
			c.done = make(chan error, 1)
			last := c.lastKey
			if c.end {
				last = nil // the end of the table
			}
			again := r.query().upTo(key, last)
			weight := int64(min(c.bytes(), pendingBytes))
			if err := room.Acquire(ctx, weight); err != nil {
				r.Gate.RUnlock()
				return err
			}
			select {
			case <-ctx.Done():
				r.Gate.RUnlock()
				return ctx.Err()
			case chunks <- c:
			}
			g.Go(func() error {
				defer r.Gate.RUnlock()
				defer room.Release(weight)
				err := r.writeFresh(ctx, c, func() (chunk, error) { return r.read(ctx, again, math.MaxInt) })
				c.done <- err
				return err
			})
			if c.end {
				return nil
			}
			key, limit = c.lastKey, c.nextRows()
		}
	})
	g.Go(func() error {
		for c := range chunks {
			if p.First == 0 {
				p.First = c.at
			}
			if err := <-c.done; err != nil {
				return err
			}
			p.Rows += uint64(c.rows)
			if len(c.lastKey) > 0 {
				p.LastKey = c.lastKey
			}
			if err := save(ctx, *p); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func (r *Reader) query() query {
	if r.Rule != nil {
		return ruleQuery{r.Rule}
	}
	return chunkQuery{table: r.Table, columns: r.Columns, lock: r.Locks}
}

// next reads the chunk behind a key, of at most limit rows. Of what the server renders the keys are read first: a key may have no
// document.
func (r *Reader) next(ctx context.Context, key []string, limit int) (chunk, error) {
	if r.Rule == nil {
		c, err := r.read(ctx, r.query().next(key, limit), cutBytes)
		c.end = c.rows < limit && !c.cut
		return c, err
	}
	last, found, err := r.lastKey(ctx, key, limit)
	if err != nil {
		return chunk{}, err
	}
	end := found < limit
	if end {
		last = nil // up to the end, wherever that is when they are read
	}
	c, err := r.read(ctx, r.query().upTo(key, last), cutBytes)
	if err == nil && !c.cut {
		c.end = end
		if !end {
			c.lastKey = last
		}
	}
	return c, err
}

// lastKey returns the last of the next keys, and how many they are.
func (r *Reader) lastKey(ctx context.Context, key []string, limit int) (last []string, found int, err error) {
	columns := make([]event.Column, len(r.Table.Key))
	for i, k := range r.Table.Key {
		columns[i] = r.Table.Columns[k]
	}
	keys := &event.Table{Name: r.Table.Name, Columns: columns, Key: []int{}}
	for i := range columns {
		keys.Key = append(keys.Key, i)
	}
	err = r.again(ctx, func() error {
		found = 0
		return r.Selector.Select(ctx, event.Position{}, r.query().next(key, limit), columns, func(values []any) error {
			found++
			last, err = Key(keys, values)
			return err
		})
	})
	return last, found, err
}

// read reads a chunk at the newest ordinal, up to the row with which its values have so many bytes; it tries again while the source
// does not answer.
func (r *Reader) read(ctx context.Context, query string, most int) (chunk, error) {
	var c chunk
	err := r.again(ctx, func() (err error) {
		c, err = r.readOnce(ctx, query, most)
		return err
	})
	return c, err
}

// again asks the source until it answers.
func (r *Reader) again(ctx context.Context, ask func() error) error {
	step := r.steps.begin(Reading)
	defer step.end()
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		err := ask()
		var stop *event.StopError
		if err == nil || ctx.Err() != nil || errors.As(err, &stop) {
			return err
		}
		step.failed(err)
		r.Log.Warn("read rows again", "table", r.Table.Name, "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// errCut ends a SELECT that has given enough.
var errCut = errors.New("the chunk is full")

func (r *Reader) readOnce(ctx context.Context, query string, most int) (chunk, error) {
	end, err := r.Boundary()
	if err != nil {
		return chunk{}, err
	}
	c := chunk{at: end.Version(), read: time.Now()}
	columns := make([]event.Column, len(r.Columns))
	for i, k := range r.Columns {
		columns[i] = r.Table.Columns[k]
	}
	if r.Locks {
		end.GTIDs = ""
	}
	size := 0
	rows := make([]event.Row, 0, ChunkRows)
	err = r.Selector.Select(ctx, end, query, columns, func(values []any) error {
		row := values
		if len(r.Columns) < len(r.Table.Columns) {
			row = make([]any, len(r.Table.Columns))
			for i, k := range r.Columns {
				row[k] = values[i]
			}
		}
		rows = append(rows, event.Row{Table: r.Table, Op: event.Insert, Version: c.at, After: row})
		if size += bytesOf(values); size >= most {
			c.cut = true
			return errCut
		}
		return nil
	})
	if err != nil && !c.cut {
		return chunk{}, fmt.Errorf("read rows of %s: %w", r.Table.Name, err)
	}
	c.rows = len(rows)
	if c.rows > 0 && (r.Rule == nil || c.cut) { // a rule's keys were read before
		if c.lastKey, err = Key(r.Table, rows[c.rows-1].After); err != nil {
			return chunk{}, err
		}
	}
	if c.changes, err = r.Mapper.Map(rows); err != nil {
		return chunk{}, fmt.Errorf("map rows of %s: %w", r.Table.Name, err)
	}
	return c, nil
}

// bytesOf is the size of texts and bytes, which is what makes a row large.
func bytesOf(values []any) int {
	size := 0
	for _, v := range values {
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	return size
}

// errStale says that a chunk is too old to be sent.
var errStale = errors.New("the rows were read too long ago")

// writeFresh writes a chunk; one that has become too old, or that met an unreachable destination, is read again: what it
// holds may have been deleted and forgotten meanwhile.
func (r *Reader) writeFresh(ctx context.Context, c chunk, again func() (chunk, error)) error {
	step := r.steps.begin(Writing)
	defer step.end()
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		err := r.write(ctx, c, step)
		var higher *HigherError
		var stop *event.StopError
		if err == nil || ctx.Err() != nil || errors.As(err, &higher) || errors.As(err, &stop) {
			return err
		}
		step.failed(err)
		r.Log.Warn("read and write rows again", "table", r.Table.Name, "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
		if c, err = again(); err != nil {
			return err
		}
	}
}

// write sends a chunk in bulks, several at a time.
func (r *Reader) write(ctx context.Context, c chunk, step *step) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Limits.InFlight)
	for _, bulk := range split(c.changes, r.Limits) {
		g.Go(func() error {
			err := r.writeBulk(ctx, c, bulk)
			if err == nil {
				step.moved()
			}
			return err
		})
	}
	return g.Wait()
}

// split cuts changes into bulks.
func split(changes []mapping.Change, l sink.Limits) [][]mapping.Change {
	var bulks [][]mapping.Change
	size := 0
	start := 0
	for i := range changes {
		size += len(changes[i].Body) + len(changes[i].ID)
		if i-start+1 >= l.BulkDocs || size >= l.BulkBytes {
			bulks = append(bulks, changes[start:i+1])
			start, size = i+1, 0
		}
	}
	if start < len(changes) {
		bulks = append(bulks, changes[start:])
	}
	return bulks
}

func (r *Reader) writeBulk(ctx context.Context, c chunk, bulk []mapping.Change) error {
	wait := backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second}
	var refusals []sink.Refusal
	todo := make([]mapping.Change, 0, len(bulk))
	for _, change := range bulk {
		if change.Err != nil {
			refusals = append(refusals, sink.NewRefusal(change, change.Err.Error()))
			continue
		}
		todo = append(todo, change)
	}
	for len(todo) > 0 {
		if time.Since(c.read) > maxAge {
			return errStale
		}
		if err := r.Begin(); err != nil {
			return err
		}
		err := r.Sink.Write(ctx, todo)
		var partial *sink.PartialError
		if err == nil {
			break
		}
		if !errors.As(err, &partial) {
			return err
		}
		for _, x := range partial.Rejected {
			refusals = append(refusals, sink.NewRefusal(x.Change, x.Reason))
		}
		foreign, err := r.judge(ctx, partial.Conflicts)
		if err != nil {
			return err
		}
		refusals = append(refusals, foreign...)
		if todo = partial.Retry; len(todo) > 0 {
			if err := wait.Wait(ctx); err != nil {
				return err
			}
		}
	}
	if len(refusals) > 0 {
		return r.Keeper.SetAside(ctx, refusals)
	}
	return nil
}

// judge looks at documents that hold a higher version: what the stream wrote meanwhile is newer than the row that was read.
func (r *Reader) judge(ctx context.Context, conflicts []sink.Conflict) ([]sink.Refusal, error) {
	var foreign []sink.Refusal
	for _, c := range conflicts {
		wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond}
		for {
			newest, settled := r.Newest()
			if c.Has <= newest {
				break
			}
			if settled {
				if plausible(c.Has) {
					return nil, &HigherError{Document: c.Change.ID, Version: c.Has}
				}
				foreign = append(foreign, sink.NewForeign(c))
				break
			}
			if err := wait.Wait(ctx); err != nil {
				return nil, err
			}
		}
	}
	return foreign, nil
}

// plausible reports whether a version has our layout and leaves room for epochs above it. A lost state's epoch can lie far
// above the clock: a retry of a foreign version raises it that far.
func plausible(v event.Version) bool {
	return v.Count() >= event.FirstCount && v.Epoch() <= event.MaxEpoch/2
}

// Render reads the row with that key and writes its document; when the row is gone, or now makes another document, the
// given one is deleted.
func (r *Reader) Render(ctx context.Context, index, document string, key []string) error {
	r.Gate.RLock()
	defer r.Gate.RUnlock()
	c, err := r.readOnce(ctx, r.query().exactly(key), math.MaxInt)
	if err != nil {
		return err
	}
	own := false
	for _, change := range c.changes {
		own = own || change.ID == document
	}
	if !own {
		c.changes = append(c.changes, mapping.Change{Op: mapping.Delete, Index: index, ID: document, Version: c.at, Row: &event.Row{Table: r.Table}})
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

package relay

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"canalgo/event"
)

// A Cursor is one duty's view of a Log: the batches with events of its tables, after its position. Next is for one
// goroutine; the other methods are safe for several.
type Cursor struct {
	log  *Log
	want func(event.TableName) bool
	from event.Version // events up to here are left out: the destination has them

	// Until, when set before the first Next, ends the feed with io.EOF at the first transaction boundary for
	// whose position it reports true.
	Until func(event.Position) bool

	// guarded by log.mu
	next   uint64 // seq of the batch to read next
	moved  time.Time
	behind bool
	guest  bool // holds nobody up
	ended  bool // End was called
	inside bool // the last batch that was taken did not end its transaction

	ending chan struct{} // closed by End

	mu       sync.Mutex
	marks    []mark // what was passed and not acknowledged yet, in order
	position event.Position
	executed event.GTIDSet
	read     event.Position // end of the last batch passed
}

// A mark is a run of batches that were passed. Its end becomes the position once its last delivered batch is
// acknowledged.
type mark struct {
	seq  uint64 // of the batch that was delivered; 0 when nothing in it concerns the duty
	end  event.Position
	runs []event.GTIDRun
}

// NewCursor returns a cursor that starts after from, which must hold its GTIDs if the source has them.
func (l *Log) NewCursor(from event.Position, want func(event.TableName) bool) (*Cursor, error) {
	executed, err := event.ParseGTIDSet(from.GTIDs)
	if err != nil {
		return nil, fmt.Errorf("position %s: %w", from, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if from.Version() < l.base {
		return nil, ErrBehind
	}
	c := &Cursor{log: l, want: want, from: from.Version(), next: l.first, moved: time.Now(), position: from, executed: executed, read: from,
		ending: make(chan struct{})}
	l.cursors[c] = struct{}{}
	l.expected--
	l.wake()
	return c, nil
}

// Next returns the next batch that holds events of the duty's tables.
func (c *Cursor) Next(ctx context.Context) (event.Batch, error) {
	for {
		b, err := c.take(ctx)
		if err != nil {
			return event.Batch{}, err
		}
		executed := b.Executed() // by all of its events, not only by those that are left
		b.Events = c.filter(b.Events)
		c.pass(b, executed)
		if len(b.Events) > 0 {
			return b, nil
		}
	}
}

// take returns the next batch of the log, whatever it holds.
func (c *Cursor) take(ctx context.Context) (event.Batch, error) {
	l := c.log
	for {
		l.mu.Lock()
		c.moved = time.Now() // a reader with nothing to read counts as moved
		if c.behind {
			l.mu.Unlock()
			return event.Batch{}, ErrBehind
		}
		if c.ended && !c.inside {
			l.mu.Unlock()
			return event.Batch{}, ErrToldToEnd
		}
		if i := c.next - l.first; i < uint64(len(l.batches)) {
			b := l.batches[i]
			if c.Until != nil && !c.inside && c.Until(c.Read()) {
				l.mu.Unlock()
				return event.Batch{}, io.EOF
			}
			c.next++
			c.inside = b.Last() > b.End.Version()
			l.wake()
			l.mu.Unlock()
			return b, nil
		}
		if l.err != nil {
			defer l.mu.Unlock()
			return event.Batch{}, l.err
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return event.Batch{}, ctx.Err()
		case <-changed:
		}
	}
}

// filter returns the events of the duty's tables, none when nothing in them is to be done.
func (c *Cursor) filter(events []event.Event) []event.Event {
	kept, work := 0, false
	for i := range events {
		if c.keeps(&events[i]) {
			kept++
			work = work || events[i].Version != 0
		}
	}
	switch {
	case !work:
		return nil
	case kept == len(events):
		return events
	}
	out := make([]event.Event, 0, kept)
	for i := range events {
		if c.keeps(&events[i]) {
			out = append(out, events[i])
		}
	}
	return out
}

func (c *Cursor) keeps(e *event.Event) bool {
	switch e.Kind {
	case event.TableMap, event.Defined:
		return c.want(e.Table)
	case event.Rows:
		return e.Version > c.from && c.want(e.Table)
	case event.Statement:
		return e.Version > c.from && c.wantsStatement(e.Statement)
	case event.FormatDescription:
		return true
	}
	return false
}

func (c *Cursor) wantsStatement(s *event.Stmt) bool {
	if len(s.Tables) == 0 {
		return s.Action == event.Unparsed || s.Action == event.Missing
	}
	for _, t := range s.Tables {
		// A whole schema may hold one of ours; the mapping decides.
		if t.Name == "" || c.want(t) {
			return true
		}
	}
	return false
}

// pass notes that b was read, with the transaction that was executed where it ends, and that it awaits its acknowledgement if it has events.
func (c *Cursor) pass(b event.Batch, gtid event.GTID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = b.End
	run := gtid.Run()
	if len(b.Events) > 0 {
		m := mark{seq: b.Seq, end: b.End}
		if !gtid.IsZero() {
			m.runs = []event.GTIDRun{run}
		}
		c.marks = append(c.marks, m)
		return
	}
	if len(c.marks) == 0 { // nothing is in flight: an idle table must not pin old files
		c.advance(b.End)
		c.executed.Add(run)
		return
	}
	last := &c.marks[len(c.marks)-1]
	last.end = b.End
	if gtid.IsZero() {
		return
	}
	if n := len(last.runs); n > 0 && continues(last.runs[n-1], gtid) {
		last.runs[n-1].Last = gtid.N
		return
	}
	last.runs = append(last.runs, run)
}

func continues(r event.GTIDRun, g event.GTID) bool {
	return r.First.UUID == g.UUID && r.First.Tag == g.Tag && r.Last+1 == g.N
}

// Ack says that the destination has all batches up to seq.
func (c *Cursor) Ack(_ context.Context, seq uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.marks) && c.marks[n].seq <= seq {
		for _, r := range c.marks[n].runs {
			c.executed.Add(r)
		}
		c.advance(c.marks[n].end)
		n++
	}
	c.marks = append(c.marks[:0], c.marks[n:]...)
	return nil
}

// advance moves the position, which never goes back. c.mu is held.
func (c *Cursor) advance(end event.Position) {
	if !end.Before(c.position) {
		c.position = end
	}
}

// End makes Next return ErrToldToEnd at the next transaction boundary.
func (c *Cursor) End() {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if !c.ended {
		close(c.ending)
	}
	c.ended = true
	c.log.wake()
}

// Ending returns a channel that is closed by End.
func (c *Cursor) Ending() <-chan struct{} { return c.ending }

// AtEnd reports whether Next has nothing to return any more because of End.
func (c *Cursor) AtEnd() bool {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return c.ended && !c.inside
}

// Position returns the position up to which everything is acknowledged, with its GTID set.
func (c *Cursor) Position() event.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.position
	p.GTIDs = c.executed.String()
	return p
}

// Read returns the end of the last batch that was read.
func (c *Cursor) Read() event.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read
}

// Newest returns what Log.Newest does.
func (c *Cursor) Newest() (event.Version, bool) { return c.log.Newest() }

// Close takes the cursor off the log: the log no longer waits for the cursor.
func (c *Cursor) Close() error {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	delete(c.log.cursors, c)
	c.behind = true
	c.log.wake()
	return nil
}

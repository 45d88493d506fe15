package sink

import (
	"context"
	"sync"
	"time"

	"canalgo/mapping"
)

// A bundle is what one request to the destination carries: the changes of one or more batches, each document once.
type bundle struct {
	changes  []mapping.Change
	places   map[string]int // where a document's change stands in changes
	bytes    int
	seq      uint64    // the last batch whose changes are all in this bundle or earlier ones; 0: none ends here
	opened   time.Time // when its first change came
	taken    time.Time // when it was handed out to be written
	after    []*bundle // bundles in flight that touch one of its documents
	written  bool      // the destination answered for every change
	pending  []Conflict
	answered time.Time // when the destination had answered
}

// A verdict says what became of changes that the destination has answered for.
type verdict struct {
	applied, older, aside int
	pending               []Conflict // can be judged only when more was read
}

// changeOverhead is what a change costs in a request beyond its body: the action line.
const changeOverhead = 96

// A queue gathers changes into bundles and hands them out so that no document is in two bundles in flight, and knows in
// which order they may be acknowledged.
type queue struct {
	maxBytes, maxDocs int
	linger            time.Duration
	maxFlight         int // bytes of all bundles that are being written; one that is larger goes alone

	mu      sync.Mutex
	changed chan struct{} // closed at each change
	open    *bundle       // being filled
	flight  []*bundle     // taken, in order, the oldest first; it leaves when it and all before it are settled
	writing int           // of flight, how many are not written yet
	flying  int           // bytes of those
	waiting bool          // somebody waits for the open bundle to go, full or not
	account Account       // but for Held, which is what is here
}

// newQueue returns a queue of bundles of so many bytes and documents, of which so many may be in flight. A document may be larger than
// a bundle should be: then fewer are in flight at once.
func newQueue(maxBytes, maxDocs, inFlight int, linger time.Duration) *queue {
	return &queue{maxBytes: maxBytes, maxDocs: maxDocs, linger: linger, maxFlight: 2 * inFlight * maxBytes, changed: make(chan struct{}), open: newBundle()}
}

func newBundle() *bundle { return &bundle{places: make(map[string]int)} }

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// wait blocks until done, called under q.mu after each change, reports true. It returns with q.mu held, unless ctx ended.
func (q *queue) wait(ctx context.Context, done func() bool) error {
	q.mu.Lock()
	for !done() {
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		q.mu.Lock()
	}
	return nil
}

// add puts a batch's changes into the open bundle, the next one when it is full, and so on. It blocks while there is no room.
func (q *queue) add(ctx context.Context, changes []mapping.Change, seq uint64) error {
	for {
		if err := q.wait(ctx, func() bool { return !q.full() }); err != nil {
			return err
		}
		for len(changes) > 0 && !q.full() {
			q.put(changes[0])
			changes = changes[1:]
		}
		if len(changes) == 0 {
			q.open.seq = seq
			if q.open.opened.IsZero() {
				q.open.opened = time.Now()
			}
		}
		q.wake()
		q.mu.Unlock()
		if len(changes) == 0 {
			return nil
		}
	}
}

func (q *queue) full() bool {
	return len(q.open.changes) >= q.maxDocs || q.open.bytes >= q.maxBytes
}

// put adds one change to the open bundle. Within a bundle only the last operation of a document is sent (rule 4).
func (q *queue) put(c mapping.Change) {
	b := q.open
	if len(b.changes) == 0 {
		b.opened = time.Now()
	}
	q.account.Changes++
	size := len(c.Body) + len(c.ID) + changeOverhead
	if i, ok := b.places[c.ID]; ok {
		b.bytes += size - len(b.changes[i].Body) - len(c.ID) - changeOverhead
		b.changes[i] = c.After(b.changes[i])
		q.account.Merged++
		return
	}
	b.places[c.ID] = len(b.changes)
	b.changes = append(b.changes, c)
	b.bytes += size
	for _, f := range q.flight {
		if _, ok := f.places[c.ID]; ok && !f.written && (len(b.after) == 0 || b.after[len(b.after)-1] != f) {
			b.after = append(b.after, f)
		}
	}
}

// take hands out the open bundle once it may go: it is full, or nothing is in flight, or it has lingered, or somebody waits.
func (q *queue) take(ctx context.Context) (*bundle, error) {
	for {
		q.mu.Lock()
		lingers, ready := q.ready()
		if ready {
			b := q.open
			b.after, b.taken = nil, time.Now()
			q.open = newBundle()
			q.flight = append(q.flight, b)
			q.writing++
			q.flying += b.bytes
			q.wake()
			q.mu.Unlock()
			return b, nil
		}
		changed := q.changed
		q.mu.Unlock()
		var timer *time.Timer
		var lingered <-chan time.Time
		if lingers > 0 {
			timer = time.NewTimer(lingers)
			lingered = timer.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-lingered:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// ready reports whether the open bundle may go now, and if only time is missing, how much.
func (q *queue) ready() (time.Duration, bool) {
	b := q.open
	if len(b.changes) == 0 && b.seq == 0 {
		return 0, false
	}
	for _, f := range b.after {
		if !f.written {
			return 0, false // never two writes in flight that touch one document (rule 4)
		}
	}
	if q.writing > 0 && q.flying+b.bytes > q.maxFlight {
		return 0, false
	}
	if q.writing == 0 || q.waiting || q.full() {
		return 0, true
	}
	left := q.linger - time.Since(b.opened)
	return max(left, 1), left <= 0
}

// drain blocks until everything that was added is written.
func (q *queue) drain(ctx context.Context) error {
	q.mu.Lock()
	q.waiting = true
	q.wake()
	q.mu.Unlock()
	err := q.wait(ctx, func() bool { return q.writing == 0 && len(q.open.changes) == 0 && q.open.seq == 0 })
	if err != nil {
		q.mu.Lock()
	}
	q.waiting = false
	q.mu.Unlock()
	return err
}

// settled blocks until everything that was taken is settled too, or waits for news of its conflicts: none comes of a feed that has
// ended, and the next one delivers them again.
func (q *queue) settled(ctx context.Context) error {
	if err := q.wait(ctx, func() bool { return len(q.flight) == 0 || q.flight[0].written && len(q.flight[0].pending) > 0 }); err != nil {
		return err
	}
	q.mu.Unlock()
	return nil
}

// wrote notes the destination's answer for a bundle.
func (q *queue) wrote(b *bundle, v verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.written, b.answered = true, time.Now()
	q.judged(b, v)
	b.changes, b.places = nil, nil // a bundle that waits for its conflicts holds nothing else
	q.writing--
	q.flying -= b.bytes
	q.wake()
}

// undecided returns the bundles with conflicts that are not judged yet.
func (q *queue) undecided() []*bundle {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*bundle
	for _, b := range q.flight {
		if b.written && len(b.pending) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// decided notes what became of a bundle's undecided conflicts.
func (q *queue) decided(b *bundle, v verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.judged(b, v)
	q.wake()
}

// judged runs under q.mu.
func (q *queue) judged(b *bundle, v verdict) {
	b.pending = v.pending
	q.account.Applied += uint64(v.applied)
	q.account.Older += uint64(v.older)
	q.account.SetAside += uint64(v.aside)
}

// emptied counts documents that were deleted because their table was emptied, each by a change of its own.
func (q *queue) emptied(documents int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.account.Changes += uint64(documents)
	q.account.Applied += uint64(documents)
}

// counts returns what became of all changes. What is held is counted where it is.
func (q *queue) counts() Account {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account
	a.Held = uint64(len(q.open.changes))
	for _, b := range q.flight {
		a.Held += uint64(len(b.changes) + len(b.pending)) // one of them is empty
	}
	return a
}

// acknowledge takes the settled bundles off the front and returns the last batch that ended in them, 0 if none did.
func (q *queue) acknowledge() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	var seq uint64
	n := 0
	for n < len(q.flight) && q.flight[n].written && len(q.flight[n].pending) == 0 {
		seq = max(seq, q.flight[n].seq)
		q.flight[n] = nil
		n++
	}
	if n > 0 {
		q.flight = append(q.flight[:0:0], q.flight[n:]...)
		q.wake()
	}
	return seq
}

// underWay returns how many requests are under way, since when the oldest of them is, and since when the oldest answer cannot be judged;
// zero where there is none.
func (q *queue) underWay() (requests int, written, judged time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range q.flight {
		switch {
		case !b.written && written.IsZero():
			written = b.taken
		case b.written && len(b.pending) > 0 && judged.IsZero():
			judged = b.answered
		}
	}
	return q.writing, written, judged
}

package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"canalgo/backoff"
	"canalgo/event"
	"canalgo/mapping"
)

// Limits bound what a worker sends at once and holds in memory.
type Limits struct {
	BulkBytes int           // of one write
	BulkDocs  int           // of one write
	InFlight  int           // writes
	Linger    time.Duration // how long a write waits for more while another one is in flight
}

// A Refusal is a change that the destination does not hold, for the quarantine.
type Refusal struct {
	Index, Document string
	Routings        []string // under which it may be, beside its id
	Version         event.Version
	Foreign         event.Version // the version that a foreign writer left; 0 when the destination refused the content
	Delete          bool
	Reason          string
	Row             *event.Row
}

// NewRefusal describes a change that the destination refused.
func NewRefusal(c mapping.Change, reason string) Refusal {
	routings := c.Left
	if c.Routing != "" {
		routings = append([]string{c.Routing}, routings...)
	}
	return Refusal{Index: c.Index, Document: c.ID, Routings: routings, Version: c.Version, Delete: c.Op == mapping.Delete, Reason: reason, Row: c.Row}
}

// NewForeign describes a change that was not written because of a version that the source has not given.
func NewForeign(c Conflict) Refusal {
	reason := fmt.Sprintf("the document has version %d, which the source has not given: another program writes to the index", c.Has)
	if c.Has.Epoch() > c.Change.Version.Epoch() {
		reason = fmt.Sprintf("the document has version %d, of epoch %d, and the source is in epoch %d: the data folders are older than the index, as after an old copy was put back, or another canalgo writes to it",
			c.Has, c.Has.Epoch(), c.Change.Version.Epoch())
	}
	r := NewRefusal(c.Change, reason)
	r.Foreign = c.Has
	return r
}

// Keeper sets refused changes aside durably.
type Keeper interface {
	SetAside(ctx context.Context, refusals []Refusal) error
}

// A Quarantine is the Keeper of a stream, whose later writes take documents out again.
type Quarantine interface {
	Keeper
	// Written says that the destination has taken changes.
	Written(ctx context.Context, changes []mapping.Change) error
	// Cleared says that every document of the mapping was deleted that is older than before.
	Cleared(ctx context.Context, before event.Version) error
}

// Parts is what a Worker is put together from.
type Parts struct {
	Feed     Feed
	Decoder  Decoder
	Mapper   Mapper
	Renderer Renderer // of rows that lack columns; of all, without a Mapper
	Sink     Sink
	Keeper   Quarantine
	Own      mapping.Own  // the mapping's documents, for Clear
	Gate     *Gate        // shared with the mapping's load
	Begin    func() error // rule 6: nil while this node may begin a write
	Log      hclog.Logger
}

// A Worker does a stream duty: it reads the feed, decodes, maps, writes and acknowledges.
type Worker struct {
	Parts
	queue   *queue
	writer  *Writer
	senders int
	acks    sync.Mutex

	progress progress
}

// NewWorker returns a worker that has not begun.
func NewWorker(p Parts, l Limits) *Worker {
	w := &Worker{Parts: p, queue: newQueue(l.BulkBytes, l.BulkDocs, l.InFlight, l.Linger), senders: l.InFlight}
	w.progress.enter(Reading)
	w.progress.moved = time.Now()
	w.writer = &Writer{sink: p.Sink, begin: p.Begin, log: p.Log, progress: &w.progress}
	return w
}

// Run works until the feed ends (nil), ctx ends, or something needs a person (*event.StopError).
func (w *Worker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	sending, stop := context.WithCancel(ctx)
	g.Go(func() error {
		defer stop()
		follow := w.follow
		if w.Mapper == nil {
			follow = func(ctx context.Context) error { return w.followRendered(ctx) }
		}
		err := follow(ctx)
		if stop := (*event.StopError)(nil); err != nil && !errors.As(err, &stop) {
			return err
		}
		// What came before a place at which nobody can go on without a person is written, too.
		if unfinished := w.queue.drain(ctx); unfinished != nil {
			return cmp.Or(err, unfinished)
		}
		return cmp.Or(err, w.queue.settled(ctx))
	})
	for range w.senders {
		g.Go(func() error { return unlessStopped(sending, ctx, w.send(sending)) })
	}
	g.Go(func() error { return unlessStopped(sending, ctx, w.judgeLater(sending)) })
	return g.Wait()
}

// unlessStopped hides the error of a goroutine that was told to end because the feed did.
func unlessStopped(stopped, ctx context.Context, err error) error {
	if stopped.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// follow is the data path: next, decode, map, write. The acknowledgement follows when the write is done. From the first row on that lacks
// columns, what comes is gathered: a look-up costs little more for many rows than for one.
func (w *Worker) follow(ctx context.Context) error {
	for {
		d, err := w.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range d.rows {
			if d.rows[i].Partial {
				return w.followRendered(ctx, d)
			}
		}
		changes, err := w.Mapper.Map(d.rows) // each change carries its version
		if err != nil {
			return fmt.Errorf("map after %s: %w", d.batch.End, err)
		}
		w.progress.mapped(len(d.rows), filtered(d.rows, changes))
		if err := w.write(ctx, changes, d.batch.Seq); err != nil {
			return fmt.Errorf("write after %s: %w", d.batch.End, err)
		}
	}
}

// filtered counts the rows that no document is made of.
func filtered(rows []event.Row, changes []mapping.Change) int {
	n := len(rows)
	var last *event.Row
	for i := range changes { // in the order of the rows, one or two for each
		if changes[i].Row != last {
			last = changes[i].Row
			n--
		}
	}
	return n
}

// decoded is a batch with its rows.
type decoded struct {
	batch event.Batch
	rows  []event.Row
}

// next takes a batch from the feed and decodes it: here, not on the leader. io.EOF is the feed's end.
func (w *Worker) next(ctx context.Context) (decoded, error) {
	batch, err := w.Feed.Next(ctx)
	if errors.Is(err, io.EOF) {
		return decoded{}, io.EOF
	}
	if err != nil {
		return decoded{}, fmt.Errorf("next batch: %w", err)
	}
	w.progress.took(batch.End)
	rows, err := w.Decoder.Decode(batch.Events)
	if err != nil {
		return decoded{}, fmt.Errorf("decode after %s: %w", batch.End, err)
	}
	return decoded{batch, rows}, nil
}

// write queues a batch's changes. A Clear waits for everything before it.
func (w *Worker) write(ctx context.Context, changes []mapping.Change, seq uint64) error {
	start := 0
	for i := range changes {
		if changes[i].Op != mapping.Clear {
			continue
		}
		if err := w.queue.add(ctx, changes[start:i], 0); err != nil {
			return err
		}
		if err := w.queue.drain(ctx); err != nil {
			return err
		}
		if err := w.clear(ctx, changes[i]); err != nil {
			return err
		}
		start = i + 1
	}
	return w.queue.add(ctx, changes[start:], seq)
}

// clear deletes every document of the mapping that is older than the change.
func (w *Worker) clear(ctx context.Context, c mapping.Change) error {
	clearer, ok := w.Sink.(Clearer)
	if !ok {
		return w.writer.Write(ctx, []mapping.Change{c}, nil)
	}
	release, err := w.Gate.Close(ctx)
	if err != nil {
		return err
	}
	defer release()
	var cleared Cleared
	err = w.writer.try(ctx, func(ctx context.Context) (_ bool, err error) {
		cleared, err = clearer.Clear(ctx, w.Own, c.Version)
		return false, err
	})
	if err != nil {
		return err
	}
	w.Log.Info("table emptied, documents deleted", "table", c.Row.Table.Name, "by", c.Row.Op, "documents", cleared.Deleted)
	w.queue.emptied(cleared.Deleted)
	return w.Keeper.Cleared(ctx, c.Version)
}

// send writes bundle after bundle.
func (w *Worker) send(ctx context.Context) error {
	for {
		b, err := w.queue.take(ctx)
		if err != nil {
			return err
		}
		var answer verdict
		var refusals []Refusal
		left := make(map[string]bool) // documents that were not written
		err = w.writer.Write(ctx, b.changes, func(e *PartialError) {
			for _, r := range e.Rejected {
				refusals = append(refusals, NewRefusal(r.Change, r.Reason))
				left[r.Change.ID] = true
			}
			for _, c := range e.Conflicts {
				left[c.Change.ID] = true
			}
			var older int
			answer.pending, _, older = w.judge(append(answer.pending, e.Conflicts...), false)
			answer.older += older
		})
		if err != nil {
			return err
		}
		if err := w.setAside(ctx, refusals); err != nil {
			return err
		}
		written := b.changes
		if len(left) > 0 {
			written = slices.DeleteFunc(written, func(c mapping.Change) bool { return left[c.ID] })
		}
		if err := w.Keeper.Written(ctx, written); err != nil {
			return err
		}
		answer.applied, answer.aside = len(written), len(refusals)
		w.queue.wrote(b, answer)
		if err := w.acknowledge(ctx); err != nil {
			return err
		}
	}
}

// newsTime is longer than news of what was read can take from the leader: a connection that is silent for 3 s ends.
const newsTime = 4 * time.Second

// judge sorts conflicts: a version that the source has given is our own, a repeat or a straggler; one that it can not
// have given yet is a foreign writer's. While the stream has not read all that an earlier life of ours can have
// written, nobody can tell, and the conflict stays pending. So does one that is so new that what was read since may not have
// been heard of yet.
func (w *Worker) judge(conflicts []Conflict, old bool) (pending []Conflict, foreign []Refusal, older int) {
	newest, settled := w.Feed.Newest()
	for _, c := range conflicts {
		switch {
		case c.Has <= newest:
			older++
		case settled && old:
			foreign = append(foreign, NewForeign(c))
		default:
			c.Change.Body = nil // it would keep the whole batch's memory
			pending = append(pending, c)
		}
	}
	return pending, foreign, older
}

// judgeLater looks again at the pending conflicts while the stream reads on.
func (w *Worker) judgeLater(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		undecided := w.queue.undecided()
		for _, b := range undecided {
			pending, foreign, older := w.judge(b.pending, time.Since(b.answered) > newsTime)
			if len(pending) == len(b.pending) {
				continue
			}
			if err := w.setAside(ctx, foreign); err != nil {
				return err
			}
			w.queue.decided(b, verdict{older: older, aside: len(foreign), pending: pending})
		}
		if len(undecided) > 0 {
			if err := w.acknowledge(ctx); err != nil {
				return err
			}
		}
	}
}

func (w *Worker) setAside(ctx context.Context, refusals []Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	w.Log.Warn("documents set aside", "documents", len(refusals), "first", refusals[0].Document, "reason", refusals[0].Reason)
	if err := w.Keeper.SetAside(ctx, refusals); err != nil {
		return fmt.Errorf("set aside %d documents: %w", len(refusals), err)
	}
	return nil
}

// acknowledge acknowledges what is confirmed, in order (rule 1: only now).
func (w *Worker) acknowledge(ctx context.Context) error {
	w.acks.Lock()
	defer w.acks.Unlock()
	if seq := w.queue.acknowledge(); seq > 0 {
		w.progress.acknowledges()
		//failpoint worker.before_ack
		if err := w.Feed.Ack(ctx, seq); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	w.progress.acknowledged()
	return nil
}

// Progress returns what the worker does now.
func (w *Worker) Progress() Progress { return w.progress.snapshot(w.queue) }

// A Writer writes changes to a sink and retries what is worth it: the one retry loop of the write path.
type Writer struct {
	sink     Sink
	begin    func() error
	log      hclog.Logger
	progress *progress
}

// Write writes until the destination has answered for each change, or ctx ends. failed is given what it refused for good.
func (w *Writer) Write(ctx context.Context, changes []mapping.Change, failed func(*PartialError)) error {
	changes, unmapped := split(changes)
	if len(unmapped) > 0 {
		failed(&PartialError{Rejected: unmapped})
	}
	if len(changes) == 0 {
		return nil
	}
	return w.try(ctx, func(ctx context.Context) (bool, error) {
		// A mark: instrumented builds, for tests, can kill, fail, delay or block the process at the edge that it names. Any other
		// build has only the comment (integration/instrument).
		//failpoint sink.before_write
		err := w.sink.Write(ctx, changes)
		//failpoint sink.after_write err
		var partial *PartialError
		if !errors.As(err, &partial) {
			return false, err
		}
		if len(partial.Rejected)+len(partial.Conflicts) > 0 && failed != nil {
			failed(partial)
		}
		gotOn := len(partial.Retry) < len(changes)
		changes = partial.Retry
		return gotOn, partial.Cause
	})
}

// split separates the changes of which no document could be made, and leaves out those of rows that had none. What the document was until
// then has to go where it no longer is.
func split(changes []mapping.Change) (good []mapping.Change, bad []Rejection) {
	all := true
	for i := range changes { // which are large to copy
		all = all && changes[i].Err == nil && !changes[i].Nowhere
	}
	if all {
		return changes, nil
	}
	for _, c := range changes {
		switch {
		case c.Nowhere:
		case c.Err == nil:
			good = append(good, c)
		default:
			bad = append(bad, Rejection{Change: c, Reason: c.Err.Error()})
			if len(c.Left) > 0 {
				good = append(good, mapping.Change{Op: mapping.Delete, Index: c.Index, ID: c.ID, Routing: c.Left[0], Left: c.Left[1:], Version: c.Version, Row: c.Row})
			}
		}
	}
	return good, bad
}

// try calls attempt until it returns nil, needs a person, or ctx ends. While attempts get on, each with a part, the next one follows
// soon: a destination that refuses some documents of each request would else be waited for longer and longer.
func (w *Writer) try(ctx context.Context, attempt func(context.Context) (gotOn bool, err error)) error {
	wait := backoff.Backoff{Min: 20 * time.Millisecond, Max: 5 * time.Second}
	failing := false
	for {
		if err := w.begin(); err != nil { // rule 6: checked immediately before each request
			return fmt.Errorf("begin a write: %w", err)
		}
		gotOn, err := attempt(ctx)
		var stop *event.StopError
		switch {
		case err == nil:
			if failing {
				w.log.Info("destination takes writes again")
				w.progress.recovered()
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stop):
			return err
		}
		if !failing {
			w.log.Warn("write again until the destination takes it", "error", err)
		}
		failing = true
		w.progress.failed(err)
		if gotOn {
			wait.Reset()
		}
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

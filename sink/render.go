package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/backoff"
	"canalgo/event"
	"canalgo/mapping"
)

// A Renderer makes changes by asking the source's server what documents have become whose rows changed (design: rows at an ordinal).
type Renderer interface {
	// Render waits until the server shows the transactions gtids, and calls add with what the rows mean, some changes at a time.
	// Without GTIDs that is "". What add was given before an error is given again.
	Render(ctx context.Context, rows []event.Row, gtids string, add func([]mapping.Change) error) error
}

// How much is rendered at once: a look-up costs little more for many documents than for one.
const (
	groupRows  = 2000
	groupBytes = 4 << 20
)

// A group is batches that are rendered together: all that had come when the one before was done.
type group struct {
	rows    []event.Row
	gtids   event.GTIDSet
	unnamed bool // rows are of a transaction without a GTID
	end     event.Position
	seq     uint64 // of the last batch
	bytes   int
}

func (g *group) full() bool { return len(g.rows) >= groupRows || g.bytes >= groupBytes }

func (g *group) put(d decoded) {
	g.rows = append(g.rows, d.rows...)
	g.unnamed = g.unnamed || len(d.rows) > 0 && d.batch.GTID.N == 0
	g.gtids.Add(d.batch.GTID.Run())
	g.end, g.seq, g.bytes = d.batch.End, d.batch.Seq, g.bytes+d.batch.Bytes
}

// transactions are those that must show before a look-up; "" when nobody can wait for all of them.
func (g *group) transactions() string {
	if g.unnamed {
		return ""
	}
	return g.gtids.String()
}

// followRendered is the data path of what the server renders: next, decode, gather, render, write. It begins with what was read already.
func (w *Worker) followRendered(ctx context.Context, begun ...decoded) error {
	read := make(chan decoded)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(read)
		return w.readAhead(ctx, begun, read)
	})
	g.Go(func() error {
		for {
			one, ok, err := gather(ctx, read)
			if err != nil || !ok {
				return err
			}
			if err := w.render(ctx, one); err != nil {
				return fmt.Errorf("render after %s: %w", one.end, err)
			}
		}
	})
	return g.Wait()
}

// readAhead hands batch after batch to who gathers them, first those that have begun.
func (w *Worker) readAhead(ctx context.Context, begun []decoded, read chan<- decoded) error {
	for {
		var d decoded
		var err error
		if len(begun) > 0 {
			d, begun = begun[0], begun[1:]
		} else if d, err = w.next(ctx); err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w.progress.mapped(len(d.rows), 0) // what becomes of them, the source says
		select {
		case read <- d:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gatherTime is how long a group waits for the next batch: the reader is about to hand it over, or there is none.
const gatherTime = time.Millisecond

// gather waits for a batch and takes what follows at once; ok is false at the feed's end.
func gather(ctx context.Context, read <-chan decoded) (one group, ok bool, err error) {
	select {
	case d, more := <-read:
		if !more {
			return group{}, false, nil
		}
		one.put(d)
	case <-ctx.Done():
		return group{}, false, ctx.Err()
	}
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	for !one.full() {
		select {
		case d, more := <-read:
			if !more {
				return one, true, nil
			}
			one.put(d)
		case <-timer.C:
			return one, true, nil
		case <-ctx.Done():
			return group{}, false, ctx.Err()
		}
	}
	return one, true, nil
}

// render queues what a group means; it tries again while the source does not answer. This is the one retry loop of look-ups.
func (w *Worker) render(ctx context.Context, one group) error {
	w.progress.looks()
	defer w.progress.looked()
	wait := backoff.Backoff{Min: 50 * time.Millisecond, Max: 5 * time.Second}
	for {
		err := w.Renderer.Render(ctx, one.rows, one.transactions(), func(changes []mapping.Change) error {
			w.progress.looked() // what is waited for now is the destination
			defer w.progress.looks()
			return w.write(ctx, changes, 0)
		})
		var stop *event.StopError
		switch {
		case err == nil:
			return w.queue.add(ctx, nil, one.seq)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stop):
			return err
		}
		w.Log.Warn("look up again", "error", err)
		w.progress.note(err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

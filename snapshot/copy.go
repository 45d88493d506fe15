package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"canalgo/backoff"
	"canalgo/event"
)

// A walk reads rows and makes documents of them, in the order of their keys, at an ordinal that is not below least; errBehind says that
// there is none yet.
type walk interface {
	// next reads the chunk behind a key, of at most limit rows.
	next(ctx context.Context, least event.Version, key []string, limit int) (chunk, error)
	// reread reads anew what is behind a key, up to the last one of a chunk, also of the one at the end: while the destination is away any
	// number of rows may come behind that. They are newer than the chunk was, and the stream brings them. So it does with those that come
	// before it, but which these are, nobody knows.
	reread(ctx context.Context, least event.Version, key, last []string) (chunk, error)
}

// copy writes chunk after chunk behind a key; while one is read, the two before it are written. Keep is called with each that is
// written, in their order. None is read at an ordinal below least, or, if that is 0, the first chunk's: the sweep would take documents
// with lower versions for those of no row.
func (r *Reader) copy(ctx context.Context, from walk, least event.Version, key []string, keep func(context.Context, chunk) error) error {
	g, ctx := errgroup.WithContext(ctx)
	chunks := make(chan chunk, 1)
	room := semaphore.NewWeighted(pendingBytes)
	g.Go(func() error {
		defer close(chunks)
		limit := r.firstRows()
		for {
			c, release, err := r.share(ctx, nil, func() (chunk, error) { return from.next(ctx, least, key, limit) })
			if err != nil {
				return err
			}
			if least == 0 {
				least = c.at
			}
			c.done = make(chan error, 1)
			again := rereading{from: from, least: least, behind: key, last: c.lastKey}
			// Nothing here waits for the chunks before this one with the gate in hand: they may wait for it, behind who empties the table.
			weight := int64(min(c.bytes(), pendingBytes))
			if !room.TryAcquire(weight) {
				release()
				release = nil // it is read again
				if err := room.Acquire(ctx, weight); err != nil {
					return err
				}
			}
			g.Go(func() error {
				defer room.Release(weight)
				err := r.writeFresh(ctx, c, release, again)
				c.done <- err
				return err
			})
			select {
			case <-ctx.Done():
				return ctx.Err()
			case chunks <- c:
			}
			if c.end {
				return nil
			}
			key, limit = c.lastKey, r.nextRows(c)
		}
	})
	g.Go(func() error {
		for c := range chunks {
			if err := <-c.done; err != nil {
				return err
			}
			if err := keep(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// A rereading is how the rows of a chunk are read again.
type rereading struct {
	from         walk
	least        event.Version
	behind, last []string
}

// errBehind says that the stream is not where rows are to be read yet, or again: one that has begun at an earlier place comes there.
var errBehind = errors.New("the stream is behind the rows that were read")

// boundary returns the ordinal to read at; errBehind while it is below least.
func (r *Reader) boundary(least event.Version) (event.Position, error) {
	end, err := r.Boundary()
	if err == nil && end.Version() < least {
		err = fmt.Errorf("%w: it has been read up to %s, and not to %s", errBehind, end.Version(), least)
	}
	return end, err
}

// share reads a chunk while it holds the gate shared, until release is called; held, when it is not nil, is that of one who holds it
// already. It does not hold the gate while the stream is behind: that may have to empty the table before it gets on.
func (r *Reader) share(ctx context.Context, held func(), read func() (chunk, error)) (c chunk, release func(), err error) {
	release = held
	var behind *step
	wait := backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second}
	for {
		if release == nil {
			if release, err = r.Gate.Share(ctx); err != nil {
				return chunk{}, nothing, err
			}
		}
		if c, err = read(); err == nil {
			return c, release, nil
		}
		release()
		release = nil
		if !errors.Is(err, errBehind) {
			return chunk{}, nothing, err
		}
		if behind == nil { // one step for all of the wait, so that a long one is a stall
			behind = r.steps.begin(Reading)
			defer behind.end()
			r.Log.Info("rows are read when the stream is there again", "table", r.Table.Name, "reason", err)
		}
		behind.failed(err)
		if err := wait.Wait(ctx); err != nil {
			return chunk{}, nothing, err
		}
	}
}

// nothing is to be released.
func nothing() {}

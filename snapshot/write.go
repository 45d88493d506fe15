package snapshot

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/backoff"
	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// errStale says that a chunk is too old to be sent.
var errStale = errors.New("the rows were read too long ago")

// writeFresh writes a chunk, then releases the gate; one that has become too old, or that met an unreachable destination, is read again:
// what it holds may have been deleted and forgotten meanwhile. So is one for which the gate is not held any more, when release is nil.
func (r *Reader) writeFresh(ctx context.Context, c chunk, release func(), again rereading) error {
	step := r.steps.begin(Writing)
	defer step.end()
	reread := func() (chunk, error) { return again.from.reread(ctx, again.least, again.behind, again.last) }
	if release == nil {
		var err error
		if c, release, err = r.share(ctx, nil, reread); err != nil {
			return err
		}
	}
	defer func() { release() }()
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		err := r.write(ctx, c, step)
		var higher *HigherError
		var stop *event.StopError
		if err == nil || ctx.Err() != nil || errors.As(err, &higher) || errors.As(err, &stop) {
			return err
		}
		step.failed(err)
		r.unknown.Store(time.Now().UnixNano())
		r.Log.Warn("read and write rows again", "table", r.Table.Name, "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
		if c, release, err = r.share(ctx, release, reread); err != nil {
			return err
		}
	}
}

// write sends a chunk in bulks, several at a time.
func (r *Reader) write(ctx context.Context, c chunk, step *step) error {
	g, ctx := errgroup.WithContext(ctx)
	limits := r.Limits
	if r.Rows > 0 {
		limits.BulkDocs = min(limits.BulkDocs, r.Rows)
	}
	g.SetLimit(limits.InFlight)
	for _, bulk := range split(c.changes, limits) {
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
	left := make(map[string]bool) // documents that were not written
	todo := make([]mapping.Change, 0, len(bulk))
	for _, change := range bulk {
		if change.Err != nil {
			refusals = append(refusals, sink.NewRefusal(change, change.Err.Error()))
			left[change.ID] = true
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
			left[x.Change.ID] = true
		}
		for _, x := range partial.Conflicts {
			left[x.Change.ID] = true
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
		if err := r.Keeper.SetAside(ctx, refusals); err != nil {
			return err
		}
	}
	if r.Written == nil {
		return nil
	}
	return r.Written(ctx, slices.DeleteFunc(slices.Clone(bulk), func(c mapping.Change) bool { return left[c.ID] }))
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

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"canalgo/backoff"
	"canalgo/event"
)

func (r *Reader) query() query {
	if r.Rule != nil {
		return ruleQuery{r.Rule, r.Part}
	}
	return chunkQuery{table: r.Table, columns: r.Columns, part: r.Part, lock: r.Locks}
}

// next reads the chunk behind a key, of at most limit rows.
func (r *Reader) next(ctx context.Context, least event.Version, key []string, limit int) (c chunk, err error) {
	if r.Rule != nil {
		c, err = r.nextRendered(ctx, least, key, limit)
	} else {
		c, err = r.read(ctx, least, r.query().next(key, limit), cutBytes)
		c.end = c.rows < limit && !c.cut
	}
	if err == nil && c.lastKey == nil && c.last != nil {
		c.lastKey, err = Key(r.Table, c.last)
	}
	return c, err
}

// nextRendered is next of what the server renders. The keys are read first: a key may have no document.
func (r *Reader) nextRendered(ctx context.Context, least event.Version, key []string, limit int) (chunk, error) {
	last, found, err := r.nextKeys(ctx, key, limit)
	if err != nil {
		return chunk{}, err
	}
	end := found < limit
	if end {
		last = nil // up to the end, wherever that is when they are read
	}
	c, err := r.rendered(ctx, least, key, last, cutBytes)
	if err == nil && !c.cut {
		c.end, c.lastKey = end, last
	}
	return c, err
}

// rendered reads the documents behind a key up to another. From the start on it reads a row without an id, too.
func (r *Reader) rendered(ctx context.Context, least event.Version, key, last []string, most int) (chunk, error) {
	c, err := r.read(ctx, least, r.query().upTo(key, last), most)
	if err != nil || len(key) > 0 {
		return c, err
	}
	null, err := r.null(ctx, least)
	c.rows, c.changes = null.rows+c.rows, append(null.changes, c.changes...)
	return c, err
}

// null reads a row that would have NULL as its document's id, if there is one. It is set aside for all of them: they may be more than
// there is room for, and have no key up to which some could be read.
func (r *Reader) null(ctx context.Context, least event.Version) (chunk, error) {
	return r.read(ctx, least, r.Rule.Nulls(r.Part.Where), math.MaxInt)
}

func (r *Reader) reread(ctx context.Context, least event.Version, key, last []string) (chunk, error) {
	switch {
	case r.Rule == nil:
		return r.read(ctx, least, r.query().upTo(key, last), math.MaxInt)
	case len(last) == 0: // there was only a row without an id
		return r.null(ctx, least)
	}
	return r.rendered(ctx, least, key, last, math.MaxInt)
}

// nextKeys returns the last of the next keys, and how many they are.
func (r *Reader) nextKeys(ctx context.Context, key []string, limit int) (last []string, found int, err error) {
	keys := KeyTable(r.Table)
	err = r.again(ctx, func() error {
		found = 0
		return r.Selector.Select(ctx, event.Position{}, r.query().next(key, limit), keys.Columns, func(values []any) error {
			found++
			last, err = Key(keys, values)
			return err
		})
	})
	return last, found, err
}

// read reads a chunk at the newest ordinal, up to the row with which its values have so many bytes; it tries again while the source
// does not answer.
func (r *Reader) read(ctx context.Context, least event.Version, query string, most int) (chunk, error) {
	var c chunk
	err := r.again(ctx, func() (err error) {
		c, err = r.readOnce(ctx, least, query, most)
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
		if err == nil || ctx.Err() != nil || errors.As(err, &stop) || errors.Is(err, errBehind) {
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

func (r *Reader) readOnce(ctx context.Context, least event.Version, query string, most int) (chunk, error) {
	end, err := r.boundary(least)
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
	rows := make([]event.Row, 0, r.chunkRows())
	err = r.Selector.Select(ctx, end, query, columns, func(values []any) error {
		rows = append(rows, event.Row{Table: r.Table, Op: event.Insert, Version: c.at, After: widen(r.Table, r.Columns, values)})
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
	if c.rows > 0 {
		c.last = rows[c.rows-1].After
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

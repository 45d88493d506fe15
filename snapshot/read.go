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

// next reads the chunk behind a key, of at most limit rows. Of what the server renders the keys are read first: a key may have no
// document.
func (r *Reader) next(ctx context.Context, least event.Version, key []string, limit int) (chunk, error) {
	if r.Rule == nil {
		c, err := r.read(ctx, least, r.query().next(key, limit), cutBytes)
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
	c, err := r.read(ctx, least, r.query().upTo(key, last), cutBytes)
	if err == nil && !c.cut {
		c.end = end
		if !end {
			c.lastKey = last
		}
	}
	return c, err
}

func (r *Reader) reread(ctx context.Context, least event.Version, key, last []string) (chunk, error) {
	return r.read(ctx, least, r.query().upTo(key, last), math.MaxInt)
}

// lastKey returns the last of the next keys, and how many they are.
func (r *Reader) lastKey(ctx context.Context, key []string, limit int) (last []string, found int, err error) {
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

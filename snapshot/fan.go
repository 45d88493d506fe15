package snapshot

import (
	"context"
	"fmt"
	"slices"
	"time"

	"canalgo/event"
	"canalgo/mapping"
)

// A Fan is documents that a change of other rows touches: those that are behind Key, up to Until.
type Fan struct {
	mapping.Fan
	Least event.Version // of the change: what was read at a lower one does not count
	Key   []string      // literals; nil is the start
	Until []string      // literals; nil is the end
	Total uint64        // how many they are in all; 0 has them counted
}

// FanProgress says that documents of a Fan are done.
type FanProgress struct {
	At    event.Version // they were read at it
	Key   []string      // of the last one
	End   bool          // there are no more
	Done  uint64        // how many they are
	Total uint64        // of the whole fan
}

// Fan renders the documents of a fan, chunk by chunk as Load does, and deletes those that the server does not give any more. save is
// called after each chunk that the destination has.
func (r *Reader) Fan(ctx context.Context, f Fan, save func(context.Context, FanProgress) error) error {
	if f.Total == 0 {
		total, err := r.count(ctx, f)
		if err != nil {
			return err
		}
		f.Total = total
	}
	return r.copy(ctx, &fanWalk{r, f}, f.Least, f.Key, func(ctx context.Context, c chunk) error {
		return save(ctx, FanProgress{At: c.at, Key: c.lastKey, End: c.end, Done: uint64(c.rows), Total: f.Total})
	})
}

// count returns how many documents a fan has.
func (r *Reader) count(ctx context.Context, f Fan) (n uint64, err error) {
	err = r.again(ctx, func() error {
		return r.Selector.Select(ctx, event.Position{}, r.Rule.Count(f.Fan), []event.Column{{Name: "n", Type: event.BigInt, Unsigned: true}}, func(values []any) error {
			n = values[0].(uint64)
			return nil
		})
	})
	return n, err
}

// A fanWalk reads the documents of a fan. Its keys are read at the ordinal of the documents, too: which documents a row is part of may have
// changed with it.
type fanWalk struct {
	*Reader
	fan Fan
}

func (w *fanWalk) next(ctx context.Context, least event.Version, key []string, limit int) (chunk, error) {
	return w.read(ctx, least, key, w.fan.Until, limit, cutBytes)
}

func (w *fanWalk) reread(ctx context.Context, least event.Version, key, last []string) (chunk, error) {
	return w.read(ctx, least, key, last, maxKeys, maxKeys)
}

// maxKeys is more than there are keys between two of a chunk, and more than its bytes.
const maxKeys = 1 << 30

// read reads at most limit documents behind a key up to another, and fewer when they have so many bytes; it tries again while the source
// does not answer.
func (w *fanWalk) read(ctx context.Context, least event.Version, key, last []string, limit, most int) (c chunk, err error) {
	err = w.again(ctx, func() error {
		c, err = w.readOnce(ctx, least, key, last, limit, most)
		return err
	})
	return c, err
}

func (w *fanWalk) readOnce(ctx context.Context, least event.Version, key, last []string, limit, most int) (chunk, error) {
	end, err := w.boundary(least)
	if err != nil {
		return chunk{}, err
	}
	c := chunk{at: end.Version(), read: time.Now()}
	keys, err := w.keys(ctx, end, w.Rule.Reached(w.fan.Fan, key, last, limit))
	if err != nil || len(keys) == 0 {
		c.end = true
		return c, err
	}
	literals := make([][]string, len(keys))
	for i := range keys {
		literals[i] = keys[i].Literals
	}
	var rows [][]any
	size := 0
	err = w.Selector.Select(ctx, end, w.Rule.InOrder(literals), w.Table.Columns, func(values []any) error {
		rows = append(rows, values)
		if size += bytesOf(values); size >= most {
			c.cut = true
			return errCut
		}
		return nil
	})
	if err != nil && !c.cut {
		return chunk{}, fmt.Errorf("render %d documents: %w", len(keys), err)
	}
	c.end = len(keys) < limit && !c.cut
	if c.cut { // what is behind the last one was not read
		last, err := Key(w.Table, rows[len(rows)-1])
		if err != nil {
			return chunk{}, err
		}
		keys = keys[:1+max(0, slices.IndexFunc(keys, func(k mapping.Key) bool { return slices.Equal(k.Literals, last) }))]
	}
	asked := make(map[string]mapping.Key, len(keys))
	for _, k := range keys {
		if k.ID != "" { // else it has no document: an empty or too long id
			asked[k.ID] = k
		}
	}
	if err := w.routes(ctx, end, literals[:len(keys)], asked); err != nil {
		return chunk{}, err
	}
	c.rows, c.lastKey = len(keys), keys[len(keys)-1].Literals
	if c.changes, err = w.Rule.Rendered(w.Table, rows, asked, c.at); err != nil {
		return chunk{}, err
	}
	return c, nil
}

// routes adds to keys of whom their documents are children, if they are.
func (w *fanWalk) routes(ctx context.Context, at event.Position, literals [][]string, keys map[string]mapping.Key) error {
	query := w.Rule.Routes(literals)
	if query == "" {
		return nil
	}
	columns, err := w.Rule.RouteColumns(w.Anchor)
	if err != nil {
		return err
	}
	err = w.Selector.Select(ctx, at, query, columns, func(values []any) error { return w.Rule.RouteOf(w.Anchor, values, keys) })
	if err != nil {
		return fmt.Errorf("find the parents of %d documents: %w", len(keys), err)
	}
	return nil
}

// keys returns what a query for keys gives. A key that makes no id has none.
func (w *fanWalk) keys(ctx context.Context, at event.Position, query string) ([]mapping.Key, error) {
	columns, err := w.Rule.KeyColumns(w.Anchor)
	if err != nil {
		return nil, err
	}
	var keys []mapping.Key
	err = w.Selector.Select(ctx, at, query, columns, func(values []any) error {
		key, err := w.Rule.KeyOf(w.Anchor, values)
		if key.Literals == nil {
			return err
		}
		if err != nil {
			key.ID = ""
		}
		keys = append(keys, key)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the documents that changed: %w", err)
	}
	return keys, nil
}

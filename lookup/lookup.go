// Package lookup renders the documents of mappings whose SQL the source's server answers (joins, functions, groups), and reads what rows lack
// (Completer).
//
// Rows of the stream say which documents may have changed, the server says what they are. It is asked only when it shows the
// rows' transactions, and the answer is written with the newest of their ordinals (design: rows at an ordinal): so the last event
// that touches a document renders it from a state that is at least as new as that event, and whatever is not in that state has a
// later event.
package lookup

import (
	"context"
	"fmt"
	"slices"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

var _ sink.Renderer = (*Renderer)(nil)

// A Session is a connection to the source's server for queries, one after the other. An *event.StopError of Query says that the
// server will never answer the query.
type Session interface {
	// Wait returns once the server shows a set of transactions.
	Wait(ctx context.Context, gtids string) error
	// Query calls told with the columns, which it may change for the values, then row with each row, whose values it may keep.
	Query(ctx context.Context, query string, told func([]event.Column) error, row func([]any) error) error
	Close() error
}

// How many documents are rendered by one query, and how many keys are looked for by one.
const (
	pageDocuments = 1000
	pageKeys      = 5000
)

// inlineDocuments is how many documents that rows of joined tables lead to are rendered at once, or some thousand more. Where there are
// more they hold nobody up.
const inlineDocuments = 10_000

// A Later renders documents beside the stream.
type Later interface {
	// Covers reports whether it does so already for all documents of a fan.
	Covers(mapping.Fan) bool
	// Put has the documents of a fan rendered, from a state in which a version's change is, whatever dies meanwhile. It returns false when
	// they have to be rendered now.
	Put(ctx context.Context, f mapping.Fan, version event.Version) (bool, error)
}

// A Renderer renders one mapping's documents. It is for one goroutine.
type Renderer struct {
	rule    *mapping.Rule
	anchor  *event.Table // the table whose columns make the id, as the server describes it now
	later   Later
	open    func(context.Context) (Session, error)
	session Session
}

// New returns a Renderer that asks sessions of open; one that fails is closed, and the next one opened when it is needed. Without a Later
// it renders all that rows touch at once.
func New(r *mapping.Rule, anchor *event.Table, later Later, open func(context.Context) (Session, error)) *Renderer {
	return &Renderer{rule: r, anchor: anchor, later: later, open: open}
}

// Close ends its session.
func (r *Renderer) Close() error {
	if r.session == nil {
		return nil
	}
	err := r.session.Close()
	r.session = nil
	return err
}

// Render implements sink.Renderer.
func (r *Renderer) Render(ctx context.Context, rows []event.Row, gtids string, add func([]mapping.Change) error) (err error) {
	defer func() {
		if err != nil {
			_ = r.Close() // whatever it is in the middle of
		}
	}()
	w := &work{Renderer: r, gtids: gtids, add: add}
	for i := range rows {
		clear, err := r.rule.Touch(&rows[i], &w.touched)
		if err != nil {
			return err
		}
		if !clear {
			continue
		}
		if err := w.all(ctx, nil); err != nil { // now: what is not rendered anew goes
			return err
		}
		if err := add([]mapping.Change{r.rule.Clear(&rows[i])}); err != nil {
			return err
		}
	}
	return w.all(ctx, r.later)
}

// work is one call of Render.
type work struct {
	*Renderer
	gtids   string
	waited  bool
	add     func([]mapping.Change) error
	touched mapping.Touched
	found   int // documents that rows of joined tables have led to, and that are rendered here
}

// all renders what was touched until now, or has it rendered later.
func (w *work) all(ctx context.Context, later Later) error {
	t := w.touched
	w.touched = mapping.Touched{}
	if t.Empty() {
		return nil
	}
	if len(t.Bad) > 0 {
		if err := w.add(t.Bad); err != nil {
			return err
		}
	}
	if err := w.ready(ctx); err != nil {
		return err
	}
	if err := w.nulls(ctx, t.Null); err != nil {
		return err
	}
	p := pages{work: w, later: later, keys: t.Keys, version: t.Last}
	if p.keys == nil {
		p.keys = make(map[string]mapping.Key)
	}
	if t.All {
		if err := p.fan(ctx, mapping.Fan{}, t.Last); err != nil {
			return err
		}
		return p.render(ctx, 0)
	}
	for element, links := range t.Links {
		for some := range slices.Chunk(links, pageDocuments) {
			if err := p.fan(ctx, w.rule.Fan(element, some), t.At[element]); err != nil {
				return err
			}
		}
	}
	return p.render(ctx, 0)
}

// ready opens the session, and waits until the server shows what was read.
func (w *work) ready(ctx context.Context) error {
	if w.session == nil {
		s, err := w.open(ctx)
		if err != nil {
			return err
		}
		w.session = s
	}
	if w.waited {
		return nil
	}
	if w.gtids == "" {
		return &event.StopError{Reason: "mapping " + w.rule.Name() + ": the source has no GTIDs, so that nobody knows when the server shows a transaction whose documents it is asked for",
			Fix: "SET PERSIST gtid_mode = ON, or map one table with plain columns"}
	}
	if err := w.session.Wait(ctx, w.gtids); err != nil {
		return err
	}
	w.waited = true
	return nil
}

// nulls hands on the rows without an id, when the SQL gives such rows: it may leave them out.
func (w *work) nulls(ctx context.Context, bad []mapping.Change) error {
	if len(bad) == 0 {
		return nil
	}
	given := false
	err := w.session.Query(ctx, w.rule.Nulls(""), nil, func([]any) error {
		given = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for documents without an id: %w", err)
	}
	if !given {
		return nil
	}
	return w.add(bad)
}

// pages are the keys of documents that are still to be rendered, at one version.
type pages struct {
	*work
	later   Later                  // nil when all must be rendered now
	keys    map[string]mapping.Key // by document id
	version event.Version
}

// fan adds the keys of a fan's documents, and renders what is more than a page. When they are too many, they are left to who renders beside
// the stream, all of them: what is rendered here is not yet written, and who reads the change again after a kill finds it taken over. So are
// they when these documents are rendered there already.
func (p *pages) fan(ctx context.Context, f mapping.Fan, version event.Version) error {
	put := func() (bool, error) {
		done, err := p.later.Put(ctx, f, version)
		if err != nil {
			return false, fmt.Errorf("have documents rendered beside the stream: %w", err)
		}
		return done, nil
	}
	if p.later != nil && p.later.Covers(f) {
		if done, err := put(); done || err != nil {
			return err
		}
	}
	wait := p.later != nil // with the rendering, until it is known whether they are too many
	keys := make(map[string]mapping.Key)
	var last []string
	for {
		found := 0
		err := p.session.Query(ctx, p.rule.Reached(f, last, nil, pageKeys), nil, func(values []any) error {
			key, err := p.rule.KeyOf(p.anchor, values)
			if key.Literals == nil {
				return err
			}
			found++
			last = key.Literals
			if err == nil { // else such a row has no document: an empty or too long id
				keys[key.ID] = key
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("find the documents that changed: %w", err)
		}
		more := found == pageKeys
		if wait && more && p.found+len(keys) >= inlineDocuments {
			if done, err := put(); done || err != nil {
				return err
			}
			wait = false
		}
		if wait && more {
			continue
		}
		p.found += len(keys)
		for id, key := range keys {
			if _, known := p.keys[id]; !known { // its own row says more of it
				p.keys[id] = key
			}
		}
		clear(keys)
		if err := p.render(ctx, pageDocuments); err != nil || !more {
			return err
		}
	}
}

// render renders page after page until at most so many keys are left.
func (p *pages) render(ctx context.Context, most int) error {
	for len(p.keys) > most {
		page := make(map[string]mapping.Key, min(len(p.keys), pageDocuments))
		for id, key := range p.keys {
			if page[id] = key; len(page) == pageDocuments {
				break
			}
		}
		if err := p.documents(ctx, page, p.version); err != nil {
			return err
		}
		for id := range page {
			delete(p.keys, id)
		}
	}
	return nil
}

// documents renders some documents.
func (w *work) documents(ctx context.Context, keys map[string]mapping.Key, version event.Version) error {
	list := make([][]string, 0, len(keys))
	for _, key := range keys {
		list = append(list, key.Literals)
	}
	if routes := w.rule.Routes(list); routes != "" {
		err := w.session.Query(ctx, routes, nil, func(values []any) error { return w.rule.RouteOf(w.anchor, values, keys) })
		if err != nil {
			return fmt.Errorf("find the parents of %d documents: %w", len(keys), err)
		}
	}
	var result *event.Table
	var rows [][]any
	err := w.session.Query(ctx, w.rule.Documents(list), func(columns []event.Column) (err error) {
		if result, err = w.rule.Result(w.anchor, columns); err == nil {
			copy(columns, result.Columns) // MariaDB tells the key of a union of integers as a DECIMAL
		}
		return err
	}, func(values []any) error {
		rows = append(rows, values)
		return nil
	})
	if err != nil {
		return fmt.Errorf("render %d documents: %w", len(keys), err)
	}
	changes, err := w.rule.Rendered(result, rows, keys, version)
	if err != nil {
		return err
	}
	return w.add(changes)
}

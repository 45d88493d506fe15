// Package lookup renders the documents of mappings whose SQL the source's server answers: joins, functions, groups.
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
	// Query calls told with the columns, then row with each row, whose values it may keep.
	Query(ctx context.Context, query string, told func([]event.Column) error, row func([]any) error) error
	Close() error
}

// How many documents are rendered by one query, and how many keys are looked for by one.
const (
	pageDocuments = 1000
	pageKeys      = 5000
)

// A Renderer renders one mapping's documents. It is for one goroutine.
type Renderer struct {
	rule    *mapping.Rule
	anchor  *event.Table // the table whose columns make the id, as the server describes it now
	open    func(context.Context) (Session, error)
	session Session
}

// New returns a Renderer that asks sessions of open; one that fails is closed, and the next one opened when it is needed.
func New(r *mapping.Rule, anchor *event.Table, open func(context.Context) (Session, error)) *Renderer {
	return &Renderer{rule: r, anchor: anchor, open: open}
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
		if err := w.all(ctx); err != nil {
			return err
		}
		if err := add([]mapping.Change{r.rule.Clear(&rows[i])}); err != nil {
			return err
		}
	}
	return w.all(ctx)
}

// work is one call of Render.
type work struct {
	*Renderer
	gtids   string
	waited  bool
	add     func([]mapping.Change) error
	touched mapping.Touched
}

// all renders what was touched until now.
func (w *work) all(ctx context.Context) error {
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
	p := pages{work: w, keys: t.Keys, version: t.Last}
	if p.keys == nil {
		p.keys = make(map[string]mapping.Key)
	}
	if t.All {
		if err := p.collect(ctx, func(key []string, limit int) string { return w.rule.Keys(key, limit, "") }); err != nil {
			return err
		}
		return p.render(ctx, 0)
	}
	for element, links := range t.Links {
		for some := range slices.Chunk(links, pageDocuments) {
			query := func(key []string, limit int) string { return w.rule.Linked(element, some, key, limit) }
			if err := p.collect(ctx, query); err != nil {
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
	err := w.session.Query(ctx, w.rule.Nulls(), nil, func([]any) error {
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
	keys    map[string]mapping.Key // by document id
	version event.Version
}

// collect adds the keys that a query gives, page after page, and renders what is more than a page.
func (p *pages) collect(ctx context.Context, query func(key []string, limit int) string) error {
	var last []string
	for {
		found := 0
		err := p.session.Query(ctx, query(last, pageKeys), nil, func(values []any) error {
			key, err := p.rule.KeyOf(p.anchor, values)
			if key.Literals == nil {
				return err
			}
			found++
			last = key.Literals
			if err == nil { // else such a row has no document: an empty or too long id
				if _, known := p.keys[key.ID]; !known {
					p.keys[key.ID] = key
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("find the documents that changed: %w", err)
		}
		if err := p.render(ctx, pageDocuments); err != nil {
			return err
		}
		if found < pageKeys {
			return nil
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
		result, err = w.rule.Result(w.anchor, columns)
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

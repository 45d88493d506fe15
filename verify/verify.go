// Package verify compares all rows of a mapping's table with all documents of its index, while nobody writes.
//
// Rows come in chunks, each as the mapping renders it; the documents of their ids are fetched and compared. Then the index is counted,
// and only when it holds more documents than rows have, its ids are listed to name those that belong to no row.
//
// Memory is bounded whatever the size: a chunk, a page, and a filter of 32 MiB in which each row's id sets one bit. The numbers are
// exact. A document without a row whose bit another row has set is counted, but not named: of a million rows, one such document in
// 270 is.
//
// What it cannot see: documents of other indices, fields that Elasticsearch derives, and a difference between numbers that are the
// same one (1.50 and 1.5).
package verify

import (
	"context"
	"fmt"
	"hash/maphash"

	"canalgo/event"
	"canalgo/mapping"
)

// Rows gives the changes that write all rows, a chunk at a time.
type Rows interface {
	Each(ctx context.Context, chunk func([]mapping.Change) error) error
}

// Documents reads the documents of a mapping.
type Documents interface {
	// Documents calls each for the document of every change, in order; source is nil when there is no such document.
	Documents(ctx context.Context, index string, of []mapping.Change, each func(i int, version event.Version, source []byte) error) error
	// Count returns how many documents there are, those that were just written, too.
	Count(ctx context.Context, own mapping.Own) (int, error)
	// List calls page with all documents, of which ID, Routing and Version are given.
	List(ctx context.Context, own mapping.Own, page func([]mapping.Change) error) error
}

// The kinds of a Difference.
const (
	Missing   = "missing"   // a row has no document
	Extra     = "extra"     // a document belongs to no row
	Different = "different" // in Field
	Refused   = "refused"   // no document can be made of the row; it is set aside
)

// A Difference is one row or document that is not as it should be.
type Difference struct {
	Kind     string        `json:"kind"`
	Document string        `json:"document"` // its id
	Key      string        `json:"key,omitempty"`
	Version  event.Version `json:"version,omitempty"` // of the document
	Field    string        `json:"field,omitempty"`   // the first that differs
	// Row and Doc are what both have in Field, when values were asked for; "" when it is not there.
	Row string `json:"row,omitempty"`
	Doc string `json:"doc,omitempty"`
}

// A Result is what was found, also so far.
type Result struct {
	Rows      int `json:"rows"`      // that the mapping takes
	Documents int `json:"documents"` // of the index, once they are counted
	Missing   int `json:"missing"`
	Extra     int `json:"extra"`
	Different int `json:"different"`
	Refused   int `json:"refused"`
	// Differences are the first of each, at most as many as were asked for.
	Differences []Difference `json:"differences,omitempty"`
	// Moved says that the source was written to meanwhile: a difference may be a change that was on its way.
	Moved bool `json:"moved,omitempty"`
}

// Equal reports whether all rows equal all documents.
func (r Result) Equal() bool { return r.Missing+r.Extra+r.Different+r.Refused == 0 }

// A Check compares one table with one index.
type Check struct {
	Rows      Rows
	Documents Documents
	Own       mapping.Own
	Key       func(mapping.Change) string // of the change's row, for people
	Limit     int                         // of Differences
	Values    bool                        // tell them

	result Result
	seed   maphash.Seed
	filter []uint64
}

const filterBits = 1 << 28

// Run compares and calls progress after each chunk of rows.
func (c *Check) Run(ctx context.Context, progress func(Result)) (Result, error) {
	c.seed, c.filter = maphash.MakeSeed(), make([]uint64, filterBits/64)
	err := c.Rows.Each(ctx, func(changes []mapping.Change) error {
		if err := c.chunk(ctx, changes); err != nil {
			return err
		}
		progress(c.result)
		return nil
	})
	if err != nil {
		return c.result, err
	}
	if c.result.Documents, err = c.Documents.Count(ctx, c.Own); err != nil {
		return c.result, fmt.Errorf("count the documents of %s: %w", c.Own.Index, err)
	}
	c.result.Extra = max(0, c.result.Documents-(c.result.Rows-c.result.Missing-c.result.Refused))
	if c.result.Extra > 0 {
		if err := c.nameExtra(ctx); err != nil {
			return c.result, fmt.Errorf("list the documents of %s: %w", c.Own.Index, err)
		}
	}
	return c.result, nil
}

// chunk compares the documents of some rows.
func (c *Check) chunk(ctx context.Context, changes []mapping.Change) error {
	var rows []mapping.Change
	for _, change := range changes {
		c.result.Rows++
		if change.Err != nil {
			c.result.Refused++
			c.tell(Difference{Kind: Refused, Document: change.ID}, &change)
			continue
		}
		word, bit := c.place(&change)
		c.filter[word] |= bit
		rows = append(rows, change)
	}
	if len(rows) == 0 {
		return nil
	}
	err := c.Documents.Documents(ctx, c.Own.Index, rows, func(i int, version event.Version, source []byte) error {
		d := Difference{Document: rows[i].ID, Version: version}
		if source == nil {
			c.result.Missing++
			d.Kind = Missing
			c.tell(d, &rows[i])
			return nil
		}
		field, row, doc, err := compare(rows[i].Body, source)
		if err != nil {
			return fmt.Errorf("document %s: %w", rows[i].ID, err)
		}
		if field != "" {
			c.result.Different++
			d.Kind, d.Field = Different, field
			if c.Values {
				d.Row, d.Doc = row, doc
			}
			c.tell(d, &rows[i])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read documents of %s: %w", c.Own.Index, err)
	}
	return nil
}

func (c *Check) nameExtra(ctx context.Context) error {
	return c.Documents.List(ctx, c.Own, func(all []mapping.Change) error {
		for _, document := range all {
			if word, bit := c.place(&document); c.filter[word]&bit == 0 {
				c.tell(Difference{Kind: Extra, Document: document.ID, Version: document.Version}, nil)
			}
		}
		return nil
	})
}

// place returns the place of where a document is in the filter.
func (c *Check) place(of *mapping.Change) (word int, bit uint64) {
	h := maphash.String(c.seed, of.Routing+"\x00"+of.ID) % filterBits
	return int(h / 64), 1 << (h % 64)
}

// tell adds a difference, as long as there is room. row is nil when it has none.
func (c *Check) tell(d Difference, row *mapping.Change) {
	if len(c.result.Differences) >= c.Limit {
		return
	}
	if row != nil {
		d.Key = c.Key(*row)
	}
	c.result.Differences = append(c.result.Differences, d)
}

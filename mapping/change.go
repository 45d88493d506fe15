package mapping

import (
	"slices"

	"canalgo/event"
)

// Op says what a Change does to its document.
type Op uint8

// The operations of a Change.
const (
	Write  Op = iota + 1 // the whole document
	Delete               // the document goes
	Clear                // every document of the mapping below the change's version goes (TRUNCATE, DROP)
	// LookUp: the row lacks columns (event.Row.Partial), so that it does not say what its document is. Whoever takes a Change must ask the
	// source's server first, and make a Write or a Delete of the answer.
	LookUp
)

// Own says which documents are a mapping's: all of an index, or those that have Value in Field.
type Own struct {
	Index        string
	Field, Value string // "" for all
}

// After returns the change with all that one before it, of the same document, has to leave.
func (c Change) After(before Change) Change {
	if before.Routing == c.Routing && len(before.Left) == 0 {
		return c
	}
	c = c.leaves(append(before.Left[:len(before.Left):len(before.Left)], before.Routing))
	if c.Nowhere && len(c.Left) > 0 { // the document was somewhere until now
		c.Nowhere, c.Routing, c.Left = false, c.Left[0], c.Left[1:]
	}
	return c
}

// leaves returns the change with more routings under which its document may be.
func (c Change) leaves(routings []string) Change {
	left := c.Left[:len(c.Left):len(c.Left)]
	for _, r := range routings {
		if r != "" && r != c.Routing && !slices.Contains(left, r) {
			left = append(left, r)
		}
	}
	c.Left = left
	return c
}

// A Change is one operation on one document of the destination. Its version makes repeats and stragglers harmless.
type Change struct {
	Op    Op
	Index string
	ID    string // the document's id; "" for Clear
	// Routing is where the document is, beside its id: its parent's id, "" when the id says it. Left are others under which the document
	// may be until this change, and is not behind it: a destination keeps one document for each.
	Routing string
	Left    []string
	Version event.Version
	Body    []byte     // JSON object of a Write; shares memory with other changes of the same Map call
	Row     *event.Row // where it comes from
	// Err, when not nil, says why no document can be made of the row: the change is set aside as if the destination had
	// refused it, and the rest goes on. ID is set.
	Err error
	// Nowhere is a Delete of a row that had no document because no id could be made, or as a child without a parent: the destination is not
	// asked. ID is what the row was called when it was set aside.
	Nowhere bool
}

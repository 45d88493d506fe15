package mapping

import "canalgo/event"

// Op says what a Change does to its document.
type Op uint8

// The operations of a Change.
const (
	Write  Op = iota + 1 // the whole document
	Delete               // the document goes
	Clear                // every document of the mapping below the change's version goes (TRUNCATE, DROP)
)

// A Change is one operation on one document of the destination. Its version makes repeats and stragglers harmless.
type Change struct {
	Op      Op
	Index   string
	ID      string // the document's id; "" for Clear
	Version event.Version
	Body    []byte     // JSON object of a Write; shares memory with other changes of the same Map call
	Row     *event.Row // where it comes from
	// Err, when not nil, says why no document can be made of the row: the change is set aside as if the destination had
	// refused it, and the rest goes on. ID is set.
	Err error
}

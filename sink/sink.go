// Package sink turns a duty's feed into writes to a destination: the Worker, its one retry loop, and what it needs of
// a feed and of a destination. Each destination has a folder of its own below.
package sink

import (
	"context"
	"fmt"

	"canalgo/event"
	"canalgo/mapping"
)

// Feed is a duty's ordered view of its source.
type Feed interface {
	// Next returns the next batch. io.EOF says that the feed has ended at a transaction boundary and that a new one would
	// go on; the worker then finishes what is in flight and returns.
	Next(ctx context.Context) (event.Batch, error)
	// Ack says that the destination has all of the batches up to seq.
	Ack(ctx context.Context, seq uint64) error
	// Newest returns the version of the newest event that was read from the source, and whether everything has been
	// read that the source held when its stream began. Until then, a version above newest may still be our own.
	Newest() (newest event.Version, settled bool)
	Close() error
}

// Decoder turns events into rows. It may keep what earlier events of the same feed told it.
type Decoder interface {
	Decode(events []event.Event) ([]event.Row, error)
}

// Mapper turns rows into changes of documents, in order.
type Mapper interface {
	Map(rows []event.Row) ([]mapping.Change, error)
}

// Sink writes to one destination. It is safe for several goroutines.
type Sink interface {
	// Write applies changes of different documents, which are then nowhere else but where the changes say, and returns nil once the
	// destination has them durably. Writing them
	// again must leave the same result. *PartialError says which changes were refused for good and which are worth a
	// retry; any other error is worth a retry of all.
	Write(ctx context.Context, changes []mapping.Change) error
	Close() error
}

// Clearer is a Sink that can delete all documents of a mapping below a version.
type Clearer interface {
	// Clear deletes every document of a mapping whose version is below before, at the version before. No write of the mapping's may be in
	// flight.
	Clear(ctx context.Context, own mapping.Own, before event.Version) (Cleared, error)
}

// leased is the key of what Leased keeps in a context.
type leased struct{}

// Leased returns a context for what is made of several requests, such as Clear: each of them asks Begin (rule 6).
func Leased(ctx context.Context, begin func() error) context.Context {
	return context.WithValue(ctx, leased{}, begin)
}

// Begin returns nil while a request of ctx may begin: what was given to Leased says so. A Sink asks it before each request.
func Begin(ctx context.Context) error {
	if begin, ok := ctx.Value(leased{}).(func() error); ok {
		return begin()
	}
	return nil
}

// Cleared says what Clear met.
type Cleared struct {
	Deleted int
	Highest event.Version // of the documents that stay
}

// A Rejection is a change that the destination will never take.
type Rejection struct {
	Change mapping.Change
	Reason string
}

// A Conflict is a change that was not written because the destination holds a higher version of the document.
type Conflict struct {
	Change mapping.Change
	Has    event.Version // what the destination holds
}

// PartialError is returned by Write when some changes were not written. Those it does not name were.
type PartialError struct {
	Rejected []Rejection
	// Conflicts are success if the version is one that the source can have given, and a foreign write if not; the
	// worker decides.
	Conflicts []Conflict
	Retry     []mapping.Change
	Cause     error // why Retry was not written; nil when Retry is empty
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d refused, %d older than what is there, %d to write again: %v", len(e.Rejected), len(e.Conflicts), len(e.Retry), e.Cause)
}

func (e *PartialError) Unwrap() error { return e.Cause }

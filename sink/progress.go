package sink

import (
	"sync"
	"sync/atomic"
	"time"

	"canalgo/event"
)

// Stage says what a worker does.
type Stage uint8

// The stages of a worker.
const (
	Reading Stage = iota + 1 // waits for the feed or works on what came
	Working                  // writes are in flight
	Failing                  // a write is tried again and again
)

// Step is a part of a worker's work.
type Step string

// The steps in which a worker can be held up. While none of them is under way it waits for its feed.
const (
	Mapping       Step = "map"         // a batch is decoded and mapped
	LookingUp     Step = "look up"     // the source has not answered what documents have become
	Writing       Step = "write"       // the destination has not answered
	Acknowledging Step = "acknowledge" // the destination has answered, and nobody can tell yet what that means, or the feed takes no word
)

// Progress is what a worker did and does. The counters count since it began.
type Progress struct {
	Stage     Stage
	Since     time.Time
	LastError string    // "" while all is well and was
	ErrorTime time.Time // of LastError
	InFlight  int

	Step      Step      // what is under way for the longest; "" while it only waits for its feed
	StepSince time.Time // of Step
	Moved     time.Time // when it last took, wrote or acknowledged a batch

	Read     uint64         // rows
	Filtered uint64         // of them, those that no document is made of
	Account  Account        // of the documents
	Retries  uint64         // requests sent again
	Reached  event.Position // end of the newest batch taken from the feed
}

// An Account says what became of the changes of documents that a worker made: Changes is the sum of all the others, at each moment.
type Account struct {
	Changes  uint64
	Merged   uint64 // replaced by a later change of the same document before they were sent
	Applied  uint64 // confirmed by the destination
	Older    uint64 // refused as older than what is there
	SetAside uint64
	Held     uint64 // not yet any of these
}

// Add returns the sum of what an earlier worker did and what this one does. What the earlier one still held comes again.
func (a Account) Add(earlier Account) Account {
	return Account{Changes: a.Changes + earlier.Changes - earlier.Held, Merged: a.Merged + earlier.Merged, Applied: a.Applied + earlier.Applied,
		Older: a.Older + earlier.Older, SetAside: a.SetAside + earlier.SetAside, Held: a.Held}
}

type progress struct {
	read, filtered, retries atomic.Uint64

	mu      sync.Mutex
	stage   Stage
	since   time.Time
	err     string
	errTime time.Time
	end     event.Position
	moved   time.Time
	mapping time.Time // since when a batch is mapped; zero while none is
	looking time.Time // since when the source is asked; zero while it is not
	acking  time.Time // since when the feed is told; zero while it is not
}

func (p *progress) enter(s Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage != s {
		p.stage, p.since = s, time.Now()
	}
}

// took notes a batch that was taken from the feed, and is now mapped.
func (p *progress) took(end event.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = end
	p.moved = time.Now()
	p.mapping = p.moved
}

// mapped notes that the batch, of so many rows, is; no document is made of some.
func (p *progress) mapped(rows, filtered int) {
	p.read.Add(uint64(rows))
	p.filtered.Add(uint64(filtered))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mapping = time.Time{}
}

// looks notes that the source is asked what documents have become, and looked that it has answered.
func (p *progress) looks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looking = time.Now()
}

func (p *progress) looked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looking = time.Time{}
}

// note keeps an error that is none of the destination's.
func (p *progress) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.errTime = err.Error(), time.Now()
}

// acknowledges notes that the feed is told of what is written, and acknowledged that it has taken that.
func (p *progress) acknowledges() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acking = time.Now()
}

func (p *progress) acknowledged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved, p.acking = time.Now(), time.Time{}
}

// step returns what is under way for the longest, given what the queue says.
func (p *progress) step(written, judged time.Time) (step Step, since time.Time) {
	for _, s := range []struct {
		step  Step
		since time.Time
	}{{Mapping, p.mapping}, {LookingUp, p.looking}, {Writing, written}, {Acknowledging, judged}, {Acknowledging, p.acking}} {
		if !s.since.IsZero() && (since.IsZero() || s.since.Before(since)) {
			step, since = s.step, s.since
		}
	}
	return step, since
}

func (p *progress) failed(err error) {
	p.retries.Add(1)
	p.enter(Failing)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.errTime = err.Error(), time.Now()
}

func (p *progress) recovered() { p.enter(Reading) }

func (p *progress) snapshot(q *queue) Progress {
	inFlight, written, judged := q.underWay()
	account := q.counts()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := Progress{Stage: p.stage, Since: p.since, LastError: p.err, ErrorTime: p.errTime, InFlight: inFlight, Moved: p.moved,
		Read: p.read.Load(), Filtered: p.filtered.Load(), Account: account, Retries: p.retries.Load(), Reached: p.end}
	out.Step, out.StepSince = p.step(written, judged)
	if out.Stage == Reading && inFlight > 0 {
		out.Stage = Working
	}
	return out
}

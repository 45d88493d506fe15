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

// Progress is what a worker did and does. The counters count since it began.
type Progress struct {
	Stage     Stage
	Since     time.Time
	LastError string    // "" while all is well and was
	ErrorTime time.Time // of LastError
	InFlight  int

	Read    uint64         // rows
	Applied uint64         // documents that the destination confirmed
	Older   uint64         // refused as older than what is there
	Aside   uint64         // set aside
	Retries uint64         // requests sent again
	Reached event.Position // end of the newest batch taken from the feed
}

type progress struct {
	read, applied, older, aside, retries atomic.Uint64

	mu      sync.Mutex
	stage   Stage
	since   time.Time
	err     string
	errTime time.Time
	end     event.Position
}

func (p *progress) enter(s Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage != s {
		p.stage, p.since = s, time.Now()
	}
}

func (p *progress) reached(end event.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = end
}

func (p *progress) failed(err error) {
	p.retries.Add(1)
	p.enter(Failing)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.errTime = err.Error(), time.Now()
}

func (p *progress) recovered() { p.enter(Reading) }

func (p *progress) snapshot(inFlight int) Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := Progress{Stage: p.stage, Since: p.since, LastError: p.err, ErrorTime: p.errTime, InFlight: inFlight,
		Read: p.read.Load(), Applied: p.applied.Load(), Older: p.older.Load(), Aside: p.aside.Load(), Retries: p.retries.Load(), Reached: p.end}
	if out.Stage == Reading && inFlight > 0 {
		out.Stage = Working
	}
	return out
}

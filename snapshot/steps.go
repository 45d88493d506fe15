package snapshot

import (
	"sync"
	"time"
)

// The steps of a load.
const (
	Reading = "read rows" // with the wait until the server has executed what the stream has read
	Writing = "write"
)

// steps are what of a load is under way. They are safe for several goroutines; the zero value has none.
type steps struct {
	mu    sync.Mutex
	under map[*step]struct{}
}

// A step is one of them.
type step struct {
	of    *steps
	name  string
	since time.Time // it began, or last got on
	err   error     // why it did not, last
}

func (s *steps) begin(name string) *step {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under == nil {
		s.under = make(map[*step]struct{})
	}
	one := &step{of: s, name: name, since: time.Now()}
	s.under[one] = struct{}{}
	return one
}

// moved notes that a part of the step is done. One that has failed has all of it to do again.
func (s *step) moved() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.err == nil {
		s.since = time.Now()
	}
}

// failed notes why the step is tried again.
func (s *step) failed(err error) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.err = err
}

func (s *step) end() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	delete(s.of.under, s)
}

// Doing returns the step that has not got on for the longest, "" while none is under way, and why it was tried again, if it was.
func (r *Reader) Doing() (name string, since time.Time, err error) {
	r.steps.mu.Lock()
	defer r.steps.mu.Unlock()
	for s := range r.steps.under {
		if name == "" || s.since.Before(since) {
			name, since, err = s.name, s.since, s.err
		}
	}
	return name, since, err
}

package node

import (
	"context"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/status"
)

// stallTime is how long something may be due and not come before the status says so. Each kind of silence that ends by itself, such as
// that of a connection, is noticed earlier.
const stallTime = 6 * time.Second

// watchEvery is how often the leader looks whether a source gets on.
const watchEvery = time.Second

// stalled says that a step has been under way for a time, once that is too long.
func stalled(step string, took time.Duration) *status.Stall {
	if took < stallTime {
		return nil
	}
	return &status.Stall{Step: step, Seconds: took.Seconds()}
}

// What is under way when the leader finds that something does not get on. The others are a worker's own.
const (
	stepRead = "read"          // the server has more, and nothing of it comes
	stepFeed = "feed"          // what was read does not get to the worker, or its acknowledgement not back
	stepSave = "save position" // the replicated log does not take it
)

// A watched is what the leader saw of a source when it looked last. It is guarded by sourceRun.mu.
type watched struct {
	progress SourceProgress
	moved    time.Time // when reading last got on, or had nothing to do
	duties   map[cluster.DutyID]place
}

// A place is how far a duty's feed has come.
type place struct {
	at, read event.Position // acknowledged, handed out
	moved    time.Time      // when one of them last did, or had reached the end
}

// watch looks at a source until ctx ends.
func (s *sourceRun) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look notes what has got on since the last look.
func (s *sourceRun) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.watched
	s.watched = watched{duties: make(map[cluster.DutyID]place)}
	if s.session == nil {
		return
	}
	p, end := s.source.Progress(shared), s.session.log.Boundary()
	s.watched.progress, s.watched.moved = p, now
	bytes, known := s.bytesBehind(end)
	due := known && bytes > 0 && now.Sub(p.CaughtUp) > 2*watchEvery && !s.session.log.Held()
	if due && !p.movedSince(before.progress) && !before.moved.IsZero() {
		s.watched.moved = before.moved
	}
	for id, f := range s.feeds {
		is := place{at: f.Position(), read: f.Read(), moved: now}
		if was, ok := before.duties[id]; ok && is.at.Before(end) && is.at == was.at && is.read == was.read {
			is.moved = was.moved
		}
		s.watched.duties[id] = is
	}
}

// movedSince reports whether reading has got on. What a connection brings that came instead of another one can be the same again.
func (p SourceProgress) movedSince(before SourceProgress) bool {
	return p.Bytes != before.Bytes || p.Received != before.Received && p.Reconnects == before.Reconnects
}

// stall returns what holds up the reading. s.mu is held.
func (s *sourceRun) stall(out status.Source) *status.Stall {
	switch {
	case out.State == status.SourceConnecting:
		return stalled("source", time.Since(out.Since))
	case out.State == status.SourceStreaming && !s.watched.moved.IsZero():
		return stalled(stepRead, time.Since(s.watched.moved))
	}
	return nil
}

// stallOf returns what holds up a duty as far as the leader sees.
func (s *sourceRun) stallOf(id cluster.DutyID) *status.Stall {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.watched.duties[id]; ok {
		return stalled(stepFeed, time.Since(p.moved))
	}
	return nil
}

// stallOfDuty puts together what the node that does a duty and the leader see. What the leader misses counts only when nothing moves
// at that node either: a large transaction moves no position.
func stallOfDuty(worker, leader status.Duty) *status.Stall {
	switch {
	case worker.Stall != nil:
		return worker.Stall
	case worker.IdleSeconds >= stallTime.Seconds():
		return leader.Stall
	}
	return nil
}

// A saving is a save of positions that is under way.
type saving struct {
	mu    sync.Mutex
	since time.Time // zero while none is
}

func (s *saving) set(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = since
}

func (s *saving) stall() *status.Stall {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return nil
	}
	return stalled(stepSave, time.Since(s.since))
}

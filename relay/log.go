// Package relay fans one source's stream out to many readers.
//
// A Log has one writer and many cursors and holds the newest batches in memory, at most maxBytes of them. When it is
// full the writer waits for the slowest cursor. A cursor that has not moved for 2 s while another one waits for more
// falls off: its Next returns ErrBehind, and it is served from the source again. While nobody waits, nobody falls off:
// the writer just waits, and the source's binary log is the spool.
//
// Batches reach each cursor in order. A batch that was not acknowledged is delivered again to the duty's next feed,
// because a duty's saved position never passes it.
//
// A Server passes a cursor's batches over a connection to a Feed, which is to the duty's worker what the cursor would be.
// The frames are drawn in wire.go. They are internal: both ends are the same version of canalgo, or one apart.
package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"canalgo/event"
)

// ErrBehind is returned by Cursor.Next and NewCursor when the log no longer holds what the cursor needs.
var ErrBehind = errors.New("the log no longer holds that position")

// patience is how long the writer waits for a cursor that does not move while another one waits for more.
const patience = 2 * time.Second

// entryOverhead is what a batch costs in the log beyond its raw bytes.
const entryOverhead = 256

// A Log is safe for several goroutines; only one may Append.
type Log struct {
	maxBytes int
	settled  func() bool

	mu      sync.Mutex
	batches []event.Batch // batches[i] has Seq first+i
	first   uint64
	bytes   int
	base    event.Version // of the last event that was dropped, or before the first one
	newest  event.Version
	end     event.Position // of the newest transaction that was read
	done    event.GTIDSet  // executed up to end
	cursors map[*Cursor]struct{}
	changed chan struct{} // closed at each change
	err     error         // why there will be no more
	held    bool          // Append waits for room

	expected int       // cursors that are still to come
	until    time.Time // which nothing is dropped for longer than
}

// NewLog returns a log whose first batch follows from, which must hold its GTIDs if the source has them. settled reports
// whether the stream has read everything that the source held when it began.
func NewLog(maxBytes int, from event.Position, settled func() bool) (*Log, error) {
	done, err := event.ParseGTIDSet(from.GTIDs)
	if err != nil {
		return nil, fmt.Errorf("position %s: %w", from, err)
	}
	return &Log{maxBytes: maxBytes, settled: settled, first: 1, base: from.Version(), newest: from.Version(), end: from, done: done,
		cursors: make(map[*Cursor]struct{}), changed: make(chan struct{})}, nil
}

// Boundary returns the end of the newest transaction that was read, with its GTID set.
func (l *Log) Boundary() event.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.end
	p.GTIDs = l.done.String()
	return p
}

// Append adds a batch and sets its Seq. It blocks while the log is full.
func (l *Log) Append(ctx context.Context, b event.Batch) error {
	size := b.Bytes + entryOverhead
	for {
		l.mu.Lock()
		l.held = !l.makeRoom(size)
		if !l.held {
			b.Seq = l.first + uint64(len(l.batches))
			l.batches = append(l.batches, b)
			l.bytes += size
			l.newest = max(l.newest, b.Last())
			l.end = b.End
			l.done.Add(b.Executed().Run())
			l.wake()
			l.mu.Unlock()
			return nil
		}
		changed := l.changed
		l.mu.Unlock()
		timer := time.NewTimer(patience / 4)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Close ends the log: cursors get err once they have read what is there.
func (l *Log) Close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.wake()
}

// Holds reports whether a cursor at that position could be served and the position lies in the newer half of the log.
func (l *Log) Holds(p event.Position) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := p.Version()
	if v < l.base || v > l.newest {
		return false
	}
	if len(l.batches) < 2 {
		return true
	}
	return v >= l.batches[len(l.batches)/2].Last()
}

// Newest returns the version of the newest event read, and whether the stream has read all that the source held when it began. Of a closed
// log nobody can say that: what was read since is in another one.
func (l *Log) Newest() (event.Version, bool) {
	settled := l.settled() // asked first: what it covers is in newest below
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest, settled && l.err == nil
}

// Expect says that so many cursors are to come: for a while nothing is dropped that they would have to get from the source again.
func (l *Log) Expect(cursors int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected, l.until = cursors, time.Now().Add(patience)
}

// Held reports whether the writer waits for the slowest cursor.
func (l *Log) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// Bytes returns how much of its memory the log uses.
func (l *Log) Bytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// wake tells everyone who waits that something changed. l.mu is held.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// makeRoom drops what every cursor has read, and cursors that hold up others, until size fits. l.mu is held.
func (l *Log) makeRoom(size int) bool {
	for l.bytes > 0 && l.bytes+size > l.maxBytes {
		if l.expected > 0 && time.Now().Before(l.until) {
			return false
		}
		slowest := l.slowest()
		if slowest == nil || slowest.next > l.first {
			l.dropFirst()
			continue
		}
		if !l.waited(slowest) {
			return false
		}
		slowest.behind = true
		delete(l.cursors, slowest)
		l.wake()
	}
	return true
}

func (l *Log) dropFirst() {
	b := l.batches[0]
	l.base = max(l.base, b.Last())
	l.bytes -= b.Bytes + entryOverhead
	l.batches[0] = event.Batch{}
	l.batches = l.batches[1:]
	l.first++
}

func (l *Log) slowest() *Cursor {
	var slowest *Cursor
	for c := range l.cursors {
		if slowest == nil || c.next < slowest.next {
			slowest = c
		}
	}
	return slowest
}

// waited reports whether c has not moved for as long as patience lasts while another cursor waits for more. A guest has no time to move. l.mu
// is held.
func (l *Log) waited(c *Cursor) bool {
	if time.Since(c.moved) < patience && !c.guest {
		return false
	}
	end := l.first + uint64(len(l.batches))
	for other := range l.cursors {
		if other != c && other.next == end {
			return true
		}
	}
	return false
}

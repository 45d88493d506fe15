package binlog

import (
	"sync"
	"sync/atomic"
	"time"

	"canalgo/event"
)

// Status says what a stream does.
type Status struct {
	Connected bool
	Since     time.Time // of Connected
	LastError string    // of the last connection that failed or ended
	ErrorTime time.Time

	Position event.Position // the last transaction boundary, without GTIDs
	Newest   event.Version  // of the newest event that was handed on or passed over
	Settled  bool           // everything was read that the server held when the stream connected; false when it has ended
	CaughtUp time.Time      // when the server last held nothing that was not read
	Heard    time.Time      // when the server last sent a heartbeat, or an event while the stream was settled

	XA XAState

	End         event.Position // of the server's log, when it was asked last
	BehindBytes uint64         // from Position to End
	BehindFiles int

	// Counted since the Stream began: events and their bytes, rows events of tables that nobody wants, connections after the first.
	Events, Bytes, Filtered, Reconnects uint64
	// Received is bytes too, those of a transaction that nobody wants or that is read again included, as they come.
	Received uint64
}

// Status returns what the stream of that name does, or did last; the zero Status when there was none.
func (s *Source) Status(stream string) Status {
	s.mu.Lock()
	p := s.streams[stream]
	s.mu.Unlock()
	if p == nil {
		return Status{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	status := p.status
	status.Received = p.received.Load()
	status.BehindBytes, status.BehindFiles = p.behind()
	return status
}

// Newest returns the version of the newest event that the stream has read, and whether it has read everything that the
// server held when it connected.
func (s *Source) Newest(stream string) (event.Version, bool) {
	status := s.Status(stream)
	return status.Newest, status.Settled
}

// progress is one stream's Status.
type progress struct {
	mu     sync.Mutex
	status Status
	end    time.Time // when status.End was asked for
	files  []LogFile // the server's, when Position and End were in different ones
	opened bool

	received atomic.Uint64 // bytes as they come, also of what is read again for the stream
}

func (s *Source) startProgress(stream string, from event.Position) *progress {
	p := &progress{status: Status{Since: time.Now(), Position: from, Newest: from.Version()}}
	s.mu.Lock()
	s.streams[stream] = p
	s.mu.Unlock()
	return p
}

func (p *progress) connected(end event.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		p.status.Reconnects++
	}
	p.opened = true
	p.status.Connected, p.status.Since, p.status.Settled = true, time.Now(), false
	p.status.End, p.end = end, time.Now()
}

func (p *progress) disconnected(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Connected {
		p.status.Connected, p.status.Since = false, time.Now()
	}
	if err != nil {
		p.status.LastError, p.status.ErrorTime = err.Error(), time.Now()
	}
}

// ended notes that the Stream is over. Another one of its name may begin at an earlier place, and until it does, its log has only this
// Status.
func (p *progress) ended() {
	p.disconnected(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Settled = false
}

// read notes a batch before it is emitted.
func (p *progress) read(t *tracker, b event.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Position, p.status.XA = b.End, t.xa.state
	p.status.Newest = max(p.status.Newest, t.version())
	p.status.Events, p.status.Bytes, p.status.Filtered = t.events, t.bytes, t.filtered
	p.caughtUp()
}

// heard notes an event after the stream has settled, or a heartbeat.
func (p *progress) heard(t *tracker, settled bool, h header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.status.Heard, p.status.Settled = now, settled
	if h.kind == typeHeartbeat || h.kind == typeHeartbeatV2 { // sent by a server that has nothing else to send
		p.status.CaughtUp = now
	}
	p.status.Position, p.status.XA = t.boundary, t.xa.state
	p.caughtUp()
}

func (p *progress) isBehind(end event.Position) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Position.File != end.File
}

func (p *progress) serverEnd(end event.Position, asked time.Time, files []LogFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.End, p.end = end, asked
	p.files = files
	p.caughtUp()
}

// caughtUp notes that everything up to the end was read. p.mu is held.
func (p *progress) caughtUp() {
	if p.end.After(p.status.CaughtUp) && p.status.Position.File != "" && !positionBefore(p.status.Position, p.status.End) {
		p.status.CaughtUp = p.end
	}
}

// behind works out how far the position is behind the end. p.mu is held.
func (p *progress) behind() (bytes uint64, files int) {
	at, end := p.status.Position, p.status.End
	if at.File == "" || end.File == "" || !positionBefore(at, end) {
		return 0, 0
	}
	if at.File == end.File {
		return end.Offset - at.Offset, 0
	}
	bytes = end.Offset
	for _, f := range p.files {
		switch {
		case f.Name == at.File:
			bytes += f.Size - min(f.Size, at.Offset)
			files++
		case fileBefore(at.File, f.Name) && fileBefore(f.Name, end.File):
			bytes += f.Size
			files++
		}
	}
	return bytes, files
}

package node

import (
	"context"
	"time"

	"canalgo/event"
	"canalgo/status"
)

// Files are the server's binary logs, and what the leader has seen of their life. They are guarded by sourceRun.mu.
type files struct {
	list   []LogFile            // the oldest first
	keeps  time.Duration        // how long the server keeps one after it has ended; 0 for ever
	ended  map[string]time.Time // when the server began the next one, of those that it began while this node looked
	purges bool                 // the server, or somebody, has deleted one while this node looked
}

// seen notes what the server keeps now.
func (f *files) seen(list []LogFile, keeps time.Duration, now time.Time) {
	before := f.list
	f.list, f.keeps = list, keeps
	if len(before) == 0 || len(list) == 0 {
		return
	}
	f.purges = f.purges || before[0].Name != list[0].Name
	ended := make(map[string]time.Time)
	for _, l := range list {
		if at, ok := f.ended[l.Name]; ok {
			ended[l.Name] = at
		}
	}
	if newest := before[len(before)-1].Name; newest != list[len(list)-1].Name {
		ended[newest] = now
	}
	f.ended = ended
}

// watchFiles keeps the list of the server's binary logs, for lag and retention, over connections of its own.
func (s *sourceRun) watchFiles(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if list, keeps, err := s.source.Logs(ctx); err == nil {
			s.mu.Lock()
			s.files.seen(list, keeps, time.Now())
			s.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// bytesBehind is how much of the server's log lies behind a position. s.mu is held.
func (s *sourceRun) bytesBehind(p event.Position) (uint64, bool) {
	var bytes uint64
	found := false
	for _, f := range s.files.list {
		switch {
		case f.Name == p.File:
			found = true
			bytes += f.Size - min(f.Size, p.Offset)
		case found:
			bytes += f.Size
		}
	}
	return bytes, found
}

// retention says how long the server keeps the oldest place that is needed, at least. s.mu is held.
func (s *sourceRun) retention(oldest event.Position, out *status.Source) {
	if s.files.keeps > 0 {
		keeps := s.files.keeps.Seconds()
		out.RetentionSeconds = &keeps
	}
	for i, f := range s.files.list {
		if f.Name != oldest.File {
			continue
		}
		out.FilesUntilPurge = &i
		if i == len(s.files.list)-1 {
			return // the server writes it, and keeps it
		}
		out.Needed = f.Name
		out.PurgeNear = s.files.purges && i <= 1
		ended := oldest.Time // it was written then, and may have been for long after that
		if at, ok := s.files.ended[f.Name]; ok {
			ended = at
		}
		if s.files.keeps > 0 && !ended.IsZero() {
			left := max(0, (s.files.keeps - time.Since(ended)).Seconds())
			out.SecondsUntilPurge = &left
		}
	}
}

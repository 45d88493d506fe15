// Package logger writes changes as JSON lines, for looking at a mapping's output. It has no versions: after a crash lines repeat.
package logger

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

var _ sink.Sink = (*Sink)(nil)

// Config is a [sink.NAME] of type "logger".
type Config struct {
	Path string `toml:"path" json:"path,omitempty"` // of a file that is appended to; "" for standard output
}

// Defaults returns the settings that a section starts with.
func Defaults() Config { return Config{} }

// Validate returns what is wrong; nothing can be.
func (c Config) Validate() []error { return nil }

// A Sink writes lines. It is safe for several goroutines.
type Sink struct {
	mu    sync.Mutex
	out   *bufio.Writer
	close func() error
	sync  func() error
}

// New opens the file.
func New(cfg Config) (*Sink, error) {
	if cfg.Path == "" {
		return newSink(os.Stdout, func() error { return nil }, func() error { return nil }), nil
	}
	f, err := os.OpenFile(cfg.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	return newSink(f, f.Sync, f.Close), nil
}

func newSink(w io.Writer, sync, closer func() error) *Sink {
	return &Sink{out: bufio.NewWriterSize(w, 64<<10), sync: sync, close: closer}
}

type line struct {
	Op       string          `json:"op"`
	Index    string          `json:"index"`
	ID       string          `json:"id,omitempty"`
	Routing  string          `json:"routing,omitempty"`
	Left     []string        `json:"left,omitempty"` // routings
	Version  event.Version   `json:"version"`
	Document json.RawMessage `json:"document,omitempty"`
}

// Write implements sink.Sink.
func (s *Sink) Write(_ context.Context, changes []mapping.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	enc := json.NewEncoder(s.out)
	enc.SetEscapeHTML(false)
	for _, c := range changes {
		l := line{Op: "write", Index: c.Index, ID: c.ID, Routing: c.Routing, Left: c.Left, Version: c.Version, Document: c.Body}
		switch c.Op {
		case mapping.Delete:
			l.Op = "delete"
		case mapping.Clear:
			l.Op = "clear"
		}
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write line: %w", err)
		}
	}
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("write lines: %w", err)
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// Close closes the file.
func (s *Sink) Close() error { return s.close() }

// Limits returns what a worker may write at once: one write at a time keeps the lines in order.
func (s *Sink) Limits() sink.Limits {
	return sink.Limits{BulkBytes: 1 << 20, BulkDocs: 1000, InFlight: 1, Linger: 10 * time.Millisecond}
}

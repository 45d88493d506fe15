package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// traceLines is how much of the end of a trace is kept.
const traceLines = 2000

// A trace is what happened, the newest of it. It takes the logs of the nodes, too.
type trace struct {
	began time.Time

	mu    sync.Mutex
	lines []string
}

func newTrace() *trace { return &trace{began: time.Now()} }

func (t *trace) add(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) >= 2*traceLines {
		t.lines = append(t.lines[:0:0], t.lines[traceLines:]...)
	}
	t.lines = append(t.lines, fmt.Sprintf("%10s ", time.Since(t.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// Write is part of io.Writer.
func (t *trace) Write(p []byte) (int, error) {
	t.add("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-traceLines):], "\n")
}

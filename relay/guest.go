package relay

import (
	"context"

	"canalgo/event"
)

// A Guest reads a Log as a whole, batch by batch, and keeps its own account of what is acknowledged. It holds nobody up: when the log is full,
// it falls off as soon as another reader waits for more, however lately it moved. Take is for one goroutine; Close is safe for several.
type Guest struct{ c *Cursor }

// NewGuest returns a guest whose first batch follows from. until, when it is not nil, ends it with io.EOF at the first transaction boundary for
// whose position it reports true.
func (l *Log) NewGuest(from event.Position, until func(event.Position) bool) (*Guest, error) {
	c, err := l.NewCursor(from, nil)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.guest, c.Until = true, until
	return &Guest{c}, nil
}

// Take returns the next batch that ends behind the position where the guest began, with all its events. What is there is returned even when
// ctx has ended.
func (g *Guest) Take(ctx context.Context) (event.Batch, error) {
	for {
		b, err := g.c.take(ctx)
		if err != nil {
			return event.Batch{}, err
		}
		g.c.mu.Lock()
		g.c.read = b.End
		g.c.mu.Unlock()
		// A transaction without events that count has the version of the one before.
		if last := b.Last(); last > g.c.from || last == g.c.from && g.c.position.FileBefore(b.End) {
			return b, nil
		}
	}
}

// Close takes the guest off the log.
func (g *Guest) Close() { _ = g.c.Close() }

package sink

import (
	"context"
	"math"

	"golang.org/x/sync/semaphore"
)

// A Gate keeps a mapping's load and its Clear apart: a load holds it shared from reading rows until they are written. Whoever waits
// for it ends with its context, for the one that holds it may be told to end only after that one.
type Gate struct{ places *semaphore.Weighted }

// NewGate returns a Gate that nobody holds.
func NewGate() *Gate { return &Gate{semaphore.NewWeighted(math.MaxInt64)} }

// Share waits until nobody holds the gate alone, and holds it beside others. Release gives it back.
func (g *Gate) Share(ctx context.Context) (release func(), err error) { return g.take(ctx, 1) }

// Close waits until nobody holds the gate, and holds it alone.
func (g *Gate) Close(ctx context.Context) (release func(), err error) {
	return g.take(ctx, math.MaxInt64)
}

func (g *Gate) take(ctx context.Context, places int64) (release func(), err error) {
	if err := g.places.Acquire(ctx, places); err != nil {
		return nil, err
	}
	return func() { g.places.Release(places) }, nil
}

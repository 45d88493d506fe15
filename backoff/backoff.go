// Package backoff spaces the attempts of a retry loop.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff doubles the wait from Min to Max, each with up to a quarter of jitter. It is for one goroutine.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Reset starts again at Min; call it after a success.
func (b *Backoff) Reset() { b.next = 0 }

// Wait waits for the next interval or until ctx ends, whose error it then returns.
func (b *Backoff) Wait(ctx context.Context) error {
	b.next = min(max(2*b.next, b.Min), b.Max)
	timer := time.NewTimer(b.next + rand.N(b.next/4+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package peer

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	warnEvery = time.Minute
	maxReason = 200 // bytes; a reason can quote what a stranger sent
)

// refusals logs who was not let in: each at debug level, and at most one warning a minute for all.
type refusals struct {
	logger hclog.Logger

	mu    sync.Mutex
	count int // since the last warning
	next  time.Time
}

func (r *refusals) add(from net.Addr, reason string) {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	r.logger.Debug("connection refused", "from", from, "reason", reason)
	r.mu.Lock()
	r.count++
	count, now := r.count, time.Now()
	due := !now.Before(r.next)
	if due {
		r.count, r.next = 0, now.Add(warnEvery)
	}
	r.mu.Unlock()
	if due {
		r.logger.Warn("connections refused at the node port", "count", count, "last_from", from, "last_reason", reason)
	}
}

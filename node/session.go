package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/sink"
	"canalgo/status"
)

// A lease ends leaseTime after the renewal that the leader answered was sent.
const (
	leaseTime    = 1500 * time.Millisecond
	renewEvery   = 500 * time.Millisecond
	retryRenewal = 50 * time.Millisecond // when the leader did not answer, or does not lead yet
)

// errNoLease says that this node may begin no write: it has not heard from a leader that a quorum confirms.
var errNoLease = errors.New("the lease is over: no leader has renewed it")

// A lease is this node's right to begin writes, by its own clock.
type lease struct {
	mu    sync.Mutex
	until time.Duration // on Config.Clock
}

func (l *lease) renew(sent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = max(l.until, sent+leaseTime)
}

// left returns how much of it is left; nothing when it is negative.
func (l *lease) left(now time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until - now
}

// begin is rule 6: nil while this node may begin a write.
func (n *Node) begin() error {
	if n.lease.left(n.cfg.Clock()) <= 0 {
		return errNoLease
	}
	return nil
}

// keepSession renews the lease at whoever leads, until ctx ends.
func (n *Node) keepSession(ctx context.Context) error {
	var since time.Time // when it began to fail
	warned, compared := false, false
	for {
		pause := renewEvery
		v, changed := n.coord.View()
		if v.LeaderAddress != "" || v.Leading {
			err := n.renew(ctx)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, errTwin):
				return err
			case err == nil && warned:
				n.log.Info("the leader renews the lease again", "leader", v.Leader)
				fallthrough
			case err == nil:
				since, warned = time.Time{}, false
				compared = compared || n.compareFile()
			default:
				pause = retryRenewal
				if since.IsZero() {
					since = time.Now()
				}
				if time.Since(since) > quietTime && !warned {
					warned = true
					n.log.Warn("the leader does not renew the lease", "leader", v.Leader, "error", err)
				}
			}
		}
		if err := n.untilRenewal(ctx, v, changed, pause); err != nil {
			return err
		}
	}
}

// untilRenewal waits until the next renewal is due: after its time, at another leader, or when there is something to tell.
func (n *Node) untilRenewal(ctx context.Context, was cluster.View, changed <-chan struct{}, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-n.tell:
			return nil
		case <-changed:
		}
		var v cluster.View
		if v, changed = n.coord.View(); v.Leader != was.Leader || v.Term != was.Term {
			return nil
		}
	}
}

// renew renews the lease once. It counts from before the request.
func (n *Node) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	v, _ := n.coord.View()
	ctx, over := n.whileLed(ctx, v)
	defer over()
	request := sessionRequest{identity: n.identity(), Draining: n.draining.Err() != nil,
		Stages: map[cluster.DutyID]status.Stage{}, Failing: map[cluster.DutyID]time.Duration{}}
	for _, r := range n.running() {
		stage, failing := r.tell()
		request.Stages[r.id] = stage
		if failing > 0 {
			request.Failing[r.id] = failing
		}
	}
	sent := n.cfg.Clock()
	if _, err := atLeader(ctx, n, callSession, request, n.renewed); err != nil {
		return err
	}
	n.lease.renew(sent)
	//failpoint lease.after_renew
	return nil
}

// tell says what the leader has to know of a duty: its stage, and for how long its destination has not taken a write. One that only
// looks whether somebody has acted is stopped for whoever acts now.
func (r *dutyRun) tell() (stage status.Stage, failing time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stage = r.stage
	if time.Since(r.halted) < 2*retryStopped {
		stage = status.Stopped
	}
	if r.worker != nil {
		if p := r.worker.Progress(); p.Stage == sink.Failing {
			failing = time.Since(p.Since)
		}
	}
	return stage, failing
}

// renewed is the leader's answer to a renewal: nil when a quorum confirms that it leads.
func (n *Node) renewed(ctx context.Context, r sessionRequest) (sessionAnswer, error) {
	x := n.reign.Load()
	if x == nil {
		return sessionAnswer{}, fmt.Errorf("renew the lease of %s: %w", r.Name, cluster.ErrNotLeader)
	}
	v, _ := n.coord.View()
	if known, ok := v.Nodes[r.Name]; !ok || known.ServerID != r.ServerID {
		return sessionAnswer{}, fmt.Errorf("renew the lease of %s (%s): %w", r.Name, r.ServerID, errStranger)
	}
	if run := x.members.get(r.Name).run; run != "" && run != r.Run { // it was started again, or there are two
		if err := n.isTwin(ctx, v.Nodes[r.Name], r.Run); err != nil {
			return sessionAnswer{}, err
		}
	}
	if err := x.members.renewed(r, n.View, n.cfg.Clock()); err != nil {
		return sessionAnswer{}, err
	}
	err := n.coord.Verify(ctx, x.term)
	x.members.waited(r, n.cfg.Clock())
	if err != nil {
		return sessionAnswer{}, err
	}
	return sessionAnswer{Term: x.term}, nil
}

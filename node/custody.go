package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"canalgo/backoff"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/status"
)

// A Custodian is a Coordinator under which programs outside of the cluster read sources, too.
type Custodian interface {
	// Keep has this leader take a source whenever nobody else has it, and tells each change, until ctx or the term ends. Then the
	// source is given back. server is whom it is read from, and that server's id; "" while that is not known.
	Keep(ctx context.Context, term cluster.Term, source string, server func() (address string, id uint32), tell func(cluster.Custody)) error
}

// A Placer is a Source that finds its way from a place that another program names.
type Placer interface {
	// EndBefore returns the end of the last transaction at or before a place in the log, without epoch and count.
	EndBefore(ctx context.Context, file string, offset uint64) (event.Position, error)
}

// keep keeps the source in the cluster's custody until ctx ends. Without other programs it is the cluster's all the time.
func (s *sourceRun) keep(ctx context.Context) {
	custodian, ok := s.n.coord.(Custodian)
	if !ok {
		s.custody.set(cluster.Custody{Ours: true})
		return
	}
	server := func() (string, uint32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.server.Address, s.server.ID
	}
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for ctx.Err() == nil {
		err := custodian.Keep(ctx, s.term, s.name, server, s.custody.set)
		if ctx.Err() != nil || errors.Is(err, cluster.ErrNotLeader) {
			return
		}
		s.log.Warn("the source is in nobody's custody", "error", err)
		_ = wait.Wait(ctx)
	}
}

// sameServerTime is how much earlier than the time of a place another server is read from, as canal does.
const sameServerTime = time.Minute

// place returns the position at which to go on where another program has stopped: the end of a transaction at or before its place.
func (s *sourceRun) place(ctx context.Context, server Server, from cluster.Elsewhere) (event.Position, error) {
	placer, ok := s.source.(Placer)
	switch {
	case from.GTIDs != "" && server.GTIDs:
		return s.source.Resolve(ctx, from.GTIDs)
	case ok && from.File != "" && sameAddress(ctx, from.Address, server.Address):
		return placer.EndBefore(ctx, from.File, from.Offset)
	case from.Time.IsZero():
		return event.Position{}, &event.StopError{Reason: fmt.Sprintf("another program has read server %s up to %s:%d, this one is %s", from.Address, from.File, from.Offset, server.Address),
			Fix: "needs load: canalgo load"}
	}
	return s.source.Resolve(ctx, from.Time.Add(-sameServerTime).UTC().Format(time.RFC3339))
}

// sameAddress reports whether two host:port lead to the same place.
func sameAddress(ctx context.Context, a, b string) bool {
	if a == b {
		return true
	}
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	addressesA, errA := net.DefaultResolver.LookupHost(ctx, hostA)
	addressesB, errB := net.DefaultResolver.LookupHost(ctx, hostB)
	return errA == nil && errB == nil && slices.ContainsFunc(addressesA, func(one string) bool { return slices.Contains(addressesB, one) })
}

// lookUpTime bounds a look-up of names.
const lookUpTime = 3 * time.Second

// custody is what is known of who may read a source. It is safe for several goroutines.
type custody struct {
	mu      sync.Mutex
	now     cluster.Custody
	changed chan struct{} // closed when there is a newer one
}

func newCustody() *custody {
	return &custody{changed: make(chan struct{})}
}

func (c *custody) set(now cluster.Custody) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == now {
		return
	}
	c.now = now
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *custody) get() (cluster.Custody, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.changed
}

// forget has the source go on at the cluster's own place, because a person said so.
func (c *custody) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.From = nil
}

// adopted notes that the source goes on at the place that the custody began with.
func (c *custody) adopted(from *cluster.Elsewhere) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.From == from {
		c.now.From = nil
	}
}

// waitElsewhere has duties whose source another program reads say so: that they wait is as it should be.
func waitElsewhere(r *status.Report) {
	for _, source := range r.Sources {
		if source.State != status.SourceElsewhere {
			continue
		}
		for i, d := range r.Duties {
			if d.Stage == status.Waiting && d.WaitingFor == "source "+source.Name {
				r.Duties[i].Stall, r.Duties[i].WaitingFor = nil, d.WaitingFor+", which "+source.HeldBy+" reads"
			}
		}
	}
}

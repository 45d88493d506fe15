package node

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/status"
)

// members is what the leader knows of the nodes in its term. It is safe for several goroutines.
type members struct {
	began time.Duration // of the term, when every lease counts as renewed

	mu      sync.Mutex
	known   map[string]*member
	changed chan struct{} // gets a value when a node has something to tell that a renewal alone is not
}

// A member is one node in its sessions.
type member struct {
	serverID string
	renewed  time.Duration // on the leader's clock
	gone     bool          // its port refused a connection after that
	draining bool
	applied  uint64
	stages   map[cluster.DutyID]status.Stage
	cannot   map[cluster.DutyID]time.Duration // until when it counts as unable to do a duty
}

// unreachedTime is how long a duty's destination must not have answered its node before another node tries, which then does it
// for at least unableTime.
const (
	unreachedTime = 10 * time.Second
	unableTime    = 2 * time.Minute
)

func newMembers(now time.Duration) *members {
	return &members{began: now, known: make(map[string]*member), changed: make(chan struct{}, 1)}
}

// renewed notes a renewal that came at now.
func (m *members) renewed(r sessionRequest, now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.known[r.Name]
	k := &member{serverID: r.ServerID, renewed: now, draining: r.Draining, applied: r.Applied, stages: r.Stages}
	if was != nil {
		k.cannot = was.cannot
	}
	for id, unreached := range r.Cannot {
		if unreached.For > unreachedTime {
			if k.cannot == nil {
				k.cannot = make(map[cluster.DutyID]time.Duration)
			}
			k.cannot[id] = now + unableTime
		}
	}
	m.known[r.Name] = k
	if was == nil || was.gone || was.draining != r.Draining || was.serverID != r.ServerID {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// get returns what is known of a node: one that was not heard yet in this term counts as renewed when the term began.
func (m *members) get(name string) member {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.known[name]; k != nil {
		return *k
	}
	return member{renewed: m.began}
}

func (m member) lives(now time.Duration) bool { return !m.gone && now-m.renewed < leaseTime }

// living returns the nodes whose lease lasts, in order. candidates leaves out those that drain, and heard also those whose lease
// only counts as renewed when the term began: whether they are there, nobody knows.
func (m *members) living(v cluster.View, now time.Duration) (living, candidates, heard []string) {
	for _, name := range slices.Sorted(maps.Keys(v.Nodes)) {
		k := m.get(name)
		if !k.lives(now) {
			continue
		}
		living = append(living, name)
		if !k.draining {
			candidates = append(candidates, name)
			if k.serverID != "" {
				heard = append(heard, name)
			}
		}
	}
	return living, candidates, heard
}

// unable returns what Rebalance asks: whether a node did not reach a duty's destination lately.
func (m *members) unable(now time.Duration) func(string, cluster.DutyID) bool {
	return func(node string, id cluster.DutyID) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		k := m.known[node]
		return k != nil && now < k.cannot[id]
	}
}

// stage returns what a node last said of a duty.
func (m *members) stage(node string, id cluster.DutyID) status.Stage { return m.get(node).stages[id] }

// suspect is how long a node that holds duties may be silent before the leader tries its port.
const suspect = 700 * time.Millisecond

// watchPorts tries the port of each node that holds duties and is silent, so that a process that ended is gone at once and
// not when its lease is over.
func (n *Node) watchPorts(ctx context.Context, m *members) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	first := true
	for {
		v, _ := n.coord.View()
		holds := make(map[string]bool)
		for _, d := range v.Duties {
			holds[d.Assignment.Node] = true
		}
		for name := range v.Nodes {
			k := m.get(name)
			silent := n.cfg.Clock() - k.renewed
			if !holds[name] || name == n.cfg.ID || k.gone || !first && (silent < suspect || silent > 2*leaseTime) {
				continue
			}
			if n.cfg.Peers.Refuses(ctx, v.Nodes[name].Address) {
				m.refused(name, k.renewed)
				n.log.Warn("node is gone: its port refuses connections", "node", name)
			}
		}
		first = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// refused notes that a node's port refused a connection, unless it has renewed meanwhile.
func (m *members) refused(name string, renewed time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[name]
	if k == nil {
		k = &member{renewed: m.began}
		m.known[name] = k
	}
	if k.renewed == renewed {
		k.gone = true
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

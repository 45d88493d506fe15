package node

import (
	"context"
	"fmt"
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
	taken   map[cluster.DutyID]string // duties that are being taken from a node whose lease is over, with that node
	changed chan struct{}             // gets a value when a node has something to tell that a renewal alone is not
}

// A member is one node in its sessions.
type member struct {
	serverID string
	run      string        // of the process that renewed
	renewed  time.Duration // on the leader's clock
	waits    bool          // for the answer to that, which a quorum has to confirm
	heard    time.Duration // when it stopped to wait
	gone     bool          // its port refused a connection after that
	draining bool
	stages   map[cluster.DutyID]status.Stage
	failing  map[cluster.DutyID]time.Duration // for how long the destination has not taken a write
	cannot   map[cluster.DutyID]time.Duration // until when it counts as unable to do a duty
}

func newMembers(now time.Duration) *members {
	return &members{began: now, known: make(map[string]*member), taken: make(map[cluster.DutyID]string), changed: make(chan struct{}, 1)}
}

// renewed notes a renewal that came at now. It refuses that of a node which does a duty that is no longer its own: until it has heard of
// that, it is not to begin a write (rule 6).
func (m *members) renewed(r sessionRequest, view func() cluster.View, now time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := view() // not older than taken
	for id := range r.Stages {
		if m.taken[id] == r.Name || v.Duties[id].Assignment.Node != r.Name {
			return fmt.Errorf("renew the lease of %s: it still does %s, which is not its own any more", r.Name, id)
		}
	}
	was := m.known[r.Name]
	k := &member{serverID: r.ServerID, run: r.Run, renewed: now, waits: true, draining: r.Draining, stages: r.Stages, failing: r.Failing}
	if was != nil {
		k.cannot = was.cannot
	}
	m.known[r.Name] = k
	if was == nil || was.gone || was.draining != r.Draining || was.serverID != r.ServerID {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// waited notes that a node has waited until now for the answer to a renewal. As long as the coordinator confirms nothing, no node has
// its lease renewed; that is no reason to move what they do.
func (m *members) waited(r sessionRequest, now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.known[r.Name]; k != nil && k.run == r.Run {
		k.waits, k.heard = false, now
	}
}

// take marks duties of nodes that do not live as being taken, until given, and leaves out those whose node has renewed meanwhile.
func (m *members) take(todo map[cluster.DutyID]cluster.Assignment, v cluster.View, now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range todo {
		from := v.Duties[id].Assignment.Node
		if k := m.known[from]; k != nil && k.lives(now) {
			delete(todo, id)
		} else {
			m.taken[id] = from
		}
	}
}

// given ends take: who has the duties now is in the state.
func (m *members) given(todo map[cluster.DutyID]cluster.Assignment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range todo {
		delete(m.taken, id)
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

func (m member) lives(now time.Duration) bool {
	return !m.gone && (now-max(m.renewed, m.heard) < leaseTime || m.waits && now-m.renewed < 2*leaseTime)
}

// mayDo reports whether the node may still begin writes of a duty that was taken from it at some moment: until it has renewed without
// the duty, for else it is refused, or its lease is over.
func (m member) mayDo(withdrawn, now time.Duration) bool {
	return m.lives(now) && m.renewed <= withdrawn
}

// nodes sorts the nodes whose lease lasts. living are all of them: what they do they have to release. keepers may keep it, because
// they are members and do not drain. takers may get more: they were heard in this term.
func (m *members) nodes(v cluster.View, now time.Duration) (living, keepers, takers []string) {
	names := slices.Collect(maps.Keys(v.Nodes))
	m.mu.Lock()
	for name := range m.known {
		if _, ok := v.Nodes[name]; !ok { // taken out, but perhaps it has not heard
			names = append(names, name)
		}
	}
	m.mu.Unlock()
	slices.Sort(names)
	for _, name := range names {
		k, known := m.get(name), v.Nodes[name]
		if !k.lives(now) {
			continue
		}
		living = append(living, name)
		heard := k.serverID != ""
		if known.ServerID == "" || k.draining || heard && k.serverID != known.ServerID {
			continue
		}
		keepers = append(keepers, name)
		if heard {
			takers = append(takers, name)
		}
	}
	return living, keepers, takers
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

// failing returns the duties whose destination has not answered their node for a while, with that node.
func (m *members) failing() map[cluster.DutyID]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[cluster.DutyID]string)
	for name, k := range m.known {
		for id, since := range k.failing {
			if since > unreachedTime {
				out[id] = name
			}
		}
	}
	return out
}

// cannot notes that a node does not reach a duty's destination.
func (m *members) cannot(node string, id cluster.DutyID, until time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[node]
	if k == nil {
		return
	}
	next := map[cluster.DutyID]time.Duration{id: until}
	for other, u := range k.cannot {
		if other != id {
			next[other] = u
		}
	}
	k.cannot = next
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
	var asking sync.WaitGroup
	defer asking.Wait()
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
			asking.Go(func() {
				if n.cfg.Peers.Refuses(ctx, v.Nodes[name].Address) {
					m.refused(name, k.renewed)
					n.log.Warn("node is gone: its port refuses connections", "node", name)
				}
			})
		}
		asking.Wait()
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

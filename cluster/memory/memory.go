// Package memory coordinates the members of one process in memory: for tests, and as the smallest example of a
// coordinator. All members share one state and see each command at once. Nothing is kept.
package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"canalgo/cluster"
)

// A Cluster is some members and the state they share.
type Cluster struct {
	members []*Member

	mu      sync.Mutex
	servers []cluster.Server // the members that were not removed, and what was added
	state   cluster.State
	applied uint64
	term    cluster.Term
	leader  *Member // nil while there is none
	wanted  *Member // who is to lead next; nil for whoever comes
}

// A Member takes part in a Cluster. It is safe for several goroutines; Run is called once at a time.
type Member struct {
	name    string
	cluster *Cluster
	board   cluster.Board

	// Guarded by cluster.mu.
	running bool
	removed bool
	elect   chan struct{} // closed when the leader or who runs may have changed
	ended   context.CancelFunc
}

// New returns a cluster of members of these names. The first one that runs leads.
func New(names ...string) *Cluster {
	c := &Cluster{}
	for _, name := range names {
		c.members = append(c.members, &Member{name: name, cluster: c, elect: make(chan struct{})})
		c.servers = append(c.servers, cluster.Server{Name: name, ID: name, Address: name, Voter: true})
	}
	return c
}

// Member returns the i-th member.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// MoveLeader ends the term of the member that leads, if any, and has the i-th member lead next, also when it led before.
func (c *Cluster) MoveLeader(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moveLeader(c.members[i])
}

// moveLeader has next lead. c.mu is held.
func (c *Cluster) moveLeader(next *Member) {
	c.wanted = next
	if c.leader != nil {
		c.leader.ended()
	}
	c.show()
	c.wake()
}

// wake has every member look again whether it can lead. c.mu is held.
func (c *Cluster) wake() {
	for _, m := range c.members {
		close(m.elect)
		m.elect = make(chan struct{})
	}
}

// show puts the present state on every member's board. c.mu is held.
func (c *Cluster) show() {
	leader := ""
	if c.leader != nil && c.wanted == nil {
		leader = c.leader.name
	}
	for _, m := range c.members {
		m.board.Update(func(v *cluster.View) {
			v.State, v.Applied, v.Term = c.state, c.applied, c.term
			v.Leader, v.LeaderAddress, v.Leading = leader, leader, leader == m.name
		})
	}
}

// Run takes part until ctx ends. It calls lead each time this member is elected; lead's ctx ends with the term. When
// lead returns an error while its term lasts, Run ends with it; with cluster.ErrRemoved when this member is removed.
func (m *Member) Run(ctx context.Context, lead func(ctx context.Context, term cluster.Term) error) error {
	c := m.cluster
	c.mu.Lock()
	if m.running {
		c.mu.Unlock()
		return errors.New("memory: this member runs already")
	}
	m.running = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		m.running = false
		c.wake()
	}()
	for ctx.Err() == nil {
		termCtx, term, changed, err := m.campaign(ctx)
		if err != nil {
			return err
		}
		if termCtx == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		err = lead(termCtx, term)
		if err != nil && termCtx.Err() == nil {
			m.resign()
			return fmt.Errorf("lead in term %d: %w", term, err)
		}
		<-termCtx.Done() // one that returned early leads nothing until its term ends
		m.resign()
	}
	return nil
}

// campaign makes this member the leader if nobody leads and nobody else was asked to.
func (m *Member) campaign(ctx context.Context) (context.Context, cluster.Term, <-chan struct{}, error) {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.removed {
		return nil, 0, nil, fmt.Errorf("node %s: %w", m.name, cluster.ErrRemoved)
	}
	if ctx.Err() != nil || c.leader != nil || c.wanted != nil && c.wanted != m && c.wanted.running {
		return nil, 0, m.elect, nil
	}
	termCtx, cancel := context.WithCancel(ctx)
	c.leader, c.wanted, m.ended = m, nil, cancel
	c.term++
	c.show()
	return termCtx, c.term, nil, nil
}

// resign ends this member's term.
func (m *Member) resign() {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	m.ended()
	c.leader = nil
	c.show()
	c.wake()
}

// View returns the newest state and a channel that is closed when there is a newer one.
func (m *Member) View() (cluster.View, <-chan struct{}) { return m.board.View() }

// Propose applies cmd. Its errors are cluster.ErrNotLeader, cluster.ErrTooNew and the command's own refusal.
func (m *Member) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	v, _ := m.View()
	version, err := v.WriteVersion(cluster.CommandVersion(cmd))
	if err != nil {
		return fmt.Errorf("propose %T: %w", cmd, err)
	}
	// Through the bytes, so that what this accepts is what others accept, and nothing is shared with the caller.
	data, err := cluster.EncodeVersion(cmd, version)
	if err != nil {
		return err
	}
	decoded, err := cluster.Decode(data)
	if err != nil {
		return err
	}
	if err := m.Verify(ctx, term); err != nil {
		return err
	}
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !m.leads(term) {
		return cluster.ErrNotLeader
	}
	return c.apply(decoded)
}

// apply applies cmd. c.mu is held.
func (c *Cluster) apply(cmd cluster.Command) error {
	next, err := c.state.Apply(cmd)
	c.applied++
	c.state = next
	c.show()
	return err
}

// Verify returns nil if this member leads in term.
func (m *Member) Verify(ctx context.Context, term cluster.Term) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if !m.leads(term) {
		return cluster.ErrNotLeader
	}
	return nil
}

// leads reports whether this member leads in term, and nobody asked it to stop. cluster.mu is held.
func (m *Member) leads(term cluster.Term) bool {
	c := m.cluster
	return c.leader == m && c.term == term && c.wanted == nil
}

// AddNode adds a node without a vote, or replaces or updates the one of that name. A name that is a member's makes it take
// part again; its vote comes with PromoteNode.
func (m *Member) AddNode(ctx context.Context, term cluster.Term, name string, node cluster.Node) error {
	return m.change(ctx, term, func(c *Cluster) error {
		for _, s := range c.servers {
			if s.Name != name && s.Address == node.Address {
				return fmt.Errorf("add node %s: %s is the address of node %s: %w", name, s.Address, s.Name, cluster.ErrRefused)
			}
		}
		if err := c.apply(cluster.SetNode{Name: name, Node: node}); err != nil {
			return err
		}
		server := cluster.Server{Name: name, ID: node.ServerID, Address: node.Address}
		i := slices.IndexFunc(c.servers, func(s cluster.Server) bool { return s.Name == name })
		if i < 0 {
			c.servers = append(c.servers, server)
		} else {
			was := c.servers[i]
			server.Voter = was.Voter && (was.ID == server.ID || was.ID == name) // New gives the name for want of an id
			c.servers[i] = server
		}
		c.setRemoved(name, false)
		return nil
	})
}

// PromoteNode gives a node that was added its vote.
func (m *Member) PromoteNode(ctx context.Context, term cluster.Term, name string) error {
	return m.change(ctx, term, func(c *Cluster) error {
		i := slices.IndexFunc(c.servers, func(s cluster.Server) bool { return s.Name == name })
		if _, ok := c.state.Nodes[name]; !ok || i < 0 {
			return fmt.Errorf("promote node %q: %w", name, cluster.ErrUnknown)
		}
		c.servers[i].Voter = true
		return nil
	})
}

// RemoveNode removes a node. A member that leads hands leadership over instead, and returns cluster.ErrNotLeader.
func (m *Member) RemoveNode(ctx context.Context, term cluster.Term, name string) error {
	if name == m.name {
		if err := m.Transfer(ctx, term); err != nil {
			return err
		}
		return fmt.Errorf("remove node %s: it led and has handed over, ask the new leader: %w", name, cluster.ErrNotLeader)
	}
	return m.change(ctx, term, func(c *Cluster) error {
		i := slices.IndexFunc(c.servers, func(s cluster.Server) bool { return s.Name == name })
		node, known := c.state.Nodes[name]
		if i < 0 && !known {
			return fmt.Errorf("remove node %q: %w", name, cluster.ErrUnknown)
		}
		if known {
			if err := c.apply(cluster.RemoveNode{Name: name, ServerID: node.ServerID}); err != nil {
				return err
			}
		}
		if i >= 0 {
			c.servers = slices.Delete(c.servers, i, i+1)
		}
		c.setRemoved(name, true)
		return nil
	})
}

// Transfer ends this member's term and has the next one that runs lead. cluster.ErrAlone when nobody else runs.
func (m *Member) Transfer(ctx context.Context, term cluster.Term) error {
	return m.change(ctx, term, func(c *Cluster) error {
		i := slices.Index(c.members, m)
		for j := range len(c.members) - 1 {
			if next := c.members[(i+1+j)%len(c.members)]; next.running && !next.removed {
				c.moveLeader(next)
				return nil
			}
		}
		return cluster.ErrAlone
	})
}

// Servers lists the members, and the nodes that were added.
func (m *Member) Servers() []cluster.Server {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	return slices.Clone(m.cluster.servers)
}

// change does f if this member leads in term.
func (m *Member) change(ctx context.Context, term cluster.Term, f func(*Cluster) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if !m.leads(term) {
		return cluster.ErrNotLeader
	}
	return f(m.cluster)
}

// setRemoved says whether the member of that name, if there is one, takes part. c.mu is held.
func (c *Cluster) setRemoved(name string, removed bool) {
	for _, m := range c.members {
		if m.name == name {
			m.removed = removed
		}
	}
	c.wake()
}

// Package memory coordinates the members of one process in memory: for tests, and as the smallest example of a
// coordinator. All members share one state and see each command at once. Nothing is kept.
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"canalgo/cluster"
)

// A Cluster is some members and the state they share.
type Cluster struct {
	members []*Member

	mu      sync.Mutex
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
	elect   chan struct{} // closed when the leader or who runs may have changed
	ended   context.CancelFunc
}

// New returns a cluster of members of these names. The first one that runs leads.
func New(names ...string) *Cluster {
	c := &Cluster{}
	for _, name := range names {
		c.members = append(c.members, &Member{name: name, cluster: c, elect: make(chan struct{})})
	}
	return c
}

// Member returns the i-th member.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// MoveLeader ends the term of the member that leads, if any, and has the i-th member lead next, also when it led before.
func (c *Cluster) MoveLeader(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = c.members[i]
	if c.leader != nil {
		c.leader.ended()
	}
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
	for _, m := range c.members {
		m.board.Update(func(v *cluster.View) {
			v.State, v.Applied, v.Term, v.Leader, v.Leading = c.state, c.applied, c.term, "", c.leader == m
			if c.leader != nil {
				v.Leader = c.leader.name
			}
		})
	}
}

// Run takes part until ctx ends. It calls lead each time this member is elected; lead's ctx ends with the term. When
// lead returns an error while its term lasts, Run ends with it.
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
		termCtx, term, changed := m.campaign(ctx)
		if termCtx == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		err := lead(termCtx, term)
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
func (m *Member) campaign(ctx context.Context) (context.Context, cluster.Term, <-chan struct{}) {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != nil || c.wanted != nil && c.wanted != m && c.wanted.running {
		return nil, 0, m.elect
	}
	termCtx, cancel := context.WithCancel(ctx)
	c.leader, c.wanted, m.ended = m, nil, cancel
	c.term++
	c.show()
	return termCtx, c.term, nil
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

// Propose applies cmd. Its errors are cluster.ErrNotLeader and the command's own refusal.
func (m *Member) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	// Through the bytes, so that what this accepts is what others accept, and nothing is shared with the caller.
	data, err := cluster.Encode(cmd)
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
	next, err := c.state.Apply(decoded)
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

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"canalgo/backoff"
	"canalgo/cluster"
)

// belong makes the cluster know this node as it is: its identity, address and version. One that was a member and no longer is was
// taken out, and does not come back by itself.
func (n *Node) belong(ctx context.Context) error {
	wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second}
	var since time.Time // when it began to fail
	said, member := "", false
	for {
		v, changed := n.coord.View()
		known := v.Nodes[n.cfg.ID].ServerID == n.cfg.Self.ServerID
		member = member || known
		if n.belongs(v) || member && !known || n.draining.Err() != nil {
			wait.Reset()
			since, said = time.Time{}, ""
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
			}
			continue
		}
		err := n.join(ctx, v)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errTwin):
			return err
		case err == nil:
			wait.Reset()
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > quietTime && err.Error() != said:
			said = err.Error()
			n.log.Warn("not a member of the cluster yet", "error", err)
		}
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// quietTime is how long nobody is told of what an election or a start brings by itself.
const quietTime = 3 * time.Second

// belongs reports whether the cluster knows this node as it is, and lets it vote.
func (n *Node) belongs(v cluster.View) bool {
	if !v.Knows(n.cfg.ID, n.cfg.Self) {
		return false
	}
	m, ok := n.coord.(Membership)
	return !ok || slices.Contains(voters(m), n.cfg.ID)
}

// voters returns the names of those who vote.
func voters(m Membership) []string {
	var names []string
	for _, s := range m.Servers() {
		if s.Voter {
			names = append(names, s.Name)
		}
	}
	return names
}

// join takes the next step to belonging: it is known first, and votes when it has caught up.
func (n *Node) join(ctx context.Context, v cluster.View) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	leader := v.LeaderAddress
	if leader == "" && !v.Leading {
		var err error
		if leader, err = n.findLeader(ctx); err != nil {
			return err
		}
	}
	at := func(path string, in any, here func() error) error {
		if v.Leading {
			return here()
		}
		return Call(ctx, n.cfg.Peers, leader, path, in, &none{})
	}
	if !v.Knows(n.cfg.ID, n.cfg.Self) {
		request := joinRequest{Name: n.cfg.ID, Node: n.cfg.Self, Run: n.run}
		return at(callJoin, request, func() error { _, err := n.takeIn(ctx, request); return err })
	}
	request := memberRequest{Name: n.cfg.ID, ServerID: n.cfg.Self.ServerID}
	return at(callPromote, request, func() error { _, err := n.promote(ctx, request); return err })
}

// joinTime bounds one step of joining, which waits for the log to reach a new node.
const joinTime = 10 * time.Second

// findLeader asks the addresses to join who leads.
func (n *Node) findLeader(ctx context.Context) (string, error) {
	err := errors.New("there is no leader, and no address to ask for one")
	for _, address := range n.cfg.Join {
		if address == n.cfg.Self.Address {
			continue
		}
		h, asked := SayHello(ctx, n.cfg.Peers, address)
		switch {
		case asked != nil:
			err = asked
		case h.ClusterID != n.cfg.ClusterID:
			err = fmt.Errorf("the node at %s is of another cluster (%s) than this one (%s)", address, h.ClusterID, n.cfg.ClusterID)
		case h.LeaderAddress == "":
			err = fmt.Errorf("the node at %s knows no leader", address)
		default:
			return h.LeaderAddress, nil
		}
	}
	return "", err
}

func (n *Node) hello() Hello {
	v, _ := n.coord.View()
	h := Hello{ClusterID: n.cfg.ClusterID, Node: n.cfg.ID, ServerID: n.cfg.Self.ServerID, Run: n.run, Address: n.cfg.Self.Address, Leader: v.Leader, LeaderAddress: v.LeaderAddress}
	if v.Leading {
		h.LeaderAddress = n.cfg.Self.Address
	}
	return h
}

// takeIn adds a node to the cluster, or notes how it is now.
func (n *Node) takeIn(ctx context.Context, r joinRequest) (none, error) {
	x := n.reign.Load()
	if x == nil {
		return none{}, fmt.Errorf("take in %s: %w", r.Name, cluster.ErrNotLeader)
	}
	v, _ := n.coord.View()
	if known := v.Nodes[r.Name]; known.ServerID == r.Node.ServerID {
		if err := n.isTwin(ctx, known, r.Run); err != nil {
			return none{}, err
		}
	}
	if r.Name != n.cfg.ID {
		if k := x.members.get(r.Name); k.serverID != "" && k.serverID != r.Node.ServerID && k.lives(n.cfg.Clock()) {
			return none{}, fmt.Errorf("another node %s is at work (%s); stop it first, or give this one another -id: %w", r.Name, k.serverID, cluster.ErrInvalid)
		}
		if err := n.reachable(ctx, r); err != nil {
			return none{}, err
		}
	}
	if !v.Knows(r.Name, r.Node) {
		n.log.Info("node joins", "node", r.Name, "address", r.Node.Address, "version", r.Node.Version)
	}
	if m, ok := n.coord.(Membership); ok {
		return none{}, m.AddNode(ctx, x.term, r.Name, r.Node)
	}
	return none{}, n.coord.Propose(ctx, x.term, cluster.SetNode{Name: r.Name, Node: r.Node})
}

// reachable refuses a node that this one cannot reach, or that cannot reach this one: it would cost a vote and bring none.
func (n *Node) reachable(ctx context.Context, r joinRequest) error {
	if loopback(n.cfg.Self.Address) != loopback(r.Node.Address) {
		wrong, name := n.cfg.Self.Address, n.cfg.ID
		if loopback(r.Node.Address) {
			wrong, name = r.Node.Address, r.Name
		}
		return fmt.Errorf("node %s says that it is reached at %s, which is only itself for other hosts; start it with -advertise HOST:PORT: %w", name, wrong, cluster.ErrInvalid)
	}
	h, err := SayHello(ctx, n.cfg.Peers, r.Node.Address)
	if err != nil {
		return fmt.Errorf("node %s says that it is reached at %s, but the leader does not reach it there (-advertise): %w: %w", r.Name, r.Node.Address, cluster.ErrInvalid, err)
	}
	if h.Node != r.Name {
		return fmt.Errorf("node %s says that it is reached at %s, but node %s answers there; give each its own -advertise: %w", r.Name, r.Node.Address, h.Node, cluster.ErrInvalid)
	}
	return nil
}

// loopback reports whether an address leads only to the host itself.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// promote lets a node vote once it has everything that was committed when it asked.
func (n *Node) promote(ctx context.Context, r memberRequest) (none, error) {
	x := n.reign.Load()
	if x == nil {
		return none{}, fmt.Errorf("let %s vote: %w", r.Name, cluster.ErrNotLeader)
	}
	m, ok := n.coord.(Membership)
	if !ok {
		return none{}, nil
	}
	v, _ := n.coord.View()
	if known := v.Nodes[r.Name]; known.ServerID != r.ServerID {
		return none{}, fmt.Errorf("let %s vote: %w", r.Name, errStranger)
	}
	return none{}, m.PromoteNode(ctx, x.term, r.Name)
}

// takeOut removes a node from the cluster.
func (n *Node) takeOut(ctx context.Context, r memberRequest) (none, error) {
	x := n.reign.Load()
	if x == nil {
		return none{}, fmt.Errorf("take out %s: %w", r.Name, cluster.ErrNotLeader)
	}
	v, _ := n.coord.View()
	if _, ok := v.Nodes[r.Name]; !ok {
		return none{}, fmt.Errorf("node %s: %w", r.Name, ErrNotFound)
	}
	n.log.Info("node is taken out", "node", r.Name)
	if m, ok := n.coord.(Membership); ok {
		return none{}, m.RemoveNode(ctx, x.term, r.Name)
	}
	return none{}, n.coord.Propose(ctx, x.term, cluster.RemoveNode{Name: r.Name, ServerID: v.Nodes[r.Name].ServerID})
}

// Remove takes a node that is gone for good out of the cluster.
func (n *Node) Remove(ctx context.Context, name string) error {
	_, err := atLeader(ctx, n, callRemove, memberRequest{Name: name}, n.takeOut)
	return err
}

// Leave makes the node hand over, leave the cluster and stop.
func (n *Node) Leave() {
	n.leaving.Store(true)
	n.drain()
}

// Leaving reports whether Leave was called.
func (n *Node) Leaving() bool { return n.leaving.Load() }

// leave has another node that leads take this one out. One that was handed the leadership just now may need a moment.
func (n *Node) leave(ctx context.Context) error {
	for {
		v, changed := n.coord.View()
		if _, ok := v.Nodes[n.cfg.ID]; !ok {
			return nil // and its folder is marked
		}
		err := n.Remove(ctx, n.cfg.ID)
		if err != nil && !errors.Is(err, cluster.ErrNotLeader) && !errors.Is(err, ErrNotFound) && !errors.Is(err, cluster.ErrUnknown) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-changed:
		}
	}
}

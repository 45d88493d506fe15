package zkmode

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"

	"canalgo/cluster"
)

// Who belongs to the cluster is in State.Nodes alone. A node has a vote, as Raft would say, while it stands for election.

// AddNode takes a node in, or notes its new address. Another one of that name is no longer a member: see to it that it does not run.
func (n *Node) AddNode(ctx context.Context, term cluster.Term, name string, node cluster.Node) error {
	if err := n.addNode(ctx, term, name, node); err != nil {
		return fmt.Errorf("add node %s: %w", name, err)
	}
	return nil
}

func (n *Node) addNode(ctx context.Context, term cluster.Term, name string, node cluster.Node) error {
	if err := cluster.Admits(n.meta.ServerID, n.Servers(), name, node); err != nil {
		return err
	}
	if n.leads(term) == nil {
		return cluster.ErrNotLeader
	}
	if v, _ := n.View(); v.Knows(name, node) {
		return nil
	}
	return n.propose(ctx, term, cluster.SetNode{Name: name, Node: node})
}

// PromoteNode does nothing but to refuse what is no member: who stands for election has a vote.
func (n *Node) PromoteNode(_ context.Context, term cluster.Term, name string) error {
	if n.leads(term) == nil {
		return fmt.Errorf("promote node %s: %w", name, cluster.ErrNotLeader)
	}
	if v, _ := n.View(); v.Nodes[name].ServerID == "" {
		return fmt.Errorf("promote node %q: %w", name, cluster.ErrUnknown)
	}
	return nil
}

// RemoveNode removes a node, whose Run ends with cluster.ErrRemoved if it hears of it. A leader that is to remove itself hands
// leadership over instead, and returns cluster.ErrNotLeader: ask the new one. cluster.ErrUnknown when there is no such member.
func (n *Node) RemoveNode(ctx context.Context, term cluster.Term, name string) error {
	if err := n.removeNode(ctx, term, name); err != nil {
		return fmt.Errorf("remove node %q: %w", name, err)
	}
	return nil
}

func (n *Node) removeNode(ctx context.Context, term cluster.Term, name string) error {
	t := n.leads(term)
	if t == nil {
		return cluster.ErrNotLeader
	}
	if name == n.meta.NodeID {
		if err := n.Transfer(ctx, term); err != nil {
			return err
		}
		return fmt.Errorf("it led and has handed over, ask the new leader: %w", cluster.ErrNotLeader)
	}
	v, _ := n.View()
	node, known := v.Nodes[name]
	if !known {
		return cluster.ErrUnknown
	}
	if err := n.propose(ctx, term, cluster.RemoveNode{Name: name, ServerID: node.ServerID}); err != nil {
		return err
	}
	// It may not hear of that, and must not lead.
	n.mu.Lock()
	var gone []candidate
	n.candidates = slices.DeleteFunc(slices.Clone(n.candidates), func(c candidate) bool {
		of := c.serverID == node.ServerID
		if of {
			gone = append(gone, c)
		}
		return of
	})
	n.mu.Unlock()
	for _, c := range gone {
		err := t.write(ctx, &zk.DeleteRequest{Path: n.path(t.session, "election", c.znode), Version: -1})
		if err != nil && !answered(err) {
			return err
		}
	}
	return nil
}

// Transfer has the next candidate lead, and returns when this node no longer leads in term. cluster.ErrAlone when there is no other.
func (n *Node) Transfer(ctx context.Context, term cluster.Term) error {
	t := n.leads(term)
	if t == nil {
		return fmt.Errorf("hand over in term %d: %w", term, cluster.ErrNotLeader)
	}
	n.mu.Lock()
	alone := !slices.ContainsFunc(n.candidates, func(c candidate) bool { return c.serverID != n.meta.ServerID })
	n.mu.Unlock()
	if alone {
		return fmt.Errorf("hand over in term %d: %w", term, cluster.ErrAlone)
	}
	t.end()
	for {
		v, changed := n.View()
		if !v.Leading || v.Term != term {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Needs returns how many of the candidates have to live: the majority is the ensemble's.
func (n *Node) Needs(int) int { return 1 }

// Servers lists the members, and who else stands for election, by name.
func (n *Node) Servers() []cluster.Server {
	v, _ := n.View()
	n.mu.Lock()
	candidates := n.candidates
	n.mu.Unlock()
	all := make(map[string]cluster.Server)
	for name, node := range v.Nodes {
		all[node.ServerID] = cluster.Server{Name: name, ID: node.ServerID, Address: node.Address}
	}
	for _, c := range candidates {
		s, member := all[c.serverID]
		if !member {
			s = cluster.Server{Name: c.name(), ID: c.serverID, Address: c.address}
		}
		s.Voter = true
		all[c.serverID] = s
	}
	var servers []cluster.Server
	for _, s := range all {
		servers = append(servers, s)
	}
	slices.SortFunc(servers, func(a, b cluster.Server) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return servers
}

package raftfsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"canalgo/cluster"

	"github.com/hashicorp/raft"
)

// AddNode, PromoteNode and RemoveNode change who belongs to the cluster: Raft's configuration and State.Nodes. Each is some
// steps that are safe to be left after any of them; called again, it does those that are missing.

// AddNode adds a node without a vote, so that one that cannot be reached holds up nobody. Its caller has it call
// PromoteNode when its View().Applied has come to where the leader's was. Another server id of the same name loses its vote
// and is removed in the same call: see to it that it does not run any more. A node that is there already keeps its vote,
// and gets the new address.
func (n *Node) AddNode(ctx context.Context, term cluster.Term, name string, node cluster.Node) error {
	err := n.addNode(ctx, term, name, node)
	if err != nil {
		return fmt.Errorf("add node %s: %w", name, err)
	}
	return nil
}

func (n *Node) addNode(ctx context.Context, term cluster.Term, name string, node cluster.Node) error {
	if err := cluster.Admits(n.meta.ServerID, n.Servers(), name, node); err != nil {
		return err
	}
	var former []cluster.Server
	present := false
	for _, s := range n.Servers() {
		switch {
		case s.Name == name && s.ID != node.ServerID:
			former = append(former, s)
		case s.Name == name:
			present = s.Address == node.Address
		}
	}
	if err := n.demote(ctx, term, former); err != nil {
		return err
	}
	// Before it is sent anything, so that it is sent what it can read.
	if v, _ := n.View(); !v.Knows(name, node) {
		if err := n.Propose(ctx, term, cluster.SetNode{Name: name, Node: node}); err != nil {
			return err
		}
	}
	if err := n.remove(ctx, term, former); err != nil {
		return err
	}
	if present {
		return nil
	}
	return n.change(ctx, term, func(r *raft.Raft) raft.IndexFuture {
		return r.AddNonvoter(raft.ServerID(node.ServerID), raft.ServerAddress(node.Address), 0, 0)
	})
}

// PromoteNode gives a node that was added its vote. From then on a majority needs it, so it has to be caught up.
func (n *Node) PromoteNode(ctx context.Context, term cluster.Term, name string) error {
	v, _ := n.View()
	node, known := v.Nodes[name]
	server := cluster.Server{Name: name, ID: node.ServerID, Address: node.Address, Voter: true}
	servers := n.Servers()
	if !known || !slices.ContainsFunc(servers, func(s cluster.Server) bool { return s.ID == server.ID }) {
		return fmt.Errorf("promote node %q: %w", name, cluster.ErrUnknown)
	}
	err := n.call(ctx, term, func(r *raft.Raft) error {
		if slices.Contains(servers, server) {
			return nil
		}
		return r.AddVoter(raft.ServerID(server.ID), raft.ServerAddress(server.Address), 0, 0).Error()
	})
	if err != nil {
		return fmt.Errorf("promote node %s: %w", name, err)
	}
	return nil
}

// RemoveNode removes a node, whose Run ends with cluster.ErrRemoved if it hears of it. First it loses its vote: a majority
// of the others has to be there. A leader that is to remove itself hands leadership over instead, and returns
// cluster.ErrNotLeader: ask the new one. cluster.ErrUnknown when there is no such node, or no longer.
func (n *Node) RemoveNode(ctx context.Context, term cluster.Term, name string) error {
	err := n.removeNode(ctx, term, name)
	if err != nil {
		return fmt.Errorf("remove node %q: %w", name, err)
	}
	return nil
}

func (n *Node) removeNode(ctx context.Context, term cluster.Term, name string) error {
	if name == n.meta.NodeID {
		if err := n.Transfer(ctx, term); err != nil {
			return err
		}
		return fmt.Errorf("it led and has handed over, ask the new leader: %w", cluster.ErrNotLeader)
	}
	servers := slices.DeleteFunc(n.Servers(), func(s cluster.Server) bool { return s.Name != name })
	v, _ := n.View()
	node, known := v.Nodes[name]
	if !known && len(servers) == 0 {
		return cluster.ErrUnknown
	}
	if err := n.demote(ctx, term, servers); err != nil {
		return err
	}
	// It still gets the log, so that it hears of this. What then ends has no vote any more.
	if known {
		if err := n.Propose(ctx, term, cluster.RemoveNode{Name: name, ServerID: node.ServerID}); err != nil {
			return err
		}
	}
	return n.remove(ctx, term, servers)
}

// demote takes away the servers' votes.
func (n *Node) demote(ctx context.Context, term cluster.Term, servers []cluster.Server) error {
	for _, s := range servers {
		if !s.Voter {
			continue
		}
		if err := n.change(ctx, term, func(r *raft.Raft) raft.IndexFuture { return r.DemoteVoter(raft.ServerID(s.ID), 0, 0) }); err != nil {
			return fmt.Errorf("take away the vote of %s: %w", s.ID, err)
		}
	}
	return nil
}

// remove takes the servers out of the configuration.
func (n *Node) remove(ctx context.Context, term cluster.Term, servers []cluster.Server) error {
	for _, s := range servers {
		if err := n.change(ctx, term, func(r *raft.Raft) raft.IndexFuture { return r.RemoveServer(raft.ServerID(s.ID), 0, 0) }); err != nil {
			return fmt.Errorf("take out %s: %w", s.ID, err)
		}
	}
	return nil
}

func (n *Node) change(ctx context.Context, term cluster.Term, f func(*raft.Raft) raft.IndexFuture) error {
	return n.call(ctx, term, func(r *raft.Raft) error { return f(r).Error() })
}

// Transfer hands leadership to another voter that has all of the log, and returns when this node no longer leads in term.
// cluster.ErrAlone when there is no other voter; another error when none of them took it, and this node leads on.
func (n *Node) Transfer(ctx context.Context, term cluster.Term) error {
	others := slices.DeleteFunc(n.Servers(), func(s cluster.Server) bool { return !s.Voter || s.ID == n.meta.ServerID })
	err := n.call(ctx, term, func(r *raft.Raft) error {
		if len(others) == 0 {
			return cluster.ErrAlone
		}
		err := transfer(ctx, r.LeadershipTransfer) // to the one that Raft thinks is furthest, which may be gone
		for _, s := range others {
			if err == nil || ctx.Err() != nil || errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrRaftShutdown) {
				return err
			}
			err = transfer(ctx, func() raft.Future {
				return r.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Address))
			})
		}
		if errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return errors.New("a former attempt still waits for its answer")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("hand over in term %d: %w", term, err)
	}
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

// transfer begins a transfer and waits for its end. Raft may need a moment to see that the one before has failed.
func transfer(ctx context.Context, begin func() raft.Future) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for attempts := 0; ; attempts++ {
		err := begin().Error()
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) || attempts == 100 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Servers lists Raft's present configuration by name. It is nil while Raft does not run, and on a node that no leader has
// added yet.
func (n *Node) Servers() []cluster.Server {
	n.mu.Lock()
	r := n.raft
	n.mu.Unlock()
	if r == nil {
		return nil
	}
	var servers []cluster.Server
	for _, s := range r.GetConfiguration().Configuration().Servers {
		servers = append(servers, server(s))
	}
	slices.SortFunc(servers, func(a, b cluster.Server) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return servers
}

func server(s raft.Server) cluster.Server {
	return cluster.Server{Name: cluster.ServerName(string(s.ID)), ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter}
}

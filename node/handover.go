package node

import (
	"context"
	"time"

	"canalgo/cluster"
)

// handOverTime bounds everything that a node does before it stops.
const handOverTime = 3 * time.Second

// handOver gives the node's duties, and its leadership, to others, and finishes what is in flight. What nobody takes is saved.
func (n *Node) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverTime)
	defer cancel()
	select {
	case n.tell <- struct{}{}: // the next renewal says that this node drains
	default:
	}
	n.giveDuties(ctx)
	v, _ := n.coord.View()
	if v.Leading {
		n.giveLead(ctx, v)
	}
	for _, r := range n.running() {
		select {
		case <-r.done:
		case <-ctx.Done():
			n.log.Warn("stopped before everything in flight was written; it will be written again")
			return
		}
	}
	if n.leaving.Load() {
		if err := n.leave(ctx); err != nil {
			n.log.Warn("this node could not be taken out of the cluster", "error", err, "fix", "canalgo remove "+n.cfg.ID)
		}
	}
}

// giveDuties waits until the leader has given this node's duties to others, as long as there are any.
func (n *Node) giveDuties(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releaseTime+renewEvery)
	defer cancel()
	for {
		v, changed := n.coord.View()
		if !n.holds(v) || !n.othersLive(v) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (n *Node) holds(v cluster.View) bool {
	for _, d := range v.Duties {
		if d.Assignment.Node == n.cfg.ID {
			return true
		}
	}
	return false
}

// othersLive reports whether another node can take duties, as far as this one knows.
func (n *Node) othersLive(v cluster.View) bool {
	x := n.reign.Load()
	if x == nil {
		return v.Leader != "" && v.Leader != n.cfg.ID
	}
	_, _, takers := x.members.nodes(v, n.cfg.Clock())
	for _, name := range takers {
		if name != n.cfg.ID {
			return true
		}
	}
	return false
}

// giveLead ends every feed in order, saves the positions and has another node lead.
func (n *Node) giveLead(ctx context.Context, v cluster.View) {
	ids := make([]cluster.DutyID, 0, len(v.Duties))
	for id := range v.Duties {
		if id.Kind == cluster.Stream {
			ids = append(ids, id)
		}
	}
	n.release(ctx, ids)
	defer n.unhold(ids) // when nobody takes the leadership, this node leads on
	if err := n.savePositions(ctx, v.Term); err != nil {
		n.log.Warn("positions not saved at the end", "error", err)
	}
	m, ok := n.coord.(Membership)
	if !ok || len(voters(m)) < 2 {
		return
	}
	if err := m.Transfer(ctx, v.Term); err != nil {
		n.log.Warn("leadership not handed over; the others elect a leader", "error", err)
	}
}

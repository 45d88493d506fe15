package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"canalgo/cluster"
)

// assign gives every duty to a node that lives, and starts the loads that the configuration asks for.
func (n *Node) assign(ctx context.Context, x *reign) error {
	tick := time.NewTicker(100 * time.Millisecond) // a lease ends without anybody saying so
	defer tick.Stop()
	for {
		v, changed := n.coord.View()
		now := n.cfg.Clock()
		living, candidates, heard := x.members.living(v, now)
		if len(heard) == len(candidates) || now-x.members.began > greetingTime {
			todo := Rebalance(v.Duties, candidates, heard, v.Config.Version, x.members.unable(now))
			if len(todo) > 0 {
				if err := n.move(ctx, x, v, todo, living); err != nil {
					return err
				}
			}
		}
		if err := n.startLoads(ctx, x.term, v); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-x.members.changed:
		case <-tick.C:
		}
	}
}

// greetingTime is how long a new leader waits for the first renewals before it gives duties to those that it has heard.
const greetingTime = 300 * time.Millisecond

// move changes assignments. A duty whose node lives is first released by it, so that nothing is written twice.
func (n *Node) move(ctx context.Context, x *reign, v cluster.View, todo map[cluster.DutyID]cluster.Assignment, living []string) error {
	var release []cluster.DutyID
	for id := range todo {
		if slices.Contains(living, v.Duties[id].Assignment.Node) {
			release = append(release, id)
		}
	}
	if len(release) > 0 {
		n.release(ctx, release)
		defer n.unhold(release)
		if err := n.savePositions(ctx, x.term); err != nil {
			return err
		}
	}
	for id, a := range todo {
		if from := v.Duties[id].Assignment.Node; from != a.Node {
			n.log.Info("duty moves", "duty", id.String(), "from", from, "to", a.Node, "epoch", a.Epoch)
		}
	}
	if err := n.coord.Propose(ctx, x.term, cluster.Assign{Assignments: todo}); err != nil {
		return fmt.Errorf("assign duties: %w", err)
	}
	return nil
}

// startLoads starts the load of each mapping that wants an initial one and never had one, once its stream has a position.
func (n *Node) startLoads(ctx context.Context, term cluster.Term, v cluster.View) error {
	for name, m := range v.Config.Mappings {
		stream := cluster.DutyID{Source: m.Source, Mapping: name, Kind: cluster.Stream}
		load := cluster.DutyID{Source: m.Source, Mapping: name, Kind: cluster.Load}
		if _, started := v.Duties[load]; started || m.Load != "initial" || v.Duties[stream].Position.IsZero() {
			continue
		}
		n.log.Info("load of the rows that exist starts", "duty", load.String())
		if err := n.coord.Propose(ctx, term, cluster.StartLoad{Source: m.Source, Mapping: name}); err != nil {
			return fmt.Errorf("start load %s: %w", load, err)
		}
	}
	return nil
}

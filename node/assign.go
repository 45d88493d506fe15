package node

import (
	"context"
	"errors"
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
		living, keepers, takers := x.members.nodes(v, now)
		if len(takers) == len(keepers) || now-x.members.began > greetingTime {
			todo := Rebalance(v.Duties, keepers, takers, v.Config.Version, x.members.unable(now))
			if len(todo) > 0 {
				if err := n.move(ctx, x, v, todo, living); err != nil {
					return err
				}
			}
		}
		if err := n.startLoads(ctx, x.term); err != nil {
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

// move changes assignments. Duties that nobody does move at once; one whose node lives is first released by it, so that nothing is
// written twice.
func (n *Node) move(ctx context.Context, x *reign, v cluster.View, todo map[cluster.DutyID]cluster.Assignment, living []string) error {
	atOnce := make(map[cluster.DutyID]cluster.Assignment)
	var release []cluster.DutyID
	for id, a := range todo {
		if slices.Contains(living, v.Duties[id].Assignment.Node) {
			release = append(release, id)
		} else {
			atOnce[id] = a
			delete(todo, id)
		}
	}
	x.members.take(atOnce, v, n.cfg.Clock())
	err := n.reassign(ctx, x, v, atOnce)
	x.members.given(atOnce)
	if err != nil || len(release) == 0 {
		return err
	}
	loads := underWay(release, v)
	if err := n.withdraw(ctx, x, v, loads); err != nil {
		return err
	}
	late := n.release(ctx, release)
	defer n.unhold(release)
	if err := n.savePositions(ctx, x.term); err != nil {
		return err
	}
	if err := n.withdraw(ctx, x, v, late); err != nil {
		return err
	}
	for _, id := range slices.Concat(loads, late) {
		delete(todo, id) // it is given away next, as one that nobody does
	}
	for _, id := range underWay(release, n.View()) { // a load that began meanwhile stays with its stream until next time
		delete(todo, id)
		delete(todo, streamOf(id))
	}
	return n.reassign(ctx, x, v, todo)
}

// underWay returns those of duties which are loads that a node is at. They end when it has heard of it: no feed can be ended before.
func underWay(ids []cluster.DutyID, v cluster.View) []cluster.DutyID {
	return slices.DeleteFunc(slices.Clone(ids), func(id cluster.DutyID) bool {
		d := v.Duties[id]
		return d.Assignment.Node == "" || d.Load == nil || d.Load.Phase == cluster.LoadDone
	})
}

// withdraw takes duties from nodes that have a lease and are at something, and waits until these have heard of it and do them no
// more, or their lease is over, so that no two begin writes of one duty (rule 6).
func (n *Node) withdraw(ctx context.Context, x *reign, v cluster.View, ids []cluster.DutyID) error {
	if len(ids) == 0 {
		return nil
	}
	none := make(map[cluster.DutyID]cluster.Assignment)
	for _, id := range ids {
		now := v.Duties[id].Assignment
		none[id] = cluster.Assignment{Epoch: now.Epoch + 1, ConfigVersion: now.ConfigVersion}
	}
	if err := n.coord.Propose(ctx, x.term, cluster.Assign{Assignments: none}); err != nil {
		return fmt.Errorf("withdraw duties: %w", err)
	}
	withdrawn := n.cfg.Clock()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := slices.ContainsFunc(ids, func(id cluster.DutyID) bool {
			return x.members.get(v.Duties[id].Assignment.Node).mayDo(withdrawn, n.cfg.Clock())
		})
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (n *Node) reassign(ctx context.Context, x *reign, v cluster.View, todo map[cluster.DutyID]cluster.Assignment) error {
	if len(todo) == 0 {
		return nil
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
func (n *Node) startLoads(ctx context.Context, term cluster.Term) error {
	v, _ := n.coord.View()
	for name, m := range v.Config.Mappings {
		stream := cluster.DutyID{Source: m.Source, Mapping: name, Kind: cluster.Stream}
		load := cluster.DutyID{Source: m.Source, Mapping: name, Kind: cluster.Load}
		if _, started := v.Duties[load]; started || m.Load != "initial" || v.Duties[stream].Position.IsZero() {
			continue
		}
		n.log.Info("load of the rows that exist starts", "duty", load.String())
		err := n.coord.Propose(ctx, term, cluster.StartLoad{Source: m.Source, Mapping: name})
		if err != nil && !errors.Is(err, cluster.ErrRefused) { // refused: the mapping has just gone
			return fmt.Errorf("start load %s: %w", load, err)
		}
	}
	return nil
}

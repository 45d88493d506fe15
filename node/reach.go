package node

import (
	"context"
	"errors"
	"time"

	"canalgo/cluster"
	"canalgo/status"
)

// unreachedTime is how long a destination must not have answered the node that writes to it, or a source the leader, before another
// node is asked. One that reaches a destination does the duty for unableTime at least.
const (
	unreachedTime = 10 * time.Second
	unableTime    = 2 * time.Minute
	probeEvery    = 2 * time.Second
	probeTime     = 3 * time.Second
)

// A Pinger is a Sink that can be asked whether it answers.
type Pinger interface {
	Ping(ctx context.Context) (version string, err error)
}

// reach tries whether this node reaches a source or a sink.
func (n *Node) reach(ctx context.Context, r reachRequest) (none, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	v, _ := n.coord.View()
	if r.Source != "" {
		source, err := n.client(r.Source, v.Config.Sources[r.Source])
		if err == nil {
			_, err = source.Server(ctx, v.Sources[r.Source].ServerUUID)
		}
		return none{}, err
	}
	out, err := n.sink(r.Sink, v.Config.Sinks[r.Sink])
	if err != nil {
		return none{}, err
	}
	if p, ok := out.(Pinger); ok {
		_, err = p.Ping(ctx)
	}
	return none{}, err
}

// reachedFrom returns the first of the nodes that reaches what is asked for, "" when none does.
func (n *Node) reachedFrom(ctx context.Context, v cluster.View, nodes []string, r reachRequest) string {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for _, name := range nodes {
		err := errors.New("not a member")
		if name == n.cfg.ID {
			_, err = n.reach(ctx, r)
		} else if known, ok := v.Nodes[name]; ok {
			err = Call(ctx, n.cfg.Peers, known.Address, callReach, r, &none{})
		}
		if err == nil {
			return name
		}
	}
	return ""
}

// probe looks for a node that reaches what the present one does not: a duty's destination, or a source that the leader reads.
func (n *Node) probe(ctx context.Context, x *reign) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		v, _ := n.coord.View()
		now := n.cfg.Clock()
		_, _, takers := x.members.nodes(v, now)
		for id, node := range x.members.failing() {
			sink := reachRequest{Sink: v.Config.Mappings[id.Mapping].Sink}
			if n.reachedFrom(ctx, v, []string{node}, sink) == node {
				continue // it answers, and refuses: another node would fare no better
			}
			if other := n.reachedFrom(ctx, v, without(takers, node), sink); other != "" {
				n.log.Warn("the destination does not answer the node that writes to it, but another one: the duty moves", "duty", id.String(), "node", node, "reached from", other)
				x.members.cannot(node, id, now+unableTime)
			}
		}
		if other := n.sourceElsewhere(ctx, v, without(takers, n.cfg.ID)); other != "" {
			n.giveLead(ctx, v)
		}
	}
}

// sourceElsewhere returns another node that reaches a source which this one has not reached for a while, when there is no source
// that this one reads.
func (n *Node) sourceElsewhere(ctx context.Context, v cluster.View, others []string) string {
	var silent []string
	for name := range v.Config.Sources {
		s := n.source(name)
		if s == nil {
			continue
		}
		switch state, since := s.reading(); {
		case state == status.SourceStreaming:
			return "" // handing over would interrupt it
		case state == status.SourceConnecting && time.Since(since) > unreachedTime:
			silent = append(silent, name)
		}
	}
	for _, name := range silent {
		if other := n.reachedFrom(ctx, v, others, reachRequest{Source: name}); other != "" {
			n.log.Warn("the source does not answer this node, but another one: leadership is handed over", "source", name, "reached from", other)
			return other
		}
	}
	return ""
}

// reading returns what the source's stream does, and since when.
func (s *sourceRun) reading() (status.SourceState, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source != nil && s.session != nil {
		if p := s.source.Progress(shared); !p.Connected {
			return status.SourceConnecting, p.Since
		}
	}
	return s.state, s.since
}

func without(names []string, name string) []string {
	var out []string
	for _, n := range names {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}

package node

import (
	"slices"

	"canalgo/cluster"
)

// Rebalance says who does what: a pure function of the duties with their present assignments, the nodes that may keep what they
// have, and the takers among them, which may get more. It returns what changes, nothing when nobody can take.
//
// A stream stays where it is while its node can do it and has at most one more than another; the others go to the node with the
// fewest. A load goes where its mapping's stream is, because they share a gate. cannot reports that a node is not able to do a
// duty while others may be: the duty moves when there is one that is.
func Rebalance(duties map[cluster.DutyID]cluster.Duty, keepers, takers []string, configVersion uint64, cannot func(node string, id cluster.DutyID) bool) map[cluster.DutyID]cluster.Assignment {
	if len(takers) == 0 {
		return nil
	}
	p := plan{duties: duties, keepers: keepers, takers: slices.Sorted(slices.Values(takers)), cannot: cannot, at: make(map[cluster.DutyID]string), count: make(map[string]int)}
	for id := range duties {
		if id.Kind == cluster.Stream {
			p.streams = append(p.streams, id)
		}
	}
	slices.SortFunc(p.streams, cluster.DutyID.Compare)
	p.keep()
	p.fill()
	p.level()
	changes := make(map[cluster.DutyID]cluster.Assignment)
	for id, duty := range duties {
		stream := streamOf(id)
		have, want := duty.Assignment, p.at[stream]
		if have.Node != want || have.ConfigVersion < duty.Config {
			changes[id] = cluster.Assignment{Node: want, Epoch: have.Epoch + 1, ConfigVersion: configVersion}
		}
	}
	return changes
}

// A plan is an assignment of streams that is being made.
type plan struct {
	duties  map[cluster.DutyID]cluster.Duty
	keepers []string
	takers  []string // in order
	cannot  func(string, cluster.DutyID) bool
	streams []cluster.DutyID // in order
	at      map[cluster.DutyID]string
	count   map[string]int
}

// keep leaves streams where they are, but for those whose node is not there, or cannot while another can.
func (p *plan) keep() {
	for _, id := range p.streams {
		node := p.duties[id].Assignment.Node
		if slices.Contains(p.keepers, node) && !(p.cannot(node, id) && len(p.able(id)) > 0) {
			p.put(id, node)
		}
	}
}

func (p *plan) put(id cluster.DutyID, node string) {
	p.at[id] = node
	p.count[node]++
}

// able returns the nodes that can take a duty as far as anybody knows.
func (p *plan) able(id cluster.DutyID) []string {
	return slices.DeleteFunc(slices.Clone(p.takers), func(node string) bool { return p.cannot(node, id) })
}

// fill gives the others to the node with the fewest.
func (p *plan) fill() {
	for _, id := range p.streams {
		if p.at[id] != "" {
			continue
		}
		nodes := p.able(id)
		if len(nodes) == 0 {
			nodes = p.takers
		}
		p.put(id, slices.MinFunc(nodes, func(a, b string) int { return p.count[a] - p.count[b] }))
	}
}

// level moves streams from the node with the most to the one with the fewest that takes some, until they differ by one at most.
func (p *plan) level() {
	byCount := func(a, b string) int { return p.count[a] - p.count[b] }
	for range p.streams {
		most, least := slices.MaxFunc(p.keepers, byCount), slices.MinFunc(p.takers, byCount)
		if p.count[most]-p.count[least] < 2 {
			return
		}
		i := slices.IndexFunc(p.streams, func(id cluster.DutyID) bool { return p.at[id] == most && !p.cannot(least, id) })
		if i < 0 {
			return
		}
		p.count[most]--
		p.put(p.streams[i], least)
	}
}

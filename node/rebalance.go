package node

import (
	"slices"

	"canalgo/cluster"
)

// Rebalance says who does what: a pure function of the duties, the nodes and the present assignments. A duty stays where it is
// while its node lives; a load goes where its mapping's stream is, because they share a gate; the others go to the node
// with the fewest duties. It returns what changes.
func Rebalance(duties map[cluster.DutyID]cluster.Duty, nodes []string, configVersion uint64) map[cluster.DutyID]cluster.Assignment {
	if len(nodes) == 0 {
		return nil
	}
	ids := make([]cluster.DutyID, 0, len(duties))
	for id := range duties {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, cluster.DutyID.Compare) // streams come before their loads
	load := make(map[string]int)
	at := make(map[cluster.DutyID]string)
	for _, id := range ids {
		if node := duties[id].Assignment.Node; slices.Contains(nodes, node) {
			at[id] = node
			load[node]++
		}
	}
	for _, id := range ids {
		stream := cluster.DutyID{Source: id.Source, Mapping: id.Mapping, Kind: cluster.Stream}
		if id.Kind == cluster.Load && at[stream] != "" {
			at[id] = at[stream]
			continue
		}
		if at[id] != "" {
			continue
		}
		least := slices.MinFunc(slices.Sorted(slices.Values(nodes)), func(a, b string) int { return load[a] - load[b] })
		at[id] = least
		load[least]++
	}
	changes := make(map[cluster.DutyID]cluster.Assignment)
	for _, id := range ids {
		have := duties[id].Assignment
		if have.Node != at[id] || have.ConfigVersion != configVersion {
			changes[id] = cluster.Assignment{Node: at[id], Epoch: have.Epoch + 1, ConfigVersion: configVersion}
		}
	}
	return changes
}

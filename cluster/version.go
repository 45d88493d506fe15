package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrTooNew refuses to write a command that a node of the cluster could not read. Nothing was replicated.
var ErrTooNew = errors.New("a node is too old for this: upgrade it first")

// CommandVersion returns the lowest version that has the command. A command, or a part of one, that an older canalgo
// would read differently gets a higher one.
func CommandVersion(Command) uint8 { return 1 }

// WriteVersion returns the version in which to write what needs at least the given one: the highest that every node
// reads. While no node is known that is 1. Its error is ErrTooNew and names the node.
func (s State) WriteVersion(needed uint8) (uint8, error) {
	version, oldest := s.reads()
	if needed > version {
		return 0, fmt.Errorf("node %q reads up to version %d, this is version %d: %w", oldest, version, needed, ErrTooNew)
	}
	return version, nil
}

// reads returns the highest version that every node reads and this one writes, and a node that reads no higher one.
func (s State) reads() (version uint8, oldest string) {
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		if v := max(s.Nodes[name].Commands, 1); oldest == "" || v < version {
			version, oldest = v, name
		}
	}
	return min(max(version, 1), MaxCommandVersion), oldest
}

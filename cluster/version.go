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
func CommandVersion(cmd Command) uint8 {
	switch c := cmd.(type) {
	case NoteTables:
		return 2
	case StartLoad:
		if c.Where != "" {
			return 2
		}
	case SetAside:
		for _, q := range c.Entries {
			if len(q.Routings) > 0 {
				return 2
			}
		}
	case SetClient, SaveClients, RemoveClient, PutFanout, SaveFanout, NoteColumns:
		return 3
	}
	return 1
}

// WriteVersion returns the version in which to write what needs at least the given one: the highest that every node
// reads. While no node is known that is 1. Its error is ErrTooNew and names the node.
func (s State) WriteVersion(needed uint8) (uint8, error) {
	version, oldest := s.reads()
	if needed > version {
		return 0, fmt.Errorf("node %q reads up to version %d, this is version %d: %w", oldest, version, needed, ErrTooNew)
	}
	return version, nil
}

// In returns what n has in a version of commands: what is written in it says no more.
func (n Node) In(version uint8) Node {
	if version < 4 {
		n.nextNode = nextNode{}
	}
	return n
}

// Knows reports whether the member of that name is known to be so, as far as the version can say in which commands are written now:
// a leader drops what an older node could not read, or what it does not know itself.
func (s State) Knows(name string, n Node) bool {
	version, _ := s.reads()
	return s.Nodes[name] == n.In(version)
}

// reads returns the highest version that every node reads and this one writes, and a node that reads no higher one.
func (s State) reads() (version uint8, oldest string) {
	version, oldest = s.lowest()
	return min(max(version, 1), MaxCommandVersion), oldest
}

// lowest returns the highest version that every node reads, 0 without a node, and a node that reads no higher one.
func (s State) lowest() (version uint8, oldest string) {
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		if v := max(s.Nodes[name].Commands, 1); oldest == "" || v < version {
			version, oldest = v, name
		}
	}
	return version, oldest
}

package cluster

import (
	"fmt"
	"strings"
)

// ServerName is the name in a node's server id, "NAME@NUMBER", or all of one that has no number.
func ServerName(id string) string {
	name, _, _ := strings.Cut(id, "@")
	return name
}

// Admits says why a leader with these servers does not take a node in under a name: an ErrInvalid or an ErrRefused. The id of a server of
// that name may be another one's, which the new one then replaces; that of the leader itself may not.
func Admits(leader string, servers []Server, name string, node Node) error {
	if err := (SetNode{Name: name, Node: node}).Validate(); err != nil {
		return err
	}
	if ServerName(node.ServerID) != name {
		return fmt.Errorf("server id %q is not one of that name: %w", node.ServerID, ErrInvalid)
	}
	if name == ServerName(leader) && node.ServerID != leader {
		return fmt.Errorf("the leader has that name, give this one another: %w", ErrRefused)
	}
	for _, s := range servers {
		if s.Name != name && s.Address == node.Address {
			return fmt.Errorf("%s is the address of node %s, remove that first or give this one another: %w", s.Address, s.Name, ErrRefused)
		}
	}
	return nil
}

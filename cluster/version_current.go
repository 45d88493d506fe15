//go:build !nextversion

package cluster

// MaxCommandVersion is the highest version of commands and snapshots that this canalgo reads and writes. Both stand in
// one number: what a node can read of the one it can read of the other.
const MaxCommandVersion = 3

// nextNode is what a Node has in a higher version of commands.
type nextNode struct{}

// ThisBuild returns n as a node that runs this program.
func (n Node) ThisBuild() Node {
	n.Commands = MaxCommandVersion
	return n
}

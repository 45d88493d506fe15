//go:build nextversion

package cluster

// MaxCommandVersion is one above the present one: the program that this tag builds stands for the next version in tests of
// clusters of two versions.
const MaxCommandVersion = 4

// nextNode is what a Node has in a higher version of commands. An older canalgo refuses a command with it.
type nextNode struct {
	Next string `json:"next,omitempty"`
}

// ThisBuild returns n as a node that runs this program.
func (n Node) ThisBuild() Node {
	n.Commands, n.Next = MaxCommandVersion, "version 4"
	return n
}

//go:build !nextversion

package cluster

// MaxCommandVersion is the highest version of commands and snapshots that this canalgo reads and writes. Both stand in
// one number: what a node can read of the one it can read of the other.
const MaxCommandVersion = 1

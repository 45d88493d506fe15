//go:build nextversion

package cluster

// MaxCommandVersion is one above the present one: the program that this tag builds stands for the next version in tests of
// clusters of two versions.
const MaxCommandVersion = 2

//go:build nextversion

package relay

// MaxVersion is one above the present one: the program that this tag builds stands for the next version in tests of clusters of
// two versions.
const MaxVersion = 2

var extra = []byte{'+'}

// batchExtra is what a version has between the size and the first bytes of a batch: a byte in version 2, so that neither is taken
// for the other.
func batchExtra(version uint8) []byte {
	if version < 2 {
		return nil
	}
	return extra
}

//go:build !nextversion

package relay

// MaxVersion is the highest version of frames that this canalgo knows. It knows all from 1 on.
const MaxVersion = 1

// batchExtra is what a version has between the size and the first bytes of a batch.
func batchExtra(uint8) []byte { return nil }

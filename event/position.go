package event

import (
	"fmt"
	"time"
)

// A Version is an ordinal of the binary log: 27 bits of epoch, 36 bits of count. It is what a sink compares.
type Version uint64

const countBits = 36

// FirstCount is the count that an epoch starts with, so that every version of an epoch has the same number of digits
// and loads can precede the first event.
const FirstCount = 1 << 32

// MaxEpoch and MaxCount are the largest values that fit.
const (
	MaxEpoch = 1<<27 - 1
	MaxCount = 1<<countBits - 1
)

// epochZero is the moment that epochs count minutes from.
var epochZero = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// EpochAt returns the smallest epoch that may be opened at t: minutes since 2024-01-01, so that a rebuilt cluster writes
// above its forerunner.
func EpochAt(t time.Time) uint32 { return uint32(max(0, t.Sub(epochZero)/time.Minute)) }

// NewVersion packs an epoch and a count.
func NewVersion(epoch uint32, count uint64) Version {
	return Version(uint64(epoch)<<countBits | count&MaxCount)
}

// Epoch returns the version's epoch.
func (v Version) Epoch() uint32 { return uint32(v >> countBits) }

// Count returns the version's count of events.
func (v Version) Count() uint64 { return uint64(v) & MaxCount }

// String prints epoch.count.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Epoch(), v.Count()) }

// A Position says where to resume a source. The zero Position is unknown.
type Position struct {
	ServerUUID string    `json:"server_uuid,omitempty"` // the server whose log File and Offset name
	Epoch      uint32    `json:"epoch,omitempty"`       // of the source; with Count it makes the version
	Count      uint64    `json:"count,omitempty"`       // the count of the last event before it
	File       string    `json:"file,omitempty"`        // "binlog.000042"; "" when only GTIDs are known
	Offset     uint64    `json:"offset,omitempty"`      // bytes; 64 bits, because the event header's 32 overflow in files above 4 GiB
	GTIDs      string    `json:"gtids,omitempty"`       // executed set up to here; filled in when saved
	Time       time.Time `json:"time,omitzero"`         // commit time of the last transaction before it, on the source's clock
}

// IsZero reports whether the position is unknown.
func (p Position) IsZero() bool { return p.Epoch == 0 && p.File == "" && p.GTIDs == "" }

// Version returns the version of the last event before the position.
func (p Position) Version() Version { return NewVersion(p.Epoch, p.Count) }

// Before reports whether p lies before q in the same source's numbering.
func (p Position) Before(q Position) bool {
	return p.Version() < q.Version() || p.Version() == q.Version() && p.FileBefore(q)
}

// FileBefore reports whether p lies before q in one server's log; false unless both name a file of it.
func (p Position) FileBefore(q Position) bool {
	if p.ServerUUID != q.ServerUUID || p.File == "" || q.File == "" {
		return false
	}
	if p.File != q.File {
		return len(p.File) < len(q.File) || len(p.File) == len(q.File) && p.File < q.File
	}
	return p.Offset < q.Offset
}

// String prints file:offset, or the GTID set when there is no file.
func (p Position) String() string {
	switch {
	case p.File != "":
		return fmt.Sprintf("%s:%d", p.File, p.Offset)
	case p.GTIDs != "":
		return p.GTIDs
	case p.Epoch != 0:
		return p.Version().String()
	}
	return "unknown"
}

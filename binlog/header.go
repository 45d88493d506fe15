package binlog

import "encoding/binary"

// The events that are looked at, by their type code.
const (
	typeQuery              = 2
	typeStop               = 3
	typeRotate             = 4
	typeIntVar             = 5
	typeAppendBlock        = 9
	typeDeleteFile         = 11
	typeRand               = 13
	typeUserVar            = 14
	typeFormatDescription  = 15
	typeXID                = 16
	typeBeginLoadQuery     = 17
	typeExecuteLoadQuery   = 18
	typeTableMap           = 19
	typeWriteRowsV1        = 23
	typeUpdateRowsV1       = 24
	typeDeleteRowsV1       = 25
	typeIncident           = 26
	typeHeartbeat          = 27
	typeIgnorable          = 28
	typeRowsQuery          = 29
	typeWriteRows          = 30
	typeUpdateRows         = 31
	typeDeleteRows         = 32
	typeGTID               = 33
	typeAnonymousGTID      = 34
	typePreviousGTIDs      = 35
	typeTransactionContext = 36
	typeViewChange         = 37
	typeXAPrepare          = 38
	typePartialUpdateRows  = 39
	typeTransactionPayload = 40
	typeHeartbeatV2        = 41
	typeTaggedGTID         = 42

	// MariaDB's own
	typeAnnotateRows         = 160
	typeBinlogCheckpoint     = 161
	typeMariaDBGTID          = 162
	typeGTIDList             = 163
	typeStartEncryption      = 164
	typeQueryCompressed      = 165
	typeWriteRowsCompressed  = 166 // version 1, as the next two
	typeUpdateRowsCompressed = 167
	typeDeleteRowsCompressed = 168
)

const (
	flagArtificial = 0x20 // made up by the server for the dump; not in the file
	flagIgnorable  = 0x80 // whoever does not know the type may pass it over
)

const (
	headerSize   = 19
	checksumSize = 4
	// firstEvent is where a file's first event stands, after the magic number.
	firstEvent = 4
	// maxEvent is the largest event that is held in memory.
	maxEvent = 64 << 20
)

// A header heads every event:
//
//	timestamp:u32 | type:u8 | server_id:u32 | size:u32 | end:u32 | flags:u16, little-endian
//
// end is the event's end in the file, modulo 2^32; 0 when it is not in the file by itself.
type header struct {
	timestamp, size, end uint32
	kind                 byte
	flags                uint16
}

// readHeader reads the header of an event of at least headerSize bytes.
func readHeader(raw []byte) header {
	return header{timestamp: binary.LittleEndian.Uint32(raw), kind: raw[4], size: binary.LittleEndian.Uint32(raw[9:]),
		end: binary.LittleEndian.Uint32(raw[13:]), flags: binary.LittleEndian.Uint16(raw[17:])}
}

// isRows reports whether an event of that type changes rows.
func isRows(kind byte) bool {
	return kind >= typeWriteRows && kind <= typeDeleteRows || kind >= typeWriteRowsV1 && kind <= typeDeleteRowsV1 ||
		kind == typePartialUpdateRows || kind >= typeWriteRowsCompressed && kind <= typeDeleteRowsCompressed
}

// tableID reads the id that heads the body of table maps and rows events.
func tableID(body []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(body)) | uint64(binary.LittleEndian.Uint16(body[4:]))<<32
}

// packedInt reads a length-encoded integer and returns how many bytes it has; 0 when it is cut short or NULL.
func packedInt(b []byte) (uint64, int) {
	if len(b) == 0 {
		return 0, 0
	}
	size := 1
	switch b[0] {
	case 0xfb, 0xff:
		return 0, 0
	case 0xfc:
		size = 3
	case 0xfd:
		size = 4
	case 0xfe:
		size = 9
	default:
		return uint64(b[0]), 1
	}
	if len(b) < size {
		return 0, 0
	}
	var v uint64
	for i := size - 1; i > 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v, size
}

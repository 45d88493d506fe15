package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"canalgo/event"
)

// MaxCommand is the largest encoded command in bytes. What does not fit is sent as several.
const MaxCommand = 4 << 20

var (
	// ErrNewerVersion means that a command or snapshot was written by a newer canalgo: this node cannot go on.
	ErrNewerVersion = errors.New("written by a newer version of canalgo: upgrade this node")
	// ErrMalformed means bytes that no version of canalgo writes.
	ErrMalformed = errors.New("malformed")
)

// Types of commands. A number is never used again for another.
const (
	typeSetConfig     = 1
	typeOpenEpoch     = 2
	typeSavePositions = 3
	typeAssign        = 4
	typeSetPaused     = 5
	typeStartLoad     = 6
	typeSaveLoad      = 7
	typeSetIndex      = 8
	typeSetAside      = 9
	typeRelease       = 10
	typeSetNode       = 11
	typeRemoveNode    = 12
	typeNoteTables    = 13
	typeSetClient     = 14
	typeSaveClients   = 15
	typeRemoveClient  = 16
	typePutFanout     = 17
	typeSaveFanout    = 18
	typeNoteColumns   = 19
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode writes a command in the lowest version that has it, as EncodeVersion does.
func Encode(cmd Command) ([]byte, error) { return EncodeVersion(cmd, CommandVersion(cmd)) }

// EncodeVersion writes a command as
//
//	version:u8 | type:u8 | payload: JSON object | crc32c of all before:u32
//
// with integers big endian. The GTID sets of SavePositions are named once each, see gtidTable. State.WriteVersion says
// which version everybody reads.
func EncodeVersion(cmd Command, version uint8) ([]byte, error) {
	if version < CommandVersion(cmd) || version > MaxCommandVersion {
		return nil, fmt.Errorf("encode command %T in version %d: %w", cmd, version, ErrInvalid)
	}
	var kind byte
	var payload any = cmd
	switch c := cmd.(type) {
	case SetConfig:
		kind = typeSetConfig
	case OpenEpoch:
		kind = typeOpenEpoch
	case SavePositions:
		kind, payload = typeSavePositions, packSaves(c)
	case Assign:
		kind = typeAssign
	case SetPaused:
		kind = typeSetPaused
	case StartLoad:
		kind = typeStartLoad
	case SaveLoad:
		kind = typeSaveLoad
	case SetIndex:
		kind = typeSetIndex
	case SetAside:
		kind = typeSetAside
	case Release:
		kind = typeRelease
	case SetNode:
		c.Node = c.Node.In(version)
		kind, payload = typeSetNode, c
	case RemoveNode:
		kind = typeRemoveNode
	case NoteTables:
		kind = typeNoteTables
	case SetClient:
		kind = typeSetClient
	case SaveClients:
		kind = typeSaveClients
	case RemoveClient:
		kind = typeRemoveClient
	case PutFanout:
		kind = typePutFanout
	case SaveFanout:
		kind = typeSaveFanout
	case NoteColumns:
		kind = typeNoteColumns
	default:
		return nil, fmt.Errorf("encode command %T: %w", cmd, ErrInvalid)
	}
	data, err := seal([]byte{version, kind}, payload)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w: %w", cmd, ErrInvalid, err)
	}
	if len(data) > MaxCommand {
		return nil, fmt.Errorf("encode %T: %d bytes, at most %d: %w", cmd, len(data), MaxCommand, ErrInvalid)
	}
	return data, nil
}

// Decode reads what Encode wrote. Its error is ErrNewerVersion, or ErrMalformed on every node alike.
func Decode(data []byte) (Command, error) {
	if len(data) > 0 && data[0] > MaxCommandVersion {
		return nil, fmt.Errorf("command of version %d: %w", data[0], ErrNewerVersion)
	}
	if len(data) > MaxCommand {
		return nil, fmt.Errorf("command of %d bytes, at most %d: %w", len(data), MaxCommand, ErrMalformed)
	}
	header, payload, err := unseal(data, 2)
	if err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	if header[0] == 0 {
		return nil, fmt.Errorf("command of version %d: %w", header[0], ErrMalformed)
	}
	switch header[1] {
	case typeSetConfig:
		return decode[SetConfig](payload)
	case typeOpenEpoch:
		return decode[OpenEpoch](payload)
	case typeSavePositions:
		packed, err := decode[packedSaves](payload)
		if err != nil {
			return nil, err
		}
		return packed.unpack()
	case typeAssign:
		return decode[Assign](payload)
	case typeSetPaused:
		return decode[SetPaused](payload)
	case typeStartLoad:
		return decode[StartLoad](payload)
	case typeSaveLoad:
		return decode[SaveLoad](payload)
	case typeSetIndex:
		return decode[SetIndex](payload)
	case typeSetAside:
		return decode[SetAside](payload)
	case typeRelease:
		return decode[Release](payload)
	case typeSetNode:
		return decode[SetNode](payload)
	case typeRemoveNode:
		return decode[RemoveNode](payload)
	case typeNoteTables:
		return decode[NoteTables](payload)
	case typeSetClient:
		return decode[SetClient](payload)
	case typeSaveClients:
		return decode[SaveClients](payload)
	case typeRemoveClient:
		return decode[RemoveClient](payload)
	case typePutFanout:
		return decode[PutFanout](payload)
	case typeSaveFanout:
		return decode[SaveFanout](payload)
	case typeNoteColumns:
		return decode[NoteColumns](payload)
	}
	return nil, fmt.Errorf("command of type %d: %w", header[1], ErrMalformed)
}

func decode[T any](payload []byte) (T, error) {
	var v T
	if err := unmarshal(payload, &v); err != nil {
		return v, fmt.Errorf("%T: %w: %w", v, ErrMalformed, err)
	}
	return v, nil
}

// EncodeSnapshot writes the state as
//
//	version:u8 | payload: JSON object | crc32c of all before:u32
//
// with integers big endian, in the highest version that every node reads. GTID sets are named once each, see gtidTable.
func EncodeSnapshot(s State) ([]byte, error) {
	version, _ := s.reads()
	data, err := seal([]byte{version}, packState(s))
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return data, nil
}

// DecodeSnapshot reads what EncodeSnapshot wrote. Its error is ErrNewerVersion or ErrMalformed.
func DecodeSnapshot(data []byte) (State, error) {
	if len(data) > 0 && data[0] > MaxCommandVersion {
		return State{}, fmt.Errorf("snapshot of version %d: %w", data[0], ErrNewerVersion)
	}
	header, payload, err := unseal(data, 1)
	if err != nil {
		return State{}, fmt.Errorf("snapshot: %w", err)
	}
	if header[0] == 0 {
		return State{}, fmt.Errorf("snapshot of version %d: %w", header[0], ErrMalformed)
	}
	packed, err := decode[packedState](payload)
	if err != nil {
		return State{}, fmt.Errorf("snapshot: %w", err)
	}
	return packed.unpack()
}

// Hash returns the state's SHA-256 in hexadecimal. Equal histories give equal hashes on every node, after a snapshot too.
// It panics when the state holds what no decoded command can bring into it, a time after the year 9999 for example.
func (s State) Hash() string {
	data, err := json.Marshal(s) // sorts the keys of maps
	if err != nil {
		panic(fmt.Sprintf("hash of the replicated state: %v", err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// seal appends the payload as JSON and the checksum.
func seal(header []byte, payload any) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	data := append(header, body...)
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli)), nil
}

// unseal takes apart what seal made.
func unseal(data []byte, headerLen int) (header, payload []byte, err error) {
	if len(data) < headerLen+4 {
		return nil, nil, fmt.Errorf("%w: %d bytes are too few", ErrMalformed, len(data))
	}
	body, sum := data[:len(data)-4], binary.BigEndian.Uint32(data[len(data)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, nil, fmt.Errorf("%w: wrong checksum", ErrMalformed)
	}
	return body[:headerLen], body[headerLen:], nil
}

// unmarshal reads exactly one JSON object without unknown keys.
func unmarshal(payload []byte, v any) error {
	if len(payload) == 0 || payload[0] != '{' {
		return errors.New("not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON object")
	}
	return nil
}

// A gtidTable stores each distinct GTID set once: the positions of a source's duties mostly share theirs, and a set can
// have many kilobytes. A position then holds "#n", n being the set's place in the table.
type gtidTable []string

func newGTIDTable(positions func(yield func(event.Position) bool)) gtidTable {
	distinct := map[string]bool{}
	for p := range positions {
		if p.GTIDs != "" {
			distinct[p.GTIDs] = true
		}
	}
	return slices.Sorted(maps.Keys(distinct))
}

func (t gtidTable) pack(p event.Position) event.Position {
	if i, ok := slices.BinarySearch(t, p.GTIDs); ok {
		p.GTIDs = "#" + strconv.Itoa(i)
	}
	return p
}

func (t gtidTable) unpack(p *event.Position) error {
	if p.GTIDs == "" {
		return nil
	}
	digits, ok := strings.CutPrefix(p.GTIDs, "#")
	i, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil || i >= uint64(len(t)) {
		return fmt.Errorf("%w: GTID set %q is not in the table", ErrMalformed, p.GTIDs)
	}
	p.GTIDs = t[i]
	return nil
}

type packedSaves struct {
	GTIDs gtidTable
	Saves map[DutyID]Save
}

func packSaves(c SavePositions) packedSaves {
	packed := packedSaves{Saves: make(map[DutyID]Save, len(c.Saves))}
	packed.GTIDs = newGTIDTable(func(yield func(event.Position) bool) {
		for _, save := range c.Saves {
			if !yield(save.Position) {
				return
			}
		}
	})
	for id, save := range c.Saves {
		save.Position = packed.GTIDs.pack(save.Position)
		packed.Saves[id] = save
	}
	return packed
}

func (p packedSaves) unpack() (Command, error) {
	for id, save := range p.Saves {
		if err := p.GTIDs.unpack(&save.Position); err != nil {
			return nil, fmt.Errorf("save positions: %w", err)
		}
		p.Saves[id] = save
	}
	return SavePositions{Saves: p.Saves}, nil
}

type packedState struct {
	GTIDs gtidTable `json:"gtids,omitempty"`
	State State     `json:"state"`
}

func packState(s State) packedState {
	gtids := newGTIDTable(func(yield func(event.Position) bool) {
		for _, source := range s.Sources {
			if !yield(source.Start) {
				return
			}
		}
		for _, duty := range s.Duties {
			if !yield(duty.Position) {
				return
			}
		}
		for _, q := range s.Quarantine {
			if !yield(q.Position) {
				return
			}
		}
		for _, client := range s.Clients {
			if !yield(client.Position) {
				return
			}
		}
	})
	s.Sources, s.Duties, s.Quarantine, s.Clients = maps.Clone(s.Sources), maps.Clone(s.Duties), maps.Clone(s.Quarantine), maps.Clone(s.Clients)
	for name, source := range s.Sources {
		source.Start = gtids.pack(source.Start)
		s.Sources[name] = source
	}
	for id, duty := range s.Duties {
		duty.Position = gtids.pack(duty.Position)
		s.Duties[id] = duty
	}
	for id, q := range s.Quarantine {
		q.Position = gtids.pack(q.Position)
		s.Quarantine[id] = q
	}
	for id, client := range s.Clients {
		client.Position = gtids.pack(client.Position)
		s.Clients[id] = client
	}
	return packedState{GTIDs: gtids, State: s}
}

func (p packedState) unpack() (State, error) {
	var faults error
	unpack := func(position event.Position) event.Position {
		if err := p.GTIDs.unpack(&position); err != nil {
			faults = fmt.Errorf("snapshot: %w", err)
		}
		return position
	}
	for name, source := range p.State.Sources {
		source.Start = unpack(source.Start)
		p.State.Sources[name] = source
	}
	for id, duty := range p.State.Duties {
		duty.Position = unpack(duty.Position)
		p.State.Duties[id] = duty
	}
	for id, q := range p.State.Quarantine {
		q.Position = unpack(q.Position)
		p.State.Quarantine[id] = q
	}
	for id, client := range p.State.Clients {
		client.Position = unpack(client.Position)
		p.State.Clients[id] = client
	}
	if faults != nil {
		return State{}, faults
	}
	return p.State, nil
}

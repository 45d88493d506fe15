package zkmode

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"

	"canalgo/cluster"
)

// maxPart is how much one znode gets, in bytes: an ensemble refuses requests above 1 MiB (jute.maxbuffer).
const maxPart = 512 << 10

var (
	errMalformed = errors.New("malformed")
	// errForgotten means that the ensemble has less than this node has seen of it.
	errForgotten = errors.New("zookeeper has forgotten commands that this node has seen: was the ensemble restored from a copy? Start the node again to go on from there")
)

// A head says what there is of the log. The znode "state" has it as JSON; whoever sees it change reads what is new.
type head struct {
	Applied  uint64 `json:"applied"`            // number of the newest command
	First    uint64 `json:"first"`              // number of the oldest one that is kept
	Snapshot *blob  `json:"snapshot,omitempty"` // the state before the oldest kept command, or behind it
}

// A blob is what does not fit one znode: its parts are "parts/NAME-0", "parts/NAME-1" ...
type blob struct {
	Index uint64 `json:"index"` // of the newest command in it
	Name  string `json:"name"`
	Parts int    `json:"parts"`
}

// blobName has the index first, by which what is no longer needed is found.
func blobName(index, nonce uint64) string { return fmt.Sprintf("%d-%016x", index, nonce) }

func (b blob) path(part int) string { return fmt.Sprintf("parts/%s-%d", b.Name, part) }

// An entry is one command of the log. The znode "log/NUMBER" has it as
//
//	format:u8 = 1 | term:u64 | nonce:u64 | parts:u32 | command, as cluster.Encode writes it, or nothing when it is in parts
//
// with integers big endian.
type entry struct {
	term    uint64
	nonce   uint64 // of one attempt to write it, by which its writer knows it again
	parts   uint32
	command []byte
}

const (
	entryFormat = 1
	entryHeader = 1 + 8 + 8 + 4
)

func (e entry) encode() []byte {
	data := make([]byte, 0, entryHeader+len(e.command))
	data = append(data, entryFormat)
	data = binary.BigEndian.AppendUint64(data, e.term)
	data = binary.BigEndian.AppendUint64(data, e.nonce)
	data = binary.BigEndian.AppendUint32(data, e.parts)
	return append(data, e.command...)
}

func decodeEntry(data []byte) (entry, error) {
	if len(data) > 0 && data[0] > entryFormat {
		return entry{}, fmt.Errorf("entry of format %d: %w", data[0], cluster.ErrNewerVersion)
	}
	if len(data) < entryHeader || data[0] != entryFormat {
		return entry{}, fmt.Errorf("entry of %d bytes: %w", len(data), errMalformed)
	}
	return entry{term: binary.BigEndian.Uint64(data[1:]), nonce: binary.BigEndian.Uint64(data[9:]), parts: binary.BigEndian.Uint32(data[17:]),
		command: data[entryHeader:]}, nil
}

// A replica is this node's copy of the state. Only who holds the lock changes it.
type replica struct {
	lock    chan struct{} // holds one value while nobody has it
	board   *cluster.Board
	state   cluster.State
	applied uint64
	head    head
	version int32 // of the znode that has the head
	nonce   uint64
	sure    bool // head is the present one, as far as this node has written it
}

func newReplica(board *cluster.Board) *replica {
	r := &replica{lock: make(chan struct{}, 1), board: board}
	r.lock <- struct{}{}
	return r
}

// hold waits for the lock.
func (r *replica) hold(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-r.lock:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errOver
	}
}

func (r *replica) free() { r.lock <- struct{}{} }

// catchUp applies everything that the ensemble has. The lock is held.
func (n *Node) catchUp(ctx context.Context, s *session) (changed <-chan zk.Event, err error) {
	r := n.replica
	for asked := 0; ; {
		found, err := s.get(ctx, n.path(s, "state"), true)
		if err != nil {
			return nil, err
		}
		var h head
		if err := json.Unmarshal(found.data, &h); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", n.path(s, "state"), errMalformed, err)
		}
		if h.Applied < r.applied { // a server that lags, or one whose data are gone
			if asked++; asked > 1 {
				return nil, fmt.Errorf("command %d is its newest, this node has seen %d: %w", h.Applied, r.applied, errForgotten)
			}
			if err := s.sync(ctx, n.path(s, "state")); err != nil {
				return nil, err
			}
			continue
		}
		err = n.apply(ctx, s, h)
		if errors.Is(err, zk.ErrNoNode) && n.moved(ctx, s, found.version) {
			continue // it was left out of the log meanwhile
		}
		if err != nil {
			return nil, err
		}
		r.head, r.version, r.sure = h, found.version, true
		return found.changed, nil
	}
}

// moved reports whether the head is another one by now.
func (n *Node) moved(ctx context.Context, s *session, version int32) bool {
	now, err := s.get(ctx, n.path(s, "state"), false)
	return err == nil && now.version != version
}

func (s *session) sync(ctx context.Context, path string) error {
	return s.retry(ctx, func() error {
		return s.do(ctx, func(z *zk.Conn) error {
			_, err := z.Sync(path)
			return err
		})
	})
}

// apply reads what the head has and this node has not.
func (n *Node) apply(ctx context.Context, s *session, h head) error {
	r := n.replica
	state, applied := r.state, r.applied
	if b := h.Snapshot; b != nil && applied+1 < h.First {
		data, err := n.readParts(ctx, s, *b)
		if err != nil {
			return err
		}
		if state, err = cluster.DecodeSnapshot(data); err != nil {
			return fmt.Errorf("snapshot %s: %w", b.Name, err)
		}
		applied = b.Index
	}
	for applied < h.Applied {
		index := applied + 1
		found, err := s.get(ctx, n.path(s, "log", strconv.FormatUint(index, 10)), false)
		if err != nil {
			return err
		}
		e, err := decodeEntry(found.data)
		if err != nil {
			return fmt.Errorf("command %d: %w", index, err)
		}
		if e.parts > 0 {
			if e.command, err = n.readParts(ctx, s, blob{Index: index, Name: blobName(index, e.nonce), Parts: int(e.parts)}); err != nil {
				return err
			}
		}
		cmd, err := cluster.Decode(e.command)
		if err == nil {
			state, err = state.Apply(cmd) // its writer has, too
		}
		if err != nil {
			return fmt.Errorf("command %d: %w", index, err)
		}
		applied, r.nonce = index, e.nonce
	}
	if applied > r.applied {
		n.replace(state, applied)
	}
	return nil
}

// replace shows the next state, and ends this node when that no longer has it although the present one does. The lock is held.
func (n *Node) replace(next cluster.State, applied uint64) {
	r := n.replica
	member := r.state.Nodes[n.meta.NodeID].ServerID == n.meta.ServerID
	r.state, r.applied = next, applied
	r.board.Update(func(v *cluster.View) { v.State, v.Applied = next, applied })
	if member && next.Nodes[n.meta.NodeID].ServerID != n.meta.ServerID {
		n.fail(fmt.Errorf("node %s: %w", n.meta.ServerID, cluster.ErrRemoved))
	}
}

func (n *Node) readParts(ctx context.Context, s *session, b blob) ([]byte, error) {
	var data []byte
	for i := range b.Parts {
		part, err := s.get(ctx, n.path(s, b.path(i)), false)
		if err != nil {
			return nil, err
		}
		data = append(data, part.data...)
	}
	return data, nil
}

// The log is kept short: a snapshot takes the place of what is older.
const (
	snapshotEvery = 512     // commands
	snapshotBytes = 8 << 20 // of commands
	keptEntries   = 64      // beside a snapshot, for who is a little behind
)

// snapshot writes the state in parts, has the head name it, and deletes what it takes the place of.
func (n *Node) snapshot(ctx context.Context, t *reign) error {
	v, _ := n.board.View()
	data, err := cluster.EncodeSnapshot(v.State)
	if err != nil {
		return err
	}
	b, err := n.writeParts(ctx, t, v.Applied, random(), data)
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := n.replica.hold(ctx, t.over); err != nil {
		return err
	}
	err = n.point(ctx, t, b)
	n.replica.free()
	if err != nil {
		return fmt.Errorf("name the snapshot: %w", err)
	}
	return n.tidy(ctx, t)
}

// point has the head name a snapshot. The lock is held.
func (n *Node) point(ctx context.Context, t *reign, b blob) error {
	r := n.replica
	for {
		if !r.sure {
			if _, err := n.catchUp(ctx, t.session); err != nil {
				return err
			}
		}
		if r.head.Snapshot != nil && r.head.Snapshot.Name == b.Name {
			return nil // an answer was lost
		}
		next := r.head
		next.Snapshot = &b
		if b.Index > keptEntries {
			next.First = max(next.First, b.Index-keptEntries+1)
		}
		err := t.write(ctx, &zk.SetDataRequest{Path: n.path(t.session, "state"), Data: marshal(next), Version: r.version})
		switch {
		case err == nil:
			r.head, r.version = next, r.version+1
			return nil
		case errors.Is(err, zk.ErrBadVersion) || !answered(err) && !t.ended() && ctx.Err() == nil:
			r.sure = false
		default:
			r.sure = false
			return err
		}
	}
}

// writeParts writes what does not fit one znode. Nothing names it yet.
func (n *Node) writeParts(ctx context.Context, t *reign, index, nonce uint64, data []byte) (blob, error) {
	b := blob{Index: index, Name: blobName(index, nonce)}
	for part := range slices.Chunk(data, maxPart) {
		create := &zk.CreateRequest{Path: n.path(t.session, b.path(b.Parts)), Data: part, Acl: t.session.acl}
		err := t.session.retry(ctx, func() error { return t.write(ctx, create) })
		if err != nil && !errors.Is(err, zk.ErrNodeExists) { // an answer was lost
			return b, err
		}
		b.Parts++
	}
	return b, nil
}

// tidy deletes commands and parts that the head no longer needs, whoever left them.
func (n *Node) tidy(ctx context.Context, t *reign) error {
	if err := n.replica.hold(ctx, t.over); err != nil {
		return err
	}
	h := n.replica.head
	n.replica.free()
	var gone []any
	for _, folder := range []string{"log", "parts"} {
		names, _, err := t.session.children(ctx, n.path(t.session, folder))
		if err != nil {
			return err
		}
		for _, name := range names {
			digits, rest, _ := strings.Cut(name, "-")
			index, err := strconv.ParseUint(digits, 10, 64)
			if err != nil || index >= h.First || h.Snapshot != nil && strings.HasPrefix(name, h.Snapshot.Name+"-") && rest != "" {
				continue
			}
			gone = append(gone, &zk.DeleteRequest{Path: n.path(t.session, folder, name), Version: -1})
		}
	}
	for some := range slices.Chunk(gone, 128) {
		if err := t.write(ctx, some...); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
	return nil
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // of strings and numbers
	}
	return data
}

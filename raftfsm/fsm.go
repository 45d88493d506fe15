package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"canalgo/cluster"

	"github.com/hashicorp/raft"
)

// termSize is the size of what stands before a command in an entry.
const termSize = 8

// encodeEntry writes what a log entry holds:
//
//	term:u64 big endian | command, as cluster.Encode writes it
//
// The term is the one that the proposer believes to lead in. An entry of another term was proposed by somebody who led
// before, and is refused (fencing layer 1).
func encodeEntry(term cluster.Term, cmd cluster.Command, version uint8) ([]byte, error) {
	data, err := cluster.EncodeVersion(cmd, version)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, termSize+len(data)), uint64(term)), data...), nil
}

// An fsm applies committed entries to the state that the board shows. Raft calls its methods one at a time, but Persist.
type fsm struct {
	board *cluster.Board
	fail  func(error) // told when this node cannot go on
	name  string      // of this node
	id    string      // its server id

	known   raft.Log // the newest command in the log at the start, without its data; zero once it was applied
	state   cluster.State
	applied uint64
	broken  error // set for good by an entry of a newer version: whoever leaves one out is no longer equal to the others
}

// Apply returns nil or an error: the refusal, the same on every node.
func (f *fsm) Apply(entry *raft.Log) any {
	//failpoint fsm.before_apply
	if f.broken != nil {
		return f.broken
	}
	next, err := f.apply(entry)
	if errors.Is(err, cluster.ErrNewerVersion) {
		f.broken = fmt.Errorf("entry %d: %w", entry.Index, err)
		f.fail(f.broken)
		return f.broken
	}
	f.replace(next, entry.Index, entry.Term)
	if err != nil {
		return err
	}
	return nil
}

func (f *fsm) apply(entry *raft.Log) (cluster.State, error) {
	if len(entry.Data) < termSize {
		return f.state, fmt.Errorf("entry %d of %d bytes: %w", entry.Index, len(entry.Data), cluster.ErrMalformed)
	}
	if term := binary.BigEndian.Uint64(entry.Data); term != entry.Term {
		return f.state, fmt.Errorf("proposed in term %d, written in term %d: %w", term, entry.Term, cluster.ErrNotLeader)
	}
	cmd, err := cluster.Decode(entry.Data[termSize:])
	if err != nil {
		return f.state, err
	}
	return f.state.Apply(cmd)
}

// replace shows the next state, and ends this node when that no longer has it although the present one does. A log that
// is read from its start may say much of earlier nodes of this name; a server id that was removed never comes back.
func (f *fsm) replace(next cluster.State, applied, term uint64) {
	member := f.state.Nodes[f.name].ServerID == f.id
	f.state, f.applied = next, applied
	// What this node knew before its start comes again from the log, and is not shown until all of it is there: a view never
	// goes back. The newest entries may have been replaced in a later term.
	if applied >= f.known.Index || term > f.known.Term {
		f.known = raft.Log{}
		f.board.Update(func(v *cluster.View) { v.State, v.Applied = next, applied })
	}
	if member && next.Nodes[f.name].ServerID != f.id {
		f.fail(fmt.Errorf("node %s: %w", f.id, cluster.ErrRemoved))
	}
}

// Snapshot keeps the present state, which no later Apply changes.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	return snapshot{state: f.state, applied: f.applied}, nil
}

// Restore replaces the state by a snapshot's.
func (f *fsm) Restore(r io.ReadCloser) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	s, err := decodeSnapshot(data)
	if err != nil {
		if errors.Is(err, cluster.ErrNewerVersion) {
			f.fail(err)
		}
		return err
	}
	f.broken = nil
	f.replace(s.state, s.applied, 0)
	return nil
}

type snapshot struct {
	state   cluster.State
	applied uint64
}

// Persist writes
//
//	applied index:u64 big endian | state, as cluster.EncodeSnapshot writes it
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	state, err := cluster.EncodeSnapshot(s.state)
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	for _, part := range [][]byte{binary.BigEndian.AppendUint64(nil, s.applied), state} {
		if _, err := sink.Write(part); err != nil {
			return errors.Join(fmt.Errorf("write snapshot: %w", err), sink.Cancel())
		}
		//failpoint snapshot.mid_persist
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish snapshot: %w", err)
	}
	return nil
}

// Release is part of raft.FSMSnapshot.
func (s snapshot) Release() {}

func decodeSnapshot(data []byte) (snapshot, error) {
	if len(data) < 8 {
		return snapshot{}, fmt.Errorf("snapshot of %d bytes: %w", len(data), cluster.ErrMalformed)
	}
	state, err := cluster.DecodeSnapshot(data[8:])
	return snapshot{state: state, applied: binary.BigEndian.Uint64(data)}, err
}

package raftfsm

import (
	"errors"

	"github.com/hashicorp/raft"
)

// EndTerm makes the node see a higher term, as a leader elected elsewhere would; it is elected again thereafter.
func (n *Node) EndTerm() error {
	n.mu.Lock()
	r := n.raft
	n.mu.Unlock()
	if r == nil {
		return errors.New("not running")
	}
	address, other := raft.NewInmemTransport("other")
	other.Connect(n.address(), n.trans)
	request := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("other"), Addr: other.EncodePeer("other", address)},
		Term:      r.CurrentTerm() + 1,
	}
	return other.AppendEntries(n.conf.LocalID, n.address(), &request, new(raft.AppendEntriesResponse))
}

// Snapshot takes a snapshot now.
func (n *Node) Snapshot() error { return n.raft.Snapshot().Error() }

// ApplyRaw writes a log entry as it is.
func (n *Node) ApplyRaw(data []byte) error {
	f := n.raft.Apply(data, 0)
	if err := f.Error(); err != nil {
		return err
	}
	err, _ := f.Response().(error)
	return err
}

// EncodeEntry is encodeEntry.
var EncodeEntry = encodeEntry

// BreakDisk makes every later write to the log fail.
func (n *Node) BreakDisk() error { return n.store.BoltStore.Close() }

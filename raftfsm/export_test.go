package raftfsm

import (
	"context"
	"errors"

	"canalgo/cluster"

	"github.com/hashicorp/raft"
)

// EndTerm makes the node see a higher term, as a leader elected elsewhere would, and then stand for election.
func (n *Node) EndTerm() error {
	n.mu.Lock()
	r := n.raft
	n.mu.Unlock()
	if r == nil {
		return errors.New("not running")
	}
	answer := make(chan raft.RPCResponse, 1)
	n.trans.request(raft.RPC{RespChan: answer, Command: &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("other@0"), Addr: []byte("other:1")},
		Term:      r.CurrentTerm() + 1,
	}})
	select {
	case a := <-answer:
		if a.Error != nil {
			return a.Error
		}
	case <-n.stopped:
	}
	n.trans.electNow()
	return nil
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

// EncodeEntry is encodeEntry in the lowest version.
func EncodeEntry(term cluster.Term, cmd cluster.Command) ([]byte, error) {
	return encodeEntry(term, cmd, 1)
}

// ProposeNeeding proposes cmd as one that only nodes of that version can read.
func (n *Node) ProposeNeeding(ctx context.Context, term cluster.Term, cmd cluster.Command, version uint8) error {
	return n.propose(ctx, term, cmd, version)
}

// BreakDisk makes every later write to the log fail.
func (n *Node) BreakDisk() error { return n.store.Disk.Close() }

// WatchAgain forgets who leads, and watches Raft anew, which has nothing to tell: as when it was heard before the first watch began.
func (n *Node) WatchAgain(stop <-chan struct{}) {
	n.board.Update(func(v *cluster.View) { v.Leader, v.LeaderAddress = "", "" })
	go n.watch(n.raft, nil, nil, nil, stop)
}

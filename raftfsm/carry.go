package raftfsm

import (
	"errors"
	"fmt"

	"canalgo/cluster"
	"canalgo/folder"

	"github.com/hashicorp/raft"
)

// Export returns the state that the data folder of a stopped node has, with the index of its newest entry. It changes nothing. Of several
// nodes' folders the one with the highest index knows most.
func Export(dir string) (state cluster.State, index uint64, err error) {
	found, err := folder.Look(dir)
	if err != nil {
		return state, 0, err
	}
	if found.IsZero() {
		return state, 0, fmt.Errorf("data folder %s: there is none", dir)
	}
	n, err := New(Config{Dir: dir, NodeID: found.NodeID})
	if err != nil {
		return state, 0, err
	}
	reader := &lone{fsm: n.fsm, looks: true}
	_, index, err = n.newestEntry()
	if err == nil {
		err = n.replay(reader)
	}
	if reader.looked {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("data folder %s: %w", dir, err)
	}
	return reader.was, index, errors.Join(err, n.Close())
}

// Import makes a data folder that begins a cluster of its node alone, with a state. There must be none yet.
func Import(c Config, state cluster.State) error {
	found, err := folder.Look(c.Dir)
	if err != nil {
		return err
	}
	if !found.IsZero() {
		return fmt.Errorf("data folder %s: is in use; import into a new one", c.Dir)
	}
	n, err := New(c)
	if err != nil {
		return err
	}
	if err = n.replay(seed{n.fsm, state}); err != nil {
		err = fmt.Errorf("data folder %s: %w", c.Dir, err)
	} else {
		err = giveBack(c.Dir)
	}
	return errors.Join(err, n.Close())
}

// replay has an fsm apply what the folder has, and then writes its snapshot.
func (n *Node) replay(fsm raft.FSM) error {
	trans := newTransport(nil, nil, n.address, n.log)
	self := raft.Server{ID: n.conf.LocalID, Address: n.address, Suffrage: raft.Voter}
	err := raft.RecoverCluster(n.conf, fsm, n.store, n.store, n.snapshots, trans, raft.Configuration{Servers: []raft.Server{self}})
	return errors.Join(err, trans.Close())
}

// A seed is an fsm whose state comes from elsewhere.
type seed struct {
	*fsm
	state cluster.State
}

// Snapshot is part of raft.FSM.
func (s seed) Snapshot() (raft.FSMSnapshot, error) {
	return snapshot{state: s.state, applied: s.applied}, nil
}

package raftfsm

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"canalgo/cluster"
	"canalgo/folder"

	"github.com/hashicorp/raft"
)

// A Remnant is what one data folder still has of its cluster.
type Remnant struct {
	folder.Found
	Servers []cluster.Server // who took part, as far as this folder heard
	Term    uint64           // of the newest log entry: of two folders the one with the higher term knows more, then
	Index   uint64           // the one with the higher index
	State   cluster.State    // as of that entry
}

// Recover makes a data folder that of a cluster of its node alone, for when a majority of the folders is gone for good. What its log
// has counts as confirmed, whether a majority had it or not. The other nodes are forgotten, and every source gets a new epoch, at
// least the given one: versions are above what the lost nodes may have written, positions stay. It can be done again, whatever
// interrupted it. Unless it is to go through with it, it changes nothing.
func Recover(dir string, epoch uint32, goThrough bool) (Remnant, error) {
	found, err := folder.Look(dir)
	if err != nil {
		return Remnant{}, err
	}
	if found.IsZero() {
		return Remnant{}, fmt.Errorf("data folder %s: there is none; name that of the node by -data", dir)
	}
	n, err := New(Config{Dir: dir, NodeID: found.NodeID})
	if err != nil {
		return Remnant{}, err
	}
	remnant, err := n.recover(found, epoch, goThrough)
	if err == nil && goThrough {
		err = giveBack(dir)
	}
	if err != nil {
		err = fmt.Errorf("data folder %s: %w", dir, err)
	}
	return remnant, errors.Join(err, n.Close())
}

// giveBack gives what root has made in a folder to whom the folder belongs, who could not read it else.
func giveBack(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(owner.Uid), int(owner.Gid)))
	})
}

func (n *Node) recover(found folder.Found, epoch uint32, goThrough bool) (Remnant, error) {
	r := Remnant{Found: found}
	var self raft.Server
	others := 0 // that vote
	for _, s := range n.members.Servers {
		r.Servers = append(r.Servers, server(s))
		switch {
		case s.ID == n.conf.LocalID:
			self = s
		case s.Suffrage == raft.Voter:
			others++
		}
	}
	switch {
	case self.ID == "":
		return r, errors.New("no leader has taken this node in, so it knows nothing of the cluster; take another node's folder")
	case others == 0 && self.Suffrage == raft.Voter:
		return r, errors.New("its node needs nobody else to lead; start it")
	}
	var err error
	if r.Term, r.Index, err = n.newestEntry(); err != nil {
		return r, err
	}
	self.Suffrage = raft.Voter
	trans := newTransport(nil, nil, self.Address, n.log)
	lone := &lone{fsm: n.fsm, epoch: epoch, looks: !goThrough}
	err = raft.RecoverCluster(n.conf, lone, n.store, n.store, n.snapshots, trans, raft.Configuration{Servers: []raft.Server{self}})
	r.State = lone.was
	if lone.looked {
		err = nil
	}
	return r, errors.Join(err, trans.Close())
}

// newestEntry returns term and index of the newest entry that the folder has.
func (n *Node) newestEntry() (term, index uint64, err error) {
	last, err := n.store.LastIndex()
	if err != nil {
		return 0, 0, err
	}
	if last == 0 {
		restored, err := newestSnapshot(n.folder, n.snapshots)
		return restored.Term, restored.Index, err
	}
	var entry raft.Log
	err = n.store.GetLog(last, &entry)
	return entry.Term, entry.Index, err
}

// A lone fsm is that of a recovery. RecoverCluster has it apply the log, and then writes a snapshot of it: that has the state in
// which the node goes on alone. Until then nothing is changed.
type lone struct {
	*fsm
	epoch  uint32
	looks  bool          // and writes nothing
	looked bool          // it has refused to write
	was    cluster.State // at the end of the log
}

// Snapshot is part of raft.FSM.
func (l *lone) Snapshot() (raft.FSMSnapshot, error) {
	if l.broken != nil {
		return nil, l.broken
	}
	l.was = l.state
	if l.looked = l.looks; l.looked {
		return nil, errors.New("not to be gone through with")
	}
	state, err := alone(l.state, l.name, l.epoch)
	return snapshot{state: state, applied: l.applied}, err
}

// alone returns the state in which a node goes on without the others.
func alone(s cluster.State, name string, epoch uint32) (cluster.State, error) {
	var err error
	for _, other := range slices.Sorted(maps.Keys(s.Nodes)) {
		if other == name {
			continue
		}
		if s, err = s.Apply(cluster.RemoveNode{Name: other, ServerID: s.Nodes[other].ServerID}); err != nil {
			return s, err
		}
	}
	for _, source := range slices.Sorted(maps.Keys(s.Sources)) {
		was := s.Sources[source]
		if was.ServerUUID == "" {
			continue
		}
		open := cluster.OpenEpoch{Source: source, Was: was.Epoch, AtLeast: epoch, ServerUUID: was.ServerUUID, Why: "recovered from a lost quorum"}
		if s, err = s.Apply(open); err != nil {
			return s, err
		}
	}
	return s, nil
}

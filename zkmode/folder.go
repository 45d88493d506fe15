package zkmode

import (
	"errors"
	"fmt"

	"canalgo/cluster"
	"canalgo/folder"
)

// open opens the data folder, which holds this node's identity and the cluster's secret, and makes it when it is not there.
func (n *Node) open() error {
	f, m := n.folder, folder.Meta{}
	var err error
	if m, err = f.ReadMeta(); err != nil {
		return err
	}
	raft, err := f.Has("raft.db")
	switch {
	case err != nil:
		return err
	case raft || m != folder.Meta{} && !m.ZooKeeper:
		return fmt.Errorf("data folder %s: its node keeps the state there, by Raft; leave coordination.mode out, or give another folder (canalgo state export carries the state over)", f.Path)
	case m != folder.Meta{} && m.NodeID != n.cfg.NodeID:
		return fmt.Errorf("data folder %s: belongs to node %q, this is %q; a folder cannot be copied to another node: wipe it, or give the node its name", f.Path, m.NodeID, n.cfg.NodeID)
	case m == folder.Meta{}:
		if m, err = n.create(); err != nil {
			return err
		}
	}
	if n.secret, err = f.ReadSecret(); err != nil {
		return err
	}
	n.meta = m
	return f.Belongs(n.cfg.ClusterID, n.cfg.Secret, m, n.secret)
}

// create makes what the folder holds, meta.json last.
func (n *Node) create() (folder.Meta, error) {
	switch {
	case n.cfg.ClusterID == "":
		return folder.Meta{}, errors.New("cluster id: none given")
	case n.cfg.Secret == nil:
		return folder.Meta{}, errors.New("token: none given")
	}
	m, err := folder.NewMeta(n.cfg.NodeID, n.cfg.ClusterID)
	if err != nil {
		return m, err
	}
	m.ZooKeeper = true
	if err := n.folder.WriteSecret(n.cfg.Secret); err != nil {
		return m, err
	}
	return m, n.folder.WriteMeta(m)
}

// removed marks the folder as that of a node that was taken out, when that is why it ends.
func (n *Node) removed(err error) error {
	if !errors.Is(err, cluster.ErrRemoved) {
		return err
	}
	n.meta.Removed = true
	return errors.Join(err, n.folder.WriteMeta(n.meta))
}

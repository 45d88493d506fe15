// Package raftfsm coordinates a cluster by an embedded Raft: it elects the leader, and keeps the replicated state in a
// data folder that survives the end of the process at any moment.
//
// What Propose returned nil for is on the disks of a majority. An error other than a refusal (cluster.ErrRefused,
// cluster.ErrMalformed) leaves open whether the command will be applied: one that lost its leader may still be.
package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"canalgo/cluster"
	"canalgo/folder"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	berrors "go.etcd.io/bbolt/errors"
)

// Config is what a Node needs.
type Config struct {
	Dir    string       // the data folder; made when it is not there
	NodeID string       // this node's name, fixed for the life of the data folder
	Logger hclog.Logger // nil for none; what Raft itself says comes at debug

	// Stream connects the nodes; nil for a node that stays alone. Its Dial ends when it is closed, which is what the end of
	// Run, and Close, do.
	Stream  raft.StreamLayer
	Address string // host:port of Stream, as other nodes reach it

	// Carrier and Disk take the places of Stream and of the folder's raft.db where there is neither network nor disk, as in a
	// simulation; nil otherwise.
	Carrier Carrier
	Disk    Disk

	Secret []byte // the cluster's secret, 16 to 256 bytes; nil for what the folder has, or a new one
	// Join says that a folder that is made belongs to ClusterID, and waits until that cluster's leader adds it, instead
	// of beginning a cluster. One that was made so and was never added may be given another cluster. It means nothing to
	// other folders.
	Join      bool
	ClusterID string // "" for what the folder has, or a new one

	// How much log there is. Zero values stand for what follows.
	SnapshotThreshold uint64        // entries after which a snapshot is taken: 8192
	SnapshotInterval  time.Duration // how often that is looked at: 30 s
	TrailingLogs      uint64        // entries kept beside a snapshot: 1024
}

// A Node is this process's part in the cluster. Its methods are safe for several goroutines.
type Node struct {
	log       hclog.Logger
	conf      *raft.Config
	meta      folder.Meta
	secret    []byte
	folder    *folder.Folder
	store     *store
	snapshots raft.SnapshotStore
	fsm       *fsm
	board     cluster.Board
	failed    chan error    // the first reason why this node cannot go on
	stopped   chan struct{} // closed when raft is gone
	stream    raft.StreamLayer
	carrier   Carrier
	address   raft.ServerAddress
	members   raft.Configuration // the folder's newest when it was opened
	added     bool               // it has this node
	sole      bool               // and no other voter
	trans     *transport
	written   atomic.Uint32 // the version in which this node wrote last, 0 before

	mu    sync.Mutex
	state runState
	raft  *raft.Raft     // while running
	calls sync.WaitGroup // what waits for raft; begun under mu while running
}

type runState uint8

const (
	idle runState = iota
	running
	ended
)

// New opens the data folder, making it when it is not there, locks it, and reads all of it. It starts nothing. Its errors
// say what is wrong with the folder and what would be right. A Node that is not Run must be closed. The stream is its own
// from here on.
func New(c Config) (*Node, error) {
	switch {
	case c.NodeID == "":
		return nil, errors.New("node id: none given")
	case !cluster.ValidNodeName(c.NodeID):
		return nil, fmt.Errorf("node id %q: may have A-Z, a-z, 0-9, ., _ and -, and 64 of them", c.NodeID)
	case (c.Stream != nil || c.Carrier != nil) && c.Address == "":
		return nil, errors.New("address: none given")
	case c.Join && c.ClusterID == "":
		return nil, errors.New("cluster id: none given to join")
	}
	if c.Secret != nil {
		if err := folder.ValidSecret(c.Secret); err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	n := &Node{log: c.Logger, failed: make(chan error, 1), stopped: make(chan struct{}), stream: c.Stream, carrier: c.Carrier,
		address: raft.ServerAddress(orDefault(c.Address, c.NodeID))}
	n.fsm = &fsm{board: &n.board, fail: n.fail}
	n.conf = raft.DefaultConfig()
	n.conf.Logger = quiet{c.Logger}
	n.conf.HeartbeatTimeout = 500 * time.Millisecond
	n.conf.ElectionTimeout = 500 * time.Millisecond
	n.conf.LeaderLeaseTimeout = 500 * time.Millisecond // not shorter than its followers wait: a busy machine is late by 250 ms
	n.conf.NoLegacyTelemetry = true
	n.conf.SnapshotThreshold = orDefault(c.SnapshotThreshold, 8192)
	n.conf.SnapshotInterval = orDefault(c.SnapshotInterval, 30*time.Second)
	n.conf.TrailingLogs = orDefault(c.TrailingLogs, 1024)

	var err error
	if n.folder, err = folder.Open(c.Dir); err != nil {
		return nil, err
	}
	if err := n.open(c); err != nil {
		n.stream = nil // still the caller's
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// open reads the folder, after it has finished making it.
func (n *Node) open(c Config) error {
	f := n.folder
	m, err := f.ReadMeta()
	if err != nil {
		return err
	}
	fresh := m == folder.Meta{}
	hasDB, err := f.Has(databaseName)
	if c.Disk != nil {
		hasDB = !fresh
	}
	switch {
	case err != nil:
		return err
	case !fresh && m.NodeID != c.NodeID:
		return fmt.Errorf("data folder %s: belongs to node %q, this is %q; a folder cannot be copied to another node: wipe it, or give the node its name", f.Path, m.NodeID, c.NodeID)
	case m.ZooKeeper:
		return fmt.Errorf("data folder %s: its node is in ZooKeeper mode; give coordination.mode = \"zookeeper\", or another folder (canalgo state export carries the state over)", f.Path)
	case !fresh && !hasDB:
		return fmt.Errorf("data folder %s: %s is missing; put back a copy of the whole folder, or wipe it", f.Path, databaseName)
	}
	if fresh {
		if m, err = n.create(c, hasDB); err != nil {
			return err
		}
	}
	n.conf.LocalID = raft.ServerID(m.ServerID)
	n.fsm.name, n.fsm.id = m.NodeID, m.ServerID
	if n.secret, err = f.ReadSecret(); err != nil {
		return err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(f.Path, snapshotsKept, n.conf.Logger)
	if err != nil {
		return folder.Explain(f.Path, err)
	}
	n.snapshots = snapshots
	if n.store, err = n.openStore(c.Disk); err != nil {
		return err
	}
	if n.members, err = verify(f, n.store, snapshots, m.Joined); err != nil {
		return err
	}
	if len(n.members.Servers) == 0 && c.Join {
		if m, err = n.rejoin(c, m); err != nil {
			return err
		}
	}
	if err := f.Belongs(c.ClusterID, c.Secret, m, n.secret); err != nil {
		return err
	}
	n.meta = m
	voters := 0
	for _, s := range n.members.Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
		if s.ID == n.conf.LocalID {
			n.added, n.sole = true, s.Suffrage == raft.Voter
		}
	}
	n.sole = n.sole && voters == 1
	n.store.fail = func(err error) { n.fail(folder.Explain(f.Path, err)) }
	return nil
}

// openStore opens the log, in place of raft.db if that is given.
func (n *Node) openStore(disk Disk) (*store, error) {
	if disk != nil {
		return &store{Disk: disk}, nil
	}
	return n.openChecked()
}

// openChecked opens a log that is there.
func (n *Node) openChecked() (*store, error) {
	f := n.folder
	path := f.File(databaseName)
	var s *store
	err := checkPages(path)
	if err == nil {
		err = guard(func() (err error) { s, err = openStore(path); return err })
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, os.ErrPermission):
		return nil, folder.Explain(f.Path, err)
	case errors.Is(err, berrors.ErrTimeout): // bolt's own lock, since the folder's is held
		return nil, fmt.Errorf("data folder %s: %s is in use by another program; stop it", f.Path, databaseName)
	}
	return nil, fmt.Errorf("data folder %s: %s is damaged: %w; put back a copy of the whole folder, or wipe it", f.Path, databaseName, err)
}

// create makes what a folder holds, meta.json last. Whatever a start that did not get so far has left is made again; a log
// that was used is not touched.
func (n *Node) create(c Config, hasDB bool) (folder.Meta, error) {
	f := n.folder
	used, err := f.Has("snapshots")
	if err != nil {
		return folder.Meta{}, err
	}
	if hasDB && !used {
		s, err := n.openChecked()
		if err != nil {
			return folder.Meta{}, err
		}
		last, err := s.LastIndex()
		if err := errors.Join(err, s.Close()); err != nil {
			return folder.Meta{}, folder.Explain(f.Path, err)
		}
		used = last > 1 // more than the entry of bootstrap
	}
	if used {
		return folder.Meta{}, fmt.Errorf("data folder %s: was used, but meta.json is missing; put back a copy of the whole folder, or wipe it", f.Path)
	}
	clusterID := ""
	if c.Join {
		clusterID = c.ClusterID
	}
	m, err := folder.NewMeta(c.NodeID, clusterID)
	if err != nil {
		return folder.Meta{}, err
	}
	n.conf.LocalID = raft.ServerID(m.ServerID)
	if c.Disk != nil && !m.Joined {
		err = bootstrap(&store{Disk: c.Disk}, n.conf, n.address)
	} else if c.Disk == nil {
		err = createLog(f, n.conf, n.address, m.Joined)
	}
	if err != nil {
		return folder.Meta{}, err
	}
	if err := f.WriteSecret(c.Secret); err != nil {
		return folder.Meta{}, err
	}
	return m, f.WriteMeta(m)
}

// rejoin gives a folder that no leader has added to another cluster, or the same with another token.
func (n *Node) rejoin(c Config, m folder.Meta) (folder.Meta, error) {
	if c.Secret != nil && !bytes.Equal(c.Secret, n.secret) {
		if err := n.folder.WriteSecret(c.Secret); err != nil {
			return folder.Meta{}, err
		}
		n.secret = c.Secret
	}
	if m.ClusterID == c.ClusterID {
		return m, nil
	}
	m.ClusterID = c.ClusterID
	return m, n.folder.WriteMeta(m)
}

// ClusterID returns the cluster's random id, made when its first data folder was.
func (n *Node) ClusterID() string { return n.meta.ClusterID }

// NodeID returns this node's name.
func (n *Node) NodeID() string { return n.meta.NodeID }

// ServerID returns this node's identity, NAME@8 hex digits, made when the data folder was.
func (n *Node) ServerID() string { return n.meta.ServerID }

// Secret returns the cluster's secret: the token, as text. It is not to be shown.
func (n *Node) Secret() []byte { return append([]byte(nil), n.secret...) }

// Added reports whether the data folder, when it was opened, had this node among the cluster's. If not, a leader has to
// add it.
func (n *Node) Added() bool { return n.added }

// View returns the newest local state and a channel that is closed when there is a newer one.
func (n *Node) View() (cluster.View, <-chan struct{}) { return n.board.View() }

// Close gives the data folder free. Run does so itself; only a Node that was not Run is closed.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != idle {
		return nil
	}
	n.state = ended
	return n.release()
}

func (n *Node) release() error {
	var err error
	if n.stream != nil && n.trans == nil { // else the transport has closed it
		err = n.stream.Close()
	}
	if n.store != nil {
		err = errors.Join(err, n.store.Close())
	}
	return errors.Join(err, n.folder.Close())
}

// fail keeps the first reason why this node cannot go on. Run ends with it.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Propose replicates cmd and returns when it is applied here. A command that was refused gives its refusal,
// cluster.ErrRefused among them; cluster.ErrNotLeader means that this node does not lead in term. After any error but a
// refusal, and cluster.ErrTooNew, the command may still be applied.
func (n *Node) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	return n.propose(ctx, term, cmd, cluster.CommandVersion(cmd))
}

// propose replicates cmd, which needs nodes that read the given version.
func (n *Node) propose(ctx context.Context, term cluster.Term, cmd cluster.Command, needed uint8) error {
	v, _ := n.View()
	version, err := v.WriteVersion(needed)
	if err != nil {
		return fmt.Errorf("propose %T: %w", cmd, err)
	}
	data, err := encodeEntry(term, cmd, version)
	if err != nil {
		return err
	}
	if n.written.Swap(uint32(version)) != uint32(version) {
		n.log.Info("commands are written", "version", version)
	}
	err = n.call(ctx, term, func(r *raft.Raft) error {
		f := r.Apply(data, 0)
		if err := f.Error(); err != nil {
			return err
		}
		refusal, _ := f.Response().(error)
		return refusal
	})
	//failpoint raft.after_propose err
	if err != nil {
		return fmt.Errorf("propose %T: %w", cmd, err)
	}
	return nil
}

// Verify returns nil only if a quorum confirmed, after the call began, that this node leads in term.
func (n *Node) Verify(ctx context.Context, term cluster.Term) error {
	err := n.call(ctx, term, func(r *raft.Raft) error {
		if err := r.VerifyLeader().Error(); err != nil {
			return err
		}
		// It confirmed that this node leads now, which is another term's if it was elected again meanwhile.
		if cluster.Term(r.CurrentTerm()) != term {
			return cluster.ErrNotLeader
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify term %d: %w", term, err)
	}
	return nil
}

// call does f, which waits for Raft, and returns early when ctx ends.
func (n *Node) call(ctx context.Context, term cluster.Term, f func(*raft.Raft) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	r := n.raft
	if n.state != running || r == nil || r.State() != raft.Leader || cluster.Term(r.CurrentTerm()) != term {
		n.mu.Unlock()
		return cluster.ErrNotLeader
	}
	n.calls.Add(1)
	n.mu.Unlock()

	done := make(chan error, 1)
	go func() {
		defer n.calls.Done()
		done <- notLeader(f(r))
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped:
		return cluster.ErrNotLeader
	}
}

// notLeader gives Raft's ways to say that this node does not lead the name that callers know.
func notLeader(err error) error {
	for _, e := range []error{raft.ErrNotLeader, raft.ErrLeadershipLost, raft.ErrLeadershipTransferInProgress, raft.ErrRaftShutdown, raft.ErrAbortedByRestore} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", cluster.ErrNotLeader, err)
		}
	}
	return err
}

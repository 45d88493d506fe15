// Package zkmode coordinates a cluster by a ZooKeeper ensemble: it elects the leader, and keeps the replicated state there.
//
// Below the chroot and Config.Root there is
//
//	cluster              which cluster this is, as JSON; never changed
//	state                what there is of the log, as JSON; watched by every node
//	log/NUMBER           one command
//	parts/NUMBER-...     parts of what does not fit one znode: snapshots, large commands
//	election/ID-NUMBER   who would lead, ephemeral; the one with the lowest number does, and its term is that number + 1
//
// But for the candidates' own znodes and the making of the cluster, the leader is the only one that writes below Root, and each of its writes is one transaction with a check of its own election
// node: when that is gone, nothing of it is written any more. A node that was there once and is missing is an ensemble that has
// lost its data, never a new cluster. What Propose returned nil for is on the disks of the ensemble's majority. An error other than
// a refusal (cluster.ErrRefused) leaves open whether the command was, or will be, applied.
package zkmode

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"canalgo/backoff"
	"canalgo/cluster"
	"canalgo/folder"
)

// DefaultSession is the session timeout that is asked for. A leader that is lost without a word is replaced after it.
const DefaultSession = 10 * time.Second

// DefaultRoot is where canalgo's own znodes are.
const DefaultRoot = "/canalgo"

// Config is what a Node needs.
type Config struct {
	Servers        []string      // host:port of the ensemble's members
	Chroot         string        // before every path, as "/production"; "" for none
	Root           string        // of canalgo's own znodes, below the chroot; "" is DefaultRoot
	User, Password string        // of the scheme digest; no User for none
	TLS            *tls.Config   // nil for none
	SessionTimeout time.Duration // 0 is DefaultSession; the ensemble may grant less or more

	Dir       string // the data folder; made when it is not there
	NodeID    string // this node's name, fixed for the life of the data folder
	Address   string // host:port at which other nodes reach this one
	Secret    []byte // the cluster's secret, 16 to 256 bytes; nil for what the folder has
	ClusterID string // as Join gave it; "" for what the folder has
	Canal     Canal  // what this node is among canal's servers; the zero Canal has nothing to do with them

	// Refuses reports whether a node's port refuses connections, as that of a process that has ended does: its turn to lead is then
	// over at once, and not when its session is. nil to wait for the session.
	Refuses func(ctx context.Context, address string) bool
	// Clock is what the leader's lease is counted on; it goes on while the host sleeps. nil is the system's.
	Clock  func() time.Duration
	Logger hclog.Logger // nil for none
}

func (c Config) withDefaults() Config {
	if c.Root == "" {
		c.Root = DefaultRoot
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = DefaultSession
	}
	if c.Clock == nil {
		c.Clock = sinceBoot
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// sinceBoot reads a clock that goes on while the host is suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// path is that of a znode of canalgo's own.
func (c Config) path(s *session, parts ...string) string {
	return s.path(append([]string{c.Root[1:]}, parts...)...)
}

// An identity is what the znode "cluster" has.
type identity struct {
	ID    string `json:"id"`
	Proof string `json:"proof"` // of the secret, see prove
}

// prove lets a node see that its secret is another one than the cluster's. It says no more of a long random secret than the node
// port does.
func prove(secret []byte, clusterID string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("canalgo zookeeper " + clusterID))
	return hex.EncodeToString(mac.Sum(nil))
}

// ErrToken means that the cluster in the ensemble has another secret.
var ErrToken = errors.New("the cluster in zookeeper has another token")

// Join returns the id of the cluster that the ensemble has, and makes one when there is none. It waits for an ensemble that does not
// answer. Its errors are those that waiting does not end.
func Join(ctx context.Context, c Config) (string, error) {
	c = c.withDefaults()
	s, err := connect(ctx, c)
	if err != nil {
		return "", err
	}
	defer s.close()
	for {
		found, err := s.get(ctx, c.path(s, "cluster"), false)
		switch {
		case err == nil:
			return c.known(found)
		case !errors.Is(err, zk.ErrNoNode):
			return "", c.explain(err)
		}
		if err := c.make(ctx, s, cluster.State{}); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return "", c.explain(err)
		}
	}
}

// Look asks an ensemble for the session that it grants and the cluster that it has, "" for none, and changes nothing. Without a secret that is
// not compared.
func Look(ctx context.Context, c Config) (session time.Duration, clusterID string, err error) {
	c = c.withDefaults()
	s, err := connect(ctx, c)
	if err != nil {
		return 0, "", fmt.Errorf("none of the servers has granted a session: %w", err)
	}
	defer s.close()
	found, err := s.get(ctx, c.path(s, "cluster"), false)
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return s.timeout, "", nil
	case err != nil:
		return s.timeout, "", c.explain(err)
	case c.Secret == nil:
		var have identity
		err = json.Unmarshal(found.data, &have)
		return s.timeout, have.ID, err
	}
	clusterID, err = c.known(found)
	return s.timeout, clusterID, err
}

// known reads an identity and compares its secret.
func (c Config) known(found node) (string, error) {
	var have identity
	if err := json.Unmarshal(found.data, &have); err != nil {
		return "", fmt.Errorf("%s/cluster in zookeeper: %w: %w", c.Root, errMalformed, err)
	}
	if !hmac.Equal([]byte(have.Proof), []byte(prove(c.Secret, have.ID))) {
		return "", ErrToken
	}
	return have.ID, nil
}

// make makes a cluster, whole or not at all; a state with a configuration is what it begins with.
func (c Config) make(ctx context.Context, s *session, state cluster.State) error {
	id, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("make a cluster id: %w", err)
	}
	if s.prefix != "" {
		if err := s.create(ctx, s.prefix, zk.WorldACL(zk.PermAll)); err != nil {
			return err
		}
	}
	if err := s.create(ctx, c.path(s, "parts"), s.acl); err != nil {
		return err
	}
	first := head{First: 1}
	if state.Config.Version > 0 {
		if first, err = c.fill(ctx, s, state); err != nil {
			return err
		}
	}
	var ops []any
	for _, made := range []struct {
		name string
		data []byte
	}{
		{"cluster", marshal(identity{ID: id.String(), Proof: prove(c.Secret, id.String())})}, {"log", nil}, {"election", nil}, {"state", marshal(first)},
	} {
		ops = append(ops, &zk.CreateRequest{Path: c.path(s, made.name), Data: made.data, Acl: s.acl})
	}
	return s.retry(ctx, func() error {
		_, err := s.multi(ctx, ops...)
		return err
	})
}

// fill writes a state as the snapshot of a log that begins behind it.
func (c Config) fill(ctx context.Context, s *session, state cluster.State) (head, error) {
	data, err := cluster.EncodeSnapshot(state)
	if err != nil {
		return head{}, err
	}
	b := blob{Index: 1, Name: blobName(1, random())}
	for part := range slices.Chunk(data, maxPart) {
		err := s.retry(ctx, func() error {
			_, err := s.multi(ctx, &zk.CreateRequest{Path: c.path(s, b.path(b.Parts)), Data: part, Acl: s.acl})
			return err
		})
		if err != nil && !errors.Is(err, zk.ErrNodeExists) { // an answer was lost
			return head{}, fmt.Errorf("write the state: %w", err)
		}
		b.Parts++
	}
	return head{Applied: 1, First: 2, Snapshot: &b}, nil
}

// explain says what would put an answer of the ensemble right.
func (c Config) explain(err error) error {
	switch {
	case errors.Is(err, zk.ErrNoAuth) && c.User == "":
		return fmt.Errorf("%w: the znodes belong to a user; give coordination.user and password", err)
	case errors.Is(err, zk.ErrNoAuth):
		return fmt.Errorf("%w: the znodes do not belong to coordination.user with that password", err)
	}
	return err
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// A Node is this process's part in the cluster. Its methods are safe for several goroutines.
type Node struct {
	cfg     Config
	log     hclog.Logger
	folder  *folder.Folder
	meta    folder.Meta
	secret  []byte
	board   cluster.Board
	replica *replica
	failed  chan error // the first reason why this node cannot go on

	mu         sync.Mutex
	used       bool // Run was called, or Close
	reign      *reign
	candidates []candidate
}

// New opens the data folder, making it when it is not there, and locks it. It starts nothing. A Node that is not Run must be closed.
func New(c Config) (*Node, error) {
	c = c.withDefaults()
	switch {
	case !cluster.ValidNodeName(c.NodeID):
		return nil, fmt.Errorf("node id %q: may have A-Z, a-z, 0-9, ., _ and -, and 64 of them", c.NodeID)
	case len(c.Servers) == 0:
		return nil, errors.New("zookeeper: no servers given")
	case c.Address == "":
		return nil, errors.New("address: none given")
	}
	n := &Node{cfg: c, log: c.Logger, failed: make(chan error, 1)}
	n.replica = newReplica(&n.board)
	var err error
	if n.folder, err = folder.Open(c.Dir); err != nil {
		return nil, err
	}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.cfg.Secret = n.secret
	return n, nil
}

// ClusterID returns the cluster's random id.
func (n *Node) ClusterID() string { return n.meta.ClusterID }

// NodeID returns this node's name.
func (n *Node) NodeID() string { return n.meta.NodeID }

// ServerID returns this node's identity, NAME@8 hex digits, made when the data folder was.
func (n *Node) ServerID() string { return n.meta.ServerID }

// Secret returns the cluster's secret: the token, as text. It is not to be shown.
func (n *Node) Secret() []byte { return append([]byte(nil), n.secret...) }

// View returns the newest local state and a channel that is closed when there is a newer one.
func (n *Node) View() (cluster.View, <-chan struct{}) { return n.board.View() }

// Close gives the data folder free. Run does so itself; only a Node that was not Run is closed.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used {
		return nil
	}
	n.used = true
	return n.folder.Close()
}

func (n *Node) path(s *session, parts ...string) string { return n.cfg.path(s, parts...) }

// fail keeps the first reason why this node cannot go on. Run ends with it.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Run takes part until ctx ends, then gives the data folder free; it is called once. Each time this node is elected it calls lead,
// with everything of earlier terms applied. lead's ctx ends with the term, and lead is not called again before it has returned. When
// lead returns an error while its term lasts, or this node cannot go on (a command is of a newer version, the ensemble has forgotten
// what it had, this node was removed from the cluster), Run ends with an error.
func (n *Node) Run(ctx context.Context, lead Lead) (err error) {
	n.mu.Lock()
	if n.used {
		n.mu.Unlock()
		return errors.New("zkmode: a Node runs once")
	}
	n.used = true
	n.mu.Unlock()
	defer func() { err = errors.Join(n.removed(err), n.folder.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failing := make(chan struct{})
	defer func() { cancel(nil); <-failing }()
	go func() {
		defer close(failing)
		select {
		case err := <-n.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	wait := backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	for ctx.Err() == nil {
		err := n.session(ctx, lead)
		switch {
		case ctx.Err() != nil:
		case errors.As(err, new(leadError)), errors.Is(err, errForgotten), errors.Is(err, ErrToken), errors.Is(err, cluster.ErrNewerVersion), errors.Is(err, errMalformed):
			return err
		case errors.Is(err, errOver):
			n.log.Warn("the session with zookeeper is over: begin another one")
			wait.Reset()
		default:
			n.log.Warn("zookeeper: try again", "error", n.cfg.explain(err))
			_ = wait.Wait(ctx)
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

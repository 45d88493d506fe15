package raftfsm_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/raftfsm"

	"github.com/hashicorp/go-hclog"
)

// patience is how long anything may take.
const patience = 20 * time.Second

// A group is some nodes and their folders, connected by a network.
type group struct {
	t      *testing.T
	net    *network
	base   string // of the folders
	id     string // of the cluster, once there is one
	dirs   map[string]string
	change func(*raftfsm.Config) // before each New

	mu      sync.Mutex
	running map[string]*member
}

// A member is one node that runs.
type member struct {
	*raftfsm.Node
	stop func() error // ends Run and returns its error
	done chan struct{}
}

func newGroup(t *testing.T) *group {
	g := &group{t: t, net: newNetwork(), base: t.TempDir(), dirs: make(map[string]string), running: make(map[string]*member), change: func(*raftfsm.Config) {}}
	t.Cleanup(g.stopAll)
	return g
}

func (g *group) context() context.Context {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	g.t.Cleanup(cancel)
	return ctx
}

// config is what a node of that name starts with. All but the first node of a group join.
func (g *group) config(name string) raftfsm.Config {
	if g.dirs[name] == "" {
		g.dirs[name] = filepath.Join(g.base, name)
	}
	c := raftfsm.Config{Dir: g.dirs[name], NodeID: name, Stream: g.net.at(g.t, name), Address: name, ClusterID: g.id, Join: g.id != "", Logger: hclog.NewNullLogger()}
	g.change(&c)
	return c
}

// start runs a node.
func (g *group) start(name string) *member {
	g.t.Helper()
	node, err := raftfsm.New(g.config(name))
	if err != nil {
		g.t.Fatal(err)
	}
	g.id = node.ClusterID()
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{Node: node, done: make(chan struct{})}
	var failed error
	go func() {
		defer close(m.done)
		failed = node.Run(ctx, func(ctx context.Context, _ cluster.Term) error {
			<-ctx.Done()
			return nil
		})
	}()
	m.stop = func() error {
		cancel()
		<-m.done
		return failed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[name] = m
	return m
}

// stop ends a node as it is.
func (g *group) stop(name string) {
	g.t.Helper()
	g.mu.Lock()
	m := g.running[name]
	delete(g.running, name)
	g.mu.Unlock()
	if err := m.stop(); err != nil {
		g.t.Errorf("%s: run: %v", name, err)
	}
}

func (g *group) stopAll() {
	for name := range g.members() {
		g.stop(name)
	}
}

func (g *group) members() map[string]*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[string]*member)
	for name, m := range g.running {
		all[name] = m
	}
	return all
}

// until waits until a view of the node is as wanted.
func until(t *testing.T, node *raftfsm.Node, what string, wanted func(cluster.View) bool) cluster.View {
	t.Helper()
	deadline := time.After(patience)
	for {
		v, changed := node.View()
		if wanted(v) {
			return v
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: not so: %s; the view stays %+v", node.NodeID(), what, v)
		}
	}
}

// leader waits until a node that is not left out leads, by its own word and a majority's.
func (g *group) leader(except ...string) (*member, cluster.Term) {
	g.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	ctx := g.context()
	for ctx.Err() == nil {
		for name, m := range g.members() {
			v, _ := m.View()
			if v.Leading && !contains(except, name) && m.Verify(ctx, v.Term) == nil {
				return m, v.Term
			}
		}
		<-tick.C
	}
	g.t.Fatal("no leader")
	return nil, 0
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// led has whoever leads do f, again if that ends meanwhile.
func (g *group) led(f func(m *member, term cluster.Term) error, except ...string) {
	g.t.Helper()
	for {
		m, term := g.leader(except...)
		err := f(m, term)
		if err == nil {
			return
		}
		if !errors.Is(err, cluster.ErrNotLeader) {
			g.t.Fatal(err)
		}
	}
}

// add adds a node that runs, and gives it a vote when it has caught up.
func (g *group) add(name string) {
	g.t.Helper()
	joiner := g.members()[name]
	g.led(func(m *member, term cluster.Term) error {
		err := m.AddNode(g.context(), term, name, cluster.Node{ServerID: joiner.ServerID(), Address: name, Commands: cluster.MaxCommandVersion})
		if err != nil {
			return err
		}
		v, _ := m.View()
		until(g.t, joiner.Node, "caught up", func(own cluster.View) bool { return own.Applied >= v.Applied })
		return m.PromoteNode(g.context(), term, name)
	})
}

// grow starts nodes and adds them one after the other.
func (g *group) grow(names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.start(name)
		g.add(name)
	}
}

func (g *group) propose(cmd cluster.Command, except ...string) {
	g.t.Helper()
	g.led(func(m *member, term cluster.Term) error { return m.Propose(g.context(), term, cmd) }, except...)
}

// equal waits until all that run have the leader's state.
func (g *group) equal() {
	g.t.Helper()
	m, _ := g.leader()
	v, _ := m.View()
	for _, other := range g.members() {
		got := until(g.t, other.Node, "as far as the leader", func(own cluster.View) bool { return own.Applied >= v.Applied })
		if got.Applied == v.Applied && got.State.Hash() != v.State.Hash() {
			g.t.Errorf("%s: state %s at %d, the leader's %s", other.NodeID(), got.State.Hash(), got.Applied, v.State.Hash())
		}
	}
}

// voters lists the names of those with a vote, as the leader has them.
func (g *group) voters() string {
	g.t.Helper()
	m, _ := g.leader()
	var names string
	for _, s := range m.Servers() {
		if s.Voter {
			names += s.Name
		} else {
			names += "(" + s.Name + ")"
		}
	}
	return names
}

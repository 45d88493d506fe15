package raftfsm_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/folder"
	"canalgo/raftfsm"
)

// A leader that is gone, or cut off, is replaced by a node that has everything that was acknowledged.
func TestALeaderIsLost(t *testing.T) {
	g := newGroup(t)
	g.grow("a", "b", "c")
	g.propose(setConfig())
	g.propose(entry(1))

	old, term := g.leader()
	g.net.cut(old.NodeID(), true)
	until(t, old.Node, "it sees that it is cut off", func(v cluster.View) bool { return !v.Leading && v.Leader == "" })
	if err := old.Verify(g.context(), term); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("verified behind the cut: %v", err)
	}
	g.propose(entry(2), old.NodeID())
	_, nextTerm := g.leader(old.NodeID())
	if nextTerm <= term {
		t.Errorf("term %d after term %d", nextTerm, term)
	}
	g.net.cut(old.NodeID(), false)
	until(t, old.Node, "it follows", func(v cluster.View) bool { return len(v.Quarantine) == 2 && v.Leader != "" })
	g.equal()

	next, _ := g.leader()
	g.stop(next.NodeID())
	g.propose(entry(3))
	g.start(next.NodeID())
	until(t, g.members()[next.NodeID()].Node, "it follows", func(v cluster.View) bool { return len(v.Quarantine) == 3 })
	g.equal()
}

// A leader that is heard before anybody watches is shown all the same: no later news of it comes.
func TestALeaderIsHeardBeforeTheWatch(t *testing.T) {
	g := newGroup(t)
	g.grow("a", "b", "c")
	leader, _ := g.leader()
	stop := make(chan struct{})
	defer close(stop)
	for name, m := range g.members() {
		if name == leader.NodeID() {
			continue
		}
		until(t, m.Node, "it follows", func(v cluster.View) bool { return v.Leader == leader.NodeID() })
		m.WatchAgain(stop)
		until(t, m.Node, "it knows the leader", func(v cluster.View) bool { return v.Leader == leader.NodeID() && v.LeaderAddress != "" })
	}
}

func TestAllRestart(t *testing.T) {
	g := newGroup(t)
	g.grow("a", "b", "c")
	g.propose(setConfig())
	g.propose(entry(1))
	g.equal()
	m, before := g.leader()
	v, _ := m.View()
	hash := v.State.Hash()
	ids := map[string]string{}
	for name, m := range g.members() {
		ids[name] = m.ServerID()
	}
	g.stopAll()
	for name, id := range ids {
		m := g.start(name) // with Join, which means nothing any more
		if m.ServerID() != id || m.ClusterID() != g.id || !m.Added() {
			t.Errorf("%s: server id %s, was %s; cluster %s, was %s; added: %v", name, m.ServerID(), id, m.ClusterID(), g.id, m.Added())
		}
	}
	m, term := g.leader()
	if v, _ := m.View(); v.State.Hash() != hash || term <= before {
		t.Errorf("term %d with state %s, before %d with %s", term, v.State.Hash(), before, hash)
	}
	g.equal()
}

// A wiped folder is a new node under the old name, and takes the old one's place.
func TestAWipedFolderJoinsAgain(t *testing.T) {
	g := newGroup(t)
	g.grow("a", "b", "c")
	g.propose(setConfig())
	g.led(func(m *member, term cluster.Term) error { // so that it is not the leader which is wiped
		if m.NodeID() != "c" {
			return nil
		}
		if err := m.Transfer(g.context(), term); err != nil {
			return err
		}
		return cluster.ErrNotLeader
	})
	old := g.members()["c"].ServerID()
	g.stop("c")
	if err := os.RemoveAll(g.dirs["c"]); err != nil {
		t.Fatal(err)
	}
	m := g.start("c")
	if m.ServerID() == old || m.Added() || !strings.HasPrefix(m.ServerID(), "c@") {
		t.Errorf("server id %s, was %s; added: %v", m.ServerID(), old, m.Added())
	}
	g.add("c")
	if got := g.voters(); got != "abc" {
		t.Errorf("voters %s", got)
	}
	leader, _ := g.leader()
	for _, s := range leader.Servers() {
		if s.ID == old {
			t.Errorf("the old one is there: %+v", leader.Servers())
		}
	}
	g.propose(entry(1))
	g.equal()
}

// A node that is added late gets a snapshot in place of the entries that are gone.
func TestALateNodeGetsASnapshot(t *testing.T) {
	g := newGroup(t)
	g.change = func(c *raftfsm.Config) {
		c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 1<<20, time.Hour, 1
	}
	g.grow("a")
	g.propose(setConfig())
	for i := range 20 {
		g.propose(entry(i))
	}
	if err := g.members()["a"].Snapshot(); err != nil {
		t.Fatal(err)
	}
	g.start("b")
	g.add("b")
	snapshots, err := os.ReadDir(g.dirs["b"] + "/snapshots")
	if err != nil || len(snapshots) != 1 {
		t.Errorf("snapshots of the late node: %v, %v", snapshots, err)
	}
	g.propose(entry(99))
	g.equal()
	g.stopAll()
	g.start("a")
	g.start("b") // what was installed can be opened
	g.equal()
}

// A node that was away for longer than the log reaches back gets a snapshot, has no gap in its log behind it, and starts again.
func TestANodeThatWasAwayGetsASnapshot(t *testing.T) {
	g := newGroup(t)
	g.change = func(c *raftfsm.Config) {
		c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 1<<20, time.Hour, 4
	}
	g.grow("a", "b", "c")
	g.propose(setConfig())
	g.equal()
	leader, _ := g.leader()
	away := "a"
	if leader.NodeID() == away {
		away = "b"
	}
	g.stop(away)
	for i := range 20 {
		g.propose(entry(i))
	}
	for name, m := range g.members() {
		if err := m.Snapshot(); err != nil {
			t.Fatalf("snapshot of %s: %v", name, err)
		}
	}
	g.start(away)
	g.equal()
	snapshots, err := os.ReadDir(g.dirs[away] + "/snapshots")
	if err != nil || len(snapshots) != 1 {
		t.Errorf("snapshots of the node that was away: %v, %v", snapshots, err)
	}
	g.propose(entry(99))
	g.equal()
	g.stop(away)
	g.start(away)
	g.equal()
}

// The cluster grows from one to five and shrinks to one while it is used, and nothing that was acknowledged is lost.
func TestGrowAndShrinkUnderProposals(t *testing.T) {
	g := newGroup(t)
	names := []string{"a", "b", "c", "d", "e"}
	g.grow("a")
	g.propose(setConfig())
	stop := make(chan struct{})
	var proposing sync.WaitGroup
	acknowledged := 0
	proposing.Go(func() {
		for ; ; acknowledged++ {
			select {
			case <-stop:
				return
			default:
				g.propose(entry(acknowledged)) // one that may have been applied replaces itself
			}
		}
	})
	for i, name := range names[1:] {
		g.grow(name)
		if got, want := g.voters(), strings.Join(names[:i+2], ""); got != want {
			t.Errorf("voters %s, want %s", got, want)
		}
	}
	g.equal()
	for i, name := range names[:4] {
		m := g.members()[name]
		g.led(func(leader *member, term cluster.Term) error {
			err := leader.RemoveNode(g.context(), term, name)
			if errors.Is(err, cluster.ErrUnknown) {
				return nil // by an earlier attempt
			}
			return err
		})
		g.mu.Lock()
		delete(g.running, name)
		g.mu.Unlock()
		select {
		case <-m.done:
		case <-time.After(patience):
			t.Errorf("%s runs on after its removal", name)
		}
		if err := m.stop(); !errors.Is(err, cluster.ErrRemoved) {
			t.Errorf("%s: run: %v", name, err)
		}
		if _, err := raftfsm.New(g.config(name)); !errors.Is(err, cluster.ErrRemoved) {
			t.Errorf("%s: its folder is taken: %v", name, err)
		}
		if got, want := g.voters(), strings.Join(names[i+1:], ""); got != want {
			t.Errorf("voters %s, want %s", got, want)
		}
	}
	close(stop)
	proposing.Wait()
	m, _ := g.leader()
	if v, _ := m.View(); len(v.Quarantine) < acknowledged || acknowledged < 20 || len(v.Nodes) != 1 {
		t.Errorf("%d entries, %d acknowledged, nodes %+v", len(v.Quarantine), acknowledged, v.Nodes)
	}
}

// A node that leads is not put down by a wiped one that takes its name.
func TestALeadersNameIsTaken(t *testing.T) {
	g := newGroup(t)
	g.grow("a")
	m, term := g.leader()
	err := m.AddNode(g.context(), term, "a", cluster.Node{ServerID: "a@ffffffff", Address: "z"})
	if !errors.Is(err, cluster.ErrRefused) || len(m.Servers()) != 1 {
		t.Errorf("got %v, servers %+v", err, m.Servers())
	}
	if err := m.AddNode(g.context(), term, "b", cluster.Node{ServerID: "c@ffffffff", Address: "z"}); !errors.Is(err, cluster.ErrInvalid) {
		t.Errorf("another name's id: %v", err)
	}
	// Under another address it is the same.
	if err := m.AddNode(g.context(), term, "a", cluster.Node{ServerID: m.ServerID(), Address: "new:1", Commands: cluster.MaxCommandVersion}); err != nil {
		t.Fatal(err)
	}
	if s := m.Servers(); len(s) != 1 || s[0].Address != "new:1" || !s[0].Voter {
		t.Errorf("servers %+v", s)
	}
}

// What a node could not read is not proposed.
func TestProposeForTheOldestNode(t *testing.T) {
	node := open(t, t.TempDir())
	lead(t, node, func(ctx context.Context, term cluster.Term) {
		propose(t, node, ctx, term, setConfig())
		propose(t, node, ctx, term, cluster.SetNode{Name: "old", Node: cluster.Node{ServerID: "old@1", Address: "h:1"}})
		before, _ := node.View()
		err := node.ProposeNeeding(ctx, term, index(1), 2)
		if !errors.Is(err, cluster.ErrTooNew) || !strings.Contains(err.Error(), `"old"`) {
			t.Errorf("got %v, want it to name the old node", err)
		}
		if v, _ := node.View(); v.Applied != before.Applied {
			t.Errorf("applied %d, before %d", v.Applied, before.Applied)
		}
	})
}

func TestSecretsAndClusterIDs(t *testing.T) {
	token := []byte("a token that somebody gave")
	make := func(c raftfsm.Config) (*raftfsm.Node, error) {
		c.NodeID = "a"
		node, err := raftfsm.New(c)
		if err == nil {
			if err := node.Close(); err != nil {
				t.Error(err)
			}
		}
		return node, err
	}
	says := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), string(token)) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	dir := t.TempDir()
	node, err := make(raftfsm.Config{Dir: dir, Secret: token})
	if err != nil || string(node.Secret()) != string(token) || !node.Added() {
		t.Fatalf("secret %q, %v", node.Secret(), err)
	}
	for _, given := range [][]byte{nil, token} {
		if again, err := make(raftfsm.Config{Dir: dir, Secret: given, ClusterID: node.ClusterID(), Join: true}); err != nil || string(again.Secret()) != string(token) || again.ServerID() != node.ServerID() {
			t.Errorf("given %q again: %v", given, err)
		}
	}
	_, err = make(raftfsm.Config{Dir: dir, Secret: []byte("another token than that one")})
	says(err, "another token")
	_, err = make(raftfsm.Config{Dir: dir, ClusterID: "x", Join: true})
	says(err, "belongs to cluster "+node.ClusterID())
	_, err = make(raftfsm.Config{Dir: t.TempDir(), Secret: token[:15]})
	says(err, "15 bytes")
	_, err = make(raftfsm.Config{Dir: t.TempDir(), Secret: []byte(strings.Repeat("x", 257))})
	says(err, "257 bytes")
	_, err = make(raftfsm.Config{Dir: t.TempDir(), Join: true})
	says(err, "cluster id")

	// A folder that nobody added can be given away.
	dir = t.TempDir()
	joiner, err := make(raftfsm.Config{Dir: dir, Join: true, ClusterID: "one"})
	if err != nil || joiner.Added() || joiner.ClusterID() != "one" {
		t.Fatalf("joiner: %v", err)
	}
	for range 2 {
		again, err := make(raftfsm.Config{Dir: dir, Join: true, ClusterID: "two", Secret: token})
		if err != nil || again.ClusterID() != "two" || string(again.Secret()) != string(token) || again.ServerID() != joiner.ServerID() {
			t.Errorf("given to another cluster: %v", err)
		}
	}
	if again, err := make(raftfsm.Config{Dir: dir}); err != nil || again.ClusterID() != "two" || string(again.Secret()) != string(token) || again.Added() {
		t.Errorf("opened without Join: %v", err)
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir() + "/data"
	if found, err := folder.Look(dir); err != nil || !found.IsZero() {
		t.Errorf("before there is a folder: %+v, %v", found, err)
	}
	n := open(t, dir)
	found, err := folder.Look(dir)
	if err != nil || found.ClusterID != n.ClusterID() || found.NodeID != n.NodeID() || found.ServerID != n.ServerID() || string(found.Secret) != string(n.Secret()) {
		t.Errorf("found %+v, %v", found, err)
	}
}

// A node that waits to be added says nothing and leads nothing, and ends when it is told to.
func TestAJoinerWaits(t *testing.T) {
	g := newGroup(t)
	g.id = "elsewhere"
	m := g.start("x")
	if v, _ := m.View(); v.Leading || v.Leader != "" || len(m.Servers()) != 0 {
		t.Errorf("view %+v, servers %+v", v, m.Servers())
	}
}

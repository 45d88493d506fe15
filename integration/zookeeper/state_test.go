//go:build integration

package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"canalgo/cluster"
	"canalgo/integration/component"
	"canalgo/zkmode"
)

// A running is one node that runs.
type running struct {
	terms  <-chan cluster.Term // each that it leads in
	cancel func()
	ended  chan struct{} // closed when Run has returned err
	err    error
}

// stop ends the node and returns what Run did.
func (r *running) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// run runs the i-th node until it is stopped.
func (g *group) run(i int) *running {
	ctx, cancel := context.WithCancel(context.Background())
	led := make(chan cluster.Term, 16)
	r := &running{terms: led, cancel: cancel, ended: make(chan struct{})}
	node := g.nodes[i]
	go func() {
		defer close(r.ended)
		r.err = node.Run(ctx, func(ctx context.Context, term cluster.Term) error {
			led <- term
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	g.t.Cleanup(func() { _ = r.stop() })
	return r
}

// awaitView waits until a node's view is as wanted.
func (g *group) awaitView(i int, what string, is func(cluster.View) bool) cluster.View {
	g.t.Helper()
	deadline := time.After(patience)
	for {
		v, changed := g.nodes[i].View()
		if is(v) {
			return v
		}
		select {
		case <-changed:
		case <-deadline:
			g.t.Fatalf("node %d: no %s; applied %d, term %d, leader %q", i, what, v.Applied, v.Term, v.Leader)
		}
	}
}

func (g *group) names(name string) []string {
	g.t.Helper()
	names, _, err := g.conn.Children(g.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return names
}

// TestLargeAndMany writes a configuration that fits no znode and more commands than are kept: a node that was there, and one that comes
// later, have the leader's state, and what is no longer needed is gone from the ensemble.
func TestLargeAndMany(t *testing.T) {
	g := newGroup(t, 3)
	term := <-g.run(0).terms
	g.run(1)
	propose := func(cmd cluster.Command) {
		t.Helper()
		if err := g.nodes[0].Propose(t.Context(), term, cmd); err != nil {
			t.Fatal(err)
		}
	}
	large := fmt.Appendf(nil, "%q", strings.Repeat("large ", 400_000)) // 2.4 MB
	propose(cluster.SetConfig{Config: cluster.Config{
		Sources:  map[string]cluster.SourceConfig{"shop": {Spec: cluster.Spec{Settings: large}}},
		Sinks:    map[string]cluster.SinkConfig{"es": {Type: "elasticsearch"}},
		Mappings: map[string]cluster.MappingConfig{"orders": {Source: "shop", Sink: "es"}},
	}})
	orders := cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}
	const commands = 1300
	for i := range commands {
		propose(cluster.SetIndex{Duty: orders, UUID: fmt.Sprint(i)})
	}
	leader := g.awaitView(0, "command", func(v cluster.View) bool { return v.Applied >= commands+1 })
	for _, i := range []int{1, 2} {
		if i == 2 {
			g.run(2)
		}
		v := g.awaitView(i, "state of the leader", func(v cluster.View) bool { return v.Applied == leader.Applied })
		if v.State.Hash() != leader.State.Hash() {
			t.Errorf("node %d has another state", i)
		}
	}
	deadline := time.Now().Add(patience)
	for len(g.names("log")) > 700 || len(g.names("parts")) > 6 {
		if time.Now().After(deadline) {
			t.Fatalf("%d commands, %d parts are left", len(g.names("log")), len(g.names("parts")))
		}
		propose(cluster.SetIndex{Duty: orders, UUID: "more"})
	}
	if len(g.names("parts")) < 5 {
		t.Errorf("the snapshot has %d parts", len(g.names("parts")))
	}
}

// TestLostData takes the cluster out of the ensemble: its nodes make no new one, and go on when it is back.
func TestLostData(t *testing.T) {
	g := newGroup(t, 1)
	first := g.run(0)
	term := <-first.terms
	if err := g.nodes[0].Propose(t.Context(), term, cluster.SetConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	data, _, err := g.conn.Get(g.path("cluster"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.conn.Delete(g.path("cluster"), -1); err != nil {
		t.Fatal(err)
	}
	c := g.config(0)
	c.ClusterID = ""
	if g.nodes[0], err = zkmode.New(c); err != nil {
		t.Fatal(err)
	}
	second := g.run(0)
	select {
	case term := <-second.terms:
		t.Errorf("it leads in term %d of a cluster that is not there", term)
	case <-time.After(2 * time.Second):
	}
	if there, _, err := g.conn.Exists(g.path("cluster")); there || err != nil {
		t.Errorf("there is a cluster again: %v", err)
	}
	if _, err := g.conn.Create(g.path("cluster"), data, 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second.terms:
	case <-time.After(patience):
		t.Error("it does not go on")
	}
	if v := g.awaitView(0, "state", func(v cluster.View) bool { return v.Leading }); v.Config.Version != 1 {
		t.Errorf("configuration %d", v.Config.Version)
	}
}

// TestForgottenCommands puts the ensemble back to what it had before: a node that has seen more ends, and says so.
func TestForgottenCommands(t *testing.T) {
	g := newGroup(t, 1)
	first := g.run(0)
	term := <-first.terms
	older, _, err := g.conn.Get(g.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.nodes[0].Propose(t.Context(), term, cluster.SetConfig{}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.conn.Set(g.path("state"), older, -1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.ended:
		if first.err == nil || !strings.Contains(first.err.Error(), "zookeeper has forgotten commands that this node has seen") {
			t.Errorf("it ended with %v", first.err)
		}
	case <-time.After(patience):
		t.Error("it runs on")
	}
}

// TestSessionExpires lets a leader's session end while it is cut off: it stops leading before that, another one leads, and when it is
// connected again it has a session of its own and follows. A short cut changes nothing.
func TestSessionExpires(t *testing.T) {
	g := newGroup(t, 2)
	g.session = 6 * time.Second
	term := <-g.run(0).terms
	second := g.run(1).terms
	g.awaitView(1, "leader", func(v cluster.View) bool { return v.Leader == "node-0" })

	for _, p := range g.proxies[0] {
		p.Break() // the same session is back at once
	}
	if err := g.nodes[0].Propose(t.Context(), term, cluster.SetConfig{}); err != nil {
		t.Fatalf("after a short cut: %v", err)
	}
	if err := g.nodes[0].Verify(t.Context(), term); err != nil {
		t.Fatalf("after a short cut: %v", err)
	}

	g.cut(0, true)
	cut := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.nodes[0].Verify(ctx, term); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("cut off: %v", err)
	}
	g.awaitView(0, "end of the term", func(v cluster.View) bool { return !v.Leading })
	if took := time.Since(cut); took > 3*time.Second {
		t.Errorf("it led on for %s, a third of the session is 1 s", took)
	}
	select {
	case next := <-second:
		if next <= term {
			t.Errorf("term %d after %d", next, term)
		}
	case <-time.After(patience):
		t.Fatal("nobody leads")
	}
	g.cut(0, false)
	g.awaitView(0, "other leader", func(v cluster.View) bool { return v.Leader == "node-1" && v.Config.Version == 1 })
}

// TestLogin has a cluster whose znodes are for one user; canal's are for everybody.
func TestLogin(t *testing.T) {
	g := newGroup(t, 1)
	c := g.config(0)
	c.Chroot, c.User, c.Password, c.Dir = g.chroot+"-login", "canalgo", component.Planted+"login", g.t.TempDir()+"/data"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	if c.ClusterID, err = zkmode.Join(ctx, c); err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.conn.Get(c.Chroot + "/canalgo/state"); !errors.Is(err, zk.ErrNoAuth) {
		t.Errorf("anybody reads the state: %v", err)
	}
	for name, change := range map[string]func(*zkmode.Config){
		"no user":          func(c *zkmode.Config) { c.User, c.Password = "", "" },
		"another password": func(c *zkmode.Config) { c.Password = "another" },
	} {
		other := c
		change(&other)
		if _, err := zkmode.Join(ctx, other); err == nil || !strings.Contains(err.Error(), "coordination.user") || strings.Contains(err.Error(), component.Planted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.chroot += "-login"
	if g.nodes[0], err = zkmode.New(c); err != nil {
		t.Fatal(err)
	}
	term := <-g.run(0).terms
	if err := g.nodes[0].Propose(ctx, term, cluster.SetConfig{Config: cluster.Config{Sources: map[string]cluster.SourceConfig{"shop": {}}}}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		if there, _, err := g.conn.Exists(g.chroot + "/otter/canal/destinations/shop/cluster/host-0:11111"); there && err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the node is not registered: %v", err)
		}
	}
}

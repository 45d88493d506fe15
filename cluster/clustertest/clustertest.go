// Package clustertest holds what every coordinator must do, as tests.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/cluster"
)

// A Coordinator is what package node needs; see there, and at raftfsm.Node, for what its methods promise.
type Coordinator interface {
	Run(ctx context.Context, lead func(ctx context.Context, term cluster.Term) error) error
	View() (cluster.View, <-chan struct{})
	Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error
	Verify(ctx context.Context, term cluster.Term) error

	AddNode(ctx context.Context, term cluster.Term, name string, node cluster.Node) error
	PromoteNode(ctx context.Context, term cluster.Term, name string) error
	RemoveNode(ctx context.Context, term cluster.Term, name string) error
	Transfer(ctx context.Context, term cluster.Term) error
	Servers() []cluster.Server
}

// A Cluster is the coordinators of some nodes, none of which runs yet. All have a vote.
type Cluster struct {
	Nodes []Coordinator
	// EndTerm ends the present term. Some running node is elected thereafter, perhaps the same.
	EndTerm func() error
}

// patience is how long anything may take.
const patience = 20 * time.Second

// Run tests the clusters that open makes, a new one for each test.
func Run(t *testing.T, open func(t *testing.T) Cluster) {
	tests := []struct {
		name string
		test func(t *testing.T, c Cluster)
	}{
		{"elects a leader", testElects},
		{"replicates", testReplicates},
		{"refuses and keeps the state", testRefuses},
		{"refuses other terms", testOtherTerms},
		{"lead ends with its term", testLeadEnds},
		{"an error of lead ends Run", testLeadError},
		{"followers see the leader", testFollowers},
		{"leadership is handed over", testTransfer},
		{"nodes are added and removed", testNodes},
		{"a leader is removed by the next one", testRemoveLeader},
		{"views never go back", testViews},
		{"proposals end with their context", testContext},
		{"stops at once when its context is over", testStopped},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.test(t, open(t))
			noGoroutines(t)
		})
	}
}

// noGoroutines fails the test when goroutines of coordinators stay.
func noGoroutines(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		var left []string
		for i, g := range strings.Split(string(stacks), "\n\n") {
			ours := strings.Contains(g, "canalgo/") || strings.Contains(g, "hashicorp/raft")
			if i > 0 && ours && !strings.Contains(g, "testing.tRunner") && !strings.Contains(g, "testing.(*T).Run") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("goroutines that stayed:\n%s", strings.Join(left, "\n\n"))
		}
	}
}

// A led is one call of lead, which returns when done is closed.
type led struct {
	node Coordinator
	ctx  context.Context
	term cluster.Term
	done chan struct{}
}

// A session is a cluster that runs.
type session struct {
	t       *testing.T
	calls   chan led
	removed chan Coordinator // whose Run ended because they were removed
	stop    func()           // ends all nodes and waits
}

func start(t *testing.T, c Cluster) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{}) // a test that failed does not let lead return; nor one whose node is elected at the very end
	s := &session{t: t, calls: make(chan led, 16), removed: make(chan Coordinator, len(c.Nodes))}
	var running sync.WaitGroup
	for _, node := range c.Nodes {
		running.Go(func() {
			err := node.Run(ctx, func(ctx context.Context, term cluster.Term) error {
				call := led{node: node, ctx: ctx, term: term, done: make(chan struct{})}
				s.calls <- call
				select {
				case <-call.done:
				case <-over:
				}
				return nil
			})
			if errors.Is(err, cluster.ErrRemoved) {
				s.removed <- node
				return
			}
			if err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	s.stop = sync.OnceFunc(func() { cancel(); close(over); running.Wait() })
	t.Cleanup(s.stop)
	return s
}

// next waits for the next call of lead.
func (s *session) next() led {
	s.t.Helper()
	select {
	case call := <-s.calls:
		return call
	case <-time.After(patience):
		s.t.Fatal("no leader")
		return led{}
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func config() cluster.Config {
	return cluster.Config{
		Sources:  map[string]cluster.SourceConfig{"shop": {}},
		Sinks:    map[string]cluster.SinkConfig{"es": {Type: "elasticsearch"}},
		Mappings: map[string]cluster.MappingConfig{"orders": {Source: "shop", Sink: "es"}},
	}
}

var orders = cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}

func index(n int) cluster.Command {
	return cluster.SetIndex{Duty: orders, UUID: fmt.Sprintf("index-%d", n)}
}

func propose(t *testing.T, l led, cmd cluster.Command) {
	t.Helper()
	if err := l.node.Propose(within(t), l.term, cmd); err != nil {
		t.Fatalf("propose %+v: %v", cmd, err)
	}
}

func viewOf(c Coordinator) cluster.View {
	v, _ := c.View()
	return v
}

func testElects(t *testing.T, c Cluster) {
	for _, node := range c.Nodes {
		if v := viewOf(node); v.Leading || v.Leader != "" {
			t.Errorf("before Run: %q leads, this node: %v", v.Leader, v.Leading)
		}
	}
	s := start(t, c)
	l := s.next()
	v := viewOf(l.node)
	if !v.Leading || v.Leader == "" || v.Term != l.term || l.term == 0 {
		t.Errorf("as leader of term %d: view shows leading %v, leader %q, term %d", l.term, v.Leading, v.Leader, v.Term)
	}
	if err := l.node.Verify(within(t), l.term); err != nil {
		t.Errorf("verify: %v", err)
	}
	close(l.done)
	s.stop()
	if len(s.calls) > 0 {
		t.Errorf("lead was called again: %+v", <-s.calls)
	}
	if v := viewOf(l.node); v.Leading {
		t.Error("after Run: leads")
	}
}

func testReplicates(t *testing.T, c Cluster) {
	s := start(t, c)
	l := s.next()
	before, changed := l.node.View()
	propose(t, l, cluster.SetConfig{Config: config()})
	select {
	case <-changed:
	default:
		t.Error("the channel of the older view is open")
	}
	propose(t, l, index(1))
	v := viewOf(l.node)
	if v.Config.Version != 1 || v.Duties[orders].Index != "index-1" {
		t.Errorf("read back configuration %d, index %q", v.Config.Version, v.Duties[orders].Index)
	}
	if v.Applied <= before.Applied {
		t.Errorf("applied %d, before %d", v.Applied, before.Applied)
	}
	if len(before.Duties) != 0 || before.Config.Version != 0 {
		t.Errorf("the older view changed: %+v", before)
	}
	for _, node := range c.Nodes {
		await(t, node, func(v cluster.View) bool { return v.Duties[orders].Index == "index-1" })
		if got, want := viewOf(node).State.Hash(), v.State.Hash(); got != want {
			t.Errorf("state %s, the leader's %s", got, want)
		}
	}
	close(l.done)
	s.stop()
}

// await waits until the node's view is as wanted.
func await(t *testing.T, node Coordinator, wanted func(cluster.View) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		v, changed := node.View()
		if wanted(v) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the view stays %+v", v)
		}
	}
}

func testRefuses(t *testing.T, c Cluster) {
	s := start(t, c)
	l := s.next()
	propose(t, l, cluster.SetConfig{Config: config()})
	before := viewOf(l.node).State.Hash()
	for _, test := range []struct {
		cmd  cluster.Command
		want error
	}{
		{cluster.SetConfig{Config: config()}, cluster.ErrStale},
		{cluster.SetPaused{What: "sink/none", Paused: true}, cluster.ErrUnknown},
		{cluster.SetIndex{}, cluster.ErrInvalid},
	} {
		err := l.node.Propose(within(t), l.term, test.cmd)
		if !errors.Is(err, test.want) || !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%+v: got %v, want %v", test.cmd, err, test.want)
		}
	}
	if got := viewOf(l.node).State.Hash(); got != before {
		t.Errorf("a refused command changed the state: %s, before %s", got, before)
	}
	close(l.done)
	s.stop()
}

func testOtherTerms(t *testing.T, c Cluster) {
	s := start(t, c)
	l := s.next()
	propose(t, l, cluster.SetConfig{Config: config()})
	refused := func(node Coordinator, term cluster.Term) {
		t.Helper()
		if err := node.Propose(within(t), term, index(9)); !errors.Is(err, cluster.ErrNotLeader) {
			t.Errorf("propose in term %d: %v", term, err)
		}
		if err := node.Verify(within(t), term); !errors.Is(err, cluster.ErrNotLeader) {
			t.Errorf("verify term %d: %v", term, err)
		}
	}
	refused(l.node, l.term-1)
	refused(l.node, l.term+1)
	for _, node := range c.Nodes {
		if node != l.node {
			refused(node, l.term)
		}
	}
	if got := viewOf(l.node).Duties[orders].Index; got != "" {
		t.Errorf("a command of another term was applied: index %q", got)
	}
	close(l.done)
	s.stop()
	refused(l.node, l.term)
}

func testLeadEnds(t *testing.T, c Cluster) {
	s := start(t, c)
	first := s.next()
	propose(t, first, cluster.SetConfig{Config: config()})
	if err := c.EndTerm(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.ctx.Done():
	case <-time.After(patience):
		t.Fatal("lead's context outlives its term")
	}
	if err := first.node.Propose(within(t), first.term, index(1)); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("propose in a term that is over: %v", err)
	}
	second := led{}
	select {
	case second = <-s.calls:
		if second.node == first.node {
			t.Fatal("lead was called before it had returned")
		}
	case <-time.After(300 * time.Millisecond): // enough for the same node to be elected again
	}
	close(first.done)
	if second.node == nil {
		second = s.next()
	}
	if second.term <= first.term {
		t.Errorf("term %d after term %d", second.term, first.term)
	}
	if v := viewOf(second.node); v.Config.Version != 1 {
		t.Errorf("the new leader began with configuration %d, want 1", v.Config.Version)
	}
	if err := second.node.Propose(within(t), first.term, index(1)); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("propose in the former term: %v", err)
	}
	propose(t, second, index(2))
	close(second.done)
	s.stop()
}

func testLeadError(t *testing.T, c Cluster) {
	broken := errors.New("broken")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, len(c.Nodes))
	var running sync.WaitGroup
	for _, node := range c.Nodes {
		running.Go(func() { ended <- node.Run(ctx, func(context.Context, cluster.Term) error { return broken }) })
	}
	if err := <-ended; !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	cancel()
	running.Wait()
}

func testFollowers(t *testing.T, c Cluster) {
	s := start(t, c)
	for term := range 3 {
		l := s.next()
		leader := viewOf(l.node)
		if leader.Leader == "" || leader.LeaderAddress == "" {
			t.Errorf("the leader says that %q at %q leads", leader.Leader, leader.LeaderAddress)
		}
		for _, node := range c.Nodes {
			await(t, node, func(v cluster.View) bool {
				return v.Leader == leader.Leader && v.LeaderAddress == leader.LeaderAddress && v.Term == l.term && v.Leading == (node == l.node)
			})
		}
		if term < 2 {
			if err := c.EndTerm(); err != nil {
				t.Fatal(err)
			}
		}
		close(l.done)
	}
	s.stop()
	for _, node := range c.Nodes {
		if v := viewOf(node); v.Leader != "" || v.LeaderAddress != "" || v.Leading {
			t.Errorf("after Run: %q at %q leads, this node: %v", v.Leader, v.LeaderAddress, v.Leading)
		}
	}
}

func testTransfer(t *testing.T, c Cluster) {
	s := start(t, c)
	first := s.next()
	propose(t, first, cluster.SetConfig{Config: config()})
	if err := first.node.Transfer(within(t), first.term+1); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("in another term: %v", err)
	}
	err := once(t, c, func() error { return first.node.Transfer(within(t), first.term) })
	if len(c.Nodes) == 1 {
		if !errors.Is(err, cluster.ErrAlone) {
			t.Errorf("to nobody: %v", err)
		}
		propose(t, first, index(1))
		close(first.done)
		s.stop()
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if v := viewOf(first.node); v.Leading && v.Term == first.term {
		t.Error("leads after it has handed over")
	}
	select {
	case <-first.ctx.Done():
	case <-time.After(patience):
		t.Fatal("lead's context outlives its term")
	}
	close(first.done)
	second := s.next()
	if second.node == first.node || second.term <= first.term {
		t.Errorf("term %d of the same node: %v; after term %d", second.term, second.node == first.node, first.term)
	}
	if v := viewOf(second.node); v.Config.Version != 1 {
		t.Errorf("the new leader began with configuration %d, want 1", v.Config.Version)
	}
	propose(t, second, index(2))
	if err := first.node.Transfer(within(t), first.term); !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("in a term that is over: %v", err)
	}
	close(second.done)
	s.stop()
}

// once does f once there is somebody who could lead in this node's place, if there ever will be.
func once(t *testing.T, c Cluster, f func() error) error {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); ; <-tick.C {
		err := f()
		if len(c.Nodes) == 1 || !errors.Is(err, cluster.ErrAlone) || ctx.Err() != nil {
			return err
		}
	}
}

// find returns the server of that name.
func find(servers []cluster.Server, name string) (cluster.Server, bool) {
	for _, s := range servers {
		if s.Name == name {
			return s, true
		}
	}
	return cluster.Server{}, false
}

func testNodes(t *testing.T, c Cluster) {
	s := start(t, c)
	l := s.next()
	voters := 0
	for _, server := range l.node.Servers() {
		if server.Voter && server.Name != "" && server.ID != "" && server.Address != "" {
			voters++
		}
	}
	if voters != len(c.Nodes) {
		t.Errorf("servers %+v, want %d voters", l.node.Servers(), len(c.Nodes))
	}
	// x does not run: without a vote it holds up nobody.
	for _, want := range []cluster.Node{
		{ServerID: "x@00000001", Address: "x:1", Commands: cluster.MaxCommandVersion},
		{ServerID: "x@00000001", Address: "x:2", HTTP: "x:80", Commands: cluster.MaxCommandVersion},
		{ServerID: "x@00000002", Address: "x:2", Commands: cluster.MaxCommandVersion}, // wiped
	} {
		for range 2 { // the second one finds everything done
			if err := l.node.AddNode(within(t), l.term, "x", want); err != nil {
				t.Fatalf("add %+v: %v", want, err)
			}
		}
		for _, node := range c.Nodes {
			await(t, node, func(v cluster.View) bool { return v.Nodes["x"] == want })
		}
		if got, _ := find(l.node.Servers(), "x"); got != (cluster.Server{Name: "x", ID: want.ServerID, Address: want.Address}) || len(l.node.Servers()) != voters+1 {
			t.Errorf("servers %+v, want %+v and %d voters", l.node.Servers(), want, voters)
		}
	}
	before := viewOf(l.node).State.Hash()
	for name, err := range map[string]error{
		"bad name":      l.node.AddNode(within(t), l.term, "x y", cluster.Node{ServerID: "x y@1", Address: "y:1"}),
		"no address":    l.node.AddNode(within(t), l.term, "x", cluster.Node{ServerID: "x@00000003"}),
		"taken address": l.node.AddNode(within(t), l.term, "y", cluster.Node{ServerID: "y@1", Address: "x:2"}),
		"promoted":      l.node.PromoteNode(within(t), l.term, "y"),
		"removed":       l.node.RemoveNode(within(t), l.term, "y"),
	} {
		if !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"add":     l.node.AddNode(within(t), l.term+1, "y", cluster.Node{ServerID: "y@1", Address: "y:1"}),
		"promote": l.node.PromoteNode(within(t), l.term+1, "x"),
		"remove":  l.node.RemoveNode(within(t), l.term+1, "x"),
	} {
		if !errors.Is(err, cluster.ErrNotLeader) {
			t.Errorf("%s in another term: %v", name, err)
		}
	}
	if got := viewOf(l.node).State.Hash(); got != before || len(l.node.Servers()) != voters+1 {
		t.Errorf("what was refused changed the state to %s, before %s; servers %+v", got, before, l.node.Servers())
	}
	if err := l.node.RemoveNode(within(t), l.term, "x"); err != nil {
		t.Fatal(err)
	}
	for _, node := range c.Nodes {
		await(t, node, func(v cluster.View) bool { _, ok := v.Nodes["x"]; return !ok })
	}
	if _, ok := find(l.node.Servers(), "x"); ok {
		t.Errorf("servers %+v after the removal", l.node.Servers())
	}
	if err := l.node.RemoveNode(within(t), l.term, "x"); !errors.Is(err, cluster.ErrUnknown) {
		t.Errorf("removed twice: %v", err)
	}
	close(l.done)
	s.stop()
}

func testRemoveLeader(t *testing.T, c Cluster) {
	s := start(t, c)
	first := s.next()
	for _, server := range first.node.Servers() {
		if err := first.node.AddNode(within(t), first.term, server.Name, cluster.Node{ServerID: server.ID, Address: server.Address, Commands: cluster.MaxCommandVersion}); err != nil {
			t.Fatalf("add %+v: %v", server, err)
		}
		if now, _ := find(first.node.Servers(), server.Name); now != server {
			t.Errorf("%+v became %+v", server, now)
		}
	}
	name := viewOf(first.node).Leader
	err := once(t, c, func() error { return first.node.RemoveNode(within(t), first.term, name) })
	if len(c.Nodes) == 1 {
		if !errors.Is(err, cluster.ErrAlone) {
			t.Errorf("the only node: %v", err)
		}
		propose(t, first, cluster.SetConfig{Config: config()})
		close(first.done)
		s.stop()
		return
	}
	if !errors.Is(err, cluster.ErrNotLeader) {
		t.Errorf("the leader by itself: %v", err)
	}
	close(first.done)
	second := s.next()
	if second.node == first.node {
		t.Fatal("it leads again")
	}
	if err := second.node.RemoveNode(within(t), second.term, name); err != nil {
		t.Fatal(err)
	}
	select {
	case node := <-s.removed:
		if node != first.node {
			t.Error("another node says that it was removed")
		}
	case <-time.After(patience):
		t.Error("the removed node runs on")
	}
	propose(t, second, cluster.SetConfig{Config: config()})
	if _, ok := find(second.node.Servers(), name); ok || len(second.node.Servers()) != len(c.Nodes)-1 {
		t.Errorf("servers %+v", second.node.Servers())
	}
	close(second.done)
	s.stop()
}

func testViews(t *testing.T, c Cluster) {
	s := start(t, c)
	stop := make(chan struct{})
	var watching sync.WaitGroup
	for _, node := range c.Nodes {
		watching.Go(func() {
			last, changed := node.View()
			for {
				select {
				case <-changed:
				case <-stop:
					return
				}
				var v cluster.View
				v, changed = node.View()
				if v.Applied < last.Applied || v.Term < last.Term || v.Config.Version < last.Config.Version {
					t.Errorf("view went back from index %d, term %d to index %d, term %d", last.Applied, last.Term, v.Applied, v.Term)
				}
				last = v
			}
		})
	}
	const terms, commands = 3, 20
	for term := range terms {
		l := s.next()
		if term == 0 {
			propose(t, l, cluster.SetConfig{Config: config()})
		}
		for i := range commands {
			propose(t, l, index(i))
		}
		if term < terms-1 {
			if err := c.EndTerm(); err != nil {
				t.Fatal(err)
			}
		}
		close(l.done)
	}
	s.stop()
	close(stop)
	watching.Wait()
}

func testContext(t *testing.T, c Cluster) {
	s := start(t, c)
	l := s.next()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.node.Propose(ctx, l.term, cluster.SetConfig{Config: config()}); !errors.Is(err, context.Canceled) {
		t.Errorf("propose: %v", err)
	}
	if err := l.node.Verify(ctx, l.term); !errors.Is(err, context.Canceled) {
		t.Errorf("verify: %v", err)
	}
	close(l.done)
	s.stop()
}

func testStopped(t *testing.T, c Cluster) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, node := range c.Nodes {
		if err := node.Run(ctx, func(ctx context.Context, _ cluster.Term) error { return ctx.Err() }); err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

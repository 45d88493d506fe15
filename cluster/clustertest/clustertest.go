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
	// Cut cuts a node off from the others, or connects it again; nil where there is nothing to cut.
	Cut func(node int, cut bool)
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
		{"assignments and positions are linearizable", testLinear},
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
			// The servers and proxies of a test with a real ensemble outlast the coordinators.
			ours := strings.Contains(strings.ReplaceAll(g, "canalgo/integration/", ""), "canalgo/") || strings.Contains(g, "hashicorp/raft")
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

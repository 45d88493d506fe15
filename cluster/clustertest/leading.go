package clustertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"canalgo/cluster"
)

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

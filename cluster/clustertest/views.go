package clustertest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"canalgo/cluster"
)

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

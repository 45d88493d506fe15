package clustertest

import (
	"errors"
	"testing"
	"time"

	"canalgo/cluster"
)

// find returns the server of that name.
func find(servers []cluster.Server, name string) (cluster.Server, bool) {
	for _, s := range servers {
		if s.Name == name {
			return s, true
		}
	}
	return cluster.Server{}, false
}

// awaitVoters waits until a node knows that many servers, all of which vote.
func awaitVoters(t *testing.T, node Coordinator, count int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		servers := node.Servers()
		voters := 0
		for _, server := range servers {
			if server.Voter && server.Name != "" && server.ID != "" && server.Address != "" {
				voters++
			}
		}
		if voters == count && len(servers) == count {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("servers %+v, want %d voters", servers, count)
		}
	}
}

func testNodes(t *testing.T, c Cluster) {
	s := start(t, c)
	l := s.next()
	voters := len(c.Nodes)
	awaitVoters(t, l.node, voters)
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
	awaitVoters(t, first.node, len(c.Nodes))
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

package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/event"
	"canalgo/node"
	"canalgo/status"
)

func TestNodeFollowsAndGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		w.commit("before")
		_, stop := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("a", "", "b")
		eventually(t, "a and b", has(w, "a", "b"))
		if _, ok := w.document("before"); ok {
			t.Error("what was there before \"current\" was written")
		}
		stop()
		v, _ := members.Member(0).View()
		if got := v.Duties[stream].Position.Offset; got != 4 {
			t.Errorf("saved position %d after a clean stop, want 4", got)
		}
		w.commit("c")
		w.mu.Lock()
		w.docs = map[string]event.Version{}
		w.mu.Unlock()
		start(t, w, members, "")
		eventually(t, "c", has(w, "c"))
		if _, ok := w.document("a"); ok {
			t.Error("a was written again after a clean stop")
		}
	})
}

func TestIdleTableMovesThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		n, _ := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("", "", "")
		eventually(t, "position moves", func() bool { return n.View().Duties[stream].Position.Offset == 3 })
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		for _, what := range []string{"mapping/user", "sink/es", "source/shop"} {
			if err := n.SetPaused(t.Context(), what, true); err != nil {
				t.Fatal(err)
			}
			eventually(t, "paused", func() bool { d, _ := n.Report(t.Context()).Duty("shop/user"); return d.Stage == status.Paused })
			w.commit(what)
			time.Sleep(10 * time.Second)
			if _, ok := w.document(what); ok {
				t.Errorf("%s is paused, and written", what)
			}
			if err := n.SetPaused(t.Context(), what, false); err != nil {
				t.Fatal(err)
			}
			eventually(t, what+" goes on", has(w, what))
		}
		if err := n.SetPaused(t.Context(), "sink/nothing", true); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestInitialLoadWritesRowsAndSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows["a"], w.rows["b"] = "", ""
		w.docs["orphan"] = 1
		w.index = "adopted"
		n, _ := start(t, w, memory.New("n1"), "initial")
		eventually(t, "load done", func() bool { d, _ := n.Report(t.Context()).Duty("shop/user#load"); return d.Stage == status.Done })
		if !has(w, "a", "b")() || has(w, "orphan")() {
			t.Errorf("documents: %v", w.docs)
		}
	})
}

func TestRefusedDocumentIsSetAsideAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "bad"
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("bad", "good")
		eventually(t, "good", has(w, "good"))
		eventually(t, "bad set aside", func() bool { return len(n.Quarantine()) == 1 })
		q := n.Quarantine()[0]
		if q.Document != "bad" || q.Reason != "strict" || q.Table != "shop.user" || len(q.Key) != 1 || q.Position.IsZero() {
			t.Errorf("set aside: %+v", q)
		}
		w.mu.Lock()
		w.refuse = ""
		w.rows["bad"] = ""
		w.mu.Unlock()
		if done, err := n.RetryQuarantine(t.Context(), []uint64{q.ID}); done != 1 || err != nil {
			t.Fatalf("retried %d, %v", done, err)
		}
		if !has(w, "bad")() || len(n.Quarantine()) != 0 {
			t.Errorf("documents %v, set aside %v", w.docs, n.Quarantine())
		}
	})
}

func TestLostPositionNeedsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.mu.Lock()
		w.broken = errLost
		w.mu.Unlock()
		w.commit("missed")
		eventually(t, "needs load", func() bool {
			d, _ := n.Report(t.Context()).Duty("shop/user")
			return d.Stage == status.NeedsLoad && strings.Contains(d.LastError, "purged")
		})
		if r := n.Report(t.Context()); !r.Stuck() || r.Healthy {
			t.Errorf("the report says stuck: %t, healthy: %t; want stuck and not healthy", r.Stuck(), r.Healthy)
		}
		w.mu.Lock()
		w.broken = nil
		w.rows["missed"] = ""
		w.mu.Unlock()
		if _, err := n.StartLoad(t.Context(), "shop", "user", ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "loaded", has(w, "missed"))
		w.commit("later")
		eventually(t, "streams again", has(w, "later"))
	})
}

func TestStuckSinkDoesNotHoldUpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.second = newWorld()
		release := make(chan struct{})
		w.second.blocked = release
		c := seed("")
		c.Sinks["second"] = c.Sinks["es"]
		m := c.Mappings["user"]
		m.Sink = "second"
		c.Mappings["copy"] = m
		n, _ := startWith(t, w, memory.New("n1"), c)
		eventually(t, "both stream", func() bool {
			a, _ := n.Report(t.Context()).Duty("shop/user")
			b, _ := n.Report(t.Context()).Duty("shop/copy")
			return a.Stage == status.Idle && b.Stage == status.Idle
		})
		var all []string
		for i := range 1000 { // more than the log holds
			all = append(all, fmt.Sprint(i))
		}
		w.commit(all...)
		eventually(t, "the first sink has all", has(w, all...))
		if _, ok := w.second.document("999"); ok {
			t.Fatal("the second sink is not stuck")
		}
		w.commit("later")
		eventually(t, "the first sink goes on", has(w, "later"))
		close(release)
		eventually(t, "the second sink has all", has(w.second, append(all, "later")...))
		w.commit("last")
		eventually(t, "both go on", func() bool { return has(w, "last")() && has(w.second, "last")() })
		eventually(t, "no catch-up is left", func() bool { return n.Report(t.Context()).Sources[0].CatchUps == nil })
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.starts) < 2 {
			t.Error("the stuck duty did not get a stream of its own")
		}
	})
}

func TestMissingIndexNeedsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "index made", func() bool { return n.View().Duties[stream].Index == "x" })
		w.mu.Lock()
		w.index = "other"
		w.mu.Unlock()
		eventually(t, "needs load", func() bool { d, _ := n.Report(t.Context()).Duty("shop/user"); return d.Stage == status.NeedsLoad })
	})
}

func TestSlowWriteIsFinishedBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		_, stop := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		release := make(chan struct{})
		w.mu.Lock()
		w.blocked = release
		w.mu.Unlock()
		w.commit("slow")
		time.Sleep(time.Second)
		go func() {
			time.Sleep(time.Second)
			close(release)
		}()
		stop()
		v, _ := members.Member(0).View()
		if !has(w, "slow")() || v.Duties[stream].Position.Offset != 1 {
			t.Errorf("documents %v, position %d: the write in flight was not finished and saved", w.docs, v.Duties[stream].Position.Offset)
		}
	})
}

func TestRebalance(t *testing.T) {
	duty := func(n int, at string) (cluster.DutyID, cluster.Duty) {
		return cluster.DutyID{Source: "s", Mapping: fmt.Sprintf("m%02d", n), Kind: cluster.Stream}, cluster.Duty{Assignment: cluster.Assignment{Node: at, Epoch: 1, ConfigVersion: 1}}
	}
	duties := map[cluster.DutyID]cluster.Duty{}
	for n := range 12 {
		id, d := duty(n, "")
		duties[id] = d
	}
	nodes := []string{"a", "b", "c"}
	able := func(string, cluster.DutyID) bool { return false }
	first := node.Rebalance(duties, nodes, nodes, 1, able)
	count := map[string]int{}
	for id, a := range first {
		count[a.Node]++
		duties[id] = cluster.Duty{Assignment: a}
	}
	if count["a"] != 4 || count["b"] != 4 || count["c"] != 4 {
		t.Errorf("spread %v, want 4 each", count)
	}
	if again := node.Rebalance(duties, nodes, nodes, 1, able); len(again) != 0 {
		t.Errorf("moved without a reason: %v", again)
	}
	if kept := node.Rebalance(duties, append(nodes, "d"), nodes, 1, able); len(kept) != 0 {
		t.Errorf("moved to a node that takes nothing: %v", kept)
	}
	left := []string{"a", "c"}
	moved := node.Rebalance(duties, left, left, 1, able)
	if len(moved) != 4 {
		t.Errorf("%d duties moved when b left, want its 4", len(moved))
	}
	for id, a := range moved {
		if duties[id].Assignment.Node != "b" || a.Epoch != duties[id].Assignment.Epoch+1 {
			t.Errorf("%s moved from %s to %+v", id, duties[id].Assignment.Node, a)
		}
	}
}

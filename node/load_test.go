package node_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/node"
	"canalgo/status"
)

// stage reports whether a duty is at a stage.
func stage(t *testing.T, n *node.Node, duty string, want status.Stage) func() bool {
	return func() bool {
		d, _ := n.Report(t.Context()).Duty(duty)
		return d.Stage == want
	}
}

// A load whose source gets a new epoch while it cannot read a row has nothing of the old one to save, by which it would hear of that.
func TestALoadBeginsAgainInANewEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows["a"] = ""
		w.noRows = errNoRoute
		n, _ := start(t, w, memory.New("n1"), "initial")
		eventually(t, "the load works", stage(t, n, "shop/user#load", status.Working))
		if _, err := n.Rewind(t.Context(), "shop", "current"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		w.set(func() { w.noRows = nil })
		eventually(t, "the load is done", stage(t, n, "shop/user#load", status.Done))
		if !has(w, "a")() {
			t.Error("nothing is loaded")
		}
	})
}

func TestPauseStopsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.second = newWorld()
		w.rows["a"] = ""
		w.selects = make(chan struct{})
		c := seed("initial")
		c.Sinks["second"] = c.Sinks["es"]
		m := c.Mappings["user"]
		m.Sink, m.Load = "second", ""
		c.Mappings["copy"] = m // has the source read on
		n, _ := startWith(t, w, memory.New("n1"), c)
		eventually(t, "the load works", stage(t, n, "shop/user#load", status.Working))
		if err := n.SetPaused(t.Context(), "mapping/user", true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the load is paused", stage(t, n, "shop/user#load", status.Paused))
		close(w.selects)
		time.Sleep(time.Minute)
		if has(w, "a")() {
			t.Error("written while the mapping is paused")
		}
		if err := n.SetPaused(t.Context(), "mapping/user", false); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the load is done", stage(t, n, "shop/user#load", status.Done))
		if !has(w, "a")() {
			t.Error("nothing is loaded")
		}
	})
}

// A source that was stopped is read again from its present end only when every mapping of it will be loaded, whichever destination is away.
func TestLoadOfAStoppedSourceIsOneOfAllMappings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.second = newWorld()
		c := seed("")
		c.Sinks["second"] = c.Sinks["es"]
		m := c.Mappings["user"]
		m.Sink = "second"
		c.Mappings["copy"] = m
		n, _ := startWith(t, w, memory.New("n1"), c)
		eventually(t, "both stream", func() bool {
			return stage(t, n, "shop/user", status.Idle)() && stage(t, n, "shop/copy", status.Idle)()
		})
		w.set(func() { w.broken = errLost })
		w.commit("missed")
		eventually(t, "a stopped source", stage(t, n, "shop/user", status.NeedsLoad))
		w.second.set(func() { w.second.noIndex = errNoRoute })
		w.set(func() { w.broken, w.rows["missed"] = nil, "" })
		loads, err := n.StartLoad(t.Context(), "shop", "user", "")
		if err != nil || len(loads) != 2 {
			t.Errorf("loads %v, %v", loads, err)
		}
		eventually(t, "the one that can be loaded", has(w, "missed"))
		w.second.set(func() { w.second.noIndex = nil })
		eventually(t, "the other one", has(w.second, "missed"))
	})
}

func TestLoadOfASourceThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.noSource = errors.New("unknown key")
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "a stopped source", func() bool {
			r := n.Report(t.Context())
			return len(r.Sources) == 1 && r.Sources[0].State == status.SourceStopped
		})
		if _, err := n.StartLoad(t.Context(), "shop", "user", ""); err == nil || !strings.Contains(err.Error(), "unknown key") {
			t.Errorf("got %v, want the reason", err)
		}
	})
}

// What was handed out of one server's log is written, acknowledged or not. A server that lacks it is not followed.
func TestAnotherServerMustHaveWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gtids = true
		w.commit("before")
		w.executed = 1
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "the stream", stage(t, n, "shop/user", status.Idle))
		w.set(func() { w.blocked = make(chan struct{}) })
		w.commit("unconfirmed")
		eventually(t, "it is read", func() bool {
			r := n.Report(t.Context())
			return len(r.Sources) == 1 && strings.HasSuffix(r.Sources[0].Newest, ":2")
		})
		w.set(func() { w.uuid, w.broken = "server-2", errNoRoute })
		w.commit("x")
		eventually(t, "the source has lost its server", func() bool { return n.Report(t.Context()).Sources[0].State != status.SourceStreaming })
		w.set(func() { w.broken = nil })
		eventually(t, "a stop by name", func() bool {
			s := n.Report(t.Context()).Sources[0]
			return s.State == status.SourceStopped && strings.Contains(s.LastError, "1 transactions of 2 are missing")
		})
		if got := n.View().Sources["shop"].ServerUUID; got != "server-1" {
			t.Errorf("follows %s", got)
		}
		w.set(func() { w.executed = 3 })
		eventually(t, "it has caught up", func() bool { return n.View().Sources["shop"].ServerUUID == "server-2" })
	})
}

// What was emptied of one source says nothing of another one that the mapping follows later: its epochs may be lower.
func TestSweepKnowsWhichSourceWasEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "the stream", stage(t, n, "shop/user", status.Idle))
		for range 3 { // its epoch rises
			if _, err := n.Rewind(t.Context(), "shop", "current"); err != nil {
				t.Fatal(err)
			}
		}
		w.commit("a", truncate)
		eventually(t, "the stream has emptied the index", func() bool { return n.View().Duties[stream].Position.Offset == 2 })
		c := n.View().Config
		c.Sources = map[string]cluster.SourceConfig{"market": c.Sources["shop"]}
		m := c.Mappings["user"]
		m.Source, m.Load = "market", "initial"
		c.Mappings = map[string]cluster.MappingConfig{"user": m}
		w.set(func() { w.rows["b"] = "" })
		if err := n.SetConfig(t.Context(), c.Version, c); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the load is done", stage(t, n, "market/user#load", status.Done))
		if !has(w, "b")() {
			t.Errorf("the load has deleted what it had written: %v", w.docs)
		}
	})
}

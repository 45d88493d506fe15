package node_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/node"
	"canalgo/status"
)

// several returns a configuration of that many mappings of one source, each with a sink of its own name.
func several(count int) cluster.Config {
	c := seed("")
	m := c.Mappings["user"]
	delete(c.Mappings, "user")
	for i := range count {
		c.Mappings[fmt.Sprintf("m%02d", i)] = m
	}
	return c
}

// held returns how many streams each node does.
func held(n *node.Node) map[string]int {
	out := make(map[string]int)
	for id, d := range n.View().Duties {
		if id.Kind == cluster.Stream && d.Assignment.Node != "" {
			out[d.Assignment.Node]++
		}
	}
	return out
}

// even reports whether that many nodes do all streams, none more than one more than another.
func even(n *node.Node, nodes, streams int) bool {
	sum, counts := 0, held(n)
	for _, c := range counts {
		sum += c
		if c < streams/nodes || c > (streams+nodes-1)/nodes {
			return false
		}
	}
	return len(counts) == nodes && sum == streams
}

// working reports whether every stream has a worker on the node that it is assigned to, with nothing left to do.
func working(t *testing.T, n *node.Node) bool {
	duties := n.Report(t.Context()).Duties
	for _, d := range duties {
		if d.Stage != status.Idle {
			return false
		}
	}
	return len(duties) > 0
}

func TestDutiesAreSpreadAndStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3", "n4")
		nodes, _ := trio(t, w, net, members, 3, several(12))
		eventually(t, "twelve streams on three nodes, working", func() bool { return even(nodes[0], 3, 12) && working(t, nodes[1]) })
		w.commit("a", "b")
		eventually(t, "the rows", has(w, "a", "b"))
		before := nodes[0].View().Duties
		time.Sleep(time.Minute)
		for id, d := range nodes[0].View().Duties {
			if d.Assignment != before[id].Assignment {
				t.Errorf("%s moved from %+v to %+v without a reason", id, before[id].Assignment, d.Assignment)
			}
		}
		net.start(t, w, members.Member(3), "n4", several(12))
		eventually(t, "three streams on each of four nodes", func() bool { return even(nodes[0], 4, 12) })
		for id, d := range nodes[0].View().Duties {
			if d.Assignment != before[id].Assignment && d.Assignment.Node != "n4" {
				t.Errorf("%s moved from %+v to %+v: only what the new node gets is to move", id, before[id].Assignment, d.Assignment)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.writes) != 24 { // twelve mappings write the same two documents
			t.Errorf("%d writes, want each of 24 once", len(w.writes))
		}
	})
}

// TestAFileThatDiffersIsTold: once, by the node whose file it is, whoever leads.
func TestAFileThatDiffersIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		net.files = map[string][]string{"n2": {"source.more: added"}}
		var mu sync.Mutex
		var told []string
		net.logs = func(line string) {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(line, "the file differs") {
				told = append(told, line)
			}
		}
		nodes, _ := trio(t, w, net, members, 3, seed(""))
		lines := func() int { mu.Lock(); defer mu.Unlock(); return len(told) }
		eventually(t, "the stream works, and n2 has said it", func() bool { return working(t, nodes[0]) && lines() == 1 })
		members.MoveLeader(1)
		eventually(t, "n2 leads, and all work", func() bool { return nodes[0].View().Leader == "n2" && working(t, nodes[1]) })
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 1 || !strings.Contains(told[0], "n2") || !strings.Contains(told[0], "canalgo apply") || !strings.Contains(told[0], "source.more: added") {
			t.Errorf("told %q, want the one line of n2", told)
		}
	})
}

// TestALoadIsWithdrawnBeforeItMoves: nobody knows when a load begins its last write but the node that does it.
func TestALoadIsWithdrawnBeforeItMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3", "n4")
		w.rows["a"] = ""
		nodes, _ := trio(t, w, net, members, 3, several(4))
		eventually(t, "four streams on three nodes, working", func() bool { return even(nodes[0], 3, 4) && working(t, nodes[1]) })
		released := make(chan struct{})
		w.set(func() { w.selects = released })
		for name := range nodes[0].View().Config.Mappings {
			if _, err := nodes[0].StartLoad(t.Context(), "shop", name, ""); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "four loads that read", func() bool {
			reading := 0
			for _, d := range nodes[1].Report(t.Context()).Duties {
				if d.Kind == "load" && d.Stage == status.Working {
					reading++
				}
			}
			return reading == 4
		})
		before := nodes[0].View().Duties
		net.start(t, w, members.Member(3), "n4", several(4))
		eventually(t, "one stream on each of four nodes", func() bool { return even(nodes[0], 4, 4) })
		close(released)
		eventually(t, "all loads are done where their streams are", func() bool {
			for id, d := range nodes[0].View().Duties {
				stream := cluster.DutyID{Source: id.Source, Mapping: id.Mapping, Kind: cluster.Stream}
				if d.Load != nil && d.Load.Phase != cluster.LoadDone || d.Assignment.Node != nodes[0].View().Duties[stream].Assignment.Node {
					return false
				}
			}
			return true
		})
		moved := 0
		for id, d := range nodes[0].View().Duties {
			switch was := before[id].Assignment; {
			case d.Assignment == was:
			case id.Kind == cluster.Load && d.Assignment.Epoch != was.Epoch+2: // it is withdrawn, then given
				t.Errorf("%s: assigned %+v after %+v", id, d.Assignment, was)
			case id.Kind == cluster.Load:
				moved++
			}
		}
		if moved != 1 {
			t.Errorf("%d loads moved, want 1", moved)
		}
	})
}

func TestDutyOfACutNodeMovesAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		nodes, _ := trio(t, w, net, members, 3, seed(""))
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) && len(held(nodes[0])) == 1 })
		holder := nodes[0].View().Duties[stream].Assignment.Node
		// The holder leads, too: both are gone at once.
		for i, n := range []string{"n1", "n2", "n3"} {
			if n == holder {
				members.MoveLeader(i)
			}
		}
		eventually(t, "the holder leads", func() bool { return nodes[0].View().Leader == holder && working(t, nodes[0]) })
		w.commit("before")
		eventually(t, "the row before", has(w, "before"))

		cut := time.Now()
		net.setCut(holder, true)
		other := 0
		if holder == "n1" {
			other = 1
		}
		members.MoveLeader(other)
		for range 100 {
			w.commit(fmt.Sprint(time.Since(cut).Milliseconds()))
			time.Sleep(30 * time.Millisecond)
		}
		eventually(t, "the last row", func() bool { w.mu.Lock(); last := w.log[len(w.log)-1]; w.mu.Unlock(); return has(w, last)() })
		w.mu.Lock()
		defer w.mu.Unlock()
		var first time.Duration
		for _, x := range w.writes {
			since := x.at.Sub(cut)
			if x.node == holder && since > 1500*time.Millisecond {
				t.Errorf("%s wrote %s %s after it was cut off", holder, x.id, since)
			}
			if x.node != holder && first == 0 {
				first = since
			}
		}
		if first < time.Second || first > 3*time.Second { // it renewed 500 ms before the cut at most, and has 1.5 s from there
			t.Errorf("another node wrote first after %s", first)
		}
	})
}

// TestNewLeaderGivesNothingToTheUnheard has a node cut off when another begins to lead, for which all leases count as renewed: it
// gives the one that it has not heard nothing to do.
func TestNewLeaderGivesNothingToTheUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		nodes, _ := trio(t, w, net, members, 3, several(3))
		eventually(t, "one stream on each node", func() bool { return even(nodes[0], 3, 3) && working(t, nodes[0]) })
		var others []int // than the leader
		for i := range nodes {
			if name := fmt.Sprintf("n%d", i+1); nodes[0].View().Leader != name {
				others = append(others, i)
			}
		}
		next, cut := others[0], fmt.Sprintf("n%d", others[1]+1)
		net.setCut(cut, true)
		eventually(t, "nothing on the one that is cut off", func() bool { return even(nodes[0], 2, 3) })
		members.MoveLeader(next)
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			if n := held(nodes[next])[cut]; n > 0 {
				t.Fatalf("%d streams were given to a node that nobody hears", n)
			}
		}
		net.setCut(cut, false)
		eventually(t, "one stream on each node again", func() bool { return even(nodes[0], 3, 3) })
	})
}

func TestRollingRestartRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		c := seed("")
		nodes, stops := trio(t, w, net, members, 3, c)
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) })
		done := make(chan struct{})
		written := 0
		go func() {
			defer close(done)
			for written = range 2000 {
				w.commit(fmt.Sprint(written))
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for i := range nodes {
			time.Sleep(2 * time.Second)
			stops[i]()
			time.Sleep(time.Second)
			nodes[i], _ = net.start(t, w, members.Member(i), fmt.Sprintf("n%d", i+1), c)
		}
		<-done
		eventually(t, "every row", func() bool {
			for i := range 2000 {
				if !has(w, fmt.Sprint(i))() {
					return false
				}
			}
			return true
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.repeats > 0 {
			t.Errorf("%d writes were repeated", w.repeats)
		}
	})
}

// unreached sets which nodes do not reach something.
func (w *world) unreached(what *map[string]bool, nodes ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*what = map[string]bool{}
	for _, n := range nodes {
		(*what)[n] = true
	}
	close(w.grown) // who waits for rows looks again
	w.grown = make(chan struct{})
}

func TestDutyMovesToANodeThatReachesItsDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		nodes, _ := trio(t, w, net, members, 3, seed(""))
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) })
		before := nodes[0].View().Duties[stream].Assignment
		w.unreached(&w.cut, "n1", "n2", "n3")
		w.commit("a")
		time.Sleep(time.Minute)
		if now := nodes[0].View().Duties[stream].Assignment; now != before {
			t.Errorf("moved from %+v to %+v although no node reaches the destination", before, now)
		}
		w.unreached(&w.cut, before.Node)
		eventually(t, "another node writes", has(w, "a"))
		if now := nodes[0].View().Duties[stream].Assignment; now.Node == before.Node || now.Epoch != before.Epoch+2 { // it is withdrawn, then given
			t.Errorf("assigned %+v after %+v", now, before)
		}
	})
}

func TestLeadershipMovesToANodeThatReachesTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		nodes, _ := trio(t, w, net, members, 3, seed(""))
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) })
		leader := nodes[0].View().Leader
		w.unreached(&w.apart, leader)
		w.commit("a")
		eventually(t, "the row", has(w, "a"))
		if now := nodes[0].View().Leader; now == leader {
			t.Error("the leader that does not reach the source still leads")
		}
	})
}

func TestStandingStillSinkOfOneNodeMovesTheDuty(t *testing.T) {
	able := func(string, cluster.DutyID) bool { return false }
	duties := map[cluster.DutyID]cluster.Duty{stream: {Assignment: cluster.Assignment{Node: "a", Epoch: 1, ConfigVersion: 1}}}
	nodes := []string{"a", "b"}
	if moved := node.Rebalance(duties, nodes, nodes, 1, able); len(moved) > 0 {
		t.Errorf("moved without a reason: %v", moved)
	}
	cannot := func(name string, _ cluster.DutyID) bool { return name == "a" }
	if moved := node.Rebalance(duties, nodes, nodes, 1, cannot); moved[stream].Node != "b" {
		t.Errorf("stays where its destination does not answer: %v", moved)
	}
	if moved := node.Rebalance(duties, []string{"b", "c"}, []string{"b"}, 1, able); moved[stream].Node != "b" {
		t.Errorf("given to a node that was not heard: %v", moved)
	}
	none := func(string, cluster.DutyID) bool { return true }
	if moved := node.Rebalance(duties, nodes, nodes, 1, none); len(moved) > 0 {
		t.Errorf("moved to a node that cannot either: %v", moved)
	}
}

// TestWhoDoesWhatIsNotItsOwnGetsNoLease: a node whose duty was given to another one, and which has not heard of it, begins no write.
func TestWhoDoesWhatIsNotItsOwnGetsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2")
		nodes, _ := trio(t, w, net, members, 2, seed(""))
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) })
		v := nodes[0].View()
		holder := v.Duties[stream].Assignment.Node
		for name, known := range v.Nodes {
			err := node.Call(t.Context(), peers{net, name}, v.Leader, "/session",
				map[string]any{"name": name, "server_id": known.ServerID, "stages": map[string]status.Stage{stream.String(): status.Working}}, &struct{}{})
			if own := name == holder; own != (err == nil) || !own && !strings.Contains(err.Error(), "not its own any more") {
				t.Errorf("%s renews while %s has the duty: %v", name, holder, err)
			}
		}
	})
}

// TestALeaseCountsFromItsRequest has answers of the leader take a second: nobody knows when on the way it said so.
func TestALeaseCountsFromItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2")
		var mu sync.Mutex
		asked := make(map[string]time.Time) // by the node's name
		net.calls = func(from string, r *http.Request) {
			if r.URL.Path == "/session" {
				mu.Lock()
				asked[from] = time.Now()
				mu.Unlock()
				time.Sleep(time.Second)
			}
		}
		nodes, _ := trio(t, w, net, members, 2, seed(""))
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) })
		var longest float64
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			for _, n := range nodes {
				report := n.Report(t.Context())
				for _, one := range report.Nodes {
					mu.Lock()
					at, ok := asked[one.Name]
					mu.Unlock()
					if !ok || one.Name == report.Leader {
						continue
					}
					left := 1.5 - time.Since(at).Seconds()
					if one.LeaseSeconds > left+0.001 {
						t.Fatalf("%s has a lease for %.2f s, its last request was answered %.2f s ago", one.Name, one.LeaseSeconds, time.Since(at).Seconds())
					}
					longest = max(longest, one.LeaseSeconds)
				}
			}
		}
		if longest == 0 {
			t.Error("nobody had a lease")
		}
	})
}

// A leaderless coordinator is one of a cluster that has lost its leader.
type leaderless struct{ *memory.Member }

func (l leaderless) View() (cluster.View, <-chan struct{}) {
	v, changed := l.Member.View()
	v.Leader, v.LeaderAddress, v.Leading = "", "", false
	return v, changed
}

// Who votes is known without a leader, too; how many may fail is not.
func TestVotersWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := newNetwork().start(t, newWorld(), leaderless{memory.New("n1").Member(0)}, "n1", seed(""))
		eventually(t, "a member", func() bool { return len(n.Report(t.Context()).Nodes) == 1 })
		if r := n.Report(t.Context()); !r.Nodes[0].Votes || r.Tolerates != nil {
			t.Errorf("nodes %+v, tolerates %v", r.Nodes, r.Tolerates)
		}
	})
}

// TestANodeThatCannotBeReachedIsNotTakenIn asks the leader to take in nodes whose address is wrong: each refusal names the flag.
func TestANodeThatCannotBeReachedIsNotTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, net, members := newWorld(), newNetwork(), memory.New("n1", "n2")
		nodes, _ := trio(t, w, net, members, 2, seed(""))
		eventually(t, "the stream works", func() bool { return working(t, nodes[0]) })
		time.Sleep(time.Second) // both nodes have renewed their leases at whoever leads
		leader := nodes[0].View().Leader
		other := "n1"
		if leader == "n1" {
			other = "n2"
		}
		for address, want := range map[string]string{
			"127.0.0.1:8112": "which is only itself for other hosts",
			"nowhere":        "the leader does not reach it there",
			other:            "node " + other + " answers there",
		} {
			err := node.Call(t.Context(), peers{net, "n9"}, leader, "/join",
				map[string]any{"name": "n9", "node": cluster.Node{ServerID: "n9@1", Address: address, Commands: 1}}, &struct{}{})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "-advertise") {
				t.Errorf("reached at %s: %v", address, err)
			}
		}
		err := node.Call(t.Context(), peers{net, other}, leader, "/join",
			map[string]any{"name": other, "node": cluster.Node{ServerID: other + "@2", Address: other, Commands: 1}}, &struct{}{})
		if err == nil || !strings.Contains(err.Error(), "another node "+other+" is at work") {
			t.Errorf("a second node of the same name: %v", err)
		}
		if len(nodes[0].View().Nodes) != 2 {
			t.Errorf("members: %v", nodes[0].View().Nodes)
		}
	})
}

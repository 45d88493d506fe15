//go:build integration

package integration_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
)

// TestClusterKills ends nodes by kill -9 in the middle of work, ten times: the leader, the node that writes, both at once, all
// at once, each in turn; half of them with a bulk under way, which arrives late or whose answer is lost.
func TestClusterKills(t *testing.T) {
	clusterKills(newTrio(t, "ckills", oracle.WorkloadConfig{Truncates: true, Pace: 20 * time.Millisecond}, 1))
}

func clusterKills(c *trio) {
	t := c.t
	random := rand.New(rand.NewPCG(*seed, 101))
	both := func() []*harness.Node {
		leader, holder := c.leader(), c.holder()
		if leader == holder {
			holder = c.neither(leader)
		}
		return []*harness.Node{leader, holder}
	}
	number := func(i int) func() []*harness.Node {
		return func() []*harness.Node { return c.cluster.Nodes[i : i+1] }
	}
	leader := func() []*harness.Node { return []*harness.Node{c.leader()} }
	holder := func() []*harness.Node { return []*harness.Node{c.holder()} }
	kills := []struct {
		who  string
		pick func() []*harness.Node
		hold func() *proxy.Hold
	}{
		{"the leader", leader, c.proxy.HoldBefore},
		{"the holder", holder, c.proxy.HoldBefore},
		{"the holder", holder, c.proxy.HoldAfter},
		{"leader and holder", both, nil},
		{"all", func() []*harness.Node { return c.cluster.Nodes }, c.proxy.HoldAfter},
		{"the first", number(0), nil},
		{"the second", number(1), nil},
		{"the third", number(2), nil},
		{"leader and holder", both, c.proxy.HoldBefore},
		{"the leader", leader, nil},
	}
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)
	inFlight, killed := 0, 0
	for round := range often(1, 3) * len(kills) {
		kill := kills[round%len(kills)]
		c.progress(1 + random.IntN(500))
		nodes := kill.pick()
		var hold *proxy.Hold
		if kill.hold != nil {
			hold = kill.hold()
			c.caught(hold)
			inFlight++
		}
		names := ""
		for _, n := range nodes {
			names += " " + n.Name
			killed++
			c.must(n.Kill())
		}
		began := time.Now()
		if hold != nil && random.IntN(2) == 0 {
			hold.Release() // while nobody is there
		}
		if len(nodes) == 1 { // the others go on
			c.progress(1 + random.IntN(300))
			t.Logf("%s (%s) was killed; the others went on after %s", kill.who, names, time.Since(began).Round(time.Millisecond))
		}
		c.startAgain(nodes...)
		c.progress(1 + random.IntN(300))
		t.Logf("%s (%s) was killed; all is well after %s", kill.who, names, time.Since(began).Round(time.Millisecond))
		if hold != nil {
			hold.Release() // among what the next one writes
		}
	}
	stop()
	c.allEqual()
	judge()
	play(t, "%d kills of %d nodes, %d with a bulk in flight, %d items repeated, all equal", often(1, 3)*len(kills), killed, inFlight, c.proxy.Stats().Repeats)
	if stats := c.proxy.Stats(); inFlight < 3 || stats.Repeats == 0 {
		t.Errorf("%d kills with a bulk in flight, %d repeats: this run shows nothing", inFlight, stats.Repeats)
	}
}

// TestClusterPauses stops the clock of the leader and of the node that writes, for as long as a lease lasts and longer. What
// was under way arrives while another has gone on.
func TestClusterPauses(t *testing.T) {
	clusterPauses(newTrio(t, "pauses", oracle.WorkloadConfig{Truncates: true, Pace: 20 * time.Millisecond}, 1))
}

func clusterPauses(c *trio) {
	t := c.t
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)
	pauses := []struct {
		pick func() *harness.Node
		time time.Duration
		hold func() *proxy.Hold
	}{
		{c.leader, 300 * time.Millisecond, nil},
		{c.holder, 5 * time.Second, c.proxy.HoldBefore},
		{c.leader, 3 * time.Second, nil},
		{c.holder, 1600 * time.Millisecond, c.proxy.HoldAfter},
		{c.leader, 5 * time.Second, c.proxy.HoldBefore},
	}
	for round := range often(1, 4) * len(pauses) {
		pause := pauses[round%len(pauses)]
		if round >= 3*len(pauses) { // up to 30 s
			pause.time *= 6
		}
		c.progress(500)
		n := pause.pick()
		var hold *proxy.Hold
		if pause.hold != nil {
			hold = pause.hold()
			c.caught(hold)
		}
		c.must(n.Pause())
		c.last("the pause", pause.time)
		c.must(n.Continue())
		if hold != nil {
			hold.Release()
		}
		c.progress(500)
		c.whole()
	}
	stop()
	c.allEqual()
	judge()
	play(t, "%d pauses of leader and holder of 0.3 to %s, all equal", often(1, 4)*len(pauses), time.Duration(often(5, 30))*time.Second)
}

// TestPausedWriteIsLate pauses the node that writes until another has written the same document, and lets it go on: neither
// what it had sent nor what it had not sent yet makes the document older.
func TestPausedWriteIsLate(t *testing.T) {
	c := newTrio(t, "plate", oracle.WorkloadConfig{}, 1)
	c.begin()
	c.must(c.work.Fill(t.Context(), 10))
	c.quiet()
	hold := c.proxy.HoldBefore()
	c.must(c.db.Exec("UPDATE plate.acc SET ver = ver + 1, note = 'late' WHERE id = 7"))
	c.caught(hold)
	n := c.holder()
	c.must(n.Pause())
	c.must(c.db.Exec("UPDATE plate.acc SET ver = ver + 1, note = 'newest' WHERE id = 7"))
	c.document("7", func(doc component.Document, _ bool) bool { return strings.Contains(string(doc.Source), "newest") })
	hold.Release()
	c.must(n.Continue())
	c.whole()
	c.allEqual()
}

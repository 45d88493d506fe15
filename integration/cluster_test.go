//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// A trio is a rig with a cluster, of three nodes at first.
type trio struct {
	*rig
	cluster *harness.Cluster
	indices []string // beside the rig's own, of further mappings of the same table
}

// newTrio makes a cluster between the shared servers, with some mappings of the workload's table, each to an index of its own.
func newTrio(t *testing.T, name string, options oracle.WorkloadConfig, mappings int) *trio {
	t.Helper()
	c := &trio{rig: newServers(t, name, options, "127.0.0.1:0")}
	sections := c.sections("")
	for i := 2; i <= mappings; i++ {
		index := fmt.Sprintf("%s_%d", name, i)
		c.indices = append(c.indices, index)
		sections += c.mapping(index, "", c.work.SQL())
	}
	var err error
	c.cluster, err = harness.NewCluster(filepath.Join(t.TempDir(), "canalgo"), 3, sections)
	c.must(err)
	c.watchOver()
	return c
}

// watchOver makes the cluster the rig's system, and ends it with the test.
func (c *trio) watchOver() {
	c.on = c.cluster
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("the end of the nodes' logs:\n%s", c.cluster.LogTail(60))
		}
		c.must(c.cluster.Kill())
		for _, index := range c.indices {
			c.must(c.es.DeleteIndex(context.Background(), index))
		}
	})
}

// begin starts all nodes and waits until they are a cluster that follows the source.
func (c *trio) begin() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c.must(c.cluster.Start(ctx))
	c.awaitReport("the stream", following)
}

// whole waits until every node is a member, votes and works.
func (c *trio) whole() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c.must(c.cluster.WaitWhole(ctx))
}

// startAgain starts nodes that had ended and waits until the cluster is whole.
func (c *trio) startAgain(nodes ...*harness.Node) {
	c.t.Helper()
	for _, n := range nodes {
		c.must(n.Start())
	}
	c.whole()
}

func (c *trio) leader() *harness.Node {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	n, err := c.cluster.Leader(ctx)
	c.must(err)
	return n
}

// holder is the node that does the duty of the rig's own mapping.
func (c *trio) holder() *harness.Node {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	n, err := c.cluster.Holder(ctx, "shop/"+c.name)
	c.must(err)
	return n
}

// neither is a node that is none of those.
func (c *trio) neither(nodes ...*harness.Node) *harness.Node {
	c.t.Helper()
	for _, n := range c.cluster.Nodes {
		taken := false
		for _, other := range nodes {
			taken = taken || n == other
		}
		if !taken {
			return n
		}
	}
	c.t.Fatal("there is no other node")
	return nil
}

// at runs a command at a node, which must end with the code.
func (c *trio) at(n *harness.Node, code int, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	out, err := n.Command(ctx, args...)
	c.must(err)
	if out.Code != code {
		c.t.Fatalf("canalgo %s at %s ended with %d, want %d:\n%s%s", strings.Join(args, " "), n.Name, out.Code, code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// last waits until a time is over that is itself what is tested.
func (r *rig) last(what string, d time.Duration) {
	r.t.Helper()
	end := time.Now().Add(d)
	r.await(what, func() error {
		if left := time.Until(end); left > 0 {
			return fmt.Errorf("it lasts %s more", left)
		}
		return nil
	})
}

// allEqual wants every index equal to the table, and no document that ever went back.
func (c *trio) allEqual() {
	c.t.Helper()
	c.equal()
	for _, index := range c.indices {
		result, err := oracle.Pair{SQL: c.work.SQL(), Index: index}.Compare(context.Background(), c.db, c.es)
		c.must(err)
		if err := result.Err(); err != nil {
			c.t.Errorf("%s: %v", index, err)
		}
	}
	if n := c.proxy.Stats().Regressions; n > 0 {
		c.t.Errorf("%d times a document had a lower version than before", n)
	}
	c.sameState()
	for _, n := range c.cluster.Nodes {
		if n.PID() != 0 {
			c.must(n.Leaks(context.Background()))
		}
	}
}

// sameState wants the same state on all nodes.
func (c *trio) sameState() {
	c.t.Helper()
	c.awaitReport("the same state everywhere", func(r status.Report) bool { return harness.SameState(r, len(c.cluster.Nodes)) })
}

// stopInOrder ends a node as an operator does, which must take 5 s at most and lose nothing.
func (c *trio) stopInOrder(n *harness.Node) time.Duration {
	c.t.Helper()
	began := time.Now()
	c.must(n.Stop())
	took := time.Since(began)
	if took > 5*time.Second || n.ExitCode() != 0 {
		c.t.Errorf("%s stopped after %s with %d; the end of its log:\n%s", n.Name, took, n.ExitCode(), n.LogTail(20))
	}
	return took
}

// TestRollingRestart stops every node in turn and starts it again, twice, under load: nothing is written twice. Only where a node was so slow
// that a move went on without its release, which is after 2 s, repeats are right; each is refused by its version.
func TestRollingRestart(t *testing.T) {
	c := newTrio(t, "rolling", oracle.WorkloadConfig{Truncates: true, Pace: 20 * time.Millisecond}, 2)
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)
	var longest time.Duration
	notOlder := func() {
		t.Helper()
		if longest < 2*time.Second {
			c.notOlder()
		}
	}
	for range often(2, 10) {
		for _, n := range c.cluster.Nodes {
			c.progress(500)
			longest = max(longest, c.stopInOrder(n))
			c.progress(200)
			c.startAgain(n)
			notOlder()
		}
	}
	stop()
	c.allEqual()
	judge()
	notOlder()
	if longest >= 2*time.Second {
		t.Logf("a stop took %s: %d items were written again", longest, c.proxy.Stats().Repeats)
	} else if stats := c.proxy.Stats(); stats.Repeats > 0 || stats.Conflicts > 0 {
		t.Errorf("%d items were written again or refused as older", stats.Repeats)
	}
	play(t, "%d rolling restarts of three nodes, %d items repeated, the longest stop took %s", often(2, 10), c.proxy.Stats().Repeats, longest.Round(time.Millisecond))
}

// notOlder wants no duty to have met a document at its version or a newer one.
func (c *trio) notOlder() {
	c.t.Helper()
	report, err := c.cluster.Status(context.Background())
	c.must(err)
	for _, d := range report.Duties {
		if d.Counters.Older > 0 {
			c.t.Errorf("%s on %s: %d documents were there already", d.ID, d.Node, d.Counters.Older)
		}
	}
}

// TestMembersComeAndGo takes nodes in and out under load, five times, in every way: the new one leaves, the new one dies and
// is removed, the leader leaves. Then one loses its folder and joins again under its name.
func TestMembersComeAndGo(t *testing.T) {
	c := newTrio(t, "members", oracle.WorkloadConfig{Truncates: true, Pace: 40 * time.Millisecond}, 4)
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)
	rounds := often(5, 20)
	for round := range rounds {
		added, err := c.cluster.Add()
		c.must(err)
		c.startAgain(added)
		c.awaitReport("a duty of the new node", func(r status.Report) bool {
			for _, d := range r.Duties {
				if d.Node == added.Name && d.Stage != status.Waiting {
					return true
				}
			}
			return false
		})
		c.progress(500)
		gone := added
		if round%5 == 4 {
			gone = c.leader()
		}
		if round%2 == 0 || gone != added {
			c.at(gone, 0, "leave")
			c.ended(gone)
		} else {
			c.must(gone.Kill())
			c.at(c.neither(gone), 0, "remove", gone.Name)
		}
		c.cluster.Forget(gone)
		c.whole()
		c.progress(200)
	}
	c.lose(c.neither(c.cluster.Nodes[0]))
	stop()
	c.allEqual()
	judge()
	play(t, "%d nodes added and removed under load, one wiped and joined again, all equal", rounds)
}

// ended waits until a node has ended by itself, in good order, and not later than 5 s.
func (c *trio) ended(n *harness.Node) {
	c.t.Helper()
	select {
	case <-n.Ended():
		if n.ExitCode() != 0 {
			c.t.Errorf("%s ended with %d:\n%s", n.Name, n.ExitCode(), n.LogTail(20))
		}
	case <-time.After(5 * time.Second):
		c.t.Errorf("%s has not ended 5 s after it was told to leave:\n%s", n.Name, n.LogTail(20))
	}
	_ = n.Kill() // it says that it had ended by itself
}

// lose kills a node, removes its folder and starts it again: it is another member under the same name.
func (c *trio) lose(n *harness.Node) {
	c.t.Helper()
	c.must(n.Kill())
	c.must(n.Wipe())
	c.progress(200)
	c.startAgain(n)
	c.progress(200)
}

// TestSameFile starts three nodes with one file that names all of them: there is one cluster, whoever makes it.
func TestSameFile(t *testing.T) {
	for _, test := range []struct {
		name       string
		bootstraps []int // the nodes that are started with -bootstrap
	}{{"one", []int{1}}, {"two", []int{0, 2}}, {"all", []int{0, 1, 2}}} {
		t.Run(test.name, func(t *testing.T) {
			c := &trio{rig: newServers(t, "same_"+test.name, oracle.WorkloadConfig{}, "127.0.0.1:0")}
			var err error
			c.cluster, err = harness.NewSame(t.TempDir(), 3, c.sections(""))
			c.must(err)
			c.watchOver()
			for _, i := range test.bootstraps {
				c.cluster.Nodes[i].Extra = []string{"-bootstrap"}
			}
			if len(test.bootstraps) == 1 { // the others wait, and say so
				for i, n := range c.cluster.Nodes {
					if i != test.bootstraps[0] {
						c.must(n.Start())
						c.await("a node that waits", func() error {
							if !strings.Contains(n.LogTail(5), "waiting for a cluster to join") {
								return errors.New(n.LogTail(5))
							}
							return nil
						})
					}
				}
				c.must(c.cluster.Nodes[test.bootstraps[0]].Start())
			} else {
				for _, n := range c.cluster.Nodes {
					c.must(n.Start())
				}
			}
			c.whole()
			c.oneCluster()
			c.must(c.work.Fill(t.Context(), 100))
			c.allEqual()

			c.must(c.cluster.Kill()) // and it stays one, with -bootstrap or without
			for _, n := range c.cluster.Nodes {
				c.must(n.Start())
			}
			c.whole()
			c.oneCluster()
		})
	}
}

// oneCluster wants all nodes to name the same cluster.
func (c *trio) oneCluster() {
	c.t.Helper()
	ids := make(map[string]bool)
	for _, n := range c.cluster.Nodes {
		report, err := n.Status(context.Background())
		c.must(err)
		ids[report.ClusterID] = true
	}
	if len(ids) != 1 {
		c.t.Errorf("there are %d clusters: %v", len(ids), ids)
	}
}

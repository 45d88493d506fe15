//go:build integration

package integration_test

import (
	"strings"
	"testing"
	"time"

	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestLostQuorum loses the folders of two nodes of three for good, under load. The third goes on alone as an operator makes it, the
// others join anew with empty folders, and nothing is missing. Nobody samples: what was written after the saved positions is written once
// more in the new epoch, so a document may show an earlier state for a moment.
func TestLostQuorum(t *testing.T) {
	c := newTrio(t, "lostquorum", oracle.WorkloadConfig{Pace: 10 * time.Millisecond}, 2)
	c.begin()
	stop := c.run(c.work.Run)
	c.progress(300)
	left, gone := c.cluster.Nodes[0], c.cluster.Nodes[1:]
	c.must(c.cluster.Kill())
	for _, n := range gone {
		c.must(n.Wipe())
	}
	before := c.at(left, 2, "recover", "-data", left.Data())
	if !strings.Contains(before, "this folder's") || !strings.Contains(before, "position of shop/lostquorum: ") {
		t.Errorf("recover says:\n%s", before)
	}
	c.at(left, 0, "recover", "-data", left.Data(), "-yes")

	c.must(left.Start())
	c.awaitReport("a cluster of one node", func(r status.Report) bool { return len(r.Nodes) == 1 && following(r) })
	c.progress(100)
	for _, n := range gone {
		c.must(n.Start())
	}
	c.whole()
	c.progress(100)
	stop()
	c.quiet()
	c.allEqual()
}

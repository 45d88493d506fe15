//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
	"canalgo/status"
)

// newTwoSinks is a cluster whose one table goes to two destinations, each behind a proxy of its own.
func newTwoSinks(t *testing.T, name string) (*trio, *proxy.Elastic) {
	t.Helper()
	c := &trio{rig: newServers(t, name, oracle.WorkloadConfig{Writers: 2, Keys: 2000, MaxRows: 100, Pace: 100 * time.Millisecond}, "127.0.0.1:0")}
	other, err := proxy.NewElastic(c.es.URL())
	c.must(err)
	t.Cleanup(func() { other.Close() })
	index := name + "_2"
	c.indices = []string{index}
	sections := c.sections("") + fmt.Sprintf("\n[sink.other]\ntype = \"elasticsearch\"\naddresses = [%q]\nreplicas = 0\n", other.URL()) +
		fmt.Sprintf("\n[mapping.%s]\nsource = \"shop\"\nsink = \"other\"\n_index = %q\nsql = %q\n", index, index, c.work.SQL())
	c.cluster, err = harness.NewCluster(filepath.Join(t.TempDir(), "canalgo"), 3, sections)
	c.must(err)
	c.watchOver()
	return c, other
}

// What one destination's absence may cost.
const (
	lagAllowed   = 1.0 // seconds, of the other destination
	memoryOfNode = 250 << 20
)

// churn rewrites few rows with much in them, so that the outage is longer than what is kept in memory, and the other destination is
// not busy.
func (c *trio) churn(ctx context.Context) error {
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		first := 100 + i%8*50
		_ = c.db.Exec(fmt.Sprintf("UPDATE %s.acc SET ver = ver + 1, note = REPEAT('%c', 24000) WHERE id BETWEEN %d AND %d", c.name, 'a'+i%26, first, first+39)) // a deadlock with the workload is nobody's fault
	}
}

// largest is how much memory the node has that has most.
func (c *trio) largest() (most int) {
	c.t.Helper()
	for _, n := range c.cluster.Nodes {
		size, err := resident(n)
		c.must(err)
		most = max(most, size)
	}
	return most
}

// TestOneSinkDown has one of two destinations refuse everything under load: the other does not notice, memory stays bounded, and the
// one that was away catches up by a stream of its own, as the status shows.
func TestOneSinkDown(t *testing.T) {
	c, other := newTwoSinks(t, "sinks")
	c.begin()
	c.must(c.work.Fill(t.Context(), 2000))
	c.quiet()
	stopWork, stopChurn := c.run(c.work.Run), c.run(c.churn)
	c.progress(200)

	other.FailRequests(func(*http.Request) int { return http.StatusServiceUnavailable })
	outage := time.Duration(often(20, 120)) * time.Second
	end := time.Now().Add(outage)
	worst, late, looks, most := 0.0, 0, 0, 0
	c.await("the outage's end", func() error {
		report, err := c.cluster.Status(context.Background())
		if err != nil {
			return err
		}
		if d, ok := report.Duty("shop/sinks"); ok && d.LagSeconds != nil {
			looks++
			worst = max(worst, *d.LagSeconds)
			if *d.LagSeconds >= lagAllowed {
				late++
			}
		}
		most = max(most, c.largest())
		if left := time.Until(end); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	})
	// Lag is counted from the newest transaction that is written: when the source itself pauses, its next one shows the pause until it is
	// written.
	if late > looks/50 || looks < 50 {
		t.Errorf("%d of %d looks saw the other destination %gs or more behind, %.1fs at worst", late, looks, lagAllowed, worst)
	}
	report, err := c.cluster.Status(t.Context())
	c.must(err)
	if d, _ := report.Duty("shop/sinks_2"); report.Healthy || d.LastError == "" {
		t.Errorf("the status shows no outage: %+v", d)
	}

	other.FailRequests(nil)
	var behind status.CatchUp
	showed := c.awaitReport("a catch-up", func(r status.Report) bool {
		for _, one := range r.Sources[0].CatchUps {
			behind = one
		}
		return behind.Duty != ""
	})
	if behind.Duty != "shop/sinks_2" {
		t.Errorf("%s catches up", behind.Duty)
	}
	c.progress(100)
	stopChurn()
	stopWork()
	c.allEqual()
	c.awaitReport("the catch-up's end", func(r status.Report) bool {
		counted := r.Sources[0].CaughtUp > 0 || r.Term != showed.Term // a leader counts its own
		return len(r.Sources[0].CatchUps) == 0 && counted && r.Healthy
	})
	most = max(most, c.largest())
	if most > memoryOfNode {
		t.Errorf("a node had %d MB", most>>20)
	}
	play(t, "one of two destinations away for %s: the other was %.2fs behind at worst (%d of %d looks above %gs), no node had more than %d MB, both equal", outage, worst, late, looks, lagAllowed, most>>20)
	t.Logf("the other destination was %.2fs behind at worst (%d looks); no node had more than %d MB", worst, looks, most>>20)
}

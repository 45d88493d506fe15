//go:build integration

package integration_test

import (
	"net/http"
	"sync"
	"testing"

	"canalgo/integration/oracle"
)

// TestStopWhileAllHang stops every node by SIGTERM at once while MySQL and Elasticsearch answer nothing: each ends in good order
// within 5 s, and nothing is lost.
func TestStopWhileAllHang(t *testing.T) {
	c := newTrio(t, "hangs", oracle.WorkloadConfig{}, 3)
	c.begin()
	stop := c.run(c.work.Run)
	c.progress(500)
	release, caught := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(caught) })
	c.proxy.FailRequests(func(*http.Request) int {
		first()
		<-release
		return 0
	})
	<-caught
	stop()
	c.must(c.db.Pause())
	t.Cleanup(func() { c.must(c.db.Continue()) }) // other tests use it
	ended := make(chan struct{})
	for _, n := range c.cluster.Nodes {
		go func() {
			defer func() { ended <- struct{}{} }()
			took := c.stopInOrder(n)
			t.Logf("%s stopped after %s", n.Name, took)
		}()
	}
	for range c.cluster.Nodes {
		<-ended
	}
	c.must(c.db.Continue())
	close(release)
	c.proxy.FailRequests(nil)
	c.must(c.work.Fill(t.Context(), 100))
	c.startAgain(c.cluster.Nodes...)
	c.allEqual()
}

//go:build integration

package integration_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// onDisk puts a node's data folder on a file system of its own, of some megabytes, until the test ends.
func (c *trio) onDisk(n *harness.Node) {
	c.t.Helper()
	c.must(os.MkdirAll(n.Data(), 0o700))
	c.must(syscall.Mount("canalgo-test", n.Data(), "tmpfs", 0, "size=4m,mode=700"))
	c.t.Cleanup(func() { c.must(syscall.Unmount(n.Data(), syscall.MNT_DETACH)) })
}

// fill leaves no room on a node's disk.
func (c *trio) fill(n *harness.Node) (filler string) {
	c.t.Helper()
	filler = filepath.Join(n.Data(), "filler")
	f, err := os.Create(filler)
	c.must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		c.t.Fatalf("fill %s: %v", n.Data(), err)
	}
	_ = f.Close() // the disk is full
	return filler
}

// TestDiskFull fills the disk of a follower, then that of the leader, under load: the node says one line and ends, the others go on,
// and when there is room it takes part again.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can mount a small disk")
	}
	c := newTrio(t, "diskfull", oracle.WorkloadConfig{Pace: 5 * time.Millisecond}, 2)
	for _, n := range c.cluster.Nodes {
		c.onDisk(n)
	}
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)
	c.progress(100)
	for _, who := range []struct {
		role string
		node func() *harness.Node
	}{
		{"a follower", func() *harness.Node { return c.neither(c.leader()) }},
		{"the leader", c.leader},
	} {
		full := who.node()
		filler := c.fill(full)
		ctx, cancel := context.WithTimeout(context.Background(), within)
		select {
		case <-full.Ended():
		case <-ctx.Done():
			t.Fatalf("%s goes on with a full disk", who.role)
		}
		cancel()
		if full.ExitCode() != 4 {
			t.Errorf("%s with a full disk ended with %d, want 4", who.role, full.ExitCode())
		}
		last := full.LogTail(1)
		if want := "canalgo: data folder " + full.Data() + ":"; !strings.Contains(last, want) || !strings.Contains(last, "free some space and start again") {
			t.Errorf("%s with a full disk says at the end %q, want %q and what to do", who.role, last, want)
		}
		c.awaitReport("the others", func(r status.Report) bool { return r.Leader != "" && r.Leader != full.Name })
		c.progress(100)
		c.must(os.Remove(filler))
		c.startAgain(full)
		c.progress(100)
	}
	stop()
	c.quiet()
	judge()
	c.allEqual()
}

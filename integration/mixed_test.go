//go:build integration

package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestMixedVersions upgrades a cluster node by node under load, to a program whose commands and frames are one version higher. On
// the way each program leads, beside two of the other and beside one; nothing of the higher version is written while one
// node reads only the lower one, and everything in the end. From then on there is no way back.
func TestMixedVersions(t *testing.T) {
	next := nextVersion(t)
	c := &mixed{trio: newTrio(t, "mixed", oracle.WorkloadConfig{Truncates: true, Pace: 40 * time.Millisecond, MaxRows: 1000}, 3), next: next}
	c.cluster.Nodes[2].Binary = next
	c.begin()
	judge := c.sample()
	stop := c.run(c.work.Run)

	c.lead(false)
	c.speaks(false)
	c.lead(true)
	c.speaks(false)
	c.upgrade(c.older()[0])
	c.lead(false)
	c.lead(true)
	c.speaks(true) // the other new one
	c.stillOld()
	stop()
	c.allEqual()

	stop = c.run(c.work.Run)
	c.upgrade(c.older()[0])
	c.await("commands of the higher version", func() error {
		if log := c.log(c.leader()); !strings.Contains(log, written(nextCommands)) {
			return fmt.Errorf("not in the leader's log")
		}
		return nil
	})
	c.speaks(true)
	c.progress(200)
	stop()
	c.allEqual()

	back := c.neither(c.leader())
	old, err := harness.Binary()
	c.must(err)
	stop = c.run(c.work.Run)
	c.stopInOrder(back)
	back.Binary = old
	c.must(back.Start())
	select {
	case <-back.Ended():
	case <-time.After(within):
		t.Fatal("an older node runs on a log of the higher version")
	}
	if log := back.LogTail(3); back.ExitCode() == 0 || !strings.Contains(log, "upgrade this node") {
		t.Errorf("an older node ended on a log of the higher version with %d:\n%s", back.ExitCode(), log)
	}
	_ = back.Kill() // it says that it had ended by itself
	c.progress(200)
	back.Binary = next
	c.startAgain(back)
	c.progress(200)
	stop()
	c.allEqual()
	judge()
	for _, n := range c.cluster.Nodes {
		if _, then, _ := strings.Cut(c.log(n), written(nextCommands)); strings.Contains(then, written(nextCommands-1)) {
			t.Errorf("%s wrote the lower version after the higher one", n.Name)
		}
	}
	play(t, "three nodes of two versions, upgraded one by one under load, each version led; equal state hashes, all equal")
}

// nextCommands is the version of commands of the program that nextVersion builds.
const nextCommands = cluster.MaxCommandVersion + 1

// written is what a leader logs when it begins to write commands of a version.
func written(version uint8) string { return fmt.Sprintf("commands are written: version=%d", version) }

// nextVersion builds the program of the next version.
func nextVersion(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "canalgo-next")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "nextversion", "-o", path, "canalgo")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the next version: %v\n%s", err, out)
	}
	return path
}

// A mixed cluster has nodes of two versions.
type mixed struct {
	*trio
	next string // the newer program
}

func (c *mixed) older() []*harness.Node {
	return slices.DeleteFunc(slices.Clone(c.cluster.Nodes), func(n *harness.Node) bool { return n.Binary == c.next })
}

// lead stops leaders in order, each of which starts again, until a node of the newer program leads, or of the older one. It
// leads for a while then.
func (c *mixed) lead(newer bool) {
	c.t.Helper()
	for range 20 {
		n := c.leader()
		if (n.Binary == c.next) == newer {
			c.progress(200)
			return
		}
		c.stopInOrder(n)
		c.progress(50)
		c.startAgain(n)
	}
	c.t.Fatalf("20 leaders, none of the version (newer: %v)", newer)
}

// upgrade starts a node again with the newer program.
func (c *mixed) upgrade(n *harness.Node) {
	c.t.Helper()
	c.stopInOrder(n)
	c.progress(200)
	n.Binary = c.next
	c.startAgain(n)
	c.progress(200)
}

var opened = regexp.MustCompile(`feed opened: .*leader=(\S+) frames=(\d)`)

// speaks waits until each node that does a duty away from the leader has a feed of the leader's, all in the highest version that
// both ends know, and one in version 2 if there is to be one.
func (c *mixed) speaks(two bool) {
	c.t.Helper()
	c.await("feeds of the leader", func() error {
		report, err := c.cluster.Status(c.t.Context())
		if err != nil {
			return err
		}
		leader := c.cluster.Node(report.Leader) // another one may be elected meanwhile
		if leader == nil {
			return fmt.Errorf("no node is called %q", report.Leader)
		}
		seen := ""
		for _, n := range c.cluster.Nodes {
			if n == leader || !slices.ContainsFunc(report.Duties, func(d status.Duty) bool { return d.Node == n.Name }) {
				continue
			}
			want := "1"
			if n.Binary == c.next && leader.Binary == c.next {
				want = "2"
			}
			feeds := opened.FindAllStringSubmatch(c.log(n), -1)
			if len(feeds) == 0 || feeds[len(feeds)-1][1] != leader.Name || feeds[len(feeds)-1][2] != want {
				return fmt.Errorf("the last feed of %s is not in version %s from %s: %v", n.Name, want, leader.Name, feeds)
			}
			seen += want
		}
		if seen == "" || two != strings.Contains(seen, "2") {
			return fmt.Errorf("feeds in versions %q", seen)
		}
		return nil
	})
}

// stillOld wants nobody to have written commands of the higher version.
func (c *mixed) stillOld() {
	c.t.Helper()
	for _, n := range c.cluster.Nodes {
		if log := c.log(n); strings.Contains(log, written(nextCommands)) {
			c.t.Errorf("%s wrote commands of the higher version, which not all read", n.Name)
		}
	}
}

// log is all that a node printed.
func (c *mixed) log(n *harness.Node) string {
	c.t.Helper()
	log, err := os.ReadFile(n.LogFile())
	c.must(err)
	return string(bytes.TrimSpace(log))
}

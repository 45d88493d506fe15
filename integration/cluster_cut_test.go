//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// slowBulks makes the bulks of all wait, as long as their senders do.
type slowBulks struct {
	mu    sync.Mutex
	delay time.Duration
}

func (s *slowBulks) pass(r *http.Request) {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	if delay > 0 && strings.HasSuffix(r.URL.Path, "/_bulk") {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
	}
}

func (s *slowBulks) slow(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

// A divided is a cluster whose nodes are on hosts of their own, which can be cut off from each other while they still reach MySQL
// and Elasticsearch. Each does a duty.
type divided struct {
	*trio
	net    *component.Network
	visits oracle.Visits
	bulks  slowBulks
}

func newDivided(t *testing.T, name string) *divided {
	t.Helper()
	network, err := component.NewNetwork(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &divided{net: network}
	d.trio = &trio{rig: newServers(t, name, oracle.WorkloadConfig{Truncates: true, Pace: 40 * time.Millisecond}, network.Outside()+":0")}
	sections := d.sections("")
	for _, index := range []string{name + "_2", name + "_3"} {
		d.indices = append(d.indices, index)
		sections += d.mapping(index, "", d.work.SQL())
	}
	d.cluster, err = harness.NewClusterAt(filepath.Join(t.TempDir(), "canalgo"), 3, sections, func(n int) *harness.Place {
		return &harness.Place{HTTP: network.Outer(n) + ":8111", Port: network.Inner(n) + ":8112", Within: network.Within(n)}
	})
	d.must(err)
	d.watchOver()
	d.proxy.FailRequests(func(r *http.Request) int {
		d.visits.Note(r)
		d.bulks.pass(r)
		return 0
	})
	return d
}

// cut cuts a node off from the others and returns when, and what heals it.
func (d *divided) cut(n *harness.Node) (at time.Time, heal func()) {
	d.t.Helper()
	host, err := strconv.Atoi(strings.TrimPrefix(n.Name, "n"))
	d.must(err)
	d.must(d.net.Cut(context.Background(), host))
	return time.Now(), func() { d.must(d.net.Heal(context.Background(), host)) }
}

// awaitOthers waits until the nodes that are not cut off agree that one of them leads, and do all duties.
func (d *divided) awaitOthers(cut *harness.Node) {
	d.t.Helper()
	d.await("the others' work", func() error {
		for _, n := range d.cluster.Nodes {
			if n == cut {
				continue
			}
			report, err := n.Status(context.Background())
			if err != nil {
				return err
			}
			if report.Leader == "" || report.Leader == cut.Name {
				return fmt.Errorf("%s thinks that %q leads", n.Name, report.Leader)
			}
			for _, duty := range report.Duties {
				if duty.Node == cut.Name || duty.Stage == status.Waiting {
					return fmt.Errorf("%s is %s on %s", duty.ID, duty.Stage, duty.Node)
				}
			}
		}
		return nil
	})
}

// silent wants no request of a node that began after its lease, counted from when it was cut off.
func (d *divided) silent(n *harness.Node, since time.Time) (last time.Duration) {
	d.t.Helper()
	host, _, _ := net.SplitHostPort(n.HTTP)
	late, last := d.visits.AfterLease(host, since, time.Now())
	if len(late) > 0 {
		d.t.Errorf("%s was cut off and began %d requests after its lease: %s", n.Name, len(late), strings.Join(late, ", "))
	}
	d.t.Logf("%s began its last request %s after it was cut off", n.Name, last.Round(time.Millisecond))
	return last
}

// apart cuts a node off, waits until the others go on and its lease is long over, judges it and heals.
func (d *divided) apart(n *harness.Node) {
	d.t.Helper()
	at, heal := d.cut(n)
	d.awaitOthers(n)
	d.t.Logf("%s was cut off; the others did its work after %s", n.Name, time.Since(at).Round(time.Millisecond))
	d.progress(1000)
	d.last("the cut", time.Until(at.Add(oracle.LeaseTime+oracle.LeaseSlack+2*time.Second)))
	d.silent(n, at)
	heal()
	d.whole()
	d.progress(200)
}

// TestLeaderCutOff cuts the leader off from the other nodes three times, while it still reaches MySQL and Elasticsearch: another
// leads, the rows go on, and the old one begins no request after its lease.
func TestLeaderCutOff(t *testing.T) {
	d := newDivided(t, "cuts")
	d.begin()
	judge := d.sample()
	stop := d.run(d.work.Run)
	for range often(3, 10) {
		d.progress(500)
		d.apart(d.leader())
	}
	stop()
	d.allEqual()
	judge()
	play(t, "%d cuts of the leader from its peers, no request of it after its lease, all equal", often(3, 10))
}

// TestWriterCutOff cuts off a node that has much to write and a slow Elasticsearch: it stops in the middle when its lease is over,
// although what it has to write has come already.
func TestWriterCutOff(t *testing.T) {
	d := newDivided(t, "cutw")
	d.begin()
	leader := d.leader()
	d.bulks.slow(400 * time.Millisecond)
	d.must(d.work.Fill(t.Context(), 30_000))
	d.progress(100)
	n := d.neither(leader)
	at, heal := d.cut(n)
	d.awaitOthers(n)
	d.last("the cut", time.Until(at.Add(2*oracle.LeaseTime+oracle.LeaseSlack)))
	last := d.silent(n, at)
	if last < oracle.LeaseTime/3 {
		t.Errorf("it had nothing more to write %s after the cut: this run shows nothing", last)
	}
	heal()
	d.bulks.slow(0)
	d.whole()
	d.allEqual()
	play(t, "a busy writer was cut off and began its last request %s after the cut; all equal", last.Round(time.Millisecond))
}

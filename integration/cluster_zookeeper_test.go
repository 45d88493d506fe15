//go:build integration

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
	"canalgo/status"
)

// A keeper is a trio in ZooKeeper mode. Each node has proxies of its own to the ensemble.
type keeper struct {
	*trio
	ensemble *component.ZooKeeper
	session  time.Duration
	listen   string                          // the host of the proxies
	place    func(number int) *harness.Place // of the nodes
	chroot   string                          // of this run, on an ensemble that outlives it
	ways     map[string][]*proxy.TCP         // by the node's name
	each     func(number int) string         // further sections of a node's own file; nil is none
	visits   oracle.Visits
}

// keepers counts the clusters in ZooKeeper mode.
var keepers atomic.Int64

// newKeeper makes a cluster in ZooKeeper mode on the shared ensemble, below a chroot of its own, with three mappings of the workload's
// table. With a network its nodes are on hosts of their own.
func newKeeper(t *testing.T, name string, options oracle.WorkloadConfig, session time.Duration, network *component.Network) *keeper {
	t.Helper()
	return newKeeperOf(t, name, options, session, network, func(k *keeper) string {
		sections := k.sections("")
		for i := 2; i <= 3; i++ {
			index := fmt.Sprintf("%s_%d", name, i)
			k.indices = append(k.indices, index)
			sections += k.mapping(index, "", k.work.SQL())
		}
		return sections
	})
}

// newKeeperOf is newKeeper with other sections.
func newKeeperOf(t *testing.T, name string, options oracle.WorkloadConfig, session time.Duration, network *component.Network, sections func(k *keeper) string) *keeper {
	t.Helper()
	ensemble, err := servers.zk()
	if err != nil {
		t.Fatal(err)
	}
	return newKeeperOn(t, ensemble, name, options, session, network, sections)
}

// newKeeperOn is newKeeperOf on an ensemble that need not be the shared one.
func newKeeperOn(t *testing.T, ensemble *component.ZooKeeper, name string, options oracle.WorkloadConfig, session time.Duration, network *component.Network, sections func(k *keeper) string) *keeper {
	t.Helper()
	listen, place := "127.0.0.1", func(int) *harness.Place { return nil }
	if network != nil {
		listen = network.Outside()
		place = func(n int) *harness.Place {
			return &harness.Place{HTTP: network.Outer(n) + ":8111", Port: network.Inner(n) + ":8112", Within: network.Within(n)}
		}
	}
	k := &keeper{ensemble: ensemble, session: session, listen: listen, place: place, chroot: fmt.Sprintf("/%s_%d", name, keepers.Add(1)), ways: make(map[string][]*proxy.TCP)}
	k.trio = &trio{rig: newServers(t, name, options, listen+":0")}
	k.cluster = k.newCluster(sections(k))
	k.watchOver()
	k.proxy.FailRequests(func(r *http.Request) int {
		k.visits.Note(r)
		return 0
	})
	return k
}

// newCluster makes a cluster of three below the chroot, which does not run yet.
func (k *keeper) newCluster(sections string) *harness.Cluster {
	k.t.Helper()
	coordination := func(number int) (string, error) {
		var servers []string
		for _, address := range k.ensemble.Servers() {
			p, err := proxy.NewTCPOn(k.listen+":0", address)
			k.must(err)
			k.t.Cleanup(func() { p.Close() })
			name := fmt.Sprintf("n%d", number)
			k.ways[name] = append(k.ways[name], p)
			servers = append(servers, fmt.Sprintf("%q", p.Addr()))
		}
		further := ""
		if k.each != nil {
			further = k.each(number)
		}
		return fmt.Sprintf("[coordination]\nmode = \"zookeeper\"\nservers = [%s]\nchroot = %q\nsession_timeout = %q\n\n%s", strings.Join(servers, ", "), k.chroot, k.session, further), nil
	}
	c, err := harness.NewZooKeeper(filepath.Join(k.t.TempDir(), "canalgo"), 3, sections, coordination, k.place)
	k.must(err)
	return c
}

// cut cuts a node off from the ensemble; the other nodes, MySQL and Elasticsearch it reaches.
func (k *keeper) cut(n *harness.Node, cut bool) {
	for _, p := range k.ways[n.Name] {
		if cut {
			p.Cut()
		} else {
			p.Heal()
		}
	}
}

// TestZooKeeperKills is TestClusterKills in ZooKeeper mode.
func TestZooKeeperKills(t *testing.T) {
	clusterKills(newKeeper(t, "zkills", oracle.WorkloadConfig{Truncates: true, Pace: 20 * time.Millisecond}, 4*time.Second, nil).trio)
}

// TestZooKeeperPauses is TestClusterPauses in ZooKeeper mode.
func TestZooKeeperPauses(t *testing.T) {
	clusterPauses(newKeeper(t, "zpauses", oracle.WorkloadConfig{Truncates: true, Pace: 20 * time.Millisecond}, 4*time.Second, nil).trio)
}

// TestZooKeeperCutOff cuts the leader off from the ensemble, and then another node, while they reach all else: another one leads, the
// rows go on, and who is cut off begins no request after its lease.
func TestZooKeeperCutOff(t *testing.T) {
	network, err := component.NewNetwork(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	k := newKeeper(t, "zcuts", oracle.WorkloadConfig{Truncates: true, Pace: 40 * time.Millisecond}, 4*time.Second, network)
	d := &divided{trio: k.trio, net: network}
	k.begin()
	judge := k.sample()
	stop := k.run(k.work.Run)
	for range often(2, 10) {
		k.progress(500)
		n := k.leader()
		k.cut(n, true)
		at := time.Now()
		d.awaitOthers(n)
		t.Logf("%s was cut off from zookeeper; the others did its work after %s", n.Name, time.Since(at).Round(time.Millisecond))
		k.progress(500)
		k.last("the cut", time.Until(at.Add(oracle.LeaseTime+oracle.LeaseSlack+2*time.Second)))
		k.silent(n, at)
		k.cut(n, false)
		k.whole()
		k.progress(200)
	}
	stop()
	k.allEqual()
	judge()
	play(t, "%d cuts of the leader from zookeeper, no request of it after its lease, all equal", often(2, 10))
}

// silent wants no request of a node that began after its lease, counted from when it was cut off.
func (k *keeper) silent(n *harness.Node, since time.Time) {
	k.t.Helper()
	host, _, _ := strings.Cut(n.HTTP, ":")
	late, last := k.visits.AfterLease(host, since, time.Now())
	if len(late) > 0 {
		k.t.Errorf("%s was cut off and began %d requests after its lease: %s", n.Name, len(late), strings.Join(late, ", "))
	}
	k.t.Logf("%s began its last request %s after it was cut off", n.Name, last.Round(time.Millisecond))
}

// TestZooKeeperMembersRestart kills each member of the ensemble and starts it again, under load: nobody else leads, and no duty moves.
// Then all are away: writing stops when the lease is over, and goes on by itself when they are back.
func TestZooKeeperMembersRestart(t *testing.T) {
	k := newKeeper(t, "zmembers", oracle.WorkloadConfig{Pace: 20 * time.Millisecond}, 15*time.Second, nil)
	k.begin()
	judge := k.sample()
	stop := k.run(k.work.Run)
	before, err := k.cluster.Status(context.Background())
	k.must(err)
	for range often(1, 5) {
		for _, m := range k.ensemble.Members {
			k.progress(200)
			k.must(m.Kill())
			k.progress(200)
			k.must(m.Start(k.starting()))
			k.progress(200)
			now, err := k.cluster.Status(context.Background())
			k.must(err)
			if now.Leader != before.Leader || now.Term != before.Term {
				t.Errorf("%s leads in term %d after a member was restarted, before %s in %d", now.Leader, now.Term, before.Leader, before.Term)
			}
			for _, d := range now.Duties {
				was, _ := before.Duty(d.ID)
				if d.Node != was.Node {
					t.Errorf("%s moved from %s to %s", d.ID, was.Node, d.Node)
				}
			}
		}
	}
	t.Logf("%d items were written again", k.proxy.Stats().Repeats)

	k.must(k.ensemble.Kill())
	at := time.Now()
	k.last("the outage", 6*time.Second)
	if late, last := k.visits.AfterLease("127.0.0.1", at, time.Now()); len(late) > 0 {
		t.Errorf("%d requests began after the lease: %s", len(late), strings.Join(late, ", "))
	} else {
		t.Logf("the last request began %s after the ensemble was gone", last.Round(time.Millisecond))
	}
	k.must(k.ensemble.Start(k.starting()))
	began := time.Now()
	k.progress(500)
	t.Logf("rows went on %s after the ensemble was back", time.Since(began).Round(time.Millisecond))
	k.whole()
	stop()
	k.allEqual()
	judge()
}

func (k *keeper) starting() context.Context {
	ctx, cancel := context.WithTimeout(k.t.Context(), within)
	k.t.Cleanup(cancel)
	return ctx
}

// TestZooKeeperMembers takes nodes in and out in ZooKeeper mode, and loses a data folder.
func TestZooKeeperMembers(t *testing.T) {
	k := newKeeper(t, "zcome", oracle.WorkloadConfig{Truncates: true, Pace: 40 * time.Millisecond}, 4*time.Second, nil)
	k.begin()
	judge := k.sample()
	stop := k.run(k.work.Run)
	k.stopInOrder(k.leader())
	k.progress(200)
	for _, n := range k.cluster.Nodes {
		if n.PID() == 0 {
			k.startAgain(n)
		}
	}
	added, err := k.cluster.Add()
	k.must(err)
	k.startAgain(added)
	k.progress(200)
	gone := k.leader()
	k.at(gone, 0, "leave")
	k.ended(gone)
	k.cluster.Forget(gone)
	k.whole()
	k.progress(200)
	k.lose(k.neither(k.cluster.Nodes[0]))
	stop()
	k.allEqual()
	judge()
}

// TestOneNodeIsLeft is what canal's users know with two servers and two adapters: rows, the one that reads is killed, rows, another one
// is killed, rows. In ZooKeeper mode one node of three is enough.
func TestOneNodeIsLeft(t *testing.T) {
	k := newKeeper(t, "zleft", oracle.WorkloadConfig{}, 4*time.Second, nil)
	k.begin()
	k.awaitReport("two nodes that can fail", func(r status.Report) bool { return r.Tolerates != nil && *r.Tolerates == 2 })
	k.must(k.work.Fill(t.Context(), 100))
	k.quiet()
	for range 2 {
		k.must(k.leader().Kill())
		k.must(k.work.Fill(t.Context(), 100))
		k.awaitReport("a leader for the rest", func(r status.Report) bool {
			n := k.cluster.Node(r.Leader)
			return n != nil && n.PID() != 0
		})
		k.quiet()
	}
	k.equal()
}

// TestZooKeeperAnotherToken starts a node with another token than the cluster's, and one with none.
func TestZooKeeperAnotherToken(t *testing.T) {
	k := newKeeper(t, "ztoken", oracle.WorkloadConfig{}, 4*time.Second, nil)
	k.begin()
	added, err := k.cluster.Add()
	k.must(err)
	k.cluster.Forget(added)
	added.Extra = []string{"-token", component.Planted + "another-token"}
	k.must(added.Start())
	k.await("a node that is refused", func() error {
		select {
		case <-added.Ended():
		default:
			return errors.New(added.LogTail(3))
		}
		if text := added.LogTail(3); !strings.Contains(text, "cluster.token: the cluster in zookeeper has another token") {
			t.Errorf("it says %s", text)
		}
		return nil
	})
	if code := added.ExitCode(); code != 3 {
		t.Errorf("it ended with %d", code)
	}
	k.awaitReport("the cluster as before", func(r status.Report) bool { return harness.Whole(r, 3) })
}

// TestZooKeeperCarry carries a stopped cluster's state from ZooKeeper to Raft and back, while rows change: every row comes, each from
// where it had stopped.
func TestZooKeeperCarry(t *testing.T) {
	k := newKeeper(t, "zcarry", oracle.WorkloadConfig{Truncates: true, Pace: 40 * time.Millisecond}, 4*time.Second, nil)
	k.begin()
	looks, judge := k.sampler()
	stop := k.run(k.work.Run)
	k.progress(500)
	k.await("looks at the positions of the first cluster", looks.Enough)
	carry := func(to *harness.Cluster) (file string) {
		t.Helper()
		file = filepath.Join(t.TempDir(), "state")
		before, err := k.cluster.Status(context.Background())
		k.must(err)
		for _, n := range k.cluster.Nodes {
			k.stopInOrder(n)
		}
		from := k.cluster.Nodes[0]
		k.at(from, 0, "state", "export", file, "-config", from.Config())
		k.cluster, k.on = to, to // which is ended with the test, too
		k.at(to.Nodes[0], 0, "state", "import", file, "-config", to.Nodes[0].Config())
		k.begin()
		k.progress(500)
		after, err := to.Status(context.Background())
		k.must(err)
		if len(after.Duties) != len(before.Duties) || after.ConfigVersion != before.ConfigVersion || after.Sources[0].Epoch != before.Sources[0].Epoch {
			t.Errorf("%d duties, configuration %d, epoch %d; before %d, %d, %d", len(after.Duties), after.ConfigVersion, after.Sources[0].Epoch,
				len(before.Duties), before.ConfigVersion, before.Sources[0].Epoch)
		}
		return file
	}

	first := k.cluster.Nodes[0]
	raft, err := harness.NewCluster(filepath.Join(t.TempDir(), "raft"), 3, k.sections(""))
	k.must(err)
	file := carry(raft)
	if out := k.at(first, 3, "state", "import", file, "-config", first.Config()); out != "" {
		t.Errorf("imported over what is there: %s", out)
	}
	k.chroot += "_again" // the first one has a cluster
	carry(k.newCluster(k.sections("")))
	stop()
	k.allEqual()
	judge()
}

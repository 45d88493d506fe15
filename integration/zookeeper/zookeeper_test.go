//go:build integration

// Package zookeeper_test runs coordinators against a real ensemble.
package zookeeper_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"

	"canalgo/cluster/clustertest"
	"canalgo/integration/component"
	"canalgo/integration/proxy"
	"canalgo/zkmode"
)

// ensemble is what all tests of this package share. Each has a chroot of its own.
var ensemble *component.ZooKeeper

const secret = component.Planted + "zookeeper-secret"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "canalgo-zookeeper-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if ensemble, err = component.StartZooKeeper(ctx, dir, component.ZooKeeperOptions{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer ensemble.Kill()
	return m.Run()
}

var chroots atomic.Uint64

// A group is some nodes of one cluster, each with proxies of its own to the ensemble.
type group struct {
	t       *testing.T
	chroot  string
	session time.Duration
	dirs    []string
	nodes   []*zkmode.Node
	proxies [][]*proxy.TCP // by node
	conn    *zk.Conn       // the test's own, past the proxies
}

func newGroup(t *testing.T, size int) *group {
	t.Helper()
	g := &group{t: t, chroot: fmt.Sprintf("/test-%d", chroots.Add(1)), session: 3 * time.Second}
	conn, _, err := zk.Connect(ensemble.Servers(), 10*time.Second, zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	g.conn = conn
	for i := range size {
		var ways []*proxy.TCP
		for _, address := range ensemble.Servers() {
			p, err := proxy.NewTCP(address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			ways = append(ways, p)
		}
		g.proxies = append(g.proxies, ways)
		g.dirs = append(g.dirs, filepath.Join(t.TempDir(), "data"))
		g.nodes = append(g.nodes, g.open(i))
	}
	return g
}

// config is what the i-th node is told.
func (g *group) config(i int) zkmode.Config {
	c := zkmode.Config{Chroot: g.chroot, Dir: g.dirs[i], NodeID: fmt.Sprintf("node-%d", i), Address: fmt.Sprintf("host-%d:1", i),
		Secret: []byte(secret), SessionTimeout: g.session, Canal: zkmode.Canal{Address: fmt.Sprintf("host-%d:11111", i), Client: 1001, Serves: true}}
	for _, p := range g.proxies[i] {
		c.Servers = append(c.Servers, p.Addr())
	}
	if testing.Verbose() {
		c.Logger = hclog.New(&hclog.LoggerOptions{Name: c.NodeID, Level: hclog.LevelFromString(os.Getenv("ZK_LOG")), Output: os.Stderr})
	}
	return c
}

// open makes the i-th node, on its folder.
func (g *group) open(i int) *zkmode.Node {
	g.t.Helper()
	c := g.config(i)
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	var err error
	if c.ClusterID, err = zkmode.Join(ctx, c); err != nil {
		g.t.Fatal(err)
	}
	node, err := zkmode.New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	return node
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// path is that of one of the cluster's znodes.
func (g *group) path(name string) string { return g.chroot + zkmode.DefaultRoot + "/" + name }

// endTerm takes the leader's election node away.
func (g *group) endTerm() error {
	names, _, err := g.conn.Children(g.path("election"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("nobody stands for election")
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare([]byte(a[len(a)-10:]), []byte(b[len(b)-10:])) })
	return g.conn.Delete(g.path("election/"+names[0]), -1)
}

// cut cuts a node off from the ensemble, or connects it again.
func (g *group) cut(i int, cut bool) {
	for _, p := range g.proxies[i] {
		if cut {
			p.Cut()
		} else {
			p.Heal()
		}
	}
}

func (g *group) coordinators() []clustertest.Coordinator {
	var all []clustertest.Coordinator
	for _, n := range g.nodes {
		all = append(all, n)
	}
	return all
}

func TestCoordinator(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
			clustertest.Run(t, func(t *testing.T) clustertest.Cluster {
				g := newGroup(t, size)
				c := clustertest.Cluster{Nodes: g.coordinators(), EndTerm: g.endTerm}
				if size > 1 {
					c.Cut = g.cut
				}
				return c
			})
		})
	}
}

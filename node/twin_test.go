package node_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/node"
)

// A copied coordinator is that of a copied data folder: it knows what stood in it, and nothing comes from a leader.
type copied struct{ view cluster.View }

func (c copied) Run(ctx context.Context, _ func(context.Context, cluster.Term) error) error {
	<-ctx.Done()
	return ctx.Err()
}
func (c copied) View() (cluster.View, <-chan struct{}) { return c.view, nil }
func (c copied) Propose(context.Context, cluster.Term, cluster.Command) error {
	return cluster.ErrNotLeader
}
func (c copied) Verify(context.Context, cluster.Term) error { return cluster.ErrNotLeader }

// A process on a copy of a data folder ends by itself and says why, and the one that was there first goes on.
func TestCopiedFolderIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		of, address string
		join        []string
		hears       bool // of the leader
	}{
		"of a follower, at another address":               {"n2", "elsewhere", []string{"n1"}, false},
		"of a follower, at another address, told nothing": {"n2", "elsewhere", nil, false},
		"of a follower, at its address":                   {"n2", "n2", nil, false},
		"of a follower, and it hears the leader":          {"n2", "n2", nil, true},
		"of the leader, at another address":               {"n1", "elsewhere", []string{"n2"}, false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, network, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
				nodes, _ := trio(t, w, network, members, 3, seed(""))
				whole := func(leader string) func() bool {
					return func() bool {
						r := nodes[0].Report(t.Context())
						return r.Healthy && strings.HasSuffix(r.Leader, leader) && len(r.Nodes) == 3
					}
				}
				eventually(t, "a whole cluster", whole(""))
				members.MoveLeader(0)
				eventually(t, "n1 to lead", whole("n1"))
				before := nodes[0].View().State.Nodes

				view := nodes[1].View()
				view.Leading = false
				if !c.hears {
					view.Leader, view.LeaderAddress = "", ""
				}
				twin, err := node.New(node.Config{ID: c.of, Version: "test", Join: c.join, Self: cluster.Node{ServerID: c.of + "@1", Address: c.address, Version: "test", Commands: cluster.MaxCommandVersion},
					Peers: peers{network, "copy"}, Seed: seed(""), Clock: func() time.Duration { return time.Since(network.began) }, Log: hclog.NewNullLogger()}, copied{view}, parts{w, "copy"})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err = twin.Run(ctx)
				if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), c.of+"@1 runs already at "+c.of) || !strings.Contains(err.Error(), "is a copy") {
					t.Errorf("the copy ended with %v (%v), want that it is one", err, ctx.Err())
				}
				w.commit("later")
				eventually(t, "the cluster goes on", has(w, "later"))
				time.Sleep(5 * time.Second)
				r := nodes[0].Report(t.Context())
				if !r.Healthy || r.Nodes[0].LeaseSeconds == 0 || r.Nodes[1].LeaseSeconds == 0 {
					t.Errorf("the cluster after the copy has ended: %q", r.Problems)
				}
				for name, known := range nodes[0].View().State.Nodes {
					if known != before[name] {
						t.Errorf("node %s is known as %+v, before %+v", name, known, before[name])
					}
				}
			})
		})
	}
}

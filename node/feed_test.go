package node_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster/memory"
	"canalgo/relay"
)

// TestADutyHasOneFeed has the node of a duty ask for its feed several times at once, as after a cut that only it has noticed. The leader
// serves one: what another one had reached would be saved by nobody, and a move would not end it.
func TestADutyHasOneFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, network, members := newWorld(), newNetwork(), memory.New("n1", "n2", "n3")
		nodes, _ := trio(t, w, network, members, 3, seed(""))
		eventually(t, "the stream works on one of three nodes", func() bool {
			return working(t, nodes[0]) && len(held(nodes[0])) == 1 && len(nodes[0].View().Nodes) == 3
		})
		holder := nodes[0].View().Duties[stream].Assignment.Node
		if nodes[0].View().Leader == holder {
			members.MoveLeader(slices.IndexFunc([]string{"n1", "n2", "n3"}, func(n string) bool { return n != holder }))
		}
		var leader string
		eventually(t, "another one leads, and the stream works", func() bool {
			leader = nodes[0].View().Leader
			return leader != "" && leader != holder && working(t, nodes[0])
		})
		network.setCut(holder, true) // its duty stays its until its lease is over
		ask := relay.Open{Duty: stream.String(), Epoch: uint64(nodes[0].View().Duties[stream].Assignment.Epoch), Node: holder + "@1"}
		var served atomic.Int64
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() {
				conn, _, err := (peers{network, leader}).Feed(t.Context(), leader)
				if err != nil {
					t.Error(err)
					return
				}
				f, err := relay.OpenFeed(t.Context(), conn, relay.MaxVersion, ask)
				if err != nil {
					return
				}
				defer f.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				if _, err := f.Next(ctx); errors.Is(err, context.DeadlineExceeded) || err == nil { // it was not ended
					served.Add(1)
				} else if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Log(err)
				}
			})
		}
		asking.Wait()
		if served.Load() != 1 {
			t.Errorf("%d feeds of one duty were served at once", served.Load())
		}
	})
}

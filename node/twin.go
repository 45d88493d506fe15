package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"canalgo/cluster"
)

// errTwin ends a process that runs on a copy of another one's data folder: two of one identity are one voter twice.
var errTwin = errors.New("this data folder is a copy of that one's; leave this process off, or empty its folder and give it an -id of its own, then it joins as a new node")

// newRun returns what tells this process from every other one of its identity.
func newRun() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// twinTime bounds the question at a node's address who runs there.
const twinTime = time.Second

// isTwin returns an error when a process is not the one of its identity: that is the one that answers at the address which the
// cluster knows. A process of an older canalgo does not say which it is, and counts as the one.
func (n *Node) isTwin(ctx context.Context, known cluster.Node, run string) error {
	if run == "" || run == n.run {
		return nil
	}
	twin := func() error { return fmt.Errorf("%s runs already at %s: %w", known.ServerID, known.Address, errTwin) }
	if known.ServerID == n.cfg.Self.ServerID {
		return twin()
	}
	ctx, cancel := context.WithTimeout(ctx, twinTime)
	defer cancel()
	h, err := SayHello(ctx, n.cfg.Peers, known.Address)
	if err == nil && h.ServerID == known.ServerID && h.Run != "" && h.Run != run {
		return twin()
	}
	return nil
}

// same answers a process that asks the leader whether it is the one of its identity.
func (n *Node) same(ctx context.Context, r identity) (none, error) {
	v, _ := n.coord.View()
	known := v.Nodes[r.Name]
	if !v.Leading || known.ServerID != r.ServerID {
		return none{}, nil // somebody else knows, or nobody
	}
	return none{}, n.isTwin(ctx, known, r.Run)
}

// watchTwin ends with errTwin when this process hears of no leader although there is one, because its data folder is a copy: what the
// leader sends goes to the original. One whose address is another than the original's hears that when it tells the leader.
func (n *Node) watchTwin(ctx context.Context) error {
	tick := time.NewTicker(twinTime)
	defer tick.Stop()
	var since time.Time // when it last heard of one
	for {
		v, _ := n.coord.View()
		switch {
		case v.Leader != "" || since.IsZero():
			since = time.Now()
		case time.Since(since) > quietTime:
			if err := n.askAround(ctx, v); errors.Is(err, errTwin) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// askAround asks a leader that another node knows whether this process is the one of its identity.
func (n *Node) askAround(ctx context.Context, v cluster.View) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for _, name := range sortedKeys(v.Nodes) {
		if name == n.cfg.ID {
			continue
		}
		h, err := SayHello(ctx, n.cfg.Peers, v.Nodes[name].Address)
		if err == nil && h.ClusterID == n.cfg.ClusterID && h.LeaderAddress != "" {
			return Call(ctx, n.cfg.Peers, h.LeaderAddress, callSame, n.identity(), &none{})
		}
	}
	return nil
}

func (n *Node) identity() identity {
	return identity{Name: n.cfg.ID, ServerID: n.cfg.Self.ServerID, Run: n.run}
}

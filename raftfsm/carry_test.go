package raftfsm_test

import (
	"context"
	"path/filepath"
	"testing"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/raftfsm"
)

// TestCarry exports a node's state and begins another cluster with it.
func TestCarry(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	secret := []byte("0123456789abcdef")
	lead := func(dir string, do func(n *raftfsm.Node, term cluster.Term) error) {
		t.Helper()
		n, err := raftfsm.New(raftfsm.Config{Dir: dir, NodeID: "a", Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = n.Run(ctx, func(ctx context.Context, term cluster.Term) error {
			defer cancel()
			return do(n, term)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	lead(from, func(n *raftfsm.Node, term cluster.Term) error {
		for _, cmd := range []cluster.Command{setConfig(), cluster.OpenEpoch{Source: "shop", ServerUUID: "u", Start: event.Position{File: "binlog.000007", Offset: 120}}} {
			if err := n.Propose(t.Context(), term, cmd); err != nil {
				return err
			}
		}
		return nil
	})
	state, index, err := raftfsm.Export(from)
	if err != nil || index == 0 || state.Duties[orders].Position.Offset != 120 {
		t.Fatalf("index %d, %+v, %v", index, state.Duties, err)
	}
	again, _, err := raftfsm.Export(from)
	if err != nil || again.Hash() != state.Hash() {
		t.Errorf("exported again: %v", err)
	}
	if err := raftfsm.Import(raftfsm.Config{Dir: from, NodeID: "a", Secret: secret}, state); err == nil {
		t.Error("imported over what is there")
	}
	if err := raftfsm.Import(raftfsm.Config{Dir: to, NodeID: "a", Secret: secret}, state); err != nil {
		t.Fatal(err)
	}
	lead(to, func(n *raftfsm.Node, term cluster.Term) error {
		v, _ := n.View()
		if v.State.Hash() != state.Hash() {
			t.Errorf("the state is now %+v", v.State)
		}
		return n.Propose(t.Context(), term, cluster.SetIndex{Duty: orders, UUID: "x"})
	})
}

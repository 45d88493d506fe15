package raftfsm_test

import (
	"testing"

	"canalgo/cluster/clustertest"
	"canalgo/raftfsm"
)

func TestCoordinator(t *testing.T) {
	clustertest.Run(t, func(t *testing.T) clustertest.Cluster {
		node, err := raftfsm.New(raftfsm.Config{Dir: t.TempDir(), NodeID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		return clustertest.Cluster{Nodes: []clustertest.Coordinator{node}, EndTerm: node.EndTerm}
	})
}

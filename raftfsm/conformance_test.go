package raftfsm_test

import (
	"errors"
	"os"
	"path/filepath"
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

func TestCoordinatorOfThreeNodes(t *testing.T) {
	template := newGroup(t)
	template.grow("a", "b", "c")
	template.stopAll()
	clustertest.Run(t, func(t *testing.T) clustertest.Cluster {
		net := newNetwork()
		var c clustertest.Cluster
		var nodes []*raftfsm.Node
		names := []string{"a", "b", "c"}
		for _, name := range names {
			dir := filepath.Join(t.TempDir(), name)
			if err := os.CopyFS(dir, os.DirFS(template.dirs[name])); err != nil {
				t.Fatal(err)
			}
			node, err := raftfsm.New(raftfsm.Config{Dir: dir, NodeID: name, Stream: net.at(t, name), Address: name})
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, node)
			c.Nodes = append(c.Nodes, node)
		}
		c.Cut = func(node int, cut bool) { net.cut(names[node], cut) }
		c.EndTerm = func() error {
			for _, node := range nodes {
				if v, _ := node.View(); v.Leading {
					return node.EndTerm()
				}
			}
			return errors.New("nobody leads")
		}
		return c
	})
}

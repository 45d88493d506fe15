package memory_test

import (
	"fmt"
	"testing"

	"canalgo/cluster/clustertest"
	"canalgo/cluster/memory"
)

func TestCoordinator(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d members", size), func(t *testing.T) {
			clustertest.Run(t, func(*testing.T) clustertest.Cluster {
				names := make([]string, size)
				for i := range names {
					names[i] = fmt.Sprintf("node-%d", i)
				}
				c := memory.New(names...)
				var nodes []clustertest.Coordinator
				for i := range names {
					nodes = append(nodes, c.Member(i))
				}
				moved := 0
				return clustertest.Cluster{Nodes: nodes, EndTerm: func() error {
					moved++
					c.MoveLeader(moved % size)
					return nil
				}}
			})
		})
	}
}

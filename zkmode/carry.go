package zkmode

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"canalgo/cluster"
)

// Export returns the state of a cluster none of whose nodes runs, with its id and the number of its newest command. It changes nothing.
func Export(ctx context.Context, c Config) (state cluster.State, id string, index uint64, err error) {
	c = c.withDefaults()
	s, err := connect(ctx, c)
	if err != nil {
		return state, "", 0, err
	}
	defer s.close()
	found, err := s.get(ctx, c.path(s, "cluster"), false)
	if err != nil {
		return state, "", 0, c.explain(err)
	}
	if id, err = c.known(found); err != nil {
		return state, "", 0, err
	}
	running, _, err := s.children(ctx, c.path(s, "election"))
	if err != nil {
		return state, "", 0, err
	}
	if len(running) > 0 {
		return state, "", 0, fmt.Errorf("%d nodes run (%s ...); stop them first", len(running), running[0])
	}
	n := &Node{cfg: c, failed: make(chan error, 1)}
	n.replica = newReplica(&n.board)
	if _, err := n.catchUp(ctx, s); err != nil {
		return state, "", 0, err
	}
	return n.replica.state, id, n.replica.applied, nil
}

// Import makes a cluster with a state. There must be none yet.
func Import(ctx context.Context, c Config, state cluster.State) error {
	c = c.withDefaults()
	s, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer s.close()
	if err := c.make(ctx, s, state); errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("zookeeper has a cluster at %s already; give another root, or delete it", c.path(s))
	} else if err != nil {
		return c.explain(err)
	}
	return nil
}

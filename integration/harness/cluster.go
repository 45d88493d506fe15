package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"canalgo/status"
)

// ClusterToken is the token of every Cluster. Tests plant it: it must not be seen anywhere.
const ClusterToken = "planted-cluster-token"

// A Cluster is some nodes of one cluster, each with a folder below Dir. Its methods are for one goroutine.
type Cluster struct {
	Dir   string
	Nodes []*Node // those that belong to it, whether they run or not
	made  int
}

// NewCluster makes count nodes. The first one has the sections in its file and makes the cluster; the others are told to join it
// and nothing else. Nothing runs yet.
func NewCluster(dir string, count int, sections string) (*Cluster, error) {
	c := &Cluster{Dir: dir, made: 1}
	first, err := New(filepath.Join(dir, "n1"), fmt.Sprintf("[cluster]\ntoken = %q\n\n%s", ClusterToken, sections))
	if err != nil {
		return nil, err
	}
	c.Nodes = []*Node{first}
	for len(c.Nodes) < count {
		if _, err := c.Add(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Add makes a further node, which is not started.
func (c *Cluster) Add() (*Node, error) {
	var join []string
	for _, n := range c.Nodes {
		join = append(join, n.Port)
	}
	c.made++
	name := fmt.Sprintf("n%d", c.made)
	n, err := Joining(filepath.Join(c.Dir, name), name, ClusterToken, join...)
	if err == nil {
		c.Nodes = append(c.Nodes, n)
	}
	return n, err
}

// Forget takes a node off the list; it must not run.
func (c *Cluster) Forget(gone *Node) {
	var rest []*Node
	for _, n := range c.Nodes {
		if n != gone {
			rest = append(rest, n)
		}
	}
	c.Nodes = rest
}

// Start starts every node that does not run and waits until the cluster is whole.
func (c *Cluster) Start(ctx context.Context) error {
	for _, n := range c.Nodes {
		if n.PID() != 0 {
			continue
		}
		if err := n.Start(); err != nil {
			return err
		}
		if n == c.Nodes[0] { // the others find a cluster at once
			if err := n.WaitReady(ctx); err != nil {
				return err
			}
		}
	}
	return c.WaitWhole(ctx)
}

// Kill ends every node that runs by kill -9.
func (c *Cluster) Kill() error {
	var errs []error
	for _, n := range c.Nodes {
		if n.PID() != 0 {
			errs = append(errs, n.Kill())
		}
	}
	return errors.Join(errs...)
}

// WaitWhole waits until every node is a member that votes and works, and each duty is done by one of them.
func (c *Cluster) WaitWhole(ctx context.Context) error {
	_, err := c.Wait(ctx, "a cluster in which all work", func(r status.Report) bool { return Whole(r, len(c.Nodes)) })
	return err
}

// Whole reports whether a cluster of that many nodes has them all at work, and each duty is done by one of them.
func Whole(r status.Report, nodes int) bool {
	for _, n := range r.Nodes {
		if n.State != status.NodeWorks || !n.Votes {
			return false
		}
	}
	for _, d := range r.Duties {
		if d.Node == "" || d.Stage == status.Waiting {
			return false
		}
	}
	return r.Leader != "" && len(r.Nodes) == nodes && len(r.Duties) > 0
}

// Wait asks a node that runs for the status until it is as it should be.
func (c *Cluster) Wait(ctx context.Context, what string, is func(status.Report) bool) (status.Report, error) {
	var report status.Report
	err := Poll(ctx, func() (err error) {
		if report, err = c.Status(ctx); err == nil && !is(report) {
			err = fmt.Errorf("not yet: %+v", report)
		}
		return err
	})
	if err != nil {
		return report, fmt.Errorf("wait for %s: %w", what, err)
	}
	return report, nil
}

// Status asks the first node that answers and has a leader.
func (c *Cluster) Status(ctx context.Context) (status.Report, error) {
	err := errors.New("no node runs")
	for _, n := range c.Nodes {
		if n.PID() == 0 {
			continue
		}
		report, asked := n.Status(ctx)
		if asked == nil && report.Leader != "" {
			return report, nil
		}
		if err = asked; err == nil {
			err = fmt.Errorf("%s knows no leader", n.Name)
		}
	}
	return status.Report{}, err
}

// Leader waits for a leader that runs and returns it.
func (c *Cluster) Leader(ctx context.Context) (*Node, error) {
	return c.find(ctx, "a leader", func(r status.Report) string { return r.Leader })
}

// Holder waits until a node that runs does a duty and returns it.
func (c *Cluster) Holder(ctx context.Context, duty string) (*Node, error) {
	return c.find(ctx, "a node that does "+duty, func(r status.Report) string {
		d, _ := r.Duty(duty)
		return d.Node
	})
}

func (c *Cluster) find(ctx context.Context, what string, name func(status.Report) string) (*Node, error) {
	var found *Node
	_, err := c.Wait(ctx, what, func(r status.Report) bool {
		found = c.Node(name(r))
		return found != nil && found.PID() != 0
	})
	return found, err
}

// Node returns the node of that name, nil when there is none.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Wipe removes a node's data folder; it must not run.
func (n *Node) Wipe() error { return os.RemoveAll(n.Data()) }

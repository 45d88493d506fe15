package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"canalgo/integration/component"
	"canalgo/status"
)

// ClusterToken is the token of every Cluster.
const ClusterToken = component.Planted + "cluster-token"

// A Cluster is some nodes of one cluster, each with a folder below Dir. Its methods are for one goroutine, but Status is for
// several.
type Cluster struct {
	Dir   string
	Nodes []*Node // those that belong to it, whether they run or not
	made  int
	place func(number int) *Place
	file  func(number int) (string, error) // of a node that has one instead of being told to join; nil

	mu sync.Mutex // of Nodes, for Status
}

// NewCluster makes count nodes. The first one has the sections in its file and makes the cluster; the others are told to join it
// and nothing else. Nothing runs yet.
func NewCluster(dir string, count int, sections string) (*Cluster, error) {
	return NewClusterAt(dir, count, sections, func(int) *Place { return nil })
}

// NewClusterAt is NewCluster on other hosts: place says where the node of each number, from 1, runs.
func NewClusterAt(dir string, count int, sections string, place func(number int) *Place) (*Cluster, error) {
	c := &Cluster{Dir: dir, made: 1, place: place}
	first, err := newFirst(filepath.Join(dir, "n1"), fmt.Sprintf("[cluster]\ntoken = %q\n\n%s", ClusterToken, sections), place(1))
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

// NewZooKeeper makes count nodes that find each other in an ensemble. Each has a file with the sections, for nobody knows who is first
// and makes the cluster; coordination says the section [coordination] of the node of each number, from 1. Nothing runs yet.
func NewZooKeeper(dir string, count int, sections string, coordination func(number int) (string, error), place func(number int) *Place) (*Cluster, error) {
	c := &Cluster{Dir: dir, place: place, file: func(number int) (string, error) {
		section, err := coordination(number)
		return fmt.Sprintf("[cluster]\ntoken = %q\n\n%s", ClusterToken, section+sections), err
	}}
	for len(c.Nodes) < count {
		if _, err := c.Add(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Add makes a further node, which is not started.
func (c *Cluster) Add() (*Node, error) {
	if c.file != nil {
		c.made++
		name := fmt.Sprintf("n%d", c.made)
		text, err := c.file(c.made)
		if err != nil {
			return nil, err
		}
		n, err := newWithFile(filepath.Join(c.Dir, name), name, text, c.place(c.made))
		if err == nil {
			c.set(append(slices.Clone(c.Nodes), n))
		}
		return n, err
	}
	var join []string
	for _, n := range c.Nodes {
		join = append(join, n.Address)
	}
	c.made++
	name := fmt.Sprintf("n%d", c.made)
	n, err := newJoining(filepath.Join(c.Dir, name), name, ClusterToken, c.place(c.made), join...)
	if err == nil {
		c.set(append(slices.Clone(c.Nodes), n))
	}
	return n, err
}

func (c *Cluster) set(nodes []*Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Nodes = nodes
}

func (c *Cluster) nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Nodes
}

// NewSame makes count nodes that are all given the same file, which names all of them and the token. Which host each is, flags
// say. Nothing runs yet.
func NewSame(dir string, count int, sections string) (*Cluster, error) {
	c := &Cluster{Dir: dir, place: func(int) *Place { return nil }}
	var join []string
	for c.made < count {
		c.made++
		name := fmt.Sprintf("n%d", c.made)
		n, err := newJoining(filepath.Join(dir, name), name, "", nil)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, n)
		join = append(join, strconv.Quote(n.Port))
	}
	file := filepath.Join(dir, "config.toml")
	for _, n := range c.Nodes {
		n.env = nil
		n.args = []string{"-config", file, "-id", n.Name, "-data", n.Data(), "-http", n.HTTP, "-listen", n.Port}
	}
	text := fmt.Sprintf("[cluster]\njoin = [%s]\ntoken = %q\n\n%s", strings.Join(join, ", "), ClusterToken, sections)
	return c, os.WriteFile(file, []byte(text), 0o600)
}

// Forget takes a node off the list; it must not run.
func (c *Cluster) Forget(gone *Node) {
	var rest []*Node
	for _, n := range c.Nodes {
		if n != gone {
			rest = append(rest, n)
		}
	}
	c.set(rest)
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

// SameState reports whether that many nodes have the same state at the same place of the log.
func SameState(r status.Report, nodes int) bool {
	for _, n := range r.Nodes {
		if n.Applied != r.Nodes[0].Applied || n.StateHash != r.Nodes[0].StateHash {
			return false
		}
	}
	return len(r.Nodes) == nodes
}

// Wait asks a node that runs for the status until it is as it should be. The error says how it was last.
func (c *Cluster) Wait(ctx context.Context, what string, is func(status.Report) bool) (status.Report, error) {
	var report status.Report
	var wrong error
	err := Poll(ctx, func() error {
		r, err := c.Status(ctx)
		switch {
		case err == nil && is(r):
			report, wrong = r, nil
			return nil
		case err == nil:
			report, wrong = r, fmt.Errorf("not yet: %+v", r)
		case ctx.Err() == nil || wrong == nil:
			wrong = err
		}
		return wrong
	})
	if err != nil {
		return report, fmt.Errorf("wait for %s: %w", what, errors.Join(ctx.Err(), wrong))
	}
	return report, nil
}

// Status asks the first node that answers and has a leader.
func (c *Cluster) Status(ctx context.Context) (status.Report, error) {
	err := errors.New("no node runs")
	for _, n := range c.nodes() {
		if n.PID() == 0 || n.paused.Load() {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, askTime)
		report, asked := n.Status(asking)
		cancel()
		if asked == nil && report.Leader != "" {
			return report, nil
		}
		if err = asked; err == nil {
			err = fmt.Errorf("%s knows no leader", n.Name)
		}
	}
	return status.Report{}, err
}

// askTime is how long a node may take to answer; it waits 1 s for the others.
const askTime = 3 * time.Second

// Command is Node.Command at the first node that runs.
func (c *Cluster) Command(ctx context.Context, args ...string) (Output, error) {
	for _, n := range c.Nodes {
		if n.PID() != 0 && !n.paused.Load() {
			return n.Command(ctx, args...)
		}
	}
	return Output{}, errors.New("no node runs")
}

// LogTail returns the last lines that each node printed.
func (c *Cluster) LogTail(lines int) string {
	var b strings.Builder
	for _, n := range c.nodes() {
		fmt.Fprintf(&b, "%s:\n%s\n", n.Name, n.LogTail(lines))
	}
	return b.String()
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

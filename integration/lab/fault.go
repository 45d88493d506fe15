package lab

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"canalgo/integration/harness"
	"canalgo/status"
)

// A Target says which node, as things stand when the fault is made.
type Target string

// The targets.
const (
	Leader Target = "leader"
	Worker Target = "worker" // one that has a duty and does not lead, if there is one
	Any    Target = "any"
)

// A kind is a kind of fault.
type kind struct {
	name              string
	rows              string // of the fault matrix
	targets           []Target
	shortest, longest time.Duration
	weight            int      // how often it is drawn
	takes             []string // what it has in its hands while it lasts
	make              func(ctx context.Context, f *fault) error
}

func kindOf(name string) (kind, bool) {
	all := kindsOf(ZooKeeper)
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

// kindsOf returns what can happen to a cluster of a mode.
func kindsOf(m Mode) []kind {
	if m == ZooKeeper {
		return slices.Concat(kinds, keeperKinds)
	}
	return kinds
}

// Kinds names all kinds of faults of a mode.
func Kinds(m Mode) []string {
	var names []string
	for _, k := range kindsOf(m) {
		names = append(names, k.name)
	}
	return names
}

// MatrixRows names the rows of the fault matrix that a kind makes, "" when there is no such kind.
func MatrixRows(name string) string {
	k, _ := kindOf(name)
	return k.rows
}

// MakeAt returns a fault of a kind, for the target where the kind has a choice.
func MakeAt(name string, target Target) Event {
	return Event{Length: time.Second, Fault: name, Target: target}
}

// Kill ends a node by kill -9, and starts it again.
func Kill(target Target) Event { return MakeAt("kill", target) }

// A fault is an event that happens.
type fault struct {
	*trial
	event Event
	held  []string
	heals []func() error // run in the opposite order
}

// heal has something done when the fault is over.
func (f *fault) heal(how func() error) { f.heals = append(f.heals, how) }

// healWithin is heal for what may take some time.
func (f *fault) healWithin(d time.Duration, how func(context.Context) error) {
	f.heal(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return how(ctx)
	})
}

// take takes all of something into this fault's hands, or nothing.
func (f *fault) take(things ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(things, func(thing string) bool { return f.taken[thing] }) {
		return errTaken
	}
	for _, thing := range things {
		f.taken[thing] = true
		f.held = append(f.held, thing)
	}
	return nil
}

func (f *fault) give() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, thing := range f.held {
		delete(f.taken, thing)
	}
}

// pick chooses the target's node.
func (f *fault) pick() *harness.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := func(*harness.Node) bool { return true }
	switch f.event.Target {
	case Leader:
		wanted = func(n *harness.Node) bool { return n.Name == f.report.Leader }
	case Worker:
		wanted = func(n *harness.Node) bool {
			return n.Name != f.report.Leader && slices.ContainsFunc(f.report.Duties, func(d status.Duty) bool { return d.Node == n.Name })
		}
	}
	some := slices.DeleteFunc(slices.Clone(f.nodes), func(n *harness.Node) bool { return !wanted(n) })
	if len(some) == 0 {
		some = f.nodes
	}
	return some[f.random.IntN(len(some))]
}

// process picks the target and takes its process, which must run.
func (f *fault) process() (*harness.Node, error) {
	n := f.pick()
	return n, f.takeProcess(n)
}

func (f *fault) takeProcess(n *harness.Node) error {
	if err := f.take("process " + n.Name); err != nil {
		return err
	}
	select {
	case <-n.Ended(): // by itself, for which another fault is the excuse, or none
		return errTaken
	default:
		return nil
	}
}

// host picks the target and takes one of its host's ways; number is the host's.
func (f *fault) host(way string) (n *harness.Node, number int, err error) {
	n = f.pick()
	return n, f.hostNumber(n), f.take(way + " " + n.Name)
}

// hostNumber is the number of a node's host.
func (t *trial) hostNumber(n *harness.Node) int {
	return slices.Index(t.nodes, n) + 1
}

// excuse lets a node end by itself.
func (f *fault) excuse(n *harness.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.excused[n] = true
}

// touch notes that requests of a node that were begun in time may arrive late from now on.
func (f *fault) touch(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched[name] = true
}

// chance draws whether something happens that has n chances of 100.
func (f *fault) chance(n int) bool { return f.draw(100) < n }

func (f *fault) draw(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.IntN(n)
}

// repeat does something again and again until the fault is over.
func (f *fault) repeat(ctx context.Context, every time.Duration, do func() error) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil && sleep(ctx, every) {
			err = do()
		}
		done <- err
	}()
	f.heal(func() error {
		stop()
		return <-done
	})
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		panic(fmt.Sprintf("%q is no HOST:PORT", address))
	}
	return host
}

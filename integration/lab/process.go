package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"canalgo/integration/harness"
	"canalgo/status"
)

// end ends a node's process by kill -9, notes whether it was writing, and starts it again when the fault is over.
func (f *fault) end(n *harness.Node) error {
	writing := f.elastic.InFlight(hostOf(n.HTTP)) > 0
	f.mu.Lock()
	f.outcome.Kills++
	if writing {
		f.outcome.InFlight++
	}
	f.mu.Unlock()
	err := n.Kill()
	f.heal(n.Start)
	return err
}

func kill(_ context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	return f.end(n)
}

// killMidWrite holds the node's bulks back and kills it when one is under way, which arrives after its sender's death.
func killMidWrite(ctx context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	if !f.awaitWrites(ctx, n) {
		return errTaken // it has nothing to write now: kill kills such a node
	}
	return f.end(n)
}

// awaitWrites holds the nodes' bulks back, and reports whether each has one under way; one may have nothing to write.
func (f *fault) awaitWrites(ctx context.Context, nodes ...*harness.Node) bool {
	for _, n := range nodes {
		f.holdBulks(hostOf(n.HTTP), 300*ms+time.Duration(f.draw(1200))*ms)
	}
	waiting, cancel := context.WithTimeout(ctx, sec)
	defer cancel()
	return harness.Poll(waiting, func() error {
		for _, n := range nodes {
			if f.elastic.InFlight(hostOf(n.HTTP)) == 0 {
				return errors.New("no bulk is under way")
			}
		}
		return nil
	}) == nil
}

// holdBulks keeps each bulk of a host back for some time, until the fault is over.
func (f *fault) holdBulks(host string, d time.Duration) {
	set := func(d time.Duration) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.straggle[host] = d
	}
	set(d)
	f.heal(func() error { set(0); return nil })
}

func killTwo(ctx context.Context, f *fault) error {
	first, second := f.nodes[f.draw(len(f.nodes))], f.nodes[f.draw(len(f.nodes))]
	f.awaitWrites(ctx, first, second)
	return f.endAll(first, second)
}

func killAll(ctx context.Context, f *fault) error {
	f.awaitWrites(ctx, f.nodes...)
	return f.endAll(f.nodes...)
}

// endAll ends those of some nodes whose processes can be taken.
func (f *fault) endAll(nodes ...*harness.Node) error {
	for _, n := range nodes {
		if err := f.takeProcess(n); err != nil {
			continue // the others
		}
		if err := f.end(n); err != nil {
			return err
		}
	}
	if f.heals == nil {
		return errTaken
	}
	return nil
}

func pause(_ context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	f.touch(n.Name)
	f.heal(n.Continue)
	return n.Pause()
}

// stop stops a node in order.
func stop(_ context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	began := time.Now()
	f.heal(n.Start)
	if err := n.Stop(); err != nil {
		return err
	}
	if took := time.Since(began); took > stopTime {
		f.violate("%s took %s to stop", n.Name, took.Round(ms))
	}
	return nil
}

// stopTime is how long a node may take to stop: 5 s, and what a loaded machine adds.
const stopTime = 7 * sec

func (f *fault) violate(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outcome.violate(format, args...)
}

// group puts a node's process into a control group of its own until the fault is over, and returns the group's folder.
func (f *fault) group(controller string, n *harness.Node) (string, error) {
	root := filepath.Join("/sys/fs/cgroup", controller)
	dir := filepath.Join(root, fmt.Sprintf("canalgo-lab-%d-%s", os.Getpid(), n.Name))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	pid := n.PID()
	f.healWithin(5*sec, func(ctx context.Context) error {
		if n.PID() == pid { // a process that has ended is in no group
			_ = write(filepath.Join(root, "cgroup.procs"), pid)
		}
		return harness.Poll(ctx, func() error { return os.Remove(dir) })
	})
	return dir, write(filepath.Join(dir, "cgroup.procs"), pid)
}

func write(path string, number int) error {
	return os.WriteFile(path, []byte(strconv.Itoa(number)), 0o644)
}

// starve leaves a node 5 % of a CPU.
func starve(_ context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	f.touch(n.Name)
	dir, err := f.group("cpu", n)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "cpu.cfs_quota_us"), 5000) // of 100,000
}

// limitMemory leaves a node hardly more memory than it has. The kernel may end it.
func limitMemory(_ context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	dir, err := f.group("memory", n)
	if err != nil {
		return err
	}
	f.excuse(n)
	f.touch(n.Name)
	limit := 8<<20 + f.draw(24<<20) // what it took before it came into the group is not counted
	return write(filepath.Join(dir, "memory.limit_in_bytes"), limit)
}

// limitFiles leaves a node no descriptor beyond those that it has and a few.
func limitFiles(_ context.Context, f *fault) error {
	n, err := f.process()
	if err != nil {
		return err
	}
	pid := n.PID()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return err
	}
	few := unix.Rlimit{Cur: uint64(len(open) + f.draw(3)), Max: before.Max}
	f.excuse(n)
	f.heal(func() error {
		if n.PID() != pid {
			return nil
		}
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		return nil
	})
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil)
}

// member adds a node, which is told to leave when the fault is over.
func member(ctx context.Context, f *fault) error {
	n, err := f.cluster.Add()
	if err != nil {
		return err
	}
	f.healWithin(patience, func(ctx context.Context) error {
		if err := f.leave(ctx, n); err != nil {
			f.violate("%s cannot leave: %v; the end of its log:\n%s", n.Name, err, n.LogTail(10))
		}
		_ = n.Kill() // it says that it has ended by itself
		f.cluster.Forget(n)
		return nil
	})
	return n.Start()
}

// leave has a node leave the cluster; until there is a leader that lets it go, it is told again. It may end without having left.
func (f *fault) leave(ctx context.Context, n *harness.Node) error {
	return harness.Poll(ctx, func() error {
		select {
		case <-n.Ended():
			return nil
		default:
		}
		asking, cancel := context.WithTimeout(ctx, 3*sec)
		defer cancel()
		return errors.Join(answered(n.Command(asking, "leave")), errors.New("it has not ended"))
	})
}

// removeStrangers takes those out as an operator would who are gone and still are members: the cluster has taken them in only when
// they had been told to leave, or nobody could let them go.
func (t *trial) removeStrangers(ctx context.Context, r status.Report) error {
	for _, member := range r.Nodes {
		if t.cluster.Node(member.Name) == nil {
			if err := answered(t.cluster.Command(ctx, "remove", member.Name)); err != nil {
				return fmt.Errorf("remove %s: %w", member.Name, err)
			}
		}
	}
	return nil
}

// answered returns the error of a command.
func answered(out harness.Output, err error) error {
	if err == nil && out.Code != 0 {
		err = errors.New(strings.TrimSpace(out.Stderr))
	}
	return err
}

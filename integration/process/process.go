// Package process runs one program as a child that can be ended, killed, paused and started again, and that never
// outlives the program that started it.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is a program that runs at most once at a time. The exported fields are set before the first Start; the
// methods may be called from several goroutines.
type Process struct {
	Name    string                          // for errors
	Log     string                          // path of the file that takes its output, appended to
	Command func() *exec.Cmd                // a new one for each start
	Ready   func(ctx context.Context) error // nil once it answers; tried again and again

	mu   sync.Mutex
	cmd  *exec.Cmd     // nil when it was ended by us
	last *exec.Cmd     // started last
	done chan struct{} // closed when last has ended
}

// Start starts the program and waits until it answers or ctx ends; then it is killed.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Spawn(); err != nil {
		return err
	}
	done := p.Ended()
	var last error
	for {
		if last = p.Ready(ctx); last == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("start %s: it ended at once; the end of %s:\n%s", p.Name, p.Log, Tail(p.Log, 30))
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("start %s: %w: %w; the end of %s:\n%s", p.Name, ctx.Err(), last, p.Log, Tail(p.Log, 30))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Spawn is Start without waiting for anything.
func (p *Process) Spawn() error {
	if err := p.spawn(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	return nil
}

func (p *Process) spawn() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		select {
		case <-p.done: // it ended by itself
		default:
			return errors.New("it is running")
		}
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.Command()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // the interrupt key is for us; we end the server in order

	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, not the process, so the thread waits with us.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is told by its log
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.last, p.done = cmd, cmd, done
	return nil
}

// Signal sends sig to the process if it runs.
func (p *Process) Signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s is not running", p.Name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, p.Name, err)
	}
	return nil
}

// Stop asks the process to end and waits; after a minute it is killed, which is an error, as it is when it had ended by
// itself. Without a process it does nothing.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

// Kill ends the process without a chance to clean up and waits until it is gone. Errors are those of Stop.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

func (p *Process) end(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		<-p.done
		p.cmd = nil
		return fmt.Errorf("send %v to %s: it had ended by itself; the end of %s:\n%s", sig, p.Name, p.Log, Tail(p.Log, 20))
	}
	if err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, p.Name, err)
	}
	p.cmd.Process.Signal(syscall.SIGCONT) // a paused process would not see the signal
	select {
	case <-p.done:
		p.cmd = nil
		return nil
	case <-time.After(time.Minute):
	}
	p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
	return fmt.Errorf("%s did not end within a minute of %v and was killed", p.Name, sig)
}

// PID is the process id, 0 when it was stopped, killed or never started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Ended returns a channel that is closed when the process that was started last has ended, and nil when there is none.
func (p *Process) Ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// ExitCode is the exit code of the process that ended last, -1 when a signal ended it or while it runs.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return -1
	}
	select {
	case <-p.done:
		return p.last.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Tail returns the last lines of a file, or why it cannot be read, for an error message.
func Tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

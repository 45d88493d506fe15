package component

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A process is one server process that can be started again. Its methods may be called from several goroutines.
type process struct {
	name    string
	log     string // path of the file that takes its output
	command func() *exec.Cmd
	ready   func(ctx context.Context) error // nil once the server answers; tried again and again

	mu   sync.Mutex
	cmd  *exec.Cmd     // nil while nothing runs
	done chan struct{} // closed when cmd has ended
}

// start starts the process and waits until it answers or ctx ends.
func (p *process) start(ctx context.Context) error {
	done, err := p.spawn()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	var last error
	for {
		if last = p.ready(ctx); last == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("start %s: it ended at once; the end of %s:\n%s", p.name, p.log, tail(p.log, 30))
		case <-ctx.Done():
			p.kill()
			return fmt.Errorf("start %s: %w: %w; the end of %s:\n%s", p.name, ctx.Err(), last, p.log, tail(p.log, 30))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// spawn starts the process without waiting for its answer.
func (p *process) spawn() (done chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		select {
		case <-p.done: // it ended by itself
		default:
			return nil, errors.New("it is running")
		}
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // the interrupt key is for us; we end the server in order

	started := make(chan error, 1)
	done = make(chan struct{})
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
		return nil, err
	}
	p.cmd, p.done = cmd, done
	return done, nil
}

// signal sends sig to the process if it runs.
func (p *process) signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s is not running", p.name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// stop asks the process to end and waits; after a minute it is killed. Without a process it does nothing.
func (p *process) stop() error { return p.end(syscall.SIGTERM) }

// kill ends the process without a chance to clean up and waits until it is gone.
func (p *process) kill() error { return p.end(syscall.SIGKILL) }

func (p *process) end(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	select {
	case <-p.done:
		p.cmd = nil
		return nil
	case <-time.After(time.Minute):
	}
	p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
	return fmt.Errorf("%s did not end within a minute of %v and was killed", p.name, sig)
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

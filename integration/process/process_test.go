package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"canalgo/integration/process"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// shell makes a process of a script that is ready when the file ready is in its folder.
func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	dir := t.TempDir()
	p := &process.Process{
		Name: "script",
		Log:  filepath.Join(dir, "log"),
		Command: func() *exec.Cmd {
			os.Remove(filepath.Join(dir, "ready")) // of an earlier run
			cmd := exec.Command("sh", "-c", script)
			cmd.Dir = dir
			return cmd
		},
		Ready: func(context.Context) error {
			_, err := os.Stat(filepath.Join(dir, "ready"))
			return err
		},
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

func TestStopAndStartAgain(t *testing.T) {
	p := shell(t, `trap "exit 7" TERM; echo up; touch ready; while :; do sleep 0.01; done`)
	for range 2 {
		if err := p.Start(soon(t)); err != nil {
			t.Fatal(err)
		}
		if p.PID() == 0 || p.ExitCode() != -1 {
			t.Errorf("running: pid %d, exit code %d", p.PID(), p.ExitCode())
		}
		if err := p.Spawn(); err == nil {
			t.Error("it was started twice")
		}
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		if p.PID() != 0 || p.ExitCode() != 7 {
			t.Errorf("stopped: pid %d, exit code %d, want 7", p.PID(), p.ExitCode())
		}
	}
	if got := process.Tail(p.Log, 5); got != "up\nup" {
		t.Errorf("log %q, want both runs", got)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stop without a process: %v", err)
	}
}

func TestStopEndsAPausedProcess(t *testing.T) {
	p := shell(t, `trap "exit 7" TERM; touch ready; while :; do sleep 0.01; done`)
	if err := p.Start(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Stop() }()
	select {
	case err := <-done:
		if err != nil || p.ExitCode() != 7 {
			t.Errorf("%v, exit code %d", err, p.ExitCode())
		}
	case <-soon(t).Done():
		t.Fatal("a paused process was not ended")
	}
}

func TestEndedByItself(t *testing.T) {
	p := shell(t, `echo the reason; exit 3`)
	err := p.Start(soon(t))
	if err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("start: %v, want the log's end", err)
	}
	if p.ExitCode() != 3 {
		t.Errorf("exit code %d, want 3", p.ExitCode())
	}
	if err := p.Kill(); err == nil || !strings.Contains(err.Error(), "by itself") {
		t.Errorf("kill: %v, want that it had ended", err)
	}
}

func TestStartGivesUp(t *testing.T) {
	p := shell(t, `sleep 100`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("start: %v, want a deadline", err)
	}
	select {
	case <-p.Ended():
	case <-soon(t).Done():
		t.Error("the process is still there")
	}
}

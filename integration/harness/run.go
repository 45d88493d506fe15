// Package harness runs the canalgo binary as its users do: from a file, as a process of its own, asked over its HTTP port
// and by its commands.
package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"canalgo/status"
)

// Binary names the program that `make build` made: CANALGO_BINARY, or canalgo at the root of the module that the working
// directory lies in.
func Binary() (string, error) {
	if path := os.Getenv("CANALGO_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the binary: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the binary: there is no go.mod here or above; set CANALGO_BINARY")
		}
		dir = parent
	}
	path := filepath.Join(dir, "canalgo")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the binary: %w; make build makes it", err)
	}
	return path, nil
}

// A Node is one canalgo with its folder. Its methods may be called from several goroutines.
type Node struct {
	Dir  string // holds config.toml, data and canalgo.log
	HTTP string // host:port, the same over restarts

	binary string
	client *http.Client

	mu   sync.Mutex
	cmd  *exec.Cmd     // nil while nothing runs
	done chan struct{} // closed when cmd has ended
}

// New writes dir/config.toml: sections, which must not hold [node], behind a [node] with a data folder below dir and a free
// loopback port. Nothing runs yet.
func New(dir, sections string) (*Node, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	n := &Node{Dir: dir, HTTP: l.Addr().String(), binary: binary, client: &http.Client{Timeout: 5 * time.Second}}
	return n, n.Configure(sections)
}

// Configure writes the file again; a node that runs does not look at it.
func (n *Node) Configure(sections string) error {
	text := fmt.Sprintf("[node]\nname = \"n1\"\ndata = %q\nhttp = %q\n\n%s\n", n.Data(), n.HTTP, sections)
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return os.WriteFile(n.Config(), []byte(text), 0o600)
}

// Config names the node's file.
func (n *Node) Config() string { return filepath.Join(n.Dir, "config.toml") }

// Data names the node's data folder.
func (n *Node) Data() string { return filepath.Join(n.Dir, "data") }

// LogFile names the file that takes everything that the process prints.
func (n *Node) LogFile() string { return filepath.Join(n.Dir, "canalgo.log") }

// Start starts the process. It does not wait for anything.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return errors.New("start canalgo: it is running")
	}
	log, err := os.OpenFile(n.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start canalgo: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(n.binary, "-config", n.Config())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, so it stays with the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its log tells how it ended
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start canalgo: %w", err)
	}
	n.cmd, n.done = cmd, done
	return nil
}

// Kill ends the process by kill -9 and waits until it is gone.
func (n *Node) Kill() error { return n.end(syscall.SIGKILL) }

// Stop ends the process in order and waits until it is gone; it is killed after half a minute, which is an error.
func (n *Node) Stop() error { return n.end(syscall.SIGTERM) }

func (n *Node) end(sig os.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil
	}
	err := n.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		err = errors.New("it had ended by itself")
	}
	select {
	case <-n.done:
	case <-time.After(30 * time.Second):
		err = errors.Join(errors.New("it was still there after 30 s and was killed"), n.cmd.Process.Kill())
		<-n.done
	}
	n.cmd = nil
	if err != nil {
		return fmt.Errorf("send %v to canalgo: %w; the end of its log:\n%s", sig, err, n.LogTail(20))
	}
	return nil
}

// PID is the process's id, 0 while it does not run.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// LogTail returns the last lines that the process printed.
func (n *Node) LogTail(lines int) string {
	data, err := os.ReadFile(n.LogFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Status asks for the report.
func (n *Node) Status(ctx context.Context) (status.Report, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+"/status", nil)
	if err != nil {
		return status.Report{}, err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return status.Report{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return status.Report{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return status.Report{}, fmt.Errorf("GET /status: %d %.200s", resp.StatusCode, data)
	}
	var report status.Report
	if err := json.Unmarshal(data, &report); err != nil {
		return status.Report{}, fmt.Errorf("GET /status: %w", err)
	}
	return report, nil
}

// Output is what a command printed, and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Command runs another process of the binary, such as `status -json`, with the node's address in the environment, until it
// ends or ctx does.
func (n *Node) Command(ctx context.Context, args ...string) (Output, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, n.binary, args...)
	cmd.Dir = n.Dir
	cmd.Env = append(os.Environ(), "CANALGO_HTTP="+n.HTTP)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return out, fmt.Errorf("canalgo %s: %w", strings.Join(args, " "), ctx.Err())
	}
	if err != nil && !errors.As(err, &exit) {
		return out, fmt.Errorf("canalgo %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// Poll calls check every 20 ms until it returns nil or ctx ends; the error is then check's last one.
func Poll(ctx context.Context, check func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

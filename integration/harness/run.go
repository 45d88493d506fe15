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
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"canalgo/integration/process"
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
	Name string
	Dir  string // holds config.toml, data and canalgo.log
	HTTP string // host:port, the same over restarts
	Port string // host:port of the node port, the same over restarts

	Address string // host:port at which other nodes reach Port

	// Extra are arguments for the next start beside those that it has always.
	Extra []string

	// Binary is the program that the next start and the next command run: that of Binary, when no other is given.
	Binary string

	within []string // the command that runs the binary, before its own
	args   []string // that it is started with
	always []string // further ones
	listen string   // host:port that HTTP is answered at; all addresses on a host of its own
	local  string   // host:port for commands, which are answered on the node's own host only
	env    []string // beside those of this process
	client *http.Client
	paused atomic.Bool

	process process.Process
}

// New writes dir/config.toml: sections, which must not hold [node], behind a [node] with a data folder below dir and free
// loopback ports. Nothing runs yet.
func New(dir, sections string) (*Node, error) { return newFirst(dir, sections, nil) }

func newFirst(dir, sections string, at *Place) (*Node, error) {
	return newWithFile(dir, "n1", sections, at)
}

func newWithFile(dir, name, sections string, at *Place) (*Node, error) {
	n, err := newNode(dir, name, at)
	if err != nil {
		return nil, err
	}
	n.args = []string{"-config", n.Config()}
	return n, n.Configure(sections)
}

// Joining returns a node that joins a cluster and is told nothing but that. Nothing runs yet.
func Joining(dir, name, token string, join ...string) (*Node, error) {
	return newJoining(dir, name, token, nil, join...)
}

func newJoining(dir, name, token string, at *Place, join ...string) (*Node, error) {
	n, err := newNode(dir, name, at)
	if err != nil {
		return nil, err
	}
	n.args = []string{"-join", strings.Join(join, ","), "-id", name, "-data", n.Data(), "-http", n.listen, "-listen", n.Port}
	n.env = []string{"CANALGO_TOKEN=" + token}
	return n, os.MkdirAll(dir, 0o755)
}

// A Place is where a node runs, when that is not this host's loopback.
type Place struct {
	HTTP, Port string   // HOST:PORT
	Advertise  string   // HOST:PORT at which the other nodes are told to reach Port; "" is Port itself
	Within     []string // the command that runs the binary there, before the binary's own
}

func newNode(dir, name string, at *Place) (*Node, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	if at == nil {
		ports, err := FreeAddresses(2)
		if err != nil {
			return nil, err
		}
		at = &Place{HTTP: ports[0], Port: ports[1]}
	}
	n := &Node{Name: name, Dir: dir, HTTP: at.HTTP, Port: at.Port, Address: at.Port, Binary: binary, within: at.Within, client: &http.Client{Timeout: 5 * time.Second}}
	n.listen, n.local = n.HTTP, n.HTTP
	if at.Within != nil {
		_, port, err := net.SplitHostPort(at.HTTP)
		if err != nil {
			return nil, err
		}
		n.listen, n.local = "0.0.0.0:"+port, "127.0.0.1:"+port
	}
	if at.Advertise != "" {
		n.Address, n.always = at.Advertise, []string{"-advertise", at.Advertise}
	}
	n.process = process.Process{
		Name: "canalgo " + name,
		Log:  n.LogFile(),
		Command: func() *exec.Cmd {
			argv := slices.Concat(n.within, []string{n.Binary}, n.args, n.always, n.Extra)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir = n.Dir
			cmd.Env = append(os.Environ(), n.env...)
			return cmd
		},
	}
	return n, nil
}

// FreeAddresses finds HOST:PORT on loopback at which nobody listens.
func FreeAddresses(count int) ([]string, error) {
	var addresses []string
	for range count {
		port, err := process.FreePort()
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return addresses, nil
}

// Configure writes the file again; a node that runs does not look at it.
func (n *Node) Configure(sections string) error {
	text := fmt.Sprintf("[node]\nname = %q\ndata = %q\nhttp = %q\nlisten = %q\n\n%s\n", n.Name, n.Data(), n.listen, n.Port, sections)
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
	n.paused.Store(false)
	noteStart(n)
	return n.process.Spawn()
}

// Kill ends the process by kill -9 and waits until it is gone. One that had ended by itself is an error, one that was never
// started is none.
func (n *Node) Kill() error { return n.process.Kill() }

// Stop ends the process in order and waits until it is gone; it is killed after a minute, which is an error.
func (n *Node) Stop() error { return n.process.Stop() }

// Pause stops the process's clock until Continue.
func (n *Node) Pause() error {
	n.paused.Store(true)
	return n.process.Signal(syscall.SIGSTOP)
}

// Continue ends a Pause.
func (n *Node) Continue() error {
	n.paused.Store(false)
	return n.process.Signal(syscall.SIGCONT)
}

// PID is the process's id, 0 while it does not run.
func (n *Node) PID() int { return n.process.PID() }

// Ended returns a channel that is closed when the process has ended, by whatever cause.
func (n *Node) Ended() <-chan struct{} { return n.process.Ended() }

// ExitCode is the exit code of the process that ended last, -1 when a signal ended it or while it runs.
func (n *Node) ExitCode() int { return n.process.ExitCode() }

// LogTail returns the last lines that the process printed.
func (n *Node) LogTail(lines int) string { return process.Tail(n.LogFile(), lines) }

// Status asks for the report.
func (n *Node) Status(ctx context.Context) (status.Report, error) {
	data, err := n.Get(ctx, "/status")
	if err != nil {
		return status.Report{}, err
	}
	var report status.Report
	if err := json.Unmarshal(data, &report); err != nil {
		return status.Report{}, fmt.Errorf("GET /status: %w", err)
	}
	return report, nil
}

// Get returns the body of a path on the node's HTTP port; an answer other than 200, or with a secret in it, is an error.
func (n *Node) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %d %.300s", path, resp.StatusCode, data)
	}
	return data, clean("GET "+path, data)
}

// Output is what a command printed, and how it ended.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Command runs another process of the binary, such as `status -json`, with the node's address in the environment, until it
// ends or ctx does. A secret in what it prints is an error.
func (n *Node) Command(ctx context.Context, args ...string) (Output, error) {
	var stdout, stderr bytes.Buffer
	argv := slices.Concat(n.within, []string{n.Binary}, args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = n.Dir
	cmd.Env = append(os.Environ(), "CANALGO_HTTP="+n.local)
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
	return out, clean("what canalgo "+strings.Join(args, " ")+" prints", []byte(out.Stdout+out.Stderr))
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

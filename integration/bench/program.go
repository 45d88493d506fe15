package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"canalgo/api"
	"canalgo/integration/bench/hole"
	"canalgo/integration/component"
)

// A program is one canalgo with a data folder of its own.
type program struct {
	began   time.Time // just before it was executed
	log     string    // path
	client  *api.Client
	process *os.Process
	ended   chan struct{} // closed when it has; err is set
	err     error
}

// A job says what a canalgo is to do.
type job struct {
	from  backlog
	start string // of the source
	load  string // of the mapping
	sink  string // URL
	index string
}

const configText = `[node]
name = "bench"
data = %q
http = %q

[source.shop]
addr = %q
user = %q
password = %q
schema = %q
start = %q

[sink.es]
type = "elasticsearch"
addresses = [%q]
replicas = 0

[mapping.bench]
source = "shop"
sink = "es"
load = %q
_index = %q
sql = %q
`

// run executes canalgo below a fresh folder.
func (b *bench) run(j job) (*program, error) {
	dir, err := os.MkdirTemp(b.dir, "canalgo-")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf(configText, filepath.Join(dir, "data"), address, b.db.Addr(), component.CanalgoUser, component.CanalgoPassword, schema,
		j.start, j.sink, j.load, j.index, j.from.sql)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	client, err := api.NewClient(address)
	if err != nil {
		return nil, err
	}
	p := &program{log: filepath.Join(dir, "log"), client: client, ended: make(chan struct{})}
	output, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(b.binary, "-config", config)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // the interrupt key is for us
	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, so it waits with us.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p.began = time.Now()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.process = cmd.Process
		started <- nil
		p.err = cmd.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start canalgo: %w", err)
	}
	return p, nil
}

// until waits for something that the program brings about, not longer than it lives. The error has the end of its log.
func (p *program) until(ctx context.Context, every time.Duration, done func(context.Context) (bool, error)) error {
	err := until(ctx, every, func(ctx context.Context) (bool, error) {
		select {
		case <-p.ended:
			return false, fmt.Errorf("canalgo ended: %w", p.err)
		default:
			return done(ctx)
		}
	})
	if err == nil {
		return nil
	}
	log, readErr := os.ReadFile(p.log)
	if readErr != nil {
		return err
	}
	lines := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	return fmt.Errorf("%w; the end of its log:\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

// stop ends the program in order, or after some seconds at once.
func (p *program) stop() error {
	if err := p.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop canalgo: %w", err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(10 * time.Second):
	}
	p.process.Kill()
	<-p.ended
	return errors.New("stop canalgo: it did not end within 10 s")
}

// A holeProcess is a hole in a process of its own, so that its CPU time is not canalgo's.
type holeProcess struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

func startHole() (*holeProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, holeCommand)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start hole: %w", err)
	}
	h := &holeProcess{cmd: cmd, stdin: stdin}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start hole: %w", err), h.stop())
	}
	h.url = "http://" + strings.TrimSpace(address)
	return h, nil
}

// documents returns how many the hole has taken.
func (h *holeProcess) documents(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url+hole.CountPath, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(text)))
}

func (h *holeProcess) stop() error {
	h.stdin.Close() // it ends by that
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("stop hole: %w", err)
	}
	return nil
}

// freeAddress returns a loopback address that nothing listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

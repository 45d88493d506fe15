package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/api"
	"canalgo/config"
	"canalgo/integration/bench/hole"
	"canalgo/integration/component"
	"canalgo/integration/harness"
)

// A program is a canalgo that runs, on one node or several, with data folders of its own.
type program struct {
	cluster *harness.Cluster
	client  *api.Client   // of the first node
	began   time.Time     // just before it was told what to do
	spent   time.Duration // CPU of all nodes before that
	led     time.Duration // of it, the first node's: with several nodes it leads
}

// A job says what a canalgo is to do.
type job struct {
	from  []backlog // a mapping for each; all of one server
	start string    // of the source
	load  string    // of the mappings
	sink  string    // URL
	index string    // of the first mapping; the others have a number behind it
	nodes int
}

// idle is what a cluster does before it gets its job: the first node, which leads, has this one duty.
const idleText = `
[source.idle]
addr = %q
user = %q
password = %q

[sink.es]
type = "elasticsearch"
addresses = [%q]
replicas = 0

[mapping.idle]
source = "idle"
sink = "es"
_index = "idle"
sql = "select i.id as _id from %s.idle i"
`

func (b *bench) idle(sink string) string {
	return fmt.Sprintf(idleText, b.db.Addr(), component.CanalgoUser, component.CanalgoPassword, sink, schema)
}

func (b *bench) sections(j job) string {
	var text strings.Builder
	fmt.Fprintf(&text, "\n[source.shop]\naddr = %q\nuser = %q\npassword = %q\nschema = %q\nstart = %q\n", b.db.Addr(), component.CanalgoUser,
		component.CanalgoPassword, schema, j.start)
	for i, log := range j.from {
		index := j.index
		if i > 0 {
			index += strconv.Itoa(i + 1)
		}
		fmt.Fprintf(&text, "\n[mapping.bench%d]\nsource = \"shop\"\nsink = \"es\"\nload = %q\n_index = %q\nsql = %q\n", i+1, j.load, index, log.sql)
	}
	return text.String()
}

// run executes canalgo below a fresh folder. One node does its job from its start. Several are a cluster first, which then gets the
// job by apply: what the leader does not do already goes to the others.
func (b *bench) run(ctx context.Context, j job) (_ *program, err error) {
	dir, err := os.MkdirTemp(b.dir, "canalgo-")
	if err != nil {
		return nil, err
	}
	if err := b.db.Exec("CREATE TABLE IF NOT EXISTS " + schema + ".idle (id INT PRIMARY KEY)"); err != nil {
		return nil, err
	}
	p := &program{}
	sections := b.idle(j.sink)
	if j.nodes == 1 {
		sections = sections[:strings.Index(sections, "[mapping.idle]")]
		sections = sections[strings.Index(sections, "[sink.es]"):] + b.sections(j)
	}
	if p.cluster, err = harness.NewCluster(dir, j.nodes, sections); err != nil {
		return nil, err
	}
	if p.client, err = api.NewClient(p.cluster.Nodes[0].HTTP); err != nil {
		return nil, err
	}
	if j.nodes == 1 {
		p.began = time.Now()
		return p, p.cluster.Nodes[0].Start()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.cluster.Start(starting); err != nil {
		return nil, err
	}
	if err := p.cluster.Nodes[0].Configure(sections + b.sections(j)); err != nil {
		return nil, err
	}
	file, err := config.Load(p.cluster.Nodes[0].Config())
	if err != nil {
		return nil, err
	}
	if p.led, err = cpuOf(p.cluster.Nodes[0].PID()); err != nil {
		return nil, err
	}
	if p.spent, err = p.cpuNow(); err != nil {
		return nil, err
	}
	p.began = time.Now()
	_, err = p.client.Apply(ctx, file, false)
	return p, err
}

// cpuNow returns the CPU time of all nodes since they were started.
func (p *program) cpuNow() (time.Duration, error) {
	var sum time.Duration
	for _, n := range p.cluster.Nodes {
		cpu, err := cpuOf(n.PID())
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// A cost is what a program has used for its job.
type cost struct {
	cpu    time.Duration // of all nodes
	leader time.Duration // of the first node
	rss    int           // most memory of a node, in bytes
}

func (p *program) cost() (c cost, err error) {
	if c.cpu, err = p.cpuNow(); err != nil {
		return c, err
	}
	c.cpu -= p.spent
	if c.leader, err = cpuOf(p.cluster.Nodes[0].PID()); err != nil {
		return c, err
	}
	c.leader -= p.led
	for _, n := range p.cluster.Nodes {
		rss, err := peakRSS(n.PID())
		if err != nil {
			return c, err
		}
		c.rss = max(c.rss, rss)
	}
	return c, nil
}

// until waits for something that the program brings about, not longer than its first node lives. The error has the end of its log.
func (p *program) until(ctx context.Context, every time.Duration, done func(context.Context) (bool, error)) error {
	first := p.cluster.Nodes[0]
	err := until(ctx, every, func(ctx context.Context) (bool, error) {
		select {
		case <-first.Ended():
			return false, fmt.Errorf("canalgo ended with %d", first.ExitCode())
		default:
			return done(ctx)
		}
	})
	if err == nil {
		return nil
	}
	for _, n := range p.cluster.Nodes {
		err = fmt.Errorf("%w; the end of the log of %s:\n%s", err, n.Name, n.LogTail(20))
	}
	return err
}

// stop ends the program in order, all nodes at once.
func (p *program) stop() error {
	var g errgroup.Group
	for _, n := range p.cluster.Nodes {
		if n.PID() != 0 {
			g.Go(n.Stop)
		}
	}
	return g.Wait()
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

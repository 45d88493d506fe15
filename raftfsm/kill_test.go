package raftfsm_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/raftfsm"
)

// childFolder names the environment variable that turns the test binary into a process to kill.
const childFolder = "RAFTFSM_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child proposes 1, 2, 3... from where it stopped, until it is killed. It prints "has N" when it leads, and "N" when N was
// acknowledged.
func child(dir string) error {
	node, err := raftfsm.New(raftfsm.Config{Dir: dir, NodeID: "a", SnapshotThreshold: 8, SnapshotInterval: 5 * time.Millisecond, TrailingLogs: 4})
	if err != nil {
		return err
	}
	return node.Run(context.Background(), func(ctx context.Context, term cluster.Term) error {
		v, _ := node.View()
		n, _ := strconv.Atoi(v.Duties[orders].Index)
		fmt.Println("has", n, node.ClusterID())
		if v.Config.Version == 0 {
			if err := node.Propose(ctx, term, setConfig()); err != nil {
				return err
			}
		}
		for ctx.Err() == nil {
			n++
			if err := node.Propose(ctx, term, index(n)); err != nil {
				return err
			}
			fmt.Println(n)
		}
		return nil
	})
}

// A process is a running child.
type process struct {
	t         *testing.T
	cmd       *exec.Cmd
	lines     *bufio.Scanner
	complaint strings.Builder
}

func start(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childFolder+"="+dir)
	p.cmd.Stderr = &p.complaint
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// kill ends the process and gives the lines that were not read yet to read.
func (p *process) kill(read func(line string)) {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Errorf("kill: %v", err)
	}
	for p.lines.Scan() {
		read(p.lines.Text())
	}
	_ = p.cmd.Wait() // says that it was killed
	if p.complaint.Len() > 0 {
		p.t.Fatalf("the process said: %s", p.complaint.String())
	}
}

// What was acknowledged is there after kill -9 at any moment, the folder's creation included.
func TestKilledAtAnyMoment(t *testing.T) {
	const seed, rounds = 1, 24
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir() + "/data"
	acknowledged, id, used := 0, "", 0
	for round := range rounds {
		read := func(line string) {
			fields := strings.Fields(line)
			if fields[0] != "has" {
				acknowledged, _ = strconv.Atoi(fields[0])
				return
			}
			// One more may have been written whose acknowledgement was not printed.
			if has, _ := strconv.Atoi(fields[1]); has != acknowledged && has != acknowledged+1 {
				t.Errorf("round %d: has %d, acknowledged %d", round, has, acknowledged)
			}
			if id != "" && fields[2] != id {
				t.Errorf("round %d: cluster %s, was %s", round, fields[2], id)
			}
			id, used = fields[2], used+1
		}
		p := start(t, dir)
		if round%3 == 2 { // by time, perhaps before it leads; else after some acknowledgements
			<-time.After(time.Duration(random.IntN(150)) * time.Millisecond)
		} else {
			for left := 1 + random.IntN(60); left > 0 && p.lines.Scan(); left-- {
				read(p.lines.Text())
			}
		}
		p.kill(read)
	}
	if used < rounds/2 || acknowledged < 10*rounds {
		t.Errorf("led %d times and acknowledged %d: the test says nothing", used, acknowledged)
	}
}

// A folder that was killed in its first milliseconds can be used.
func TestKilledWhileTheFolderIsMade(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 0))
	base := t.TempDir()
	for round := range 15 {
		dir := fmt.Sprintf("%s/%d", base, round)
		p := start(t, dir)
		<-time.After(time.Duration(random.IntN(30_000)) * time.Microsecond)
		p.kill(func(string) {})
		node := open(t, dir)
		lead(t, node, func(ctx context.Context, term cluster.Term) {
			if v, _ := node.View(); v.Config.Version == 0 {
				propose(t, node, ctx, term, setConfig())
			}
		})
	}
}

// Each state that a folder passes through while it is made can be gone on from.
func TestHalfMadeFolders(t *testing.T) {
	whole := t.TempDir()
	if err := open(t, whole).Close(); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(whole + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	log, secret, meta := read("raft.db"), read("secret"), read("meta.json")
	for name, files := range map[string]map[string][]byte{
		"the lock":       {"lock": nil},
		"half a log":     {"lock": nil, "raft.db.new": log[:len(log)/3]},
		"a log":          {"lock": nil, "raft.db": log},
		"half a secret":  {"lock": nil, "raft.db": log, "secret.new": secret[:9]},
		"a secret":       {"lock": nil, "raft.db": log, "secret": secret},
		"half a meta":    {"lock": nil, "raft.db": log, "secret": secret, "meta.json.new": meta[:9]},
		"all but a move": {"lock": []byte("1\n"), "raft.db": log, "secret": secret, "meta.json.new": meta},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, data := range files {
				if err := os.WriteFile(dir+"/"+file, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			node := open(t, dir)
			lead(t, node, func(ctx context.Context, term cluster.Term) { propose(t, node, ctx, term, setConfig()) })
		})
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	refused(t, dir, "in use by", fmt.Sprintf("pid %d", os.Getpid()))

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("data folder %s: in use by the process with pid %d", dir, os.Getpid())
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("got %v, %q, want %q", err, out, want)
	}
}

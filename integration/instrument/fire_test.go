//go:build integration

package instrument_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"canalgo/integration/instrument"
)

// binaries are the instrumented test binaries of this run, by package; each is built once.
var binaries struct {
	dir  string
	path map[string]string
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if binaries.dir, err = os.MkdirTemp("", "canalgo-instrumented-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(binaries.dir)
		binaries.path = make(map[string]string)
		return m.Run()
	}())
}

// run runs tests of a package in its instrumented binary, and returns what they print and whether they pass.
func run(t *testing.T, tests instrument.Tests, environment ...string) (string, bool) {
	t.Helper()
	path := binaries.path[tests.Package]
	if path == "" {
		var err error
		if path, err = instrument.BuildTest(t.Context(), binaries.dir, tests.Package); err != nil {
			t.Fatal(err)
		}
		binaries.path[tests.Package] = path
	}
	root, err := instrument.Root()
	if err != nil {
		t.Fatal(err)
	}
	arguments := append([]string{"-test.run", tests.Run, "-test.timeout", "3m", "-test.v"}, strings.Fields(tests.Flags)...)
	command := exec.CommandContext(t.Context(), path, arguments...)
	command.Dir = filepath.Join(root, tests.Package)
	command.Env = append(append(os.Environ(), "TMPDIR="+t.TempDir()), environment...) // a test that panics cleans nothing up
	out, err := command.CombinedOutput()
	if !strings.Contains(string(out), "=== RUN") {
		t.Fatalf("%s has no test %s:\n%s", tests.Package, tests.Run, out)
	}
	return string(out), err == nil
}

// Each failpoint stops the test that goes past it. source.before_emit needs a server: TestFailpoints in integration has it.
func TestFailpointsFire(t *testing.T) {
	for name, tests := range map[string]instrument.Tests{
		"relay.after_chunk":    {Package: "./relay", Run: "^TestLargeBatchesTravelInParts$"},
		"feed.after_open":      {Package: "./node", Run: "^TestIdleTableMovesThePosition$"},
		"leader.before_save":   {Package: "./node", Run: "^TestIdleTableMovesThePosition$"},
		"lease.after_renew":    {Package: "./node", Run: "^TestIdleTableMovesThePosition$"},
		"sink.before_write":    {Package: "./sink", Run: "^TestWorkerWritesAllAndAcknowledgesInOrder$"},
		"sink.after_write":     {Package: "./sink", Run: "^TestWorkerWritesAllAndAcknowledgesInOrder$"},
		"worker.before_ack":    {Package: "./sink", Run: "^TestWorkerWritesAllAndAcknowledgesInOrder$"},
		"raft.after_propose":   {Package: "./raftfsm", Run: "^TestStateSurvivesASnapshot$"},
		"fsm.before_apply":     {Package: "./raftfsm", Run: "^TestStateSurvivesASnapshot$"},
		"snapshot.mid_persist": {Package: "./raftfsm", Run: "^TestStateSurvivesASnapshot$"},
	} {
		t.Run(name, func(t *testing.T) {
			out, passed := run(t, tests, "CANALGO_FAILPOINTS_ARMED="+name+"?action=panic")
			if passed || !strings.Contains(out, "panic: failpoint "+name) {
				t.Errorf("%s %s went past it and printed:\n%s", tests.Package, tests.Run, out)
			}
		})
	}
}

// The product imports nothing of this.
func TestPlainBuildHasNone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "canalgo").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "canalgo/sink\n") || strings.Contains(string(out), "canalgo/integration") {
		t.Errorf("canalgo imports:\n%s", out)
	}
}

// Command canalgo keeps search indexes in step with MySQL. This file and its neighbours put the packages together; they
// are the only ones that know them all.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/cli"
	"canalgo/event"
	"canalgo/folder"
	"canalgo/raftfsm"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // room for both, however soon the second one comes
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		again := <-signals
		os.Exit(signalled + int(again.(syscall.Signal)))
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr, program()))
}

// signalled is what a shell adds to a signal's number for the exit code of a process that it has ended.
const signalled = 128

// program is what the command line works with.
func program() cli.Program {
	return cli.Program{Version: version, Run: run, Check: check, Token: token, Recover: recoverFolder, Export: exportState, Import: importState}
}

// memoryLimit is what the garbage collector is told to stay below: the ring, four bulks of 4 MiB with their copies, and what
// the process needs by itself. GOMEMLIMIT in the environment wins.
const memoryLimit = 160 << 20

// canalMemory is what a node that answers canal's clients needs besides: their catch-ups and answers.
const canalMemory = 64 << 20

// run runs a node until ctx ends.
func run(ctx context.Context, start cli.Start) error {
	file := start.File
	if os.Getenv("GOMEMLIMIT") == "" {
		limit := int64(memoryLimit)
		if file.Canal.Listen != "" {
			limit += canalMemory
		}
		debug.SetMemoryLimit(limit)
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "canalgo", Level: hclog.LevelFromString(file.Node.LogLevel), Output: os.Stderr,
		JSONFormat: file.Node.LogFormat == "json"})
	if file.Node.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node.name: %w", err)
		}
		file.Node.Name = host
	}
	defer ignoreSignals(log)()
	for _, warning := range append(file.Warnings, lookAtHost(file.Node.Data)...) {
		log.Warn(warning)
	}
	if err := checkClock(time.Now()); err != nil {
		return &cli.PreconditionError{Err: err}
	}
	p, err := open(file, start.Bootstrap, log)
	if err != nil {
		if start.Path != "" {
			err = fmt.Errorf("%s: %w", start.Path, err)
		}
		return &cli.PreconditionError{Err: err}
	}
	log.Info("starting", "version", version, "node", file.Node.Name, "data", file.Node.Data, "http", p.http.Addr().String(), "node_port", p.self.Address, "file", start.Path)
	return p.run(ctx)
}

// token returns the token of a data folder.
func token(data string) (string, error) {
	found, err := folder.Look(data)
	switch {
	case err != nil:
		return "", err
	case len(found.Secret) == 0:
		return "", fmt.Errorf("data folder %s: there is no token yet; start the node first, or name its folder by -data", data)
	}
	return string(found.Secret), nil
}

// recoverFolder goes on with one data folder of a cluster that has lost the others.
func recoverFolder(data string, yes bool) (cli.Remnant, error) {
	r, err := raftfsm.Recover(data, event.EpochAt(time.Now())+1, yes) // above what was opened in this minute
	return cli.Remnant{ClusterID: r.ClusterID, Node: r.NodeID, ServerID: r.ServerID, Servers: r.Servers, Term: r.Term, Index: r.Index, State: r.State}, err
}

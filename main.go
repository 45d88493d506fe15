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
	"golang.org/x/sync/errgroup"

	"canalgo/api"
	"canalgo/cli"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/node"
	"canalgo/raftfsm"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr, cli.Program{Version: version, Run: run, Check: check})
	stop()
	os.Exit(code)
}

// memoryLimit is what the garbage collector is told to stay below: the ring, four bulks of 4 MiB with their copies, and what
// the process needs by itself. GOMEMLIMIT in the environment wins.
const memoryLimit = 160 << 20

// run runs a node until ctx ends.
func run(ctx context.Context, file config.File, path string) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "canalgo", Level: hclog.LevelFromString(file.Node.LogLevel), Output: os.Stderr,
		JSONFormat: file.Node.LogFormat == "json"})
	id := file.Node.Name
	if id == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node.name: %w", err)
		}
		id = host
	}
	listener, err := api.Listen(file.Node.HTTP)
	if err != nil {
		return precondition(path, err)
	}
	coordinator, err := raftfsm.New(raftfsm.Config{Dir: file.Node.Data, NodeID: id, Logger: log.Named("raft")})
	if err != nil {
		listener.Close()
		return precondition(path, fmt.Errorf("node.data: %w", err))
	}
	key := coordinator.Secret()
	seed, err := file.ToCluster(key)
	if err != nil {
		listener.Close()
		coordinator.Close()
		return precondition(path, err)
	}
	n, err := node.New(node.Config{ID: id, Version: version, ClusterID: coordinator.ClusterID(), Seed: seed, Log: log,
		Differs: func(replicated cluster.Config) []string {
			changes, err := config.Diff(key, replicated, seed)
			if err != nil {
				return []string{err.Error()}
			}
			return changes
		}}, coordinator, &parts{key: key, clusterID: coordinator.ClusterID(), log: log})
	if err != nil {
		listener.Close()
		coordinator.Close()
		return err
	}
	log.Info("starting", "version", version, "node", id, "data", file.Node.Data, "http", listener.Addr().String(), "file", path)
	server := api.New(listener, &control{Node: n, key: key}, log.Named("http"))
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stopServing() // status is answered until the end
		return n.Run(gctx)
	})
	g.Go(func() error {
		if err := server.Run(serving); err != nil && serving.Err() == nil {
			return err
		}
		return nil
	})
	began := time.Now()
	err = g.Wait()
	if err == nil {
		log.Info("stopped", "after", time.Since(began).Round(time.Second))
	}
	return err
}

// precondition says in which file the key stands whose value cannot be used here.
func precondition(path string, err error) error {
	return &cli.PreconditionError{Err: fmt.Errorf("%s: %w", path, err)}
}

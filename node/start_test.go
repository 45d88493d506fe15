package node_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/node"
	"canalgo/sink"
)

type parts struct {
	*world
	node string
}

func (p parts) Source(string, cluster.SourceConfig) (node.Source, error) {
	return source(p), p.noSource
}
func (p parts) Sink(name string, _ cluster.SinkConfig) (node.Sink, error) {
	if name == "second" {
		return destination{p.second, p.node}, nil
	}
	return destination(p), nil
}
func (p parts) Mapping(string, cluster.MappingConfig, cluster.SourceConfig) (node.Mapping, error) {
	return rule{p.world}, nil
}
func (p parts) Decoder() sink.Decoder { return decoder{} }

func seed(load string) cluster.Config {
	return cluster.Config{
		Sources:  map[string]cluster.SourceConfig{"shop": {Spec: cluster.Spec{Settings: json.RawMessage(`{}`)}}},
		Sinks:    map[string]cluster.SinkConfig{"es": {Type: "fake", Spec: cluster.Spec{Settings: json.RawMessage(`{}`)}}},
		Mappings: map[string]cluster.MappingConfig{"user": {Source: "shop", Sink: "es", Load: load, Spec: cluster.Spec{Settings: json.RawMessage(`{}`)}}},
	}
}

// start runs a node until the test ends, or until the returned function is called.
func start(t *testing.T, w *world, members *memory.Cluster, load string) (*node.Node, func()) {
	t.Helper()
	return startWith(t, w, members, seed(load))
}

func startWith(t *testing.T, w *world, members *memory.Cluster, c cluster.Config) (*node.Node, func()) {
	t.Helper()
	return newNetwork().start(t, w, members.Member(0), "n1", c)
}

// eventually waits, in virtual time, for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 6000 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	t.Fatalf("not within a minute: %s", what)
}

var stream = cluster.DutyID{Source: "shop", Mapping: "user", Kind: cluster.Stream}

func has(w *world, ids ...string) func() bool {
	return func() bool {
		for _, id := range ids {
			if _, ok := w.document(id); !ok {
				return false
			}
		}
		return true
	}
}

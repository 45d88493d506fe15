package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/node"
	"canalgo/raftfsm"
)

const sourceName = "shop"

// A machine is where processes of one name run, one after the other.
type machine struct {
	disk *disk
	dir  string // "" for one that was never started, or wiped
	host *host  // that runs, or nil
}

// A fleet is the machines, and what they need.
type fleet struct {
	net    *network
	oracle *oracle
	trace  *trace
	mysql  *mysql
	output map[string]*destination
	base   string // of the folders
	names  []string
	load   string // of every mapping

	mu        sync.Mutex
	machines  map[string]*machine
	clusterID string
	folders   int
	running   sync.WaitGroup
}

func (f *fleet) seed() cluster.Config {
	c := cluster.Config{Sources: map[string]cluster.SourceConfig{sourceName: {}}, Sinks: map[string]cluster.SinkConfig{"one": {Type: "sim"}, "two": {Type: "sim"}},
		Mappings: map[string]cluster.MappingConfig{}}
	for _, r := range rules {
		c.Mappings[r.name] = cluster.MappingConfig{Source: sourceName, Sink: r.sink, Load: f.load}
	}
	return c
}

// start runs a process on a machine. One without a folder joins, unless it is the very first.
func (f *fleet) start(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.machines[name]
	if m.host != nil {
		return nil
	}
	if m.dir == "" {
		m.dir, m.disk = f.folder(name), newDisk()
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &host{name: name, net: f.net, oracle: f.oracle, disk: m.disk, feeds: make(chan net.Conn), over: make(chan struct{}),
		ctx: ctx, cancel: cancel, ended: make(chan struct{}), conns: make(map[*conn]bool), acks: make(map[string]time.Time), epochs: make(map[string]cluster.Epoch)}
	h.carrier = newCarrier(h)
	log := logger(name, f.trace)
	var err error
	h.raft, err = raftfsm.New(raftfsm.Config{Dir: m.dir, NodeID: name, Logger: log, Carrier: h.carrier, Disk: m.disk, Address: name,
		Secret: []byte("the secret of a simulation"), ClusterID: f.clusterID, Join: f.clusterID != "",
		SnapshotThreshold: 512, SnapshotInterval: time.Minute, TrailingLogs: 64})
	if err != nil {
		cancel()
		return fmt.Errorf("start %s: %w", name, err)
	}
	f.clusterID = h.raft.ClusterID()
	began := time.Now().Add(-f.net.between(0, 100*time.Hour)) // of the machine
	h.node, err = node.New(node.Config{ID: name, Version: "sim", ClusterID: f.clusterID, Join: f.names, Peers: peers{h}, Seed: f.seed(), RingBytes: 48 << 10,
		Self:  cluster.Node{ServerID: h.raft.ServerID(), Address: name, Version: "sim"}.ThisBuild(),
		Clock: func() time.Duration { return time.Since(began) }, Log: log}, watched{h.raft, h}, parts{h, f.mysql, f.output})
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("start %s: %w", name, err), h.raft.Close())
	}
	h.calls = h.node.Calls()
	m.host = h
	f.net.mu.Lock()
	f.net.hosts[name] = h
	delete(f.net.silent, name)
	f.net.mu.Unlock()
	f.trace.add("%s starts as %s", name, h.id())
	f.running.Go(func() {
		h.run()
		f.ended(m, h)
	})
	return nil
}

// folder returns a new data folder's path. f.mu is held.
func (f *fleet) folder(name string) string {
	f.folders++
	return filepath.Join(f.base, fmt.Sprintf("%s-%d", name, f.folders))
}

// ended notes the end of a process that was not killed.
func (f *fleet) ended(m *machine, h *host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.host != h {
		return // killed
	}
	m.host = nil
	f.trace.add("%s has ended: %v", h.id(), h.err)
	switch {
	case h.err == nil:
	case errors.Is(h.err, cluster.ErrRemoved):
		m.dir = "" // wiped, as the message says
	default:
		f.oracle.violate("I7", "%s ends by itself: %v", h.id(), h.err)
	}
}

// host returns the process on a machine, nil if none runs.
func (f *fleet) host(name string) *host {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.machines[name].host
}

// kill ends the process on a machine at this moment. What it has on its disk stays. When the machine goes, too, nobody refuses
// connections there.
func (f *fleet) kill(name string, machineToo bool) {
	f.mu.Lock()
	m := f.machines[name]
	h := m.host
	if h == nil {
		f.mu.Unlock()
		return
	}
	h.dead.Store(true)
	m.host, m.disk = nil, h.disk.copy()
	dir := f.folder(name)
	if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
		f.oracle.violate("setup", "copy the folder of %s: %v", h.id(), err)
	}
	m.dir = dir
	f.mu.Unlock()
	f.net.mu.Lock()
	f.net.silent[name] = machineToo
	f.net.mu.Unlock()
	h.vanish()
	h.cancel() // the rest of it ends unheard
}

// stop ends the process on a machine in order.
func (f *fleet) stop(name string) {
	h := f.host(name)
	if h == nil {
		return
	}
	h.cancel()
	began := time.Now()
	select {
	case <-h.ended:
		if took := time.Since(began); took > stopTime {
			f.oracle.violate("I7", "%s took %s to stop", h.id(), took)
		}
	case <-time.After(2 * time.Minute):
		f.oracle.violate("I7", "%s does not stop", h.id())
	}
}

// stopTime is how long a process may take to stop, whatever does not answer.
const stopTime = 15 * time.Second

// wipe forgets a machine's folder.
func (f *fleet) wipe(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.machines[name]; m.host == nil {
		m.dir = ""
	}
}

// up returns the processes that run.
func (f *fleet) up() []*host {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*host
	for _, name := range f.names {
		if h := f.machines[name].host; h != nil {
			out = append(out, h)
		}
	}
	return out
}

// leader returns who leads by its own word, nil if nobody does.
func (f *fleet) leader() *host {
	var leader *host
	var term cluster.Term
	for _, h := range f.up() {
		if v, _ := h.raft.View(); v.Leading && v.Term >= term {
			leader, term = h, v.Term
		}
	}
	return leader
}

package sim

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/cluster"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/raftfsm"
	"canalgo/relay"
	"canalgo/sink"
)

// A host is one process: a node.Node with its Raft, from its start to its end.
type host struct {
	name    string
	net     *network
	oracle  *oracle
	carrier *carrier
	disk    *disk
	raft    *raftfsm.Node
	node    *node.Node
	calls   http.Handler
	feeds   chan net.Conn
	over    chan struct{} // closed when the process is gone
	dead    atomic.Bool   // it was killed: nothing that it still does reaches anybody
	led     atomic.Uint64 // the term in which it last sent entries
	ctx     context.Context
	cancel  context.CancelFunc
	ended   chan struct{} // closed when Run has returned
	err     error         // of Run, once ended

	mu            sync.Mutex
	conns         map[*conn]bool
	acks          map[string]time.Time // by node: when it gave the last answer that has come
	renewal       time.Time            // when the last renewal that was answered was sent
	epochs        map[string]cluster.Epoch
	voters        []string
	votersChanged time.Time
}

// id tells processes of one name apart.
func (h *host) id() string {
	if h.raft == nil {
		return h.name
	}
	return h.raft.ServerID()
}

// heard notes that an answer has come which a node gave at that time.
func (h *host) heard(name string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.After(h.acks[name]) {
		h.acks[name] = at
	}
}

// quorum returns the latest time since which a majority has answered.
func (h *host) quorum() time.Time {
	servers := h.raft.Servers()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var names []string
	var times []time.Time
	for _, s := range servers {
		if !s.Voter {
			continue
		}
		names = append(names, s.Name)
		at := h.acks[s.Name]
		if s.Name == h.name {
			at = now
		}
		times = append(times, at)
	}
	if !slices.Equal(names, h.voters) {
		h.voters, h.votersChanged = names, now
	}
	if now.Sub(h.votersChanged) < 3*time.Second || len(times) == 0 {
		return now // another set of voters may have been asked
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return times[len(times)/2]
}

// renewed notes that a renewal which was sent at that time was answered.
func (h *host) renewed(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sent.After(h.renewal) {
		h.renewal = sent
	}
}

func (h *host) lastRenewal() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.renewal
}

// epochOf returns the epoch in which this host does a mapping, or did last.
func (h *host) epochOf(name string) cluster.Epoch {
	v, _ := h.raft.View()
	a := v.Duties[cluster.DutyID{Source: sourceName, Mapping: name, Kind: cluster.Stream}].Assignment
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Node == h.name {
		h.epochs[name] = a.Epoch
	}
	return h.epochs[name]
}

// keep puts a connection on the list of those that break with the process.
func (h *host) keep(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] = true
	c.gone = func(c *conn) {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.conns, c)
	}
}

// breakFeeds resets all connections.
func (h *host) breakFeeds() {
	h.mu.Lock()
	var all []*conn
	for c := range h.conns {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		c.reset(errReset)
	}
}

// watched is a host's Raft as its node sees it. The oracle sees what is proposed.
type watched struct {
	*raftfsm.Node
	host *host
}

var (
	_ node.Coordinator = watched{}
	_ node.Membership  = watched{}
)

// Propose implements node.Coordinator.
func (w watched) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	if save, ok := cmd.(cluster.SavePositions); ok && !w.host.dead.Load() {
		v, _ := w.View()
		w.host.oracle.saves(w.host, v, save.Saves)
	}
	return w.Node.Propose(ctx, term, cmd)
}

// parts implements node.Parts.
type parts struct {
	host   *host
	mysql  *mysql
	output map[string]*destination
}

func (p parts) Source(string, cluster.SourceConfig) (node.Source, error) {
	return source{p.mysql, p.host}, nil
}

func (p parts) Sink(name string, _ cluster.SinkConfig) (node.Sink, error) {
	return output{p.output[name], p.host}, nil
}

func (p parts) Mapping(name string, _ cluster.MappingConfig, _ cluster.SourceConfig) (node.Mapping, error) {
	return mapping.Compile(name, mapping.Config{SQL: ruleOf(name).sql(), Index: name}, "shop")
}

func (p parts) Decoder() sink.Decoder { return decoder{p.mysql.ledger} }

// run runs the process until its end.
func (h *host) run() {
	defer close(h.ended)
	var running sync.WaitGroup
	running.Go(func() { _ = h.node.ServeFeeds(listener{h}, relay.MaxVersion) }) // it ends with the listener
	running.Go(h.watch)
	h.err = h.node.Run(h.ctx)
	h.vanish()
	running.Wait()
}

// vanish takes the process off the network, as its end does.
func (h *host) vanish() {
	h.net.mu.Lock()
	if h.net.hosts[h.name] == h {
		delete(h.net.hosts, h.name)
	}
	h.net.mu.Unlock()
	select {
	case <-h.over:
	default:
		close(h.over)
	}
	h.breakFeeds()
}

// watch has the oracle look at each state that this host shows.
func (h *host) watch() {
	last := make(map[cluster.DutyID]cluster.Duty)
	for {
		v, changed := h.raft.View()
		if h.dead.Load() {
			return
		}
		for id, d := range v.Duties {
			was := last[id]
			if d.Assignment != was.Assignment {
				h.oracle.assigns(id, d.Assignment)
				if d.Assignment.Epoch < was.Assignment.Epoch {
					h.oracle.violate("I14", "%s sees %s assigned in epoch %d after %d", h.id(), id, d.Assignment.Epoch, was.Assignment.Epoch)
				}
			}
			if d.Position != was.Position && d.Position.Before(was.Position) {
				h.oracle.violate("I4", "%s sees %s at %s (%s) after %s (%s)", h.id(), id, d.Position, d.Position.Version(), was.Position, was.Position.Version())
			}
			last[id] = d
		}
		if v.Applied%16 == 0 {
			h.oracle.hashed(h, v)
		}
		select {
		case <-changed:
		case <-h.over:
			return
		}
	}
}

// logger writes a host's log into the trace.
func logger(name string, t *trace) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: name, Output: t, Level: hclog.Info, DisableTime: true})
}

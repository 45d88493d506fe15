// Package node is what one process does: it leads when it is elected (one stream per source, positions, assignments)
// and it works on the duties that are assigned to it. It knows sources, sinks and mappings only by what it needs of
// them; main hands in the real ones.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

// Coordinator elects a leader and replicates the cluster's small state.
type Coordinator interface {
	// Run takes part until ctx ends. Each time this node is elected it calls lead, caught up; lead's ctx ends with the
	// term, and lead is not called again before it has returned.
	Run(ctx context.Context, lead func(ctx context.Context, term cluster.Term) error) error
	// View returns the newest local state and a channel that is closed when there is a newer one.
	View() (cluster.View, <-chan struct{})
	// Propose replicates cmd; cluster.ErrNotLeader when this node does not lead in term.
	Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error
	// Verify returns nil only if a quorum confirmed, after the call began, that this node leads in term.
	Verify(ctx context.Context, term cluster.Term) error
}

// Membership is a Coordinator that keeps a list of who takes part. Each is for the leader, and can be tried again after an error.
type Membership interface {
	// AddNode takes a node in, or notes its new address. Another one of that name is taken out in the same step.
	AddNode(ctx context.Context, term cluster.Term, name string, n cluster.Node) error
	// PromoteNode lets a node vote that has caught up.
	PromoteNode(ctx context.Context, term cluster.Term, name string) error
	RemoveNode(ctx context.Context, term cluster.Term, name string) error
	// Transfer has another node lead and returns when this one no longer does.
	Transfer(ctx context.Context, term cluster.Term) error
	// Servers lists who takes part, by name.
	Servers() []cluster.Server
}

// A Source is one MySQL server. It is safe for several goroutines; streams of different names may run at once.
type Source interface {
	snapshot.Selector
	// Server asks who answers at the source's addresses: the server with that UUID, if it does, else the first one.
	Server(ctx context.Context, uuid string) (Server, error)
	// Resolve turns "current", a file and offset, a time or a GTID set into a position without epoch and count. An empty start is
	// the configured one.
	Resolve(ctx context.Context, start string) (event.Position, error)
	// Stream emits everything after from, in order, until ctx ends or the source fails for good. It reconnects by
	// itself, at a transaction boundary. A changed definition is in the history before what follows it is emitted.
	Stream(ctx context.Context, stream string, from event.Position, want func(event.TableName) bool, history History, emit func(context.Context, event.Batch) error) error
	// Define returns what is known of a table's definition behind a position, without a version.
	Define(ctx context.Context, table event.TableName, at event.Position) (event.Definition, error)
	// Describe returns the table as it is now; *event.StopError when there is none.
	Describe(ctx context.Context, table event.TableName) (*event.Table, error)
	// Session opens a connection for look-ups to the server with that UUID.
	Session(ctx context.Context, serverUUID string) (lookup.Session, error)
	// Rows estimates how many rows a table has.
	Rows(ctx context.Context, table event.TableName) (uint64, error)
	// Logs lists the binary logs that the server keeps, the oldest first, and how long it keeps one.
	Logs(ctx context.Context) ([]LogFile, time.Duration, error)
	// Progress says what the stream of that name does now.
	Progress(stream string) SourceProgress
	// Lost reports whether an error of Stream says that the position is lost for good.
	Lost(err error) bool
}

// A History keeps the definitions of a source's tables, for rows that come without the names of their columns.
type History interface {
	// At returns what is known of a table behind the event of a version; false when its definitions are not kept from there on.
	At(table event.TableName, v event.Version) (event.Definition, bool)
	// Kept lists the tables whose definitions are kept.
	Kept() []event.TableName
	// Note keeps definitions; when it returns nil they are kept for good.
	Note(ctx context.Context, definitions []event.Definition) error
}

// Server is who answers at a source's address.
type Server struct {
	Address, UUID, Version string
	GTIDs                  bool
	ID                     uint32 // server_id
	Names                  bool   // rows come with the names of their columns
}

// A LogFile is one binary log.
type LogFile struct {
	Name string
	Size uint64
}

// SourceProgress is what a source's stream does.
type SourceProgress struct {
	Connected bool
	Since     time.Time // of Connected
	LastError string
	ErrorTime time.Time
	Settled   bool      // everything was read that the server held when the stream connected
	CaughtUp  time.Time // when the server last held nothing that was not read

	XA      int            // XA transactions with rows of mapped tables that are prepared and not ended
	XASince time.Time      // when the first of them was prepared
	XAAt    event.Position // the server must keep its log from there

	Events, Bytes, Filtered, Reconnects uint64
	Received                            uint64 // bytes, as they come: those of a transaction that is not at its end too
}

// A Mapping makes documents of rows. It is for one goroutine.
type Mapping interface {
	sink.Mapper
	// Table is the table whose columns make the documents' ids, Tables are all whose rows they are made of.
	Table() event.TableName
	Tables() []event.TableName
	// Rule is what the source's server is asked for, nil when documents are made of single rows.
	Rule() *mapping.Rule
	Index() string
	// Own says which documents of the index are the mapping's, CheckRelation whether the mappings of one that exists have what they are.
	Own() mapping.Own
	CheckRelation(mappings []byte) error
	// Called is how the SQL calls the table of Table, LoadRows how many rows a load reads at once, 0 for as many as are best.
	Called() string
	LoadRows() int
	// Bind checks the mapping against a table's definition. When that fails, Render reports whether the server can render it instead.
	Bind(*event.Table) error
	Render(error) bool
	// Columns returns the columns that it needs.
	Columns(*event.Table) ([]int, error)
	// IndexBody returns the body with which an index for its documents is created.
	IndexBody(*event.Table) (json.RawMessage, error)
	// RemembersColumns reports whether the mapping is to be told by Know, before it is used, which columns of its tables are not new.
	RemembersColumns() bool
	Know(map[event.TableName][]string)
	// Met rises with the fields that documents have, which Fields returns; ExtendsIndex reports whether the index is to get them.
	Met() uint64
	Fields() ([]mapping.Field, uint64)
	ExtendsIndex() bool
	// Nulled and Clipped count values that are null in the document, or were cut, and are not so in the row.
	Nulled() uint64
	Clipped() uint64
	// MaxQuarantine is how many of its documents may be set aside.
	MaxQuarantine() int
}

// A Sink is a destination with its limits.
type Sink interface {
	sink.Sink
	Limits() sink.Limits
}

// An Indexer is a Sink whose documents live in indices that are created.
type Indexer interface {
	// IndexUUID returns the index's UUID, "" when there is none.
	IndexUUID(ctx context.Context, index string) (string, error)
	CreateIndex(ctx context.Context, index string, body []byte) (uuid string, err error)
	// Mappings returns the mappings of an index that exists, {"properties": {...}}.
	Mappings(ctx context.Context, index string) ([]byte, error)
}

// Parts makes the real things of a configuration.
type Parts interface {
	Source(name string, c cluster.SourceConfig) (Source, error)
	Sink(name string, c cluster.SinkConfig) (Sink, error)
	Mapping(name string, c cluster.MappingConfig, source cluster.SourceConfig) (Mapping, error)
	Decoder() sink.Decoder
}

// Config is what a node is told.
type Config struct {
	ID        string // its name
	Version   string // of the program
	ClusterID string
	Self      cluster.Node // how the others are to know it
	Join      []string     // addresses to ask who leads, while nobody has told
	Peers     Peers
	// Seed is the configuration of the file given at the start. It is proposed when there is none yet.
	Seed cluster.Config
	// Differs says what the file would change, given the replicated configuration.
	Differs   func(replicated cluster.Config) []string
	RingBytes int           // of one source's log
	SaveEvery time.Duration // positions
	// Clock is what leases are counted on; it goes on while the host sleeps. nil is the system's.
	Clock func() time.Duration
	Log   hclog.Logger
}

// A Node is one process.
type Node struct {
	cfg   Config
	coord Coordinator
	parts Parts
	log   hclog.Logger
	began time.Time
	run   string // of this process: no other one of its identity has it

	draining context.Context // ends when the node is told to stop
	drain    context.CancelFunc
	tell     chan struct{}         // a value makes the next renewal come at once
	asked    chan asked            // feeds that other nodes ask for
	lease    lease                 // of this node
	reign    atomic.Pointer[reign] // nil while this node does not lead
	compared atomic.Uint64         // the configuration that was in use when the file was first compared with it
	leaving  atomic.Bool           // the node is to be taken out of the cluster when it has stopped

	verifying sync.Mutex // one comparison at a time: each has memory of its own

	mu      sync.Mutex
	sources map[string]*sourceRun // while this node leads
	duties  map[cluster.DutyID]*dutyRun
	gates   map[string]*sink.Gate            // by mapping
	cleared map[cluster.DutyID]event.Version // by stream
	cut     map[cluster.DutyID]time.Time     // by stream: when its mapping's load last ended before it was done
	asides  map[cluster.DutyID]*quarantine
	clients map[string]*client // by source
	sinks   map[string]*openSink
}

// client is this node's own connection to a source, for definitions and rows.
type client struct {
	Source
	spec string
}

type openSink struct {
	Sink
	spec string
}

// New checks cfg and allocates.
func New(cfg Config, coord Coordinator, parts Parts) (*Node, error) {
	if cfg.ID == "" {
		return nil, fmt.Errorf("node id: must not be empty")
	}
	if cfg.RingBytes <= 0 {
		cfg.RingBytes = 32 << 20
	}
	if cfg.SaveEvery <= 0 {
		cfg.SaveEvery = 200 * time.Millisecond
	}
	if cfg.Clock == nil {
		cfg.Clock = sinceBoot
	}
	n := &Node{cfg: cfg, coord: coord, parts: parts, log: cfg.Log, began: time.Now(), run: newRun(), tell: make(chan struct{}, 1), asked: make(chan asked),
		sources: make(map[string]*sourceRun), duties: make(map[cluster.DutyID]*dutyRun),
		gates: make(map[string]*sink.Gate), cleared: make(map[cluster.DutyID]event.Version), cut: make(map[cluster.DutyID]time.Time), asides: make(map[cluster.DutyID]*quarantine), clients: make(map[string]*client), sinks: make(map[string]*openSink)}
	n.draining, n.drain = context.WithCancel(context.Background())
	return n, nil
}

// sinceBoot reads a clock that goes on while the host is suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// Run takes part until ctx ends, then hands over what it does, finishes what is in flight, and returns.
func (n *Node) Run(ctx context.Context) error {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, hard := errgroup.WithContext(hard)
	g.Go(func() error { return n.coord.Run(hard, n.lead) })
	g.Go(func() error { return n.belong(hard) })
	g.Go(func() error { return n.keepSession(hard) })
	g.Go(func() error { return n.watchTwin(hard) })
	g.Go(func() error { return n.work(hard) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-n.draining.Done(): // it leaves
		case <-hard.Done():
			return nil
		}
		n.drain()
		n.handOver(hard)
		cancel()
		return nil
	})
	err := g.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sinks {
		_ = s.Close() // nothing is in flight any more
	}
	if n.draining.Err() != nil && hard.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (n *Node) running() []*dutyRun {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*dutyRun
	for _, d := range n.duties {
		out = append(out, d)
	}
	return out
}

// gate returns the mapping's gate between its load and its clears.
func (n *Node) gate(mapping string) *sink.Gate {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.gates[mapping]
	if g == nil {
		g = sink.NewGate()
		n.gates[mapping] = g
	}
	return g
}

// client returns this node's own handle of a source.
func (n *Node) client(name string, c cluster.SourceConfig) (Source, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if have := n.clients[name]; have != nil && have.spec == fingerprint(c) {
		return have, nil
	}
	s, err := n.parts.Source(name, c)
	if err != nil {
		return nil, &event.StopError{Reason: fmt.Sprintf("source %s: %s", name, err)}
	}
	n.clients[name] = &client{Source: s, spec: fingerprint(c)}
	return s, nil
}

// sink returns this node's handle of a sink; duties share it.
func (n *Node) sink(name string, c cluster.SinkConfig) (Sink, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if have := n.sinks[name]; have != nil && have.spec == fingerprint(c) {
		return have.Sink, nil
	}
	s, err := n.parts.Sink(name, c)
	if err != nil {
		return nil, &event.StopError{Reason: fmt.Sprintf("sink %s: %s", name, err)}
	}
	n.sinks[name] = &openSink{Sink: s, spec: fingerprint(c)}
	return s, nil
}

// fingerprint tells two configurations of a section apart.
func fingerprint(section any) string {
	b, err := json.Marshal(section)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"canalgo/backoff"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
	"canalgo/status"
)

// A sourceRun is the leader's half of one source: its epoch, its stream, and the feeds of its duties.
type sourceRun struct {
	n      *Node
	name   string
	cfg    cluster.SourceConfig
	term   cluster.Term
	log    hclog.Logger
	source Source

	mu       sync.Mutex
	session  *session
	feeds    map[cluster.DutyID]*dutyFeed
	held     map[cluster.DutyID]bool           // are about to move: no feed is opened for them
	last     map[cluster.DutyID]event.Position // where closed feeds had come to; their save may still be missing
	state    status.SourceState
	since    time.Time
	err      string
	errTime  time.Time
	lost     bool           // the position is lost: only a load helps
	readTo   event.Position // by the sessions before
	server   Server
	files    files
	catchUps map[string]catchUp // by the name of their stream
	caughtUp uint64             // catch-ups that have ended
	kick     chan struct{}
	watched  watched
	custody  *custody
	heldBy   string // host:port of another program, while the state says so

	tables   map[string][]event.TableName // of the mappings, in the configuration of version tablesOf
	tablesOf uint64
}

// A catchUp is a private stream of a duty, or of a client of canal's protocol, that fell behind.
type catchUp struct {
	since time.Time
	from  event.Position
}

// shared names the stream that all duties of a source read, to the server; a catch-up's name is that of its duty or client.
const shared = "shared"

// A session is one run of the shared stream over a fixed set of duties, and for whatever clients there are if there were some.
type session struct {
	log    *relay.Log
	duties map[cluster.DutyID][]event.TableName
	whole  bool // all tables are read, for clients of canal's protocol
	epoch  uint32
	gtids  bool
	over   <-chan struct{} // closed when it ends
}

func newSourceRun(n *Node, name string, c cluster.SourceConfig, term cluster.Term) *sourceRun {
	return &sourceRun{n: n, name: name, cfg: c, term: term, log: n.log.With("source", name), since: time.Now(), state: status.SourceConnecting,
		feeds: make(map[cluster.DutyID]*dutyFeed), held: make(map[cluster.DutyID]bool), last: make(map[cluster.DutyID]event.Position),
		catchUps: make(map[string]catchUp), kick: make(chan struct{}, 1), custody: newCustody()}
}

// run follows the source until ctx ends.
func (s *sourceRun) run(ctx context.Context) {
	s.n.mu.Lock()
	s.n.sources[s.name] = s
	s.n.mu.Unlock()
	defer func() {
		s.n.mu.Lock()
		delete(s.n.sources, s.name)
		s.n.mu.Unlock()
	}()
	source, err := s.n.parts.Source(s.name, s.cfg)
	if err != nil {
		s.enter(status.SourceStopped, err, false)
		<-ctx.Done()
		return
	}
	s.source = source
	go s.watchFiles(ctx)
	go s.watch(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(ctx)
	}()
	defer func() { <-kept }() // what it gives back is not read any more
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for ctx.Err() == nil {
		err := s.follow(ctx)
		s.setSession(nil)
		if err == nil || ctx.Err() != nil {
			wait.Reset()
			continue
		}
		var stop *event.StopError
		if lost := s.source.Lost(err); lost || errors.As(err, &stop) {
			s.log.Error("stopped", "error", err)
			s.enter(status.SourceStopped, err, lost)
			s.pause(ctx, 15*time.Second)
			continue
		}
		s.log.Warn("connect again", "error", err)
		s.enter(status.SourceConnecting, err, false)
		_ = wait.Wait(ctx)
	}
}

// pause waits for a person's command or some time.
func (s *sourceRun) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-s.kick:
	case <-timer.C:
	}
}

func (s *sourceRun) enter(state status.SourceState, err error, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
	s.lost = lost
	if err != nil {
		s.err, s.errTime = err.Error(), time.Now()
	}
}

// holder notes that the source is not ours: another program has it, or nobody yet.
func (s *sourceRun) holder(who string) {
	state := status.SourceConnecting
	if who != "" {
		state = status.SourceElsewhere
	}
	s.enter(state, nil, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heldBy = who
}

// stopped reports whether the source waits for a person.
func (s *sourceRun) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == status.SourceStopped
}

func (s *sourceRun) lastError() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sourceRun) setSession(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		s.readTo = s.session.log.Boundary()
	}
	s.session = x
}

// active returns the tables of the stream duties of the source that are not paused.
func (s *sourceRun) active(v cluster.View) map[cluster.DutyID][]event.TableName {
	tables := s.mapped(v)
	out := make(map[cluster.DutyID][]event.TableName)
	for id, d := range v.Duties {
		own, ok := tables[id.Mapping]
		if ok && id.Source == s.name && id.Kind == cluster.Stream && d.Assignment.Node != "" && !paused(v, id) {
			out[id] = own
		}
	}
	return out
}

// mapped returns the tables of each mapping of the source. One whose rule cannot be followed is left out: its duty says why.
func (s *sourceRun) mapped(v cluster.View) map[string][]event.TableName {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables != nil && s.tablesOf == v.Config.Version {
		return s.tables
	}
	s.tables, s.tablesOf = make(map[string][]event.TableName), v.Config.Version
	for name, mc := range v.Config.Mappings {
		if mc.Source != s.name {
			continue
		}
		if m, err := s.n.parts.Mapping(name, mc, s.cfg); err == nil {
			s.tables[name] = m.Tables()
		}
	}
	return s.tables
}

func paused(v cluster.View, id cluster.DutyID) bool {
	return v.Paused["source/"+id.Source] || v.Paused["mapping/"+id.Mapping] || v.Paused["sink/"+v.Config.Mappings[id.Mapping].Sink]
}

// follow runs one session. It returns nil when the set of duties or the epoch has changed.
func (s *sourceRun) follow(ctx context.Context) error {
	v, changed := s.n.coord.View()
	kept, moved := s.custody.get()
	duties, clients := s.active(v), s.clients(v)
	idle := len(duties) == 0 && len(clients) == 0
	switch {
	case v.Paused["source/"+s.name]:
		s.enter(status.SourcePaused, nil, false)
	case idle && kept.Holder == "":
		s.enter(status.SourceIdle, nil, false)
	case !kept.Ours:
		s.holder(kept.Holder)
	}
	if idle || !kept.Ours {
		select {
		case <-ctx.Done():
		case <-changed:
		case <-moved:
		}
		return nil
	}
	server, err := s.source.Server(ctx, v.Sources[s.name].ServerUUID)
	if err != nil {
		return fmt.Errorf("ask server: %w", err)
	}
	s.mu.Lock()
	s.server = server
	s.mu.Unlock()
	if reopened, err := s.ensureEpoch(ctx, v, server, kept.From); err != nil || reopened {
		return err
	}
	starts, complete, err := s.starts(ctx, v, duties, clients)
	if err != nil || !complete {
		return err
	}
	if err := s.describe(ctx, server, duties, starts); err != nil {
		return err
	}
	positions := slices.Collect(maps.Values(starts))
	if len(duties) == 0 { // else whatever becomes of clients, it is nothing to the duties
		positions = clientPositions(clients)
	}
	base := oldestNear(positions)
	log, err := relay.NewLog(s.n.cfg.RingBytes, base, func() bool { return s.source.Progress(shared).Settled })
	if err != nil {
		return err
	}
	log.Expect(len(duties))
	g, gctx := errgroup.WithContext(ctx)
	stream, end := context.WithCancel(gctx)
	defer end()
	s.setSession(&session{log: log, duties: duties, whole: len(clients) > 0, epoch: v.Sources[s.name].Epoch, gtids: server.GTIDs, over: stream.Done()})
	s.enter(status.SourceStreaming, nil, false)
	s.log.Info("following", "from", base.String(), "server", server.UUID, "mysql", server.Version, "epoch", base.Epoch, "duties", len(duties), "clients", len(clients))

	g.Go(func() error {
		err := s.source.Stream(stream, shared, base, wanted(duties, len(clients) > 0), s.history(base.Epoch), log.Append)
		if stream.Err() != nil && gctx.Err() == nil {
			err = nil
		}
		switch v, _ := s.n.coord.View(); {
		case err != nil:
			log.Close(err)
		case v.Sources[s.name].Epoch != base.Epoch:
			log.Close(relay.ErrNotHere) // what is not acknowledged comes again, with higher versions
		default:
			log.Close(io.EOF)
		}
		return err
	})
	g.Go(func() error {
		defer end()
		return s.untilReplanned(gctx, duties, len(clients) > 0, base.Epoch)
	})
	return g.Wait()
}

// wanted says which tables are read: those of the duties, or, with what belongs to no table, all of them.
func wanted(duties map[cluster.DutyID][]event.TableName, whole bool) func(event.TableName) bool {
	if whole {
		return everything
	}
	tables := make(map[event.TableName]bool)
	for _, own := range duties {
		for _, t := range own {
			tables[t] = true
		}
	}
	return func(t event.TableName) bool { return tables[t] }
}

// everything lets all through.
func everything(event.TableName) bool { return true }

// untilReplanned returns nil when a new session is needed. One that reads all goes on doing so without clients: whoever subscribes and
// unsubscribes again and again disturbs nobody.
func (s *sourceRun) untilReplanned(ctx context.Context, duties map[cluster.DutyID][]event.TableName, whole bool, epoch uint32) error {
	for {
		v, changed := s.n.coord.View()
		kept, moved := s.custody.get()
		clients := len(s.clients(v))
		if !kept.Ours || kept.From != nil || v.Sources[s.name].Epoch != epoch || !maps.EqualFunc(s.active(v), duties, slices.Equal[[]event.TableName]) ||
			clients > 0 && !whole || clients == 0 && len(duties) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-moved:
		}
	}
}

// ensureEpoch opens an epoch when the source has none for this server, or another program has read it meanwhile. It reports whether it
// did.
func (s *sourceRun) ensureEpoch(ctx context.Context, v cluster.View, server Server, from *cluster.Elsewhere) (bool, error) {
	have := v.Sources[s.name]
	open := cluster.OpenEpoch{Source: s.name, Was: have.Epoch, AtLeast: event.EpochAt(time.Now()), ServerUUID: server.UUID}
	switch {
	case from != nil:
		start, err := s.place(ctx, server, *from)
		if err != nil {
			return false, fmt.Errorf("go on at the cursor of another program: %w", err)
		}
		open.Start, open.Why = start, "another program has read it up to there"
	case have.ServerUUID == "":
		start, err := s.source.Resolve(ctx, "")
		if err != nil {
			return false, fmt.Errorf("resolve start: %w", err)
		}
		open.Start, open.Why = start, "first start"
	case have.ServerUUID == server.UUID:
		return false, nil
	default: // another server answers: only GTIDs can say where to go on
		oldest := s.oldest(v)
		if !server.GTIDs || oldest.GTIDs == "" {
			return false, &event.StopError{Reason: fmt.Sprintf("server %s answers instead of %s, and without GTIDs nobody knows where to go on", server.UUID, have.ServerUUID), Fix: "needs load: canalgo load"}
		}
		read, err := s.read()
		if err != nil {
			return false, err
		}
		// A replica may be behind, and what was read from the other one may be lost: the other one may come back, too.
		if _, err := s.source.Resolve(ctx, read); err != nil {
			return false, fmt.Errorf("server %s answers instead of %s: %w", server.UUID, have.ServerUUID, err)
		}
		open.Start = event.Position{ServerUUID: server.UUID, GTIDs: oldest.GTIDs, Time: oldest.Time}
		open.Why = "another server answers"
	}
	s.log.Info("new epoch", "why", open.Why, "start", open.Start.String())
	if err := s.n.coord.Propose(ctx, s.term, open); err != nil {
		return false, fmt.Errorf("open epoch: %w", err)
	}
	s.custody.adopted(from)
	return true, nil
}

// read returns the GTIDs of all that was read of the source in its present epoch, as far as is known: what was handed out is written, whether
// it is acknowledged or not.
func (s *sourceRun) read() (string, error) {
	v, _ := s.n.coord.View() // it may have been a while since the caller looked
	s.mu.Lock()
	last := s.readTo
	s.mu.Unlock()
	positions := slices.Collect(v.Positions(s.name))
	if last.Epoch == v.Sources[s.name].Epoch {
		positions = append(positions, last)
	}
	var read event.GTIDSet
	for _, p := range positions {
		set, err := event.ParseGTIDSet(p.GTIDs)
		if err != nil {
			return "", fmt.Errorf("position %s: %w", p, err)
		}
		read.AddSet(set)
	}
	return read.String(), nil
}

// oldest returns the oldest saved position of the source's duties and clients.
func (s *sourceRun) oldest(v cluster.View) event.Position {
	var oldest event.Position
	for p := range v.Positions(s.name) {
		if oldest.IsZero() || p.Before(oldest) {
			oldest = p
		}
	}
	return oldest
}

// starts returns where each duty starts. A duty, or a client, that has no position yet gets the newest one of the source's other duties,
// committed before use (rule 3); complete is false when that happened.
func (s *sourceRun) starts(ctx context.Context, v cluster.View, duties map[cluster.DutyID][]event.TableName, clients map[cluster.ClientID]cluster.Client) (map[cluster.DutyID]event.Position, bool, error) {
	starts := make(map[cluster.DutyID]event.Position)
	newest := v.Sources[s.name].Start
	for id, d := range v.Duties {
		if id.Source == s.name && !d.Position.IsZero() {
			newest = later(newest, s.position(id, d.Position))
		}
	}
	saves := make(map[cluster.DutyID]cluster.Save)
	for id := range duties {
		d := v.Duties[id]
		if d.Position.IsZero() {
			saves[id] = cluster.Save{Epoch: d.Assignment.Epoch, Position: newest}
			continue
		}
		starts[id] = s.position(id, d.Position)
	}
	begin := make(map[cluster.ClientID]event.Position)
	s.mu.Lock()
	if s.readTo.Epoch == newest.Epoch { // a client begins with what comes from now on
		newest = later(newest, s.readTo)
	}
	s.mu.Unlock()
	for id, client := range clients {
		if client.Position.IsZero() {
			begin[id] = newest
		}
	}
	if len(begin) > 0 {
		if err := s.n.coord.Propose(ctx, s.term, cluster.SaveClients{Positions: begin}); err != nil {
			return nil, false, fmt.Errorf("save first positions of clients: %w", err)
		}
		return nil, false, nil
	}
	if len(saves) == 0 {
		return starts, true, nil
	}
	if err := s.forget(ctx, v, duties); err != nil {
		return nil, false, err
	}
	if err := s.n.coord.Propose(ctx, s.term, cluster.SavePositions{Saves: saves}); err != nil {
		return nil, false, fmt.Errorf("save first positions: %w", err)
	}
	return nil, false, nil
}

// position returns the newest position that the leader knows for a duty (rule 3).
func (s *sourceRun) position(id cluster.DutyID, saved event.Position) event.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.last[id]; ok && p.Epoch == saved.Epoch {
		return later(saved, p)
	}
	return saved
}

// near is how many events behind the newest duty the shared stream still starts for another one; what is further
// behind gets a stream of its own. A rows event is 8 KiB by default.
const near = 8192

// oldestNear returns where the shared stream starts.
func oldestNear(all []event.Position) event.Position {
	slices.SortFunc(all, func(a, b event.Position) int {
		switch {
		case a.Before(b):
			return -1
		case b.Before(a):
			return 1
		}
		return 0
	})
	newest := all[len(all)-1]
	for _, p := range all {
		if p.Epoch == newest.Epoch && newest.Count-p.Count <= near {
			return p
		}
	}
	return newest
}

// reached returns the positions of open feeds and of closed ones. n.mu is held.
func (s *sourceRun) reached() map[cluster.DutyID]event.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := maps.Clone(s.last)
	for id, f := range s.feeds {
		out[id] = f.Position()
	}
	return out
}

package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"canalgo/backoff"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/relay"
	"canalgo/sink"
	"canalgo/snapshot"
	"canalgo/status"
)

// A dutyRun is one duty that this node does.
type dutyRun struct {
	id         cluster.DutyID
	assignment cluster.Assignment
	log        hclog.Logger
	cancel     context.CancelFunc
	done       chan struct{}

	mu       sync.Mutex
	stage    status.Stage
	since    time.Time
	waiting  string
	err      string
	errTime  time.Time
	halted   time.Time // when it last found that it needs a person
	worker   *sink.Worker
	mapping  Mapping
	reader   *snapshot.Reader // of a load that runs, or of what is rendered beside the stream
	loadRows rate
	before   sink.Progress // of earlier workers of this run
	rows     rate
}

// work does the duties that are assigned to this node until ctx ends.
func (n *Node) work(ctx context.Context) error {
	runs := make(map[cluster.DutyID]*dutyRun)
	// All that end are told first: one may wait for another.
	end := func(which func(*dutyRun) bool) {
		over := maps.Clone(runs)
		maps.DeleteFunc(over, func(_ cluster.DutyID, r *dutyRun) bool { return !which(r) })
		for _, r := range over {
			r.cancel()
		}
		for id, r := range over {
			<-r.done
			n.mu.Lock()
			delete(n.duties, id)
			n.mu.Unlock()
			delete(runs, id)
		}
	}
	defer end(func(*dutyRun) bool { return true })
	for {
		v, changed := n.coord.View()
		end(func(r *dutyRun) bool { return v.Duties[r.id].Assignment != r.assignment })
		for id, d := range v.Duties {
			if runs[id] != nil || d.Assignment.Node != n.cfg.ID || n.draining.Err() != nil {
				continue
			}
			dctx, cancel := context.WithCancel(ctx)
			r := &dutyRun{id: id, assignment: d.Assignment, cancel: cancel, done: make(chan struct{}), log: n.log.With("duty", id.String()),
				stage: status.Waiting, waiting: "its source", since: time.Now()}
			runs[id] = r
			n.mu.Lock()
			n.duties[id] = r
			n.mu.Unlock()
			go func() {
				defer close(r.done)
				n.runDuty(dctx, r)
			}()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// retryStopped is how often a duty that needs a person looks whether somebody has acted.
const retryStopped = 10 * time.Second

// runDuty does one duty until ctx ends or the node drains.
func (n *Node) runDuty(ctx context.Context, r *dutyRun) {
	ctx = sink.Leased(ctx, n.begin) // whatever is asked of the destination
	wait := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for ctx.Err() == nil && n.draining.Err() == nil {
		v, changed := n.coord.View()
		var err error
		switch {
		case paused(v, r.id):
			r.enter(status.Paused, "", nil)
			n.idle(ctx, changed, 0)
			continue
		case v.Config.Mappings[r.id.Mapping].Source == "": // its mapping is gone, and it ends
			n.idle(ctx, changed, 0)
			continue
		case r.id.Kind == cluster.Load:
			err = n.load(ctx, r, v, changed)
		default:
			err = n.stream(ctx, r, v)
		}
		var stop *event.StopError
		switch {
		case err == nil, ctx.Err() != nil:
			wait.Reset()
		case errors.Is(err, errNoLease), errors.Is(err, context.Canceled): // this node, or the leader, has lost its right
			r.enter(status.Waiting, "the leader", nil)
			n.idleBriefly(ctx)
		case errors.Is(err, relay.ErrNotHere):
			r.enter(status.Waiting, "source "+r.id.Source, nil)
			n.idleBriefly(ctx)
		case errors.Is(err, errLeaderGone): // an election is a matter of a second: no growing pauses
			if r.enter(status.Waiting, "the leader", err) {
				r.log.Info("the feed is gone; another one is opened at whoever leads", "error", err)
			}
			n.idleBriefly(ctx)
		case errors.As(err, &stop):
			if r.enter(stageOf(err), "", err) {
				r.log.Error("stopped", "error", err)
				select {
				case n.tell <- struct{}{}: // the leader knows before somebody acts
				default:
				}
			}
			n.idle(ctx, changed, retryStopped)
		default:
			if r.enter(status.Waiting, "another try", err) {
				r.log.Warn("try again", "error", err)
			}
			_ = wait.Wait(ctx)
		}
	}
}

func stageOf(err error) status.Stage {
	if errors.Is(err, relay.ErrNeedsLoad) {
		return status.NeedsLoad
	}
	return status.Stopped
}

// idle waits for a change, a while (when d is positive), or the end.
func (n *Node) idle(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var after <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		after = timer.C
		changed = nil // positions of other duties change the view all the time
	}
	select {
	case <-ctx.Done():
	case <-n.draining.Done():
	case <-changed:
	case <-after:
	}
}

// idleBriefly waits for something that nobody announces.
func (n *Node) idleBriefly(ctx context.Context) {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-n.draining.Done():
	case <-timer.C:
	}
}

// enter notes a stage; it reports whether stage or error are news.
func (r *dutyRun) enter(stage status.Stage, waiting string, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := r.stage != stage
	if news {
		r.stage, r.since = stage, time.Now()
	}
	r.waiting = waiting
	if stage.Stuck() {
		r.halted = time.Now()
	}
	if err != nil {
		news = news || r.err != err.Error()
		r.err, r.errTime = err.Error(), time.Now()
	}
	return news
}

// stream follows the source with a worker until its feed ends, or another node leads.
func (n *Node) stream(ctx context.Context, r *dutyRun, v cluster.View) error {
	led, cancel := n.whileLed(ctx, v)
	defer cancel()
	err := n.streamFrom(led, r, v)
	if led.Err() != nil && ctx.Err() == nil {
		return nil // what the one that no longer leads would count is lost
	}
	return err
}

func (n *Node) streamFrom(ctx context.Context, r *dutyRun, v cluster.View) error {
	mc := v.Config.Mappings[r.id.Mapping]
	m, err := n.parts.Mapping(r.id.Mapping, mc, v.Config.Sources[r.id.Source])
	if err != nil {
		return &event.StopError{Reason: fmt.Sprintf("mapping %s: %s", r.id.Mapping, err)}
	}
	source, err := n.client(r.id.Source, v.Config.Sources[r.id.Source])
	if err != nil {
		return err
	}
	out, err := n.sink(mc.Sink, v.Config.Sinks[mc.Sink])
	if err != nil {
		return err
	}
	feed, err := n.openFeed(ctx, r, v)
	if err != nil || feed == nil {
		return err
	}
	defer feed.Close()
	//failpoint feed.after_open
	if err := n.rememberColumns(ctx, r, source, m); err != nil {
		return err
	}
	table, anchor, err := lookup.Define(ctx, source, m)
	if err != nil {
		return fmt.Errorf("mapping %s: %w", r.id.Mapping, err)
	}
	r.enter(status.Waiting, "index "+m.Index(), nil)
	if err := n.ensureIndex(ctx, r, out, m, table); err != nil {
		return err
	}
	server := v.Sources[r.id.Source].ServerUUID
	parts := sink.Parts{Feed: feed, Decoder: n.parts.Decoder(), Sink: out, Keeper: n.keeper(r, m), Own: m.Own(),
		Gate: n.gate(r.id.Mapping), Begin: n.prepared(ctx, out, m, r.log), Log: r.log}
	if m.Rule() != nil {
		renderer := lookup.New(m.Rule(), anchor, beside{n, r}, func(ctx context.Context) (lookup.Session, error) { return source.Session(ctx, server) })
		defer renderer.Close()
		parts.Renderer = renderer
	} else {
		parts.Mapper, parts.Renderer = m, lookup.NewCompleter(r.id.Mapping, m, source, server)
	}
	w := sink.NewWorker(parts, out.Limits())
	r.attach(w, m)
	defer r.detach()
	g, ctx := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(ctx)
	g.Go(func() error {
		defer stop()
		return w.Run(ctx)
	})
	if indexer, ok := out.(Indexer); ok {
		g.Go(func() error { return n.watchIndex(watching, r, indexer, m.Index()) })
	}
	g.Go(func() error { return n.fanOut(watching, r, m.Rule() != nil) })
	return g.Wait()
}

func (r *dutyRun) attach(w *sink.Worker, m Mapping) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.worker, r.mapping = w, m
	r.stage, r.since, r.waiting, r.err = status.Working, time.Now(), "", "" // what was wrong is over
}

// detach adds what the worker did to the sums of the run.
func (r *dutyRun) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = sum(r.before, r.worker.Progress())
	r.worker = nil
}

func sum(a, b sink.Progress) sink.Progress {
	b.Read += a.Read
	b.Filtered += a.Filtered
	b.Account = b.Account.Add(a.Account)
	b.Retries += a.Retries
	return b
}

func needsLoad(reason string) error {
	return errors.Join(&event.StopError{Reason: reason, Fix: "canalgo load starts again from the rows that are there"}, relay.ErrNeedsLoad)
}

// ensureIndex creates the index at the mapping's first start, and later only checks that it is still the same one.
func (n *Node) ensureIndex(ctx context.Context, r *dutyRun, out Sink, m Mapping, table *event.Table) error {
	indexer, ok := out.(Indexer)
	if !ok {
		return nil
	}
	uuid, err := indexer.IndexUUID(ctx, m.Index())
	if err != nil {
		return err
	}
	if uuid != "" && m.Own().Field != "" {
		mappings, err := indexer.Mappings(ctx, m.Index())
		if err == nil {
			err = m.CheckRelation(mappings)
		}
		if err != nil {
			return err
		}
	}
	v, _ := n.coord.View()
	known := v.Duties[r.id].Index
	switch {
	case known != "" && known == uuid:
		return nil
	case known != "":
		return indexGone(m.Index(), uuid)
	case uuid == "":
		body, err := m.IndexBody(table)
		if err != nil {
			return err
		}
		if uuid, err = indexer.CreateIndex(ctx, m.Index(), body); err != nil {
			return err
		}
		r.log.Info("index created", "index", m.Index())
	default:
		r.log.Info("index was there already and is used", "index", m.Index())
	}
	if err := n.propose(ctx, cluster.SetIndex{Duty: r.id, UUID: uuid, Epoch: r.assignment.Epoch}); err != nil {
		return fmt.Errorf("note index %s: %w", m.Index(), err)
	}
	return nil
}

func indexGone(index, uuid string) error {
	if uuid == "" {
		return needsLoad(fmt.Sprintf("index %s is gone", index))
	}
	return needsLoad(fmt.Sprintf("index %s is another one than before", index))
}

// watchIndex ends with an error when the index is no longer the one that the mapping began with: Elasticsearch makes a
// missing index anew at the next write, without its field types and without the documents that were in it.
func (n *Node) watchIndex(ctx context.Context, r *dutyRun, indexer Indexer, index string) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		uuid, err := indexer.IndexUUID(ctx, index)
		var stop *event.StopError
		switch {
		case errors.As(err, &stop):
			return err
		case err != nil:
			continue // the writes say it
		}
		if v, _ := n.coord.View(); v.Duties[r.id].Index != uuid {
			return indexGone(index, uuid)
		}
	}
}

// streamOf returns the stream duty of a duty's mapping.
func streamOf(id cluster.DutyID) cluster.DutyID {
	return cluster.DutyID{Source: id.Source, Mapping: id.Mapping, Kind: cluster.Stream}
}

// reached returns the end of the newest batch that a stream duty of this node has taken from its feed.
func (n *Node) reached(id cluster.DutyID) (event.Position, bool) {
	n.mu.Lock()
	r := n.duties[id]
	n.mu.Unlock()
	if r == nil {
		return event.Position{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.worker == nil {
		return event.Position{}, false
	}
	p := r.worker.Progress().Reached
	return p, !p.IsZero()
}

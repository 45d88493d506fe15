package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"canalgo/backoff"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/snapshot"
	"canalgo/status"
)

// load writes the rows that exist, from where the last run of it came to.
func (n *Node) load(ctx context.Context, r *dutyRun, v cluster.View, changed <-chan struct{}) error {
	state := v.Duties[r.id].Load
	if state == nil || state.Phase == cluster.LoadDone {
		r.enter(status.Done, "", nil)
		n.idle(ctx, changed, 0)
		return nil
	}
	stream := streamOf(r.id)
	if v.Duties[stream].Index == "" && v.Duties[stream].Position.IsZero() || !n.streams(stream) {
		r.enter(status.Waiting, "its stream", nil)
		n.idle(ctx, changed, 200*time.Millisecond)
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.draining, cancel)()
	reader, total, err := n.reader(ctx, r, v)
	if err != nil {
		return err
	}
	reader.Part.Where = state.Where
	if state.Where != "" {
		total = 0 // nobody knows how many rows that are
	}
	r.enter(status.Working, "", nil)
	r.reads(reader)
	defer r.reads(nil)
	if state.Rows == 0 {
		r.log.Info("load begins", "rows", total, "where", state.Where, "run", state.Runs)
	}
	progress := snapshot.Progress{First: state.First, LastKey: state.LastKey, Rows: state.Rows, Swept: state.Swept, Sweeping: state.Phase == cluster.LoadSweeping}
	save := func(ctx context.Context, p snapshot.Progress) error {
		next := cluster.LoadState{First: max(p.First, n.sweepFloor(stream)), LastKey: p.LastKey, Rows: p.Rows, Swept: p.Swept, Total: max(total, p.Rows), Where: state.Where, Phase: cluster.LoadCopying, Runs: state.Runs}
		if p.Sweeping {
			next.Phase = cluster.LoadSweeping
		}
		if err := n.propose(ctx, cluster.SaveLoad{Duty: r.id, Epoch: r.assignment.Epoch, Load: next}); err != nil {
			return fmt.Errorf("save load: %w", err)
		}
		state = &next
		return nil
	}
	reader.Floor = func() event.Version { return n.sweepFloor(stream) }
	reader.SweepAfter = n.loadCutShort(stream).Add(snapshot.StragglerTime)
	if r.assignment.Epoch > 1 || state.Rows > 0 { // another process was at it, and may have sent what has not arrived
		reader.SweepAfter = time.Now().Add(snapshot.StragglerTime)
	}
	// What it reads with is of this epoch, and a run that began anew is another one.
	run, epoch := state.Runs, v.Sources[r.id.Source].Epoch
	same, end := n.whileSeen(ctx, func(now cluster.View) bool {
		l := now.Duties[r.id].Load
		return l != nil && l.Runs == run && now.Sources[r.id.Source].Epoch == epoch && !paused(now, r.id)
	})
	defer end()
	err = reader.Load(same, progress, save)
	if err != nil {
		n.cutShort(stream)
	}
	if same.Err() != nil && ctx.Err() == nil {
		return nil // it goes on, or begins anew, as the view now says
	}
	var higher *snapshot.HigherError
	switch {
	case errors.As(err, &higher):
		return n.raiseEpoch(ctx, r, v, higher)
	case err != nil:
		return err
	}
	done := *state
	done.Phase = cluster.LoadDone
	if err := n.propose(ctx, cluster.SaveLoad{Duty: r.id, Epoch: r.assignment.Epoch, Load: done}); err != nil {
		return fmt.Errorf("save load: %w", err)
	}
	r.log.Info("load done", "rows", done.Rows, "swept", done.Swept)
	return n.quarantine(stream).Cleared(ctx, done.First)
}

// cutShort notes that a load ends before it is done: what it has sent may still be under way.
func (n *Node) cutShort(stream cluster.DutyID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[stream] = time.Now()
}

// loadCutShort returns when a load of a mapping last ended on this node before it was done, the zero time if none did.
func (n *Node) loadCutShort(stream cluster.DutyID) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[stream]
}

// sweepFloor returns the newest version below which this node has cleared a mapping's documents.
func (n *Node) sweepFloor(stream cluster.DutyID) event.Version {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cleared[stream]
}

// raiseSweep notes that all documents of a stream's mapping below a version were deleted, for the load that may be under way.
func (n *Node) raiseSweep(ctx context.Context, stream cluster.DutyID, before event.Version) error {
	n.mu.Lock()
	n.cleared[stream] = max(n.cleared[stream], before)
	n.mu.Unlock()
	id := cluster.DutyID{Source: stream.Source, Mapping: stream.Mapping, Kind: cluster.Load}
	d := n.View().Duties[id]
	if d.Load == nil || d.Load.Phase == cluster.LoadDone || d.Load.First == 0 && d.Load.Where == "" || d.Load.First >= before {
		return nil
	}
	next := *d.Load
	next.First = before
	if err := n.propose(ctx, cluster.SaveLoad{Duty: id, Epoch: d.Assignment.Epoch, Load: next}); err != nil {
		return fmt.Errorf("save load: %w", err)
	}
	return nil
}

// reads notes what a load, or what is rendered beside a stream, reads with.
func (r *dutyRun) reads(with *snapshot.Reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reader = with
	if with != nil && r.id.Kind == cluster.Load {
		r.mapping = with.Mapper.(Mapping) // that of n.reader; it counts what it changes
	}
}

// streams reports whether the mapping's stream has a worker.
func (n *Node) streams(id cluster.DutyID) bool {
	n.mu.Lock()
	r := n.duties[id]
	n.mu.Unlock()
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.worker != nil
}

// reader makes what a load, or a retry of single rows, reads with.
func (n *Node) reader(ctx context.Context, r *dutyRun, v cluster.View) (*snapshot.Reader, uint64, error) {
	mc := v.Config.Mappings[r.id.Mapping]
	m, err := n.parts.Mapping(r.id.Mapping, mc, v.Config.Sources[r.id.Source])
	if err != nil {
		return nil, 0, &event.StopError{Reason: fmt.Sprintf("mapping %s: %s", r.id.Mapping, err)}
	}
	source, err := n.client(r.id.Source, v.Config.Sources[r.id.Source])
	if err != nil {
		return nil, 0, err
	}
	out, err := n.sink(mc.Sink, v.Config.Sinks[mc.Sink])
	if err != nil {
		return nil, 0, err
	}
	know(m, v.Duties[streamOf(r.id)].Columns)
	table, anchor, err := lookup.Define(ctx, source, m)
	if err != nil {
		return nil, 0, fmt.Errorf("mapping %s: %w", r.id.Mapping, err)
	}
	columns, err := snapshot.WithKey(m, table) // the key says where to go on
	if err != nil {
		return nil, 0, err
	}
	total, err := source.Rows(ctx, m.Table())
	if err != nil {
		return nil, 0, err
	}
	epoch := v.Sources[r.id.Source].Epoch
	first, err := n.boundary(ctx, r.id.Source, epoch)
	if err != nil {
		return nil, 0, err
	}
	return &snapshot.Reader{Selector: source, Table: table, Columns: columns, Rule: m.Rule(), Anchor: anchor, Part: snapshot.Part{Called: m.Called()}, Rows: m.LoadRows(), Mapper: m, Sink: out, Own: m.Own(), Begin: n.prepared(ctx, out, m, r.log),
		Boundary: func() (event.Position, error) {
			b, err := n.boundary(ctx, r.id.Source, epoch)
			return b.End, err
		},
		Newest: func() (event.Version, bool) {
			b, err := n.boundary(ctx, r.id.Source, epoch)
			return b.Newest, b.Settled && err == nil
		},
		Keeper: n.keeper(r, m), Gate: n.gate(r.id.Mapping), Locks: !first.GTIDs, Limits: out.Limits(), Log: r.log}, total, nil
}

var errNoStream = errors.New("the source's stream is not running")

// raiseEpoch answers a document that an earlier life of this source, whose state is gone, wrote with a higher version.
func (n *Node) raiseEpoch(ctx context.Context, r *dutyRun, v cluster.View, higher *snapshot.HigherError) error {
	s := v.Sources[r.id.Source]
	r.log.Warn("the index holds versions of an earlier life of this source: new epoch above them, the load starts again", "document", higher.Document, "version", higher.Version.String())
	return n.propose(ctx, cluster.OpenEpoch{Source: r.id.Source, Was: s.Epoch, AtLeast: higher.Version.Epoch() + 1, ServerUUID: s.ServerUUID,
		Why: "the index holds higher versions"})
}

// awaitStream waits until the source's stream runs in its newest epoch.
func (n *Node) awaitStream(ctx context.Context, source string) error {
	wait := backoff.Backoff{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond}
	for {
		v, _ := n.coord.View()
		_, err := n.boundary(ctx, source, v.Sources[source].Epoch)
		if err == nil || !errors.Is(err, errNoStream) && !errors.Is(err, cluster.ErrNotLeader) {
			return err
		}
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

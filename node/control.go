package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/status"
)

// ErrNotFound is returned for a name or id that there is not.
var ErrNotFound = errors.New("not found")

// View returns the newest view of the replicated state.
func (n *Node) View() cluster.View {
	v, _ := n.coord.View()
	return v
}

// SetPaused pauses or resumes "source/NAME", "sink/NAME" or "mapping/NAME". A mapping that stopped at new columns goes on, too.
func (n *Node) SetPaused(ctx context.Context, what string, paused bool) error {
	v := n.View()
	kind, name, _ := strings.Cut(what, "/")
	known := map[string]bool{}
	switch kind {
	case "source":
		for k := range v.Config.Sources {
			known[k] = true
		}
	case "sink":
		for k := range v.Config.Sinks {
			known[k] = true
		}
	case "mapping":
		for k := range v.Config.Mappings {
			known[k] = true
		}
	}
	if !known[name] {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	if err := n.propose(ctx, cluster.SetPaused{What: what, Paused: paused}); err != nil {
		return err
	}
	if kind == "mapping" && !paused {
		if err := n.acceptColumns(ctx, name); err != nil {
			return err
		}
	}
	n.kickSources()
	return nil
}

// SetConfig replaces the configuration of version base.
func (n *Node) SetConfig(ctx context.Context, base uint64, c cluster.Config) error {
	if err := n.propose(ctx, cluster.SetConfig{Base: base, Config: c}); err != nil {
		return err
	}
	n.kickSources()
	return nil
}

// kickSources makes stopped sources look again at once.
func (n *Node) kickSources() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sources {
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
}

// StartLoad begins, or begins again, the load of a mapping; where, a condition in SQL, has it write only a part of the rows. When the source has stopped, because its position is lost or
// nobody can follow what stands there, it starts again from now, and every mapping of it is loaded; the names of all that
// are loaded are returned.
func (n *Node) StartLoad(ctx context.Context, source, mapping, where string) ([]string, error) {
	v := n.View()
	if m, ok := v.Config.Mappings[mapping]; !ok || m.Source != source {
		return nil, fmt.Errorf("mapping %s of source %s: %w", mapping, source, ErrNotFound)
	}
	if where != "" {
		return n.startPart(ctx, v, source, mapping, where)
	}
	stream := cluster.DutyID{Source: source, Mapping: mapping, Kind: cluster.Stream}
	if err := n.forgetIndex(ctx, v, stream); err != nil {
		return nil, err
	}
	if err := n.passStop(ctx, stream); err != nil {
		return nil, err
	}
	loads := []string{mapping}
	s := n.source(source)
	again := s != nil && s.stopped()
	if again {
		loads = slices.DeleteFunc(slices.Sorted(maps.Keys(v.Config.Mappings)), func(name string) bool { return v.Config.Mappings[name].Source != source })
	}
	for _, name := range loads {
		if name != mapping {
			other := cluster.DutyID{Source: source, Mapping: name, Kind: cluster.Stream}
			if err := n.forgetIndex(ctx, v, other); err != nil { // its destination may be away for long: the stream says whether it is another one
				n.log.Warn("the index was not looked at", "mapping", name, "error", err)
			}
		}
		if err := n.propose(ctx, cluster.StartLoad{Source: source, Mapping: name}); err != nil {
			return nil, err
		}
	}
	if again { // last: once the source is read again, nothing tells which mappings lack what lies between
		if err := s.startAgain(ctx, v); err != nil {
			return nil, err
		}
	}
	n.kickSources()
	n.log.Info("loads begin", "source", source, "mappings", loads)
	return loads, nil
}

// startPart begins the load of a part of a mapping's rows. It mends nothing: of the other rows nothing is written or swept. So it is
// refused where changes may have been missed, and where a load of all rows has to end first.
func (n *Node) startPart(ctx context.Context, v cluster.View, source, mapping, where string) ([]string, error) {
	stream := cluster.DutyID{Source: source, Mapping: mapping, Kind: cluster.Stream}
	load := v.Duties[cluster.DutyID{Source: source, Mapping: mapping, Kind: cluster.Load}].Load
	needs := func(why string) ([]string, error) {
		return nil, fmt.Errorf("%s: %s; canalgo load %[1]s writes all rows", stream, why)
	}
	stopped := false
	if s := n.source(source); s != nil {
		stopped = s.stopped()
	}
	if x := n.reign.Load(); x != nil {
		stage := x.members.stage(v.Duties[stream].Assignment.Node, stream)
		stopped = stopped || stage == status.NeedsLoad || stage == status.Stopped
	}
	switch {
	case stopped:
		return needs("its stream has stopped, so that changes of any row may have been missed")
	case load != nil && load.Phase != cluster.LoadDone && load.Where == "", load == nil && v.Config.Mappings[mapping].Load == "initial":
		return nil, fmt.Errorf("%s: the load of all its rows is not done; start that of a part after it", stream)
	}
	if err := n.propose(ctx, cluster.StartLoad{Source: source, Mapping: mapping, Where: where}); err != nil {
		return nil, err
	}
	n.log.Info("load of a part begins", "source", source, "mapping", mapping, "where", where)
	return []string{mapping}, nil
}

// passStop lets a stream that stopped at an event which nobody can follow go on behind what was read: the load that follows
// writes the rows as they are after it.
func (n *Node) passStop(ctx context.Context, stream cluster.DutyID) error {
	d, s, x := n.View().Duties[stream], n.source(stream.Source), n.reign.Load()
	if s == nil || x == nil {
		return nil
	}
	stopped := x.members.stage(d.Assignment.Node, stream).Stuck()
	s.mu.Lock()
	session := s.session
	s.mu.Unlock()
	if !stopped || session == nil {
		return nil
	}
	if err := s.describeAgain(ctx, session.duties[stream], session.log.Boundary()); err != nil {
		return err
	}
	end := session.log.Boundary()
	s.log.Warn("the stream goes on behind what stopped it, a load follows", "duty", stream.String(), "position", end.String())
	return n.propose(ctx, cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{stream: {Epoch: d.Assignment.Epoch, Position: end}}})
}

// forgetIndex lets a mapping whose index is gone or another one begin with a new one.
func (n *Node) forgetIndex(ctx context.Context, v cluster.View, stream cluster.DutyID) error {
	known := v.Duties[stream].Index
	mc := v.Config.Mappings[stream.Mapping]
	out, err := n.sink(mc.Sink, v.Config.Sinks[mc.Sink])
	if err != nil {
		return err
	}
	indexer, ok := out.(Indexer)
	if !ok || known == "" {
		return nil
	}
	m, err := n.parts.Mapping(stream.Mapping, mc, v.Config.Sources[stream.Source])
	if err != nil {
		return err
	}
	uuid, err := indexer.IndexUUID(ctx, m.Index())
	if err != nil || uuid == known {
		return err
	}
	return n.propose(ctx, cluster.SetIndex{Duty: stream, UUID: ""})
}

// startAgain opens an epoch at the source's present end: a person said that a load follows.
func (s *sourceRun) startAgain(ctx context.Context, v cluster.View) error {
	if s.source == nil { // nobody can make it: status says why
		return fmt.Errorf("source %s is stopped: %s", s.name, s.lastError())
	}
	server, err := s.source.Server(ctx, v.Sources[s.name].ServerUUID)
	if err != nil {
		return fmt.Errorf("ask server: %w", err)
	}
	start, err := s.source.Resolve(ctx, "current")
	if err != nil {
		return fmt.Errorf("resolve start: %w", err)
	}
	have := v.Sources[s.name]
	s.custody.forget()
	return s.n.coord.Propose(ctx, s.term, cluster.OpenEpoch{Source: s.name, Was: have.Epoch, AtLeast: have.Epoch + 1, ServerUUID: server.UUID,
		Start: start, Why: "position lost, load follows"})
}

// Rewind starts a source again from an earlier, or later, place: "current", a file and offset, or a GTID set. Everything from
// there on is written again, in a new epoch.
func (n *Node) Rewind(ctx context.Context, source, start string) (event.Position, error) {
	v := n.View()
	s := n.source(source)
	if s == nil || s.source == nil {
		return event.Position{}, fmt.Errorf("source %s: %w", source, ErrNotFound)
	}
	server, err := s.source.Server(ctx, v.Sources[source].ServerUUID)
	if err != nil {
		return event.Position{}, fmt.Errorf("ask server: %w", err)
	}
	at, err := s.source.Resolve(ctx, start)
	if err != nil {
		return event.Position{}, err
	}
	have := v.Sources[source]
	s.custody.forget()
	err = n.propose(ctx, cluster.OpenEpoch{Source: source, Was: have.Epoch, AtLeast: event.EpochAt(time.Now()), ServerUUID: server.UUID, Start: at, Why: "rewind"})
	n.kickSources()
	return at, err
}

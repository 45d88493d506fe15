package cluster

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"

	"canalgo/event"
)

// ErrRefused is every refusal of a command by Apply; the three below are its kinds. The state is then unchanged.
var ErrRefused = errors.New("refused")

var (
	// ErrStale refuses a command that was made for a version, epoch or run that is no longer the present one.
	ErrStale = fmt.Errorf("%w as outdated", ErrRefused)
	// ErrUnknown refuses a command that names a source, sink, mapping, duty or node that does not exist.
	ErrUnknown = fmt.Errorf("%w as unknown", ErrRefused)
	// ErrInvalid refuses a command that could never be right.
	ErrInvalid = fmt.Errorf("%w as invalid", ErrRefused)
)

// Apply returns the state after cmd, and leaves s as it is. On an error, which is always an ErrRefused, it returns s. The
// new state shares with cmd what cmd holds: do not change a command that was applied.
func (s State) Apply(cmd Command) (State, error) {
	next, err := s.apply(cmd)
	if err != nil {
		return s, err
	}
	return next, nil
}

func (s State) apply(cmd Command) (State, error) {
	switch c := cmd.(type) {
	case SetConfig:
		return s.setConfig(c)
	case OpenEpoch:
		return s.openEpoch(c)
	case SavePositions:
		return s.savePositions(c), nil
	case NoteTables:
		return s.noteTables(c)
	case Assign:
		return s.assign(c), nil
	case SetPaused:
		return s.setPaused(c)
	case StartLoad:
		return s.startLoad(c)
	case SaveLoad:
		return s.saveLoad(c)
	case PutFanout:
		return s.putFanout(c)
	case SaveFanout:
		return s.saveFanout(c)
	case SetIndex:
		return s.setIndex(c)
	case NoteColumns:
		return s.noteColumns(c)
	case SetAside:
		return s.setAside(c)
	case Release:
		return s.release(c), nil
	case SetNode:
		return s.setNode(c)
	case RemoveNode:
		return s.removeNode(c)
	case SetClient:
		return s.setClient(c)
	case SaveClients:
		return s.saveClients(c), nil
	case RemoveClient:
		return s.removeClient(c)
	}
	return s, fmt.Errorf("command %T: %w", cmd, ErrInvalid)
}

func (s State) setConfig(c SetConfig) (State, error) {
	if c.Base != s.Config.Version {
		return s, fmt.Errorf("configuration for version %d, now %d: %w", c.Base, s.Config.Version, ErrStale)
	}
	if err := c.Config.Validate(); err != nil {
		return s, fmt.Errorf("configuration: %w: %w", ErrInvalid, err)
	}
	was := s.Config
	s.Config = c.Config
	s.Config.Version = c.Base + 1

	streams := s.Config.duties()
	old := s.Duties
	s.Duties = make(map[DutyID]Duty, len(streams))
	for id, duty := range old {
		if streams[DutyID{Source: id.Source, Mapping: id.Mapping, Kind: Stream}] {
			if !sameSections(was, s.Config, id) {
				duty.Config = s.Config.Version
			}
			s.Duties[id] = duty
			continue
		}
		s.Retired = max(s.Retired, duty.Assignment.Epoch)
	}
	for id := range streams {
		if _, ok := s.Duties[id]; !ok {
			s.Duties[id] = s.newDuty()
		}
	}

	s.Quarantine = maps.Clone(s.Quarantine)
	maps.DeleteFunc(s.Quarantine, func(_ uint64, q Quarantined) bool { return !streams[q.Duty] })
	s.Paused = maps.Clone(s.Paused)
	maps.DeleteFunc(s.Paused, func(what string, _ bool) bool {
		kind, name, _ := strings.Cut(what, "/")
		return !s.Config.has(kind, name)
	})
	s.Clients = maps.Clone(s.Clients)
	maps.DeleteFunc(s.Clients, func(id ClientID, _ Client) bool { return !s.Config.has("source", id.Source) })
	// A source that is gone keeps its epoch alone, so that one of the same name begins above it.
	s.Sources = maps.Clone(s.Sources)
	for name, source := range s.Sources {
		if !s.Config.has("source", name) {
			s.Sources[name] = Source{Epoch: source.Epoch}
		}
	}
	return s, nil
}

// newDuty returns a duty that nobody does. Its epoch is one that no earlier duty of the same name can have passed, so
// that what is left of that one is refused.
func (s State) newDuty() Duty {
	return Duty{Assignment: Assignment{Epoch: s.Retired}, Config: s.Config.Version}
}

// sameSections reports whether two configurations have the same bytes for what a duty is made of. Whether a load is wanted at the
// start changes nothing that runs.
func sameSections(a, b Config, id DutyID) bool {
	before, after := a.Mappings[id.Mapping], b.Mappings[id.Mapping]
	before.Load = after.Load
	return reflect.DeepEqual(before, after) && reflect.DeepEqual(a.Sources[id.Source], b.Sources[id.Source]) &&
		reflect.DeepEqual(a.Sinks[before.Sink], b.Sinks[after.Sink])
}

func (s State) openEpoch(c OpenEpoch) (State, error) {
	if !s.Config.has("source", c.Source) {
		return s, fmt.Errorf("open epoch of source %q: %w", c.Source, ErrUnknown)
	}
	present := s.Sources[c.Source]
	if c.Was != present.Epoch {
		return s, fmt.Errorf("open epoch of source %s after %d, now %d: %w", c.Source, c.Was, present.Epoch, ErrStale)
	}
	epoch := max(present.Epoch+1, c.AtLeast)
	switch {
	case epoch > event.MaxEpoch:
		return s, fmt.Errorf("open epoch %d of source %s: at most %d: %w", epoch, c.Source, uint32(event.MaxEpoch), ErrInvalid)
	case c.ServerUUID == "":
		return s, fmt.Errorf("open epoch of source %s without a server: %w", c.Source, ErrInvalid)
	case c.Start.File != "" && c.Start.ServerUUID != "" && c.Start.ServerUUID != c.ServerUUID:
		return s, fmt.Errorf("open epoch of source %s on server %s at a place of server %s: %w", c.Source, c.ServerUUID, c.Start.ServerUUID, ErrInvalid)
	}
	if c.Start.IsZero() {
		if c.ServerUUID != present.ServerUUID {
			return s, fmt.Errorf("open epoch of source %s on server %s without a start, now %s: %w", c.Source, c.ServerUUID, present.ServerUUID, ErrStale)
		}
		return s.renumber(c.Source, epoch)
	}

	start := c.Start
	start.ServerUUID, start.Epoch, start.Count = c.ServerUUID, epoch, event.FirstCount
	s.Sources = with(s.Sources, c.Source, Source{Epoch: epoch, ServerUUID: c.ServerUUID, Start: start})
	s.Clients = s.moveClients(c.Source, func(event.Position) event.Position { return start })
	s.Duties = maps.Clone(s.Duties)
	for id, duty := range s.Duties {
		if id.Source == c.Source {
			if id.Kind == Stream {
				duty.Position = start
			}
			s.Duties[id] = duty.loadAgain()
		}
	}
	return s, nil
}

// renumber opens an epoch in which every position of the source keeps its place in the log.
func (s State) renumber(source string, epoch uint32) (State, error) {
	present := s.Sources[source]
	var oldest, newest event.Position
	for p := range s.Positions(source) { // of equally old ones the first
		if oldest.IsZero() || p.Before(oldest) {
			oldest = p
		}
		if newest.IsZero() || p.Count > newest.Count {
			newest = p
		}
	}
	if oldest.IsZero() {
		oldest, newest = present.Start, present.Start
	}
	if newest.Count-oldest.Count > event.MaxCount-event.FirstCount {
		return s, fmt.Errorf("open epoch of source %s: %d events between its positions do not fit: %w", source, newest.Count-oldest.Count, ErrInvalid)
	}
	shift := func(p event.Position) event.Position {
		p.Epoch, p.Count = epoch, p.Count-oldest.Count+event.FirstCount
		return p
	}
	s.Sources = with(s.Sources, source, Source{Epoch: epoch, ServerUUID: present.ServerUUID, Start: shift(oldest),
		Tables: present.Tables.renumber(oldest.Version(), event.NewVersion(epoch, event.FirstCount))})
	s.Clients = s.moveClients(source, shift)
	s.Duties = maps.Clone(s.Duties)
	for id, duty := range s.Duties {
		if id.Source == source {
			if !duty.Position.IsZero() {
				duty.Position = shift(duty.Position)
			}
			s.Duties[id] = duty.loadAgain()
		}
	}
	return s, nil
}

// Positions are those of a source's duties and clients, in the order of their names.
func (s State) Positions(source string) iter.Seq[event.Position] {
	return func(yield func(event.Position) bool) {
		for _, id := range slices.SortedFunc(maps.Keys(s.Duties), DutyID.Compare) {
			if p := s.Duties[id].Position; id.Source == source && !p.IsZero() && !yield(p) {
				return
			}
		}
		for _, id := range slices.SortedFunc(maps.Keys(s.Clients), ClientID.Compare) {
			if p := s.Clients[id].Position; id.Source == source && !p.IsZero() && !yield(p) {
				return
			}
		}
	}
}

// loadAgain begins a load that is not done from its start.
func (d Duty) loadAgain() Duty {
	if d.Load != nil && d.Load.Phase != LoadDone {
		d.Load = &LoadState{Phase: LoadCopying, Where: d.Load.Where, Runs: d.Load.Runs + 1}
	}
	return d
}

func (s State) savePositions(c SavePositions) State {
	saved := make(map[DutyID]Duty, len(c.Saves))
	for id, save := range c.Saves {
		duty, ok := s.Duties[id]
		if !ok || id.Kind != Stream || save.Epoch != duty.Assignment.Epoch ||
			save.Position.Epoch == 0 || save.Position.Epoch != s.Sources[id.Source].Epoch ||
			save.Position.Count > event.MaxCount || save.Position.Before(duty.Position) { // rule 2
			continue
		}
		duty.Position = save.Position
		saved[id] = duty
	}
	if len(saved) > 0 {
		s.Duties = maps.Clone(s.Duties)
		maps.Copy(s.Duties, saved)
	}
	return s
}

func (s State) assign(c Assign) State {
	assigned := make(map[DutyID]Duty, len(c.Assignments))
	for id, assignment := range c.Assignments {
		duty, ok := s.Duties[id]
		if !ok || assignment.Epoch != duty.Assignment.Epoch+1 {
			continue
		}
		duty.Assignment = assignment
		assigned[id] = duty
	}
	if len(assigned) > 0 {
		s.Duties = maps.Clone(s.Duties)
		maps.Copy(s.Duties, assigned)
	}
	return s
}

func (s State) setPaused(c SetPaused) (State, error) {
	kind, name, _ := strings.Cut(c.What, "/")
	if !s.Config.has(kind, name) {
		return s, fmt.Errorf("pause %q: %w", c.What, ErrUnknown)
	}
	if c.Paused {
		s.Paused = with(s.Paused, c.What, true)
		return s, nil
	}
	s.Paused = maps.Clone(s.Paused)
	delete(s.Paused, c.What)
	return s, nil
}

func (s State) startLoad(c StartLoad) (State, error) {
	if m, ok := s.Config.Mappings[c.Mapping]; !ok || m.Source != c.Source {
		return s, fmt.Errorf("load %s/%s: %w", c.Source, c.Mapping, ErrUnknown)
	}
	id := DutyID{Source: c.Source, Mapping: c.Mapping, Kind: Load}
	duty, ok := s.Duties[id]
	if !ok {
		duty = s.newDuty()
	}
	var runs uint64
	if duty.Load != nil {
		runs = duty.Load.Runs
	}
	duty.Load = &LoadState{Phase: LoadCopying, Where: c.Where, Runs: runs + 1}
	s.Duties = with(s.Duties, id, duty)
	return s, nil
}

func (s State) saveLoad(c SaveLoad) (State, error) {
	duty, ok := s.Duties[c.Duty]
	if !ok || duty.Load == nil {
		return s, fmt.Errorf("save load %s: %w", c.Duty, ErrUnknown)
	}
	if c.Epoch != duty.Assignment.Epoch || c.Load.Runs != duty.Load.Runs {
		return s, fmt.Errorf("save load %s of epoch %d, run %d, now %d, %d: %w",
			c.Duty, c.Epoch, c.Load.Runs, duty.Assignment.Epoch, duty.Load.Runs, ErrStale)
	}
	switch c.Load.Phase {
	case LoadCopying, LoadSweeping, LoadDone:
	default:
		return s, fmt.Errorf("save load %s in phase %q: %w", c.Duty, c.Load.Phase, ErrInvalid)
	}
	load := c.Load
	load.Where = duty.Load.Where
	duty.Load = &load
	s.Duties = with(s.Duties, c.Duty, duty)
	return s, nil
}

func (s State) setIndex(c SetIndex) (State, error) {
	duty, ok := s.Duties[c.Duty]
	if !ok || c.Duty.Kind != Stream {
		return s, fmt.Errorf("set index of %s: %w", c.Duty, ErrUnknown)
	}
	if c.Epoch != 0 && c.Epoch != duty.Assignment.Epoch {
		return s, fmt.Errorf("set index of %s in epoch %d, now %d: %w", c.Duty, c.Epoch, duty.Assignment.Epoch, ErrStale)
	}
	duty.Index = c.UUID
	s.Duties = with(s.Duties, c.Duty, duty)
	return s, nil
}

func (s State) noteColumns(c NoteColumns) (State, error) {
	duty, ok := s.Duties[c.Duty]
	if !ok || c.Duty.Kind != Stream {
		return s, fmt.Errorf("note columns of %s: %w", c.Duty, ErrUnknown)
	}
	if c.Epoch != 0 && c.Epoch != duty.Assignment.Epoch {
		return s, fmt.Errorf("note columns of %s in epoch %d, now %d: %w", c.Duty, c.Epoch, duty.Assignment.Epoch, ErrStale)
	}
	duty.Columns = nil
	if len(c.Columns) > 0 {
		duty.Columns = c.Columns
	}
	s.Duties = with(s.Duties, c.Duty, duty)
	return s, nil
}

func (s State) setAside(c SetAside) (State, error) {
	for _, q := range c.Entries {
		duty, ok := s.Duties[q.Duty]
		if !ok || q.Duty.Kind != Stream {
			return s, fmt.Errorf("set aside %s/%s of %s: %w", q.Index, q.Document, q.Duty, ErrUnknown)
		}
		if c.Epoch != 0 && c.Epoch != duty.Assignment.Epoch {
			return s, fmt.Errorf("set aside %s/%s of %s in epoch %d, now %d: %w", q.Index, q.Document, q.Duty, c.Epoch, duty.Assignment.Epoch, ErrStale)
		}
	}
	type document struct {
		duty            DutyID
		index, document string
	}
	ids := make(map[document]uint64, len(s.Quarantine))
	for id, q := range s.Quarantine {
		ids[document{q.Duty, q.Index, q.Document}] = id
	}
	quarantine := make(map[uint64]Quarantined, len(s.Quarantine)+len(c.Entries))
	maps.Copy(quarantine, s.Quarantine)
	next := max(s.NextQuarantine, 1)
	for _, q := range c.Entries {
		key := document{q.Duty, q.Index, q.Document}
		id, ok := ids[key]
		if !ok {
			id = next
			next++
			ids[key] = id
		}
		q.ID = id
		quarantine[id] = q
	}
	s.Quarantine, s.NextQuarantine = quarantine, next
	return s, nil
}

func (s State) release(c Release) State {
	s.Quarantine = maps.Clone(s.Quarantine)
	for _, id := range c.IDs {
		delete(s.Quarantine, id)
	}
	return s
}

func (s State) setNode(c SetNode) (State, error) {
	if err := c.Validate(); err != nil {
		return s, err
	}
	if lowest, _ := s.lowest(); max(c.Node.Commands, 1) < lowest { // it could read neither the log nor this state
		return s, fmt.Errorf("node %s reads up to version %d, this cluster is in version %d; upgrade the node: %w", c.Name, max(c.Node.Commands, 1), lowest, ErrInvalid)
	}
	s.Nodes = with(s.Nodes, c.Name, c.Node)
	return s, nil
}

func (s State) removeNode(c RemoveNode) (State, error) {
	node, ok := s.Nodes[c.Name]
	if !ok {
		return s, fmt.Errorf("remove node %q: %w", c.Name, ErrUnknown)
	}
	if node.ServerID != c.ServerID {
		return s, fmt.Errorf("remove node %s with server id %q, now %s: %w", c.Name, c.ServerID, node.ServerID, ErrStale)
	}
	s.Nodes = maps.Clone(s.Nodes)
	delete(s.Nodes, c.Name)
	return s, nil
}

// with returns a copy of m in which k is v.
func with[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	n := make(map[K]V, len(m)+1)
	maps.Copy(n, m)
	n[k] = v
	return n
}

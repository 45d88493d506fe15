package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/sink"
	"canalgo/status"
)

// A rate turns a counter into a number per second. It is safe for several goroutines.
type rate struct {
	mu    sync.Mutex
	at    time.Time
	count uint64
	per   float64
}

// observe returns the rate since the last observation that is at least half a second old.
func (r *rate) observe(count uint64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	d := now.Sub(r.at)
	if d < 500*time.Millisecond {
		return r.per
	}
	if !r.at.IsZero() && count >= r.count {
		r.per = float64(count-r.count) / d.Seconds()
	}
	r.at, r.count = now, count
	return r.per
}

// Report returns what the cluster does now, as far as its nodes answer this one within a second.
func (n *Node) Report(ctx context.Context) status.Report {
	v, _ := n.coord.View()
	here := n.localReport()
	others := n.ask(ctx, v)
	r := here
	r.Nodes, r.Duties = nil, nil
	reports := map[string]status.Report{n.cfg.ID: here}
	for name, a := range others {
		if a.err == nil {
			reports[name] = a.report
		}
	}
	for _, name := range sortedKeys(v.Nodes) {
		r.Nodes = append(r.Nodes, reportNode(v, name, reports, others[name].err))
	}
	r.Tolerates = n.tolerates(v, r.Nodes)
	if led, ok := reports[v.Leader]; ok {
		r.Sources, r.Clients = led.Sources, led.Clients
	}
	for _, id := range sortedDuties(v) {
		r.Duties = append(r.Duties, mergeDuty(id.String(), v.Duties[id].Assignment.Node, reports, reports[v.Leader]))
	}
	waitElsewhere(&r)
	r.Problems = problems(r)
	r.Healthy = len(r.Problems) == 0
	return r
}

// An answer is what another node reports.
type answer struct {
	report status.Report
	err    error
}

// askTime is how long a report waits for the other nodes.
const askTime = time.Second

// ask asks every other node for what it does.
func (n *Node) ask(ctx context.Context, v cluster.View) map[string]answer {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	out := make(map[string]answer)
	for name, node := range v.Nodes {
		if name == n.cfg.ID {
			continue
		}
		asking.Go(func() {
			var a answer
			a.err = Call(ctx, n.cfg.Peers, node.Address, callReport, none{}, &a.report)
			mu.Lock()
			defer mu.Unlock()
			out[name] = a
		})
	}
	asking.Wait()
	return out
}

func reportNode(v cluster.View, name string, reports map[string]status.Report, err error) status.Node {
	known := v.Nodes[name]
	out := status.Node{Name: name, Address: known.Address, HTTP: known.HTTP, Version: known.Version, State: status.NodeUnreachable}
	if r, ok := reports[name]; ok && len(r.Nodes) == 1 {
		out = r.Nodes[0]
	} else if err != nil {
		out.LastError = err.Error()
	}
	return out
}

// tolerates marks the nodes that vote, and returns how many of them that work can fail; nil while nobody leads.
func (n *Node) tolerates(v cluster.View, nodes []status.Node) *int {
	m, ok := n.coord.(Membership)
	if !ok {
		return nil
	}
	all, work := voters(m), 0
	for i := range nodes {
		nodes[i].Votes = slices.Contains(all, nodes[i].Name)
		if nodes[i].Votes && nodes[i].State != status.NodeUnreachable {
			work++
		}
	}
	if v.Leader == "" {
		return nil
	}
	needed := len(all)/2 + 1
	if q, ok := n.coord.(interface{ Needs(voters int) int }); ok { // its majority is another one than the nodes'
		needed = q.Needs(len(all))
	}
	left := max(0, work-needed)
	return &left
}

// mergeDuty puts together what the node that does a duty says and what the leader knows of it.
func mergeDuty(id, node string, reports map[string]status.Report, led status.Report) status.Duty {
	from, known := reports[node]
	out, ok := from.Duty(id)
	at, ledOK := led.Duty(id)
	switch {
	case !ok && ledOK:
		out = at
	case !ok:
		out = status.Duty{ID: id, Node: node, Stage: status.Waiting}
	}
	if node != "" && !known {
		out.Stage, out.WaitingFor = status.Waiting, "node "+node+", which does not answer"
	}
	out.Stall = stallOfDuty(out, at)
	if ledOK {
		out.LagSeconds, out.LagBytes = at.LagSeconds, at.LagBytes
		out.Position, out.Version = at.Position, at.Version // its log is the newest
	}
	if out.Stage == status.Reading && out.Counters.InFlight == 0 && out.LagSeconds != nil && *out.LagSeconds == 0 {
		out.Stage = status.Idle
		if len(out.Fanouts) > 0 {
			out.Stage = status.Working
		}
	}
	return out
}

func sortedClients(v cluster.View) []cluster.ClientID {
	return slices.SortedFunc(maps.Keys(v.Clients), cluster.ClientID.Compare)
}

func sortedDuties(v cluster.View) []cluster.DutyID {
	return slices.SortedFunc(maps.Keys(v.Duties), cluster.DutyID.Compare)
}

// localReport returns what this node does, without asking anybody. Its duties are those that it does, and as the leader all.
func (n *Node) localReport() status.Report {
	v, _ := n.coord.View()
	self := status.Node{Name: n.cfg.ID, Address: n.cfg.Self.Address, HTTP: n.cfg.Self.HTTP, Version: n.cfg.Version, Started: n.began, State: status.NodeWorks,
		Leads: v.Leading, Term: uint64(v.Term), Applied: v.Applied, StateHash: v.Hash(), LeaseSeconds: max(0, n.lease.left(n.cfg.Clock()).Seconds())}
	if x := n.reign.Load(); x != nil {
		self.Stall = x.saving.stall()
	}
	switch {
	case n.draining.Err() != nil:
		self.State = status.NodeDrains
	case self.LeaseSeconds == 0:
		self.State = status.NodeNoLease
	}
	r := status.Report{Time: time.Now(), Node: n.cfg.ID, Version: n.cfg.Version, Started: n.began, ClusterID: n.cfg.ClusterID, Leader: v.Leader,
		Term: uint64(v.Term), Applied: v.Applied, StateHash: self.StateHash, ConfigVersion: v.Config.Version, Quarantine: len(v.Quarantine), Nodes: []status.Node{self}}
	if v.Config.Version > 0 {
		r.ConfigDiffers = n.differs(v)
	}
	for _, name := range sortedKeys(v.Config.Sources) {
		r.Sources = append(r.Sources, n.reportSource(v, name))
	}
	if v.Leading {
		r.Clients = n.reportClients(v)
	}
	aside, later := make(map[cluster.DutyID]int), make(map[cluster.DutyID]int)
	for _, q := range v.Quarantine {
		aside[q.Duty]++
		if q.Foreign.Epoch() > v.Sources[q.Duty.Source].Epoch {
			later[q.Duty]++
		}
	}
	for _, id := range sortedDuties(v) {
		if v.Leading || v.Duties[id].Assignment.Node == n.cfg.ID {
			d := n.reportDuty(v, id)
			d.Quarantine, d.Later = aside[id], later[id]
			r.Duties = append(r.Duties, d)
		}
	}
	return r
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (n *Node) reportSource(v cluster.View, name string) (out status.Source) {
	out = status.Source{Name: name, Epoch: v.Sources[name].Epoch, State: status.SourceConnecting, Since: n.began}
	s := n.source(name)
	if s == nil {
		if x := n.reign.Load(); x != nil { // it leads, and has not come to its sources yet
			out.Since = x.began
			out.Stall = stalled("source", time.Since(x.began))
		}
		return out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.State, out.Since, out.LastError, out.ErrorTime = s.state, s.since, s.err, s.errTime
	if s.state == status.SourceElsewhere {
		out.HeldBy = s.heldBy
	}
	out.Server = status.Server{Address: s.server.Address, UUID: s.server.UUID, Version: s.server.Version}
	out.GTIDMode = "off"
	if s.server.GTIDs {
		out.GTIDMode = "on"
	}
	for id, c := range s.catchUps {
		out.CatchUps = append(out.CatchUps, status.CatchUp{Duty: id, From: c.from.String(), Since: c.since})
	}
	slices.SortFunc(out.CatchUps, func(a, b status.CatchUp) int { return strings.Compare(a.Duty, b.Duty) })
	out.CaughtUp = s.caughtUp
	defer func() { out.Stall = s.stall(out) }()
	oldest := s.oldest(v)
	if s.source == nil || s.session == nil {
		s.retention(oldest, &out)
		return out
	}
	p := s.source.Progress(shared)
	if p.XA > 0 {
		out.XA = &status.XA{Open: p.XA, Since: p.XASince, At: p.XAAt.String()}
		if at := (event.Position{ServerUUID: s.server.UUID, File: p.XAAt.File, Offset: p.XAAt.Offset, Time: p.XASince}); at.FileBefore(oldest) {
			oldest = at
		}
	}
	s.retention(oldest, &out)
	if !p.Connected {
		out.State, out.Since = status.SourceConnecting, p.Since
		out.LastError, out.ErrorTime = p.LastError, p.ErrorTime
	} else if out.State == status.SourceStreaming {
		out.LastError = "" // it is over
	}
	if out.State == status.SourceStreaming && s.session.log.Held() {
		out.State = status.SourceHeld
	}
	end := s.session.log.Boundary()
	out.Newest, out.NewestVersion, out.NewestTime = end.String(), end.Version().String(), end.Time
	out.EventsRead, out.BytesRead, out.RowsFiltered, out.Reconnects = p.Events, p.Bytes, p.Filtered, p.Reconnects
	out.RingBytes = uint64(s.session.log.Bytes())
	lag := s.lagSeconds(end, p)
	out.LagSeconds = &lag
	if bytes, ok := s.bytesBehind(end); ok {
		out.LagBytes = &bytes
	}
	return out
}

// lagSeconds is how long ago the position's transaction was committed while there is more to read, counted from now.
func (s *sourceRun) lagSeconds(p event.Position, progress SourceProgress) float64 {
	if bytes, ok := s.bytesBehind(p); ok && bytes == 0 || p.Time.IsZero() {
		return 0
	}
	if time.Since(progress.CaughtUp) < 2*time.Second && !s.session.log.Boundary().Time.After(p.Time) {
		return 0
	}
	return max(0, time.Since(p.Time).Seconds())
}

func (n *Node) reportDuty(v cluster.View, id cluster.DutyID) status.Duty {
	d := v.Duties[id]
	out := status.Duty{ID: id.String(), Kind: string(id.Kind), Node: d.Assignment.Node, Epoch: uint64(d.Assignment.Epoch),
		Config: d.Assignment.ConfigVersion, Stage: status.Waiting, WaitingFor: "a node"}
	if !d.Position.IsZero() {
		out.Position, out.Version = d.Position.String(), d.Position.Version().String()
	}
	n.mu.Lock()
	r, s := n.duties[id], n.sources[id.Source]
	n.mu.Unlock()
	for _, f := range d.Fanouts {
		out.Fanouts = append(out.Fanouts, status.Fanout{Rows: f.Fan.Element, Done: f.Done, Total: max(f.Total, f.Done), Again: len(f.Until) > 0, Since: f.Since, Version: f.Version.String()})
	}
	var led status.Duty
	if id.Kind == cluster.Stream && s != nil {
		reportLag(&out, s, id, s.position(id, d.Position))
		led.Stall = s.stallOf(id)
	}
	if r == nil {
		out.Stall = led.Stall
		return out
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out.Stage, out.Since, out.WaitingFor, out.LastError, out.ErrorTime = r.stage, r.since, r.waiting, r.err, r.errTime
	if out.Stage == status.Waiting {
		out.Stall = stalled(out.WaitingFor, time.Since(out.Since))
	}
	p := r.before
	if r.worker != nil {
		now := r.worker.Progress()
		p = sum(r.before, now)
		stageOfWorker(&out, now)
		out.Stall = stallOfDuty(out, led)
	}
	if r.reader != nil {
		step, since, err := r.reader.Doing()
		if step != "" && out.Stall == nil {
			out.Stall = stalled(step, time.Since(since))
		}
		if err != nil {
			out.LastError = err.Error()
		}
	}
	if r.mapping != nil {
		out.Counters.NulledValues, out.Counters.ClippedValues = r.mapping.Nulled(), r.mapping.Clipped()
		if r.id.Kind == cluster.Stream {
			out.QuarantineLimit = r.mapping.MaxQuarantine()
		}
	}
	out.Counters.Read, out.Counters.Filtered, out.Counters.Retries, out.Counters.InFlight = p.Read, p.Filtered, p.Retries, p.InFlight
	out.Counters.Account = status.Account(p.Account)
	out.RowsPerSecond = r.rows.observe(p.Read)
	if d.Load != nil {
		out.Load = r.reportLoad(d.Load)
		out.RowsPerSecond = out.Load.RowsPerSecond
	}
	return out
}

// stageOfWorker says what a running worker does.
func stageOfWorker(out *status.Duty, p sink.Progress) {
	out.Since, out.IdleSeconds = p.Since, time.Since(p.Moved).Seconds()
	if p.Step != "" {
		out.Stall = stalled(string(p.Step), time.Since(p.StepSince))
	}
	switch p.Stage {
	case sink.Failing:
		out.Stage, out.WaitingFor, out.LastError, out.ErrorTime = status.Waiting, "the destination", p.LastError, p.ErrorTime
		if time.Since(p.Since) > 10*time.Second {
			out.Stage = status.Stuck
		}
	case sink.Working:
		out.Stage = status.Working
	default:
		out.Stage = status.Reading
	}
}

func (r *dutyRun) reportLoad(l *cluster.LoadState) *status.Load {
	out := &status.Load{Phase: string(l.Phase), Rows: l.Rows, Total: l.Total, Swept: l.Swept, Runs: l.Runs, Where: l.Where}
	if l.Phase != cluster.LoadDone {
		out.RowsPerSecond = r.loadRows.observe(l.Rows)
		if out.RowsPerSecond > 0 && l.Total > l.Rows {
			left := float64(l.Total-l.Rows) / out.RowsPerSecond
			out.SecondsLeft = &left
		}
	}
	return out
}

// reportLag compares what the destination has with what the source has.
func reportLag(out *status.Duty, s *sourceRun, id cluster.DutyID, reached event.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.feeds[id]; f != nil {
		reached = f.Position() // ahead of what is saved
	}
	if s.session == nil {
		return
	}
	end := s.session.log.Boundary()
	var lag float64
	if reached.Before(end) {
		lag = max(0, time.Since(reached.Time).Seconds())
	} else {
		lag = s.lagSeconds(reached, s.source.Progress(shared))
	}
	out.LagSeconds = &lag
	if bytes, ok := s.bytesBehind(reached); ok {
		out.LagBytes = &bytes
	}
}

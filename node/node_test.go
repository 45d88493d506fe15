package node_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/sink"
	"canalgo/status"
)

var table = event.TableName{Schema: "shop", Name: "user"}

// truncate, committed in a document's place, empties the table.
const truncate = "TRUNCATE"

// world is a server with a log of one-row transactions, and a destination.
type world struct {
	mu                   sync.Mutex
	log                  []string // the document that the n-th transaction writes, "" for another table
	grown                chan struct{}
	uuid                 string
	broken               error // what Stream ends with
	docs                 map[string]event.Version
	rows                 map[string]string // for loads
	starts               []event.Position  // of the streams
	refuse               string            // document that the destination refuses, "*" for each
	aside                int               // how many documents may be set aside, 4 if it is 0
	bulk                 int               // bytes of one write, 1 MiB if it is 0
	index                string            // UUID
	blocked              chan struct{}     // writes wait for it when not nil
	second               *world            // the destination of sink "second"
	cut                  map[string]bool   // nodes that do not reach the destination
	apart                map[string]bool   // nodes that do not reach the source
	writes               []write
	repeats              int            // writes at the version that the document had, or a lower one
	files                []node.LogFile // of the server, when not nil
	silent               bool           // the source's stream says that its connection is gone
	mute                 bool           // the source's stream emits nothing
	mapping              chan struct{}  // mapping waits for it when not nil
	foreign              event.Version  // that every document has at the destination
	unsettled            bool           // the server holds more that it held at the start
	arrives              bool           // bytes of a transaction that has no end yet
	breaks               bool           // the connection, again and again
	received, reconnects uint64
	selects              chan struct{} // rows are given when it is closed, if not nil
	indices              chan struct{} // questions for an index wait for it when not nil
}

// A write is one document that arrived at the destination.
type write struct {
	node string
	id   string
	at   time.Time
}

func newWorld() *world {
	return &world{grown: make(chan struct{}), uuid: "server-1", docs: map[string]event.Version{}, rows: map[string]string{}}
}

func (w *world) commit(documents ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, documents...)
	close(w.grown)
	w.grown = make(chan struct{})
}

func (w *world) document(id string) (event.Version, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.docs[id]
	return v, ok
}

// source implements node.Source.
type source struct {
	*world
	node string // that asks
}

var errNoRoute = errors.New("no route")

func (s source) Server(context.Context, string) (node.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apart[s.node] {
		return node.Server{}, errNoRoute
	}
	return node.Server{UUID: s.uuid, Version: "9.7", Names: true}, nil
}

func (s source) Resolve(context.Context, string) (event.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return event.Position{ServerUUID: s.uuid, File: "binlog.000001", Offset: uint64(len(s.log))}, nil
}

func (s source) Stream(ctx context.Context, _ string, from event.Position, want func(event.TableName) bool, _ node.History, emit func(context.Context, event.Batch) error) error {
	s.mu.Lock()
	s.starts = append(s.starts, from)
	s.mu.Unlock()
	if !want(table) {
		return errors.New("the mapped table is not wanted")
	}
	for at := from; ; {
		s.mu.Lock()
		grown, broken := s.grown, s.broken
		if s.apart[s.node] {
			broken = errNoRoute
		}
		var document string
		ready := at.Offset < uint64(len(s.log)) && !s.mute
		if ready {
			document = s.log[at.Offset]
		}
		s.mu.Unlock()
		if broken != nil {
			return broken
		}
		if !ready {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-grown:
			}
			continue
		}
		at.Offset++
		at.Count++
		b := event.Batch{End: at, Bytes: 10}
		if document != "" {
			b.Events = []event.Event{{Kind: event.Rows, Table: table, Version: at.Version(), Raw: []byte(document)}}
		}
		if err := emit(ctx, b); err != nil {
			return err
		}
	}
}

func (s source) Session(context.Context, string) (lookup.Session, error) {
	return nil, errors.New("no rule of these tests asks the server")
}

func (s source) Define(context.Context, event.TableName, event.Position) (event.Definition, error) {
	return event.Definition{}, errors.New("asked for a definition")
}

func (s source) Describe(context.Context, event.TableName) (*event.Table, error) {
	return &event.Table{Name: table, Columns: []event.Column{{Name: "id", Type: event.Char}}, Key: []int{0}}, nil
}

func (s source) Rows(context.Context, event.TableName) (uint64, error) {
	return uint64(len(s.rows)), nil
}

func (s source) Logs(context.Context) ([]node.LogFile, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files != nil {
		return s.files, 10 * time.Minute, nil
	}
	return []node.LogFile{{Name: "binlog.000001", Size: uint64(len(s.log))}}, 10 * time.Minute, nil
}

func (s source) Progress(string) node.SourceProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return node.SourceProgress{Since: time.Now(), LastError: "silent for 3 s"}
	}
	if s.arrives {
		s.received++
	}
	if s.breaks {
		s.received++
		s.reconnects++
	}
	return node.SourceProgress{Connected: true, Settled: !s.unsettled, Received: s.received, Reconnects: s.reconnects}
}

var errLost = errors.New("purged")

func (s source) Lost(err error) bool { return errors.Is(err, errLost) }

func (s source) Select(ctx context.Context, _ event.Position, query string, _ []event.Column, row func([]any) error) error {
	s.mu.Lock()
	blocked := s.selects
	s.mu.Unlock()
	if blocked != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-blocked:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(query, "WHERE") && !strings.Contains(query, " = ") {
		return nil
	}
	for id := range s.rows {
		if strings.Contains(query, " = ") && !strings.Contains(query, fmt.Sprintf("%x", id)) {
			continue
		}
		if err := row([]any{id}); err != nil {
			return err
		}
	}
	return nil
}

type decoder struct{}

func (decoder) Decode(events []event.Event) ([]event.Row, error) {
	var rows []event.Row
	t := &event.Table{Name: table, Columns: []event.Column{{Name: "id", Type: event.Char}}, Key: []int{0}}
	for _, e := range events {
		rows = append(rows, event.Row{Table: t, Op: event.Insert, Version: e.Version, After: []any{string(e.Raw)}})
	}
	return rows, nil
}

type rule struct{ *world }

func (r rule) Map(rows []event.Row) ([]mapping.Change, error) {
	r.mu.Lock()
	blocked := r.mapping
	r.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	var out []mapping.Change
	for i := range rows {
		if rows[i].After[0] == truncate {
			out = append(out, mapping.Change{Op: mapping.Clear, Index: "i", Version: rows[i].Version, Row: &rows[i]})
			continue
		}
		out = append(out, mapping.Change{Op: mapping.Write, Index: "i", ID: rows[i].After[0].(string), Version: rows[i].Version, Body: []byte("{}"), Row: &rows[i]})
	}
	return out, nil
}
func (rule) Table() event.TableName                          { return table }
func (rule) Tables() []event.TableName                       { return []event.TableName{table} }
func (rule) Rule() *mapping.Rule                             { return nil }
func (rule) Index() string                                   { return "i" }
func (rule) Bind(*event.Table) error                         { return nil }
func (rule) Render(error) bool                               { return false }
func (rule) Columns(*event.Table) ([]int, error)             { return []int{0}, nil }
func (rule) IndexBody(*event.Table) (json.RawMessage, error) { return json.RawMessage(`{}`), nil }
func (rule) RemembersColumns() bool                          { return false }
func (rule) Know(map[event.TableName][]string)               {}
func (rule) Met() uint64                                     { return 0 }
func (rule) Fields() ([]mapping.Field, uint64)               { return nil, 0 }
func (rule) ExtendsIndex() bool                              { return false }
func (rule) Nulled() uint64                                  { return 0 }
func (rule) Clipped() uint64                                 { return 0 }
func (r rule) MaxQuarantine() int                            { return cmp.Or(r.aside, 4) }
func (rule) Own() mapping.Own                                { return mapping.Own{Index: "i"} }
func (rule) CheckRelation([]byte) error                      { return nil }
func (rule) Called() string                                  { return "" }
func (rule) LoadRows() int                                   { return 0 }

// destination implements node.Sink and node.Indexer.
type destination struct {
	*world
	node string // that writes
}

func (d destination) Write(ctx context.Context, changes []mapping.Change) error {
	if _, err := d.Ping(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	blocked := d.blocked
	d.mu.Unlock()
	if blocked != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-blocked:
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var partial sink.PartialError
	for _, c := range changes {
		if d.foreign > 0 {
			partial.Conflicts = append(partial.Conflicts, sink.Conflict{Change: c, Has: d.foreign})
			continue
		}
		if c.ID == d.refuse || d.refuse == "*" {
			partial.Rejected = append(partial.Rejected, sink.Rejection{Change: c, Reason: "strict"})
			continue
		}
		d.writes = append(d.writes, write{node: d.node, id: c.ID, at: time.Now()})
		if d.docs[c.ID] >= c.Version {
			d.repeats++
		}
		d.docs[c.ID] = max(d.docs[c.ID], c.Version)
	}
	if len(partial.Rejected)+len(partial.Conflicts) > 0 {
		return &partial
	}
	return nil
}

// Ping implements node.Pinger.
func (d destination) Ping(context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut[d.node] {
		return "", errNoRoute
	}
	return "7", nil
}

func (d destination) Clear(_ context.Context, _ mapping.Own, before event.Version) (sink.Cleared, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out sink.Cleared
	for id, v := range d.docs {
		if v < before {
			delete(d.docs, id)
			out.Deleted++
		} else {
			out.Highest = max(out.Highest, v)
		}
	}
	return out, nil
}

func (d destination) Close() error { return nil }

func (d destination) Limits() sink.Limits {
	return sink.Limits{BulkBytes: cmp.Or(d.bulk, 1<<20), BulkDocs: 100, InFlight: 2, Linger: time.Millisecond}
}

func (d destination) IndexUUID(ctx context.Context, _ string) (string, error) {
	d.mu.Lock()
	blocked := d.indices
	d.mu.Unlock()
	if blocked != nil {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-blocked:
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.index, nil
}

func (d destination) Mappings(context.Context, string) ([]byte, error) { return []byte("{}"), nil }
func (d destination) CreateIndex(context.Context, string, []byte) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.index == "" { // else there is one, of whoever was faster
		d.index = "x"
	}
	return d.index, nil
}

type parts struct {
	*world
	node string
}

func (p parts) Source(string, cluster.SourceConfig) (node.Source, error) {
	return source(p), nil
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

func TestNodeFollowsAndGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		w.commit("before")
		_, stop := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("a", "", "b")
		eventually(t, "a and b", has(w, "a", "b"))
		if _, ok := w.document("before"); ok {
			t.Error("what was there before \"current\" was written")
		}
		stop()
		v, _ := members.Member(0).View()
		if got := v.Duties[stream].Position.Offset; got != 4 {
			t.Errorf("saved position %d after a clean stop, want 4", got)
		}
		w.commit("c")
		w.mu.Lock()
		w.docs = map[string]event.Version{}
		w.mu.Unlock()
		start(t, w, members, "")
		eventually(t, "c", has(w, "c"))
		if _, ok := w.document("a"); ok {
			t.Error("a was written again after a clean stop")
		}
	})
}

func TestIdleTableMovesThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		n, _ := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("", "", "")
		eventually(t, "position moves", func() bool { return n.View().Duties[stream].Position.Offset == 3 })
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		for _, what := range []string{"mapping/user", "sink/es", "source/shop"} {
			if err := n.SetPaused(t.Context(), what, true); err != nil {
				t.Fatal(err)
			}
			eventually(t, "paused", func() bool { d, _ := n.Report(t.Context()).Duty("shop/user"); return d.Stage == status.Paused })
			w.commit(what)
			time.Sleep(10 * time.Second)
			if _, ok := w.document(what); ok {
				t.Errorf("%s is paused, and written", what)
			}
			if err := n.SetPaused(t.Context(), what, false); err != nil {
				t.Fatal(err)
			}
			eventually(t, what+" goes on", has(w, what))
		}
		if err := n.SetPaused(t.Context(), "sink/nothing", true); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestInitialLoadWritesRowsAndSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows["a"], w.rows["b"] = "", ""
		w.docs["orphan"] = 1
		w.index = "adopted"
		n, _ := start(t, w, memory.New("n1"), "initial")
		eventually(t, "load done", func() bool { d, _ := n.Report(t.Context()).Duty("shop/user#load"); return d.Stage == status.Done })
		if !has(w, "a", "b")() || has(w, "orphan")() {
			t.Errorf("documents: %v", w.docs)
		}
	})
}

func TestRefusedDocumentIsSetAsideAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "bad"
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("bad", "good")
		eventually(t, "good", has(w, "good"))
		eventually(t, "bad set aside", func() bool { return len(n.Quarantine()) == 1 })
		q := n.Quarantine()[0]
		if q.Document != "bad" || q.Reason != "strict" || q.Table != "shop.user" || len(q.Key) != 1 || q.Position.IsZero() {
			t.Errorf("set aside: %+v", q)
		}
		w.mu.Lock()
		w.refuse = ""
		w.rows["bad"] = ""
		w.mu.Unlock()
		if done, err := n.RetryQuarantine(t.Context(), []uint64{q.ID}); done != 1 || err != nil {
			t.Fatalf("retried %d, %v", done, err)
		}
		if !has(w, "bad")() || len(n.Quarantine()) != 0 {
			t.Errorf("documents %v, set aside %v", w.docs, n.Quarantine())
		}
	})
}

func TestLostPositionNeedsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.mu.Lock()
		w.broken = errLost
		w.mu.Unlock()
		w.commit("missed")
		eventually(t, "needs load", func() bool {
			d, _ := n.Report(t.Context()).Duty("shop/user")
			return d.Stage == status.NeedsLoad && strings.Contains(d.LastError, "purged")
		})
		if r := n.Report(t.Context()); !r.Stuck() || r.Healthy {
			t.Errorf("the report says stuck: %t, healthy: %t; want stuck and not healthy", r.Stuck(), r.Healthy)
		}
		w.mu.Lock()
		w.broken = nil
		w.rows["missed"] = ""
		w.mu.Unlock()
		if _, err := n.StartLoad(t.Context(), "shop", "user", ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "loaded", has(w, "missed"))
		w.commit("later")
		eventually(t, "streams again", has(w, "later"))
	})
}

func TestStuckSinkDoesNotHoldUpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.second = newWorld()
		release := make(chan struct{})
		w.second.blocked = release
		c := seed("")
		c.Sinks["second"] = c.Sinks["es"]
		m := c.Mappings["user"]
		m.Sink = "second"
		c.Mappings["copy"] = m
		n, _ := startWith(t, w, memory.New("n1"), c)
		eventually(t, "both stream", func() bool {
			a, _ := n.Report(t.Context()).Duty("shop/user")
			b, _ := n.Report(t.Context()).Duty("shop/copy")
			return a.Stage == status.Idle && b.Stage == status.Idle
		})
		var all []string
		for i := range 1000 { // more than the log holds
			all = append(all, fmt.Sprint(i))
		}
		w.commit(all...)
		eventually(t, "the first sink has all", has(w, all...))
		if _, ok := w.second.document("999"); ok {
			t.Fatal("the second sink is not stuck")
		}
		w.commit("later")
		eventually(t, "the first sink goes on", has(w, "later"))
		close(release)
		eventually(t, "the second sink has all", has(w.second, append(all, "later")...))
		w.commit("last")
		eventually(t, "both go on", func() bool { return has(w, "last")() && has(w.second, "last")() })
		eventually(t, "no catch-up is left", func() bool { return n.Report(t.Context()).Sources[0].CatchUps == nil })
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.starts) < 2 {
			t.Error("the stuck duty did not get a stream of its own")
		}
	})
}

func TestMissingIndexNeedsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "index made", func() bool { return n.View().Duties[stream].Index == "x" })
		w.mu.Lock()
		w.index = "other"
		w.mu.Unlock()
		eventually(t, "needs load", func() bool { d, _ := n.Report(t.Context()).Duty("shop/user"); return d.Stage == status.NeedsLoad })
	})
}

func TestSlowWriteIsFinishedBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		_, stop := start(t, w, members, "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		release := make(chan struct{})
		w.mu.Lock()
		w.blocked = release
		w.mu.Unlock()
		w.commit("slow")
		time.Sleep(time.Second)
		go func() {
			time.Sleep(time.Second)
			close(release)
		}()
		stop()
		v, _ := members.Member(0).View()
		if !has(w, "slow")() || v.Duties[stream].Position.Offset != 1 {
			t.Errorf("documents %v, position %d: the write in flight was not finished and saved", w.docs, v.Duties[stream].Position.Offset)
		}
	})
}

func TestRebalance(t *testing.T) {
	duty := func(n int, at string) (cluster.DutyID, cluster.Duty) {
		return cluster.DutyID{Source: "s", Mapping: fmt.Sprintf("m%02d", n), Kind: cluster.Stream}, cluster.Duty{Assignment: cluster.Assignment{Node: at, Epoch: 1, ConfigVersion: 1}}
	}
	duties := map[cluster.DutyID]cluster.Duty{}
	for n := range 12 {
		id, d := duty(n, "")
		duties[id] = d
	}
	nodes := []string{"a", "b", "c"}
	able := func(string, cluster.DutyID) bool { return false }
	first := node.Rebalance(duties, nodes, nodes, 1, able)
	count := map[string]int{}
	for id, a := range first {
		count[a.Node]++
		duties[id] = cluster.Duty{Assignment: a}
	}
	if count["a"] != 4 || count["b"] != 4 || count["c"] != 4 {
		t.Errorf("spread %v, want 4 each", count)
	}
	if again := node.Rebalance(duties, nodes, nodes, 1, able); len(again) != 0 {
		t.Errorf("moved without a reason: %v", again)
	}
	if kept := node.Rebalance(duties, append(nodes, "d"), nodes, 1, able); len(kept) != 0 {
		t.Errorf("moved to a node that takes nothing: %v", kept)
	}
	left := []string{"a", "c"}
	moved := node.Rebalance(duties, left, left, 1, able)
	if len(moved) != 4 {
		t.Errorf("%d duties moved when b left, want its 4", len(moved))
	}
	for id, a := range moved {
		if duties[id].Assignment.Node != "b" || a.Epoch != duties[id].Assignment.Epoch+1 {
			t.Errorf("%s moved from %s to %+v", id, duties[id].Assignment.Node, a)
		}
	}
}

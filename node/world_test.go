package node_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/sink"
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
	noIndex              error         // what questions for an index end with
	noRows               error         // what questions for rows end with
	noSource             error         // why the source cannot be made
	gtids                bool          // the server has them: the n-th transaction has number n
	executed             int           // by the server, when it has GTIDs; what Resolve is asked for beyond that is missing
	table                *event.Table  // as the server describes it, when not nil
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
	return node.Server{UUID: s.uuid, Version: "9.7", Names: true, GTIDs: s.gtids}, nil
}

func (s source) Resolve(_ context.Context, start string) (event.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n int
	if _, err := fmt.Sscanf(start, gtids, &n); err == nil && n > s.executed {
		return event.Position{}, &event.StopError{Reason: fmt.Sprintf("%d transactions of %d are missing", n-s.executed, n)}
	}
	return event.Position{ServerUUID: s.uuid, File: "binlog.000001", Offset: uint64(len(s.log)), GTIDs: s.first(len(s.log))}, nil
}

// lineage is the UUID of all GTIDs, and gtids the form of the set of the first transactions.
var (
	lineage = uuid.MustParse("3e11fa47-71ca-11e1-9e33-c80aa9429562")
	gtids   = lineage.String() + ":1-%d"
)

// first returns the GTIDs of the first n transactions.
func (w *world) first(n int) string {
	if !w.gtids || n == 0 {
		return ""
	}
	return fmt.Sprintf(gtids, n)
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
		if s.gtids {
			b.GTID = event.GTID{UUID: lineage, N: int64(at.Offset)}
		}
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.table != nil {
		return s.table, nil
	}
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
	blocked, no := s.selects, s.noRows
	s.mu.Unlock()
	if no != nil {
		return no
	}
	if blocked != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-blocked:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(query, " > ") && !strings.Contains(query, "NOT (") { // behind a key
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
	return d.index, d.noIndex
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

package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/sink"
)

const (
	requestTimeout = 10 * time.Second // of a request to a destination
	lateMost       = 90 * time.Second // how long a request may be on its way, whoever waits for it
	gcDeletes      = 15 * time.Minute // how long the version of a deleted document is remembered
)

// mood is how a destination behaves.
type mood struct {
	low, high time.Duration // a request takes
	fails     float64       // chance that a request is refused as a whole
	items     float64       // chance that an item is refused for now
	lost      float64       // chance that the answer is lost
	late      float64       // chance that a request arrives long after its sender gave up
}

// A destination is one Elasticsearch: documents with external versions. Whatever it is told, it keeps (external_gte).
type destination struct {
	name   string
	net    *network
	oracle *oracle

	mu      sync.Mutex
	mood    mood
	indices map[string]*index
}

type index struct {
	uuid      string
	documents map[string]*document
}

type document struct {
	version event.Version
	body    string // "" once it is deleted
	deleted time.Time
}

func newDestination(name string, n *network, o *oracle) *destination {
	return &destination{name: name, net: n, oracle: o, indices: make(map[string]*index)}
}

func (d *destination) set(m mood) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mood = m
}

// output is a destination as one host sees it: a node.Sink.
type output struct {
	*destination
	host *host
}

var (
	_ node.Sink    = output{}
	_ node.Indexer = output{}
	_ sink.Clearer = output{}
	_ node.Pinger  = output{}
)

// Limits implements node.Sink.
func (output) Limits() sink.Limits {
	return sink.Limits{BulkBytes: 8 << 10, BulkDocs: 20, InFlight: 4, Linger: 10 * time.Millisecond}
}

// Close implements node.Sink.
func (output) Close() error { return nil }

// request carries a request there, which begins a write to an index if that is given, has it done, and carries the answer back. What has begun may arrive although nobody waits for it
// any more.
func request[T any](ctx context.Context, o output, what, writes string, do func() (T, error)) (T, error) {
	var none T
	if err := sink.Begin(ctx); err != nil {
		return none, err
	}
	if o.host.dead.Load() {
		return none, errGone
	}
	if writes != "" {
		o.oracle.begins(o.host, writes)
	}
	type result struct {
		answer T
		err    error
	}
	o.mu.Lock()
	m := o.mood
	o.mu.Unlock()
	answered := make(chan result, 1)
	sent := time.Now()
	over := o.oracle.over
	go func() {
		if err := o.net.link(o.host.name, o.name).pass(nil, over, sent.Add(lateMost)); err != nil {
			answered <- result{err: err}
			return
		}
		took := o.net.between(m.low, m.high)
		if o.net.chance(m.late) {
			took += o.net.between(requestTimeout/2, lateMost/2)
		}
		if pause(nil, over, took) != nil {
			return
		}
		if o.net.chance(m.fails) {
			answered <- result{err: fmt.Errorf("%s: 503", what)}
			return
		}
		answer, err := do()
		if o.net.chance(m.lost) {
			return
		}
		if o.net.link(o.name, o.host.name).pass(nil, over, sent.Add(lateMost)) == nil {
			answered <- result{answer, err}
		}
	}()
	timer := time.NewTimer(requestTimeout)
	defer timer.Stop()
	select {
	case r := <-answered:
		if o.host.dead.Load() {
			return none, errGone
		}
		return r.answer, r.err
	case <-timer.C:
		return none, fmt.Errorf("%s: %w", what, errTimeout)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Write implements sink.Sink.
func (o output) Write(ctx context.Context, changes []mapping.Change) error {
	sent := slices.Clone(changes) // what is on its way does not change any more
	done := o.oracle.touches(o.host, sent)
	defer done()
	partial, err := request(ctx, o, "bulk", changes[0].Index, func() (*sink.PartialError, error) { return o.bulk(sent), nil })
	if err != nil {
		return err
	}
	if partial != nil {
		return partial
	}
	return nil
}

// errBusy is the refusal of an item for now.
var errBusy = errors.New("429 for an item")

// bulk writes what can be written.
func (d *destination) bulk(changes []mapping.Change) *sink.PartialError {
	d.mu.Lock()
	defer d.mu.Unlock()
	var p sink.PartialError
	for _, c := range changes {
		if d.net.chance(d.mood.items) {
			p.Retry, p.Cause = append(p.Retry, c), errBusy
			continue
		}
		has := d.at(c.Index, c.ID)
		switch {
		case has.version > c.Version:
			p.Conflicts = append(p.Conflicts, sink.Conflict{Change: c, Has: has.version})
		case strings.Contains(string(c.Body), poison):
			p.Rejected = append(p.Rejected, sink.Rejection{Change: c, Reason: "mapper_parsing_exception"})
			d.oracle.refused(c)
		default:
			has.version, has.body = c.Version, string(c.Body)
			if c.Op == mapping.Delete {
				has.body, has.deleted = "", time.Now()
			}
			d.oracle.written(c)
		}
	}
	if len(p.Rejected)+len(p.Conflicts)+len(p.Retry) == 0 {
		return nil
	}
	return &p
}

// at returns a document, a new one if there is none or its deletion is forgotten. d.mu is held.
func (d *destination) at(name, id string) *document {
	x := d.indices[name]
	if x == nil {
		x = &index{documents: make(map[string]*document)}
		d.indices[name] = x
	}
	if x.documents[id] == nil || x.documents[id].body == "" && time.Since(x.documents[id].deleted) > gcDeletes {
		x.documents[id] = &document{deleted: time.Now()}
	}
	return x.documents[id]
}

// Clear implements sink.Clearer: it lists the documents, then deletes them one by one, as the real one does.
func (o output) Clear(ctx context.Context, own mapping.Own, before event.Version) (sink.Cleared, error) {
	name := own.Index
	type listed struct {
		older   []mapping.Change
		highest event.Version
	}
	found, err := request(ctx, o, "list", name, func() (l listed, _ error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.indices[name] == nil {
			return l, nil
		}
		for id, x := range o.indices[name].documents {
			switch {
			case x.body == "":
			case x.version >= before:
				l.highest = max(l.highest, x.version)
			default:
				l.older = append(l.older, mapping.Change{Op: mapping.Delete, Index: name, ID: id, Version: before})
			}
		}
		return l, nil
	})
	out := sink.Cleared{Highest: found.highest}
	if err == nil && len(found.older) > 0 {
		var partial *sink.PartialError
		partial, err = request(ctx, o, "bulk", name, func() (*sink.PartialError, error) { return o.bulk(found.older), nil })
		out.Deleted = len(found.older)
		if partial != nil && err == nil {
			out.Deleted -= len(partial.Conflicts)
			err = partial.Cause
		}
	}
	if err != nil {
		return out, fmt.Errorf("clear %s: %w", name, err)
	}
	o.oracle.cleared(name, before)
	return out, nil
}

// IndexUUID implements node.Indexer.
func (o output) IndexUUID(ctx context.Context, name string) (string, error) {
	return request(ctx, o, "index", "", func() (string, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if x := o.indices[name]; x != nil {
			return x.uuid, nil
		}
		return "", nil
	})
}

// Mappings implements node.Indexer.
func (o output) Mappings(context.Context, string) ([]byte, error) { return []byte("{}"), nil }

// CreateIndex implements node.Indexer.
func (o output) CreateIndex(ctx context.Context, name string, _ []byte) (string, error) {
	return request(ctx, o, "create index", "", func() (string, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.indices[name] == nil {
			o.indices[name] = &index{uuid: "uuid-of-" + name, documents: make(map[string]*document)}
		}
		return o.indices[name].uuid, nil
	})
}

// Ping implements node.Pinger.
func (o output) Ping(ctx context.Context) (string, error) {
	return request(ctx, o, "ping", "", func() (string, error) { return "7", nil })
}

// documents returns what is there, by id.
func (d *destination) documents(name string) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]string)
	if x := d.indices[name]; x != nil {
		for id, doc := range x.documents {
			if doc.body != "" {
				out[id] = doc.body
			}
		}
	}
	return out
}

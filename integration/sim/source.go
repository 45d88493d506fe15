package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"canalgo/backoff"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/node"
)

// source is the server as one host sees it: a node.Source.
type source struct {
	*mysql
	host *host
}

var _ node.Source = source{}

// ask does one short exchange with the server and returns which one it is.
func (s source) ask(ctx context.Context) (int, error) {
	until := time.Now().Add(callTimeout)
	for _, l := range []*link{s.net.link(s.host.name, toSource), s.net.link(toSource, s.host.name)} {
		if err := l.pass(ctx.Done(), s.host.over, until); err != nil {
			return 0, err
		}
	}
	if s.host.dead.Load() {
		return 0, errGone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server, nil
}

// Server implements node.Source.
func (s source) Server(ctx context.Context, _ string) (node.Server, error) {
	server, err := s.ask(ctx)
	return node.Server{UUID: s.name(server), Version: "9.7", GTIDs: true, Names: true}, err
}

// Resolve implements node.Source.
func (s source) Resolve(ctx context.Context, start string) (event.Position, error) {
	server, err := s.ask(ctx)
	if err != nil {
		return event.Position{}, err
	}
	txs := s.end()
	switch {
	case start == "" && !s.fromNow:
		txs = 0
	case start != "" && start != "current":
		if txs, err = executed(start); err != nil {
			return event.Position{}, err
		}
	}
	p := s.position(server, txs)
	p.GTIDs = gtids(txs)
	return p, nil
}

// Describe implements node.Source.
func (s source) Describe(ctx context.Context, name event.TableName) (*event.Table, error) {
	if _, err := s.ask(ctx); err != nil {
		return nil, err
	}
	return tables[name.Name], nil
}

// Session implements node.Source: no rule of the simulation needs the server's answer.
func (s source) Session(context.Context, string) (lookup.Session, error) {
	return nil, errors.New("the simulated server answers no query")
}

// Rows implements node.Source.
func (s source) Rows(ctx context.Context, name event.TableName) (uint64, error) {
	if _, err := s.ask(ctx); err != nil {
		return 0, err
	}
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return uint64(len(s.rows[name.Name])), nil
}

// Logs implements node.Source.
func (s source) Logs(ctx context.Context) ([]node.LogFile, time.Duration, error) {
	server, err := s.ask(ctx)
	if err != nil {
		return nil, 0, err
	}
	p := s.position(server, s.end())
	return []node.LogFile{{Name: p.File, Size: p.Offset}}, time.Hour, nil
}

// Progress implements node.Source.
func (s source) Progress(stream string) node.SourceProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.mysql.progress[s.host][stream]; p != nil {
		return *p
	}
	return node.SourceProgress{}
}

func (s source) note(stream string, f func(*node.SourceProgress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.mysql.progress[s.host]
	if of == nil {
		of = make(map[string]*node.SourceProgress)
		s.mysql.progress[s.host] = of
	}
	if of[stream] == nil {
		of[stream] = &node.SourceProgress{Since: time.Now()}
	}
	f(of[stream])
}

// Lost implements node.Source.
func (s source) Lost(error) bool { return false }

var errAnother = errors.New("another server answers than the one whose log was read")

// Stream implements node.Source. Like the real one it connects again by itself, at a transaction boundary.
func (s source) Stream(ctx context.Context, stream string, from event.Position, want func(event.TableName) bool, _ node.History, emit func(context.Context, event.Batch) error) error {
	txs, err := s.place(from)
	if err != nil {
		s.oracle.violate("I4", "a stream begins where no transaction ends: %v", err)
		return err
	}
	s.oracle.numbered(from, s.entriesUpTo(txs), txs)
	d := &dump{source: s, ctx: ctx, stream: stream, want: want, emit: emit, server: from.ServerUUID, at: from, txs: txs}
	s.note(stream, func(p *node.SourceProgress) { *p = node.SourceProgress{Since: time.Now()} })
	defer s.note(stream, func(p *node.SourceProgress) { p.Settled = false })
	wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second}
	for {
		err := d.follow()
		s.note(stream, func(p *node.SourceProgress) {
			p.Connected, p.Since, p.LastError, p.ErrorTime = false, time.Now(), fmt.Sprint(err), time.Now()
			p.Reconnects++
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errAnother), errors.Is(err, errEmit):
			return err
		}
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// Define implements node.Source. Nobody asks: rows have the names of their columns.
func (s source) Define(context.Context, event.TableName, event.Position) (event.Definition, error) {
	return event.Definition{}, errors.New("asked for a definition")
}

// A dump is one Stream.
type dump struct {
	source
	ctx    context.Context
	stream string
	want   func(event.TableName) bool
	emit   func(context.Context, event.Batch) error
	server string
	at     event.Position // behind the last whole transaction
	txs    int            // before it
}

var errEmit = errors.New("emit")

// follow reads over one connection until it breaks.
func (d *dump) follow() error {
	s := d.source
	server, err := s.ask(d.ctx)
	if err != nil {
		return err
	}
	if s.name(server) != d.server {
		return errAnother
	}
	broken := make(chan struct{})
	s.mu.Lock()
	if old := s.dumps[d.stream]; old != nil {
		close(old) // the server allows one dump of a name
	}
	s.dumps[d.stream] = broken
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.dumps[d.stream] == broken {
			delete(s.dumps, d.stream)
		}
	}()
	held := s.end()
	s.note(d.stream, func(p *node.SourceProgress) {
		p.Connected, p.Since, p.Settled = true, time.Now(), d.txs >= held
	})
	for {
		if err := d.await(broken); err != nil {
			return err
		}
		if err := d.transaction(broken); err != nil {
			return err
		}
		s.note(d.stream, func(p *node.SourceProgress) {
			p.Settled = p.Settled || d.txs >= held
			if d.txs >= s.end() {
				p.CaughtUp = time.Now()
			}
		})
	}
}

// silence is how long a server may send nothing, not even its heartbeat.
const silence = 3 * time.Second

// await waits until there is another transaction and the way is free.
func (d *dump) await(broken <-chan struct{}) error {
	s := d.source
	var quiet time.Time // since when nothing can come
	for {
		s.mu.Lock()
		stalled, changed := s.stalled > 0, s.changed
		s.mu.Unlock()
		up, linkChanged := s.net.link(toSource, s.host.name).state()
		s.ledger.mu.Lock()
		more, grown := d.txs < len(s.txs), s.grown
		s.ledger.mu.Unlock()
		select {
		case <-broken:
			return errReset
		default:
		}
		var timer <-chan time.Time
		if stalled || !up {
			if quiet.IsZero() {
				quiet = time.Now()
			}
			left := silence - time.Since(quiet)
			if left <= 0 {
				return errTimeout
			}
			t := time.NewTimer(left)
			defer t.Stop()
			timer, grown = t.C, nil
		} else if more {
			return nil
		} else {
			quiet = time.Time{}
		}
		select {
		case <-d.ctx.Done():
			return d.ctx.Err()
		case <-broken:
			return errReset
		case <-grown:
		case <-changed:
		case <-linkChanged:
		case <-timer:
		}
	}
}

// transaction emits the next one, in pieces. Every entry is counted, wanted or not.
func (d *dump) transaction(broken <-chan struct{}) error {
	s := d.source
	s.ledger.mu.Lock()
	first, last := s.upTo(d.txs)+1, s.txs[d.txs].last
	entries := s.entries[first-1 : last]
	s.ledger.mu.Unlock()
	server, _ := strconv.Atoi(strings.TrimPrefix(d.server, "server-"))
	end := s.position(server, d.txs+1)
	end.Epoch, end.Count = d.at.Epoch, d.at.Count+uint64(len(entries))
	var b event.Batch
	for i, e := range entries {
		v := event.NewVersion(d.at.Epoch, d.at.Count+uint64(i)+1)
		if t := tables[e.table]; d.want(t.Name) {
			b.Events = append(b.Events, e.event(t.Name, v, first+uint64(i)))
			b.Bytes += 100 * max(1, len(e.changes))
		}
		whole := i == len(entries)-1
		if !whole && len(b.Events) < s.pieces {
			continue
		}
		b.End = d.at
		if whole {
			b.End, b.GTID = end, event.GTID{UUID: gtidSource, N: int64(d.txs + 1)}
		}
		b.End.GTIDs = ""
		if err := d.emit(d.ctx, b); err != nil {
			return fmt.Errorf("%w: %w", errEmit, err)
		}
		select {
		case <-broken:
			if !whole {
				return errReset // the half transaction comes again
			}
		default:
		}
		b = event.Batch{}
	}
	d.at, d.txs = end, d.txs+1
	return nil
}

// event is an entry as it travels.
func (e entry) event(t event.TableName, v event.Version, at uint64) event.Event {
	if len(e.changes) == 0 {
		return event.Event{Kind: event.Statement, Version: v, Statement: &event.Stmt{Action: event.Truncate, Tables: []event.TableName{t}, Text: "TRUNCATE"}}
	}
	return event.Event{Kind: event.Rows, Table: t, Version: v, Raw: binary.BigEndian.AppendUint64(nil, at)}
}

// decoder implements sink.Decoder: an event says where in the log it stands.
type decoder struct{ *ledger }

func (d decoder) Decode(events []event.Event) ([]event.Row, error) {
	var rows []event.Row
	for _, e := range events {
		if e.Kind == event.Statement {
			for _, t := range e.Statement.Tables {
				rows = append(rows, entry{table: t.Name}.decode(e.Version)...)
			}
			continue
		}
		d.mu.Lock()
		logged := d.entries[binary.BigEndian.Uint64(e.Raw)-1]
		d.mu.Unlock()
		rows = append(rows, logged.decode(e.Version)...)
	}
	return rows, nil
}

// Select implements snapshot.Selector for the queries that it makes: rows behind a key, up to one, or the one of a key.
func (s source) Select(ctx context.Context, at event.Position, query string, columns []event.Column, each func([]any) error) error {
	server, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if at.ServerUUID != "" && s.name(server) != at.ServerUUID {
		return errAnother
	}
	wanted, err := executed(at.GTIDs)
	if err != nil {
		return err
	}
	if wanted > s.end() {
		return fmt.Errorf("GTID set %q is not executed", at.GTIDs)
	}
	if wanted > 0 {
		s.ledger.mu.Lock()
		seen := s.txs[wanted-1].visible
		s.ledger.mu.Unlock()
		if err := pause(ctx.Done(), s.host.over, time.Until(seen)); err != nil {
			return err
		}
	}
	q, err := parseQuery(query)
	if err != nil {
		return err
	}
	s.oracle.selects(at.Version())
	for _, x := range s.visible(q.table) {
		if !q.has(x.id) {
			continue
		}
		if q.limit == 0 {
			break
		}
		q.limit--
		values := make([]any, len(columns))
		for i, c := range columns {
			values[i] = x.values()[tables[q.table].Column(c.Name)]
		}
		if err := each(values); err != nil {
			return err
		}
	}
	_, err = s.ask(ctx) // the answer may be lost
	return err
}

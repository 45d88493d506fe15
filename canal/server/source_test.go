package server_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"canalgo/canal/server"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
)

// A source is a leader's end of one source: a log of transactions, each of some texts of statements.
type source struct {
	mu      sync.Mutex
	follows bool // it does not lead
	log     []event.Batch
	grown   chan struct{}
	clients map[cluster.ClientID]*client
	opened  int
	away    bool          // nobody reads it
	idle    chan struct{} // if not nil, is told when a feed has nothing more
}

type client struct {
	*source
	mu       sync.Mutex
	filter   string
	position event.Position
	progress server.Progress
	done     chan struct{}
}

const epoch = 5

func at(n int) event.Position {
	return event.Position{ServerUUID: "s", Epoch: epoch, Count: event.FirstCount + uint64(n), File: "binlog.000001", Offset: uint64(1000 * n)}
}

func newSource() *source {
	return &source{grown: make(chan struct{}), clients: make(map[cluster.ClientID]*client)}
}

func raw(kind byte, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1_700_000_000)
	b = binary.LittleEndian.AppendUint32(append(b, kind), 42)
	b = binary.LittleEndian.AppendUint32(b, uint32(19+len(body)))
	return append(append(b, make([]byte, 6)...), body...)
}

func query(sql string) []byte {
	return raw(2, append(append(make([]byte, 13), 0), sql...))
}

// commit adds a transaction; each text is that of a statement, or with a table before it and a colon a statement about that.
func (s *source) commit(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := at(len(s.log) + 1)
	b := event.Batch{End: end, Events: []event.Event{{Kind: event.Begin, Raw: query("BEGIN")}}}
	for _, text := range texts {
		e := event.Event{Kind: event.Query, Version: end.Version(), Raw: raw(29, append([]byte{0}, text...))}
		if table, ok := strings.CutPrefix(text, "TRUNCATE "); ok {
			e.Raw = query("TRUNCATE " + table)
		}
		b.Events = append(b.Events, e)
	}
	b.Events = append(b.Events, event.Event{Kind: event.Commit, Raw: raw(16, make([]byte, 8))})
	if len(texts) == 1 && strings.HasPrefix(texts[0], "TRUNCATE ") { // it is a transaction by itself
		b.Events = b.Events[1:2]
	}
	s.log = append(s.log, b)
	close(s.grown)
	s.grown = make(chan struct{})
}

// holds has the log hold other batches from now on.
func (s *source) holds(log ...event.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = log
	close(s.grown)
	s.grown = make(chan struct{})
}

// piece is a piece of the first transaction of a log; the one that ends it ends at the n-th batch.
func piece(n int, events ...event.Event) event.Batch {
	b := event.Batch{End: at(n), Events: events}
	if n == 0 {
		b.Events = append(b.Events, event.Event{Kind: event.Statement, Version: at(1).Version(), Statement: &event.Stmt{Action: event.Alter}}) // says that it does not end
	}
	return b
}

func rowsOf(text string) event.Event {
	return event.Event{Kind: event.Query, Version: at(1).Version(), Raw: raw(29, append([]byte{0}, text...))}
}

// renew has the leader make its end of a client anew, as in a new epoch.
func (s *source) renew(id cluster.ClientID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.clients[id]
	s.clients[id] = &client{source: s, filter: before.filter, position: before.Position(), done: make(chan struct{})}
	close(before.done)
}

func (s *source) Subscribe(_ context.Context, id cluster.ClientID, filter string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.follows {
		return cluster.ErrNotLeader
	}
	c := s.clients[id]
	if c == nil {
		c = &client{source: s, position: at(len(s.log)), done: make(chan struct{})}
		s.clients[id] = c
	}
	if filter != "" {
		c.filter = filter
	}
	return nil
}

func (s *source) Unsubscribe(_ context.Context, id cluster.ClientID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[id]; c != nil {
		close(c.done)
	}
	delete(s.clients, id)
	return nil
}

func (s *source) Client(id cluster.ClientID) (server.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	switch {
	case s.follows:
		return nil, cluster.ErrNotLeader
	case c == nil:
		return nil, cluster.ErrUnknown
	}
	return c, nil
}

func (c *client) Done() <-chan struct{} { return c.done }
func (c *client) Filter() string        { return c.filter }

func (c *client) Position() event.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

func (c *client) Reached(p event.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = p
}

func (c *client) Describe(context.Context, event.TableName) (*event.Table, error) {
	return nil, errors.New("nobody knows")
}

func (c *client) Note(p server.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = p
}

// Open gives every third feed an early end, and none at first.
func (c *client) Open(from event.Position) (server.Feed, error) {
	c.source.mu.Lock()
	defer c.source.mu.Unlock()
	c.opened++
	if c.away || c.opened%3 == 1 {
		return nil, relay.ErrNotHere
	}
	return &feed{s: c.source, next: int(from.Count - event.FirstCount), left: 5}, nil
}

type feed struct {
	s          *source
	next, left int
}

func (f *feed) Take(ctx context.Context) (event.Batch, error) {
	for {
		f.s.mu.Lock()
		grown := f.s.grown
		if f.next < len(f.s.log) && f.left > 0 {
			b := f.s.log[f.next]
			f.s.mu.Unlock()
			f.next++
			f.left--
			return b, nil
		}
		over := f.left == 0
		f.s.mu.Unlock()
		if over {
			return event.Batch{}, relay.ErrNotHere
		}
		select {
		case f.s.idle <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return event.Batch{}, ctx.Err()
		case <-grown:
		}
	}
}

func (f *feed) Close() {}

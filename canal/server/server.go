// Package server answers canal's TCP protocol, so that the clients of a Java canal server can read from this program.
//
// A connection proves its password and then sends requests, one after the other. Which client it is for stands in each request: a destination,
// which is a source, and a number. What a client has been given and has not acknowledged is kept by client, not by connection; the newest
// connection that speaks for a client closes the one before. Only a leader serves clients; elsewhere they are refused as a Java server refuses
// them whose instance runs on another host, and look there.
//
// Memory is bounded: by the number of connections, by what one answer may hold, and by the size of frames that are taken, which is small for
// who has not proved anything yet. Nothing that was sent is kept: what is to be sent again is read again.
//
// The protocol's facts are those of canal 1.1.x (SessionHandler, ClientAuthenticationHandler, MemoryEventStoreWithBuffer).
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/backoff"
	"canalgo/canal/entry"
	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/event"
)

// A Leader keeps clients and has what they read. Its errors are cluster.ErrNotLeader where this node does not lead, cluster.ErrUnknown for who has
// not subscribed, and relay.ErrNotHere for what is worth asking again.
type Leader interface {
	// Subscribe returns when it is known for good from where on the client reads.
	Subscribe(ctx context.Context, id cluster.ClientID, filter string) error
	// Unsubscribe forgets the client with its position.
	Unsubscribe(ctx context.Context, id cluster.ClientID) error
	// Client returns the same Client until it is Done.
	Client(id cluster.ClientID) (Client, error)
}

// A Client is the leader's end of a client that has subscribed.
type Client interface {
	Done() <-chan struct{}
	Filter() string
	// Position is up to where everything is acknowledged, with its GTIDs; Reached moves it.
	Position() event.Position
	Reached(event.Position)
	// Open opens a feed behind a position, and closes the one before.
	Open(from event.Position) (Feed, error)
	Note(Progress)
	// Describe returns a table as it is now.
	Describe(ctx context.Context, table event.TableName) (*event.Table, error)
}

// A Feed gives all batches of a source behind a position.
type Feed interface {
	// Take returns the next one; what is there is returned even when ctx has ended. relay.ErrNotHere says to open another feed.
	Take(ctx context.Context) (event.Batch, error)
	Close()
}

// Progress is what a client does.
type Progress struct {
	Address string // it is connected from there; "" while it is not
	Batches int    // that are handed out and not acknowledged
	Bytes   int    // of them
	Error   string // what it was told last, "" when nothing was wrong
}

// Config is what a server is told.
type Config struct {
	User           string         // "" takes any
	Password       *wire.Password // nil takes any
	MaxConnections int            // that have logged in
	Buffer         int            // bytes that a client may have been given and not acknowledged
	Items          bool           // the size of a batch that is asked for counts entries, not KiB
	DDLAlone       bool           // a statement that changes a definition makes a batch of its own
	Entries        entry.Options
}

// A Server answers clients on one listener.
type Server struct {
	listener net.Listener
	cfg      Config
	leader   Leader
	log      hclog.Logger
	large    chan struct{} // has room for the one who holds a large entry

	mu        sync.Mutex
	strangers []*conn // that have not logged in, the oldest first
	conns     map[*conn]struct{}
	sessions  map[cluster.ClientID]*session
	warned    time.Time
}

// warn logs what a stranger did, once a second at most: whoever knocks does not fill the log.
func (s *Server) warn(text, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.warned) >= time.Second {
		s.warned = time.Now()
		s.log.Warn(text, "from", address)
	}
}

// Listen opens the port.
func Listen(address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	l, err := config.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen: %s is in use by another process; stop it or set another address", address)
	case err != nil:
		return nil, fmt.Errorf("listen: on %s: %w", address, err)
	}
	return l, nil
}

// New returns a Server. Run closes its listener.
func New(listener net.Listener, cfg Config, leader Leader, log hclog.Logger) *Server {
	return &Server{listener: listener, cfg: cfg, leader: leader, log: log, large: make(chan struct{}, 1), conns: make(map[*conn]struct{}),
		sessions: make(map[cluster.ClientID]*session)}
}

// Run answers clients until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	defer g.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.listener.Close() })()
	pause := backoff.Backoff{Min: 10 * time.Millisecond, Max: time.Second}
	for {
		raw, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				raw.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept clients of canal: %w", err)
		case err != nil: // of descriptors or memory there will be more
			s.log.Warn("a client of canal is not accepted", "error", err)
			if err := pause.Wait(ctx); err != nil {
				return err
			}
			continue
		}
		pause.Reset()
		c := newConn(ctx, s, raw)
		s.enter(c)
		g.Go(c.run)
	}
}

// maxStrangers bounds the connections that have not logged in.
const maxStrangers = 64

// enter takes a connection in that has not logged in. When there are too many, the oldest of them goes: to log in takes milliseconds.
func (s *Server) enter(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.strangers) >= maxStrangers {
		s.strangers[0].cancel()
		s.strangers = s.strangers[1:]
	}
	s.strangers = append(s.strangers, c)
}

// admit makes a connection that has logged in one of those that are served; false when there are too many.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.cfg.MaxConnections {
		return false
	}
	s.forget(c)
	s.conns[c] = struct{}{}
	return true
}

// forget takes a connection out of the strangers. s.mu is held.
func (s *Server) forget(c *conn) {
	for i, other := range s.strangers {
		if other == c {
			s.strangers = append(s.strangers[:i:i], s.strangers[i+1:]...)
			return
		}
	}
}

// leave takes a connection out, and has what it spoke for wait for the next one.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c)
	delete(s.conns, c)
	for _, x := range s.sessions {
		if x.owner == c {
			x.owner = nil
			x.rest()
			x.note("", x.told)
		}
	}
}

// session returns a client's session for a connection, which is the only one that uses it from then on.
func (s *Server) session(c *conn, id cluster.ClientID) (*session, error) {
	client, err := s.leader.Client(id)
	if err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		x := s.sessions[id]
		if x != nil && x.owner != nil && x.owner != c {
			before := x.owner
			s.mu.Unlock()
			s.log.Info("a client speaks from elsewhere; the connection before is closed", "client", id.String(), "before", before.address, "now", c.address)
			before.cancel()
			select {
			case <-before.left:
			case <-c.ctx.Done(): // it may want what this one has
				return nil, c.ctx.Err()
			}
			continue
		}
		if x == nil || x.client != client {
			var last int64
			if x != nil {
				x.rest()
				last = x.last // an acknowledgement that is under way must not be taken for one of a new batch
			}
			if x, err = newSession(s, id, client); err != nil {
				s.mu.Unlock()
				return nil, err
			}
			x.last = last
			s.sessions[id] = x
		}
		x.owner = c
		s.mu.Unlock()
		return x, nil
	}
}

// drop forgets a client's session.
func (s *Server) drop(id cluster.ClientID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sessions[id]; x != nil {
		x.rest()
		delete(s.sessions, id)
	}
}

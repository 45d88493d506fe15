package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
	"canalgo/status"
)

// A Client is the leader's end of one client of canal's protocol, in one term and one epoch of its source. It is safe for several goroutines.
type Client struct {
	n      *Node
	x      *reign
	id     cluster.ClientID
	epoch  uint32
	closed chan struct{}

	mu       sync.Mutex
	position event.Position // everything before it is acknowledged
	doing    ClientProgress
	feed     *ClientFeed
}

// ClientProgress is what the server of canal's protocol says of a client.
type ClientProgress struct {
	Address string // it is connected from there; "" while it is not
	Batches int    // that are handed out and not acknowledged
	Bytes   int    // of them
	Error   string // what it was told last, "" when nothing was wrong
}

// clients returns those of the source in the state, none while it is paused.
func (s *sourceRun) clients(v cluster.View) map[cluster.ClientID]cluster.Client {
	if v.Paused["source/"+s.name] {
		return nil
	}
	out := maps.Clone(v.Clients)
	maps.DeleteFunc(out, func(id cluster.ClientID, _ cluster.Client) bool { return id.Source != s.name })
	return out
}

// clientPositions returns where clients stand.
func clientPositions(clients map[cluster.ClientID]cluster.Client) []event.Position {
	var out []event.Position
	for _, c := range clients {
		out = append(out, c.Position)
	}
	return out
}

// isClient reports whether a private stream is that of a client.
func isClient(stream string) bool { return strings.HasSuffix(stream, clientStream) }

// clientStream ends the names of clients' private streams; no duty's ends so.
const clientStream = "#client"

// Subscribe notes a client, and its filter unless that is empty, and returns when it is replicated from where on the client reads. The error is
// cluster.ErrNotLeader at a node that does not lead, and relay.ErrNotHere when the source is not read before ctx ends.
func (n *Node) Subscribe(ctx context.Context, id cluster.ClientID, filter string) error {
	x := n.reign.Load()
	v := n.View()
	switch _, known := v.Config.Sources[id.Source]; {
	case x == nil || !v.Leading:
		return cluster.ErrNotLeader
	case !known:
		return fmt.Errorf("destination %s: %w", id.Source, ErrNotFound)
	}
	if err := n.elsewhere(id.Source); err != nil {
		return err
	}
	if client, ok := v.Clients[id]; !ok || filter != "" && filter != client.Filter {
		if err := n.coord.Propose(ctx, x.term, cluster.SetClient{ID: id, Filter: filter}); err != nil {
			return fmt.Errorf("subscribe %s: %w", id, err)
		}
		n.log.Info("client subscribed", "client", id.String(), "filter", filter)
	}
	for {
		v, changed := n.coord.View()
		client, ok := v.Clients[id]
		switch {
		case !ok || !v.Leading:
			return cluster.ErrNotLeader
		case !client.Position.IsZero():
			return nil
		}
		if s := n.source(id.Source); s != nil {
			if at, ok := s.newest(); ok { // from now on
				if err := n.coord.Propose(ctx, x.term, cluster.SaveClients{Positions: map[cluster.ClientID]event.Position{id: at}}); err != nil {
					return fmt.Errorf("subscribe %s: %w", id, err)
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", relay.ErrNotHere, n.whySourceWaits(id.Source))
		}
	}
}

// elsewhere says that another program reads the source: its clients have to go there.
func (n *Node) elsewhere(source string) error {
	if s := n.source(source); s != nil {
		if kept, _ := s.custody.get(); kept.Holder != "" {
			return fmt.Errorf("source %s is held by %s: %w", source, kept.Holder, cluster.ErrNotLeader)
		}
	}
	return nil
}

// newest returns the end of what the present session has read, when that reads all.
func (s *sourceRun) newest() (event.Position, bool) {
	s.mu.Lock()
	x := s.session
	s.mu.Unlock()
	if x == nil || !x.whole {
		return event.Position{}, false
	}
	return x.log.Boundary(), true
}

// whySourceWaits says what a source does when it is not read.
func (n *Node) whySourceWaits(source string) string {
	s := n.source(source)
	if s == nil {
		return "source " + source + " is not followed yet"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != "" {
		return fmt.Sprintf("source %s is %s: %s", source, s.state, s.err)
	}
	return fmt.Sprintf("source %s is %s", source, s.state)
}

// Unsubscribe forgets a client with its position and filter.
func (n *Node) Unsubscribe(ctx context.Context, id cluster.ClientID) error {
	x := n.reign.Load()
	if x == nil {
		return cluster.ErrNotLeader
	}
	if _, ok := n.View().Clients[id]; !ok {
		return nil
	}
	if err := n.coord.Propose(ctx, x.term, cluster.RemoveClient{ID: id}); err != nil && !errors.Is(err, cluster.ErrUnknown) {
		return fmt.Errorf("unsubscribe %s: %w", id, err)
	}
	x.dropClient(id)
	n.log.Info("client unsubscribed", "client", id.String())
	return nil
}

// Client returns the leader's end of a client that has subscribed. It is the same one until Done; then it has to be asked for again. The error is
// cluster.ErrNotLeader at a node that does not lead, cluster.ErrUnknown when it has not subscribed, and relay.ErrNotHere when it is worth
// asking again.
func (n *Node) Client(id cluster.ClientID) (*Client, error) {
	x := n.reign.Load()
	v := n.View()
	if x == nil || !v.Leading {
		return nil, cluster.ErrNotLeader
	}
	known, ok := v.Clients[id]
	if !ok {
		x.dropClient(id)
		return nil, fmt.Errorf("client %s has not subscribed: %w", id, cluster.ErrUnknown)
	}
	if err := n.elsewhere(id.Source); err != nil {
		return nil, err
	}
	if known.Position.IsZero() {
		return nil, fmt.Errorf("%w: %s", relay.ErrNotHere, n.whySourceWaits(id.Source))
	}
	epoch := v.Sources[id.Source].Epoch
	x.clientMu.Lock()
	defer x.clientMu.Unlock()
	c := x.clients[id]
	switch {
	case x.over:
		return nil, cluster.ErrNotLeader
	case c != nil && c.epoch == epoch:
		return c, nil
	case c != nil:
		c.close()
	}
	if known.Position.Epoch != epoch { // it is about to be moved
		return nil, fmt.Errorf("%w: source %s opens a new epoch", relay.ErrNotHere, id.Source)
	}
	c = &Client{n: n, x: x, id: id, epoch: epoch, closed: make(chan struct{}), position: known.Position}
	if x.clients == nil {
		x.clients = make(map[cluster.ClientID]*Client)
	}
	x.clients[id] = c
	return c, nil
}

// dropClient ends the leader's end of a client.
func (x *reign) dropClient(id cluster.ClientID) {
	x.clientMu.Lock()
	defer x.clientMu.Unlock()
	if c := x.clients[id]; c != nil {
		delete(x.clients, id)
		c.close()
	}
}

// closeClients ends all of them, at the end of a term; none is made any more.
func (x *reign) closeClients() {
	x.clientMu.Lock()
	defer x.clientMu.Unlock()
	x.over = true
	for _, c := range x.clients {
		c.close()
	}
}

// close ends what reads for the client.
func (c *Client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return
	default:
	}
	close(c.closed)
	if c.feed != nil {
		c.feed.close()
		c.feed = nil
	}
}

// Done is closed when the term, the epoch or the subscription has ended.
func (c *Client) Done() <-chan struct{} { return c.closed }

// Filter is the newest one that the client gave.
func (c *Client) Filter() string { return c.n.View().Clients[c.id].Filter }

// Position is up to where everything is acknowledged.
func (c *Client) Position() event.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

// Reached notes that everything before a position is acknowledged. It is saved soon.
func (c *Client) Reached(p event.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.position.Before(p) {
		c.position = p
	}
}

// Note says what the client does, for the status.
func (c *Client) Note(p ClientProgress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doing = p
}

// Describe returns a table of the client's source as it is now.
func (c *Client) Describe(ctx context.Context, table event.TableName) (*event.Table, error) {
	s := c.n.source(c.id.Source)
	if s == nil || s.source == nil {
		return nil, relay.ErrNotHere
	}
	return s.source.Describe(ctx, table)
}

// A ClientFeed gives a client all that its source's log has behind a position, in whole batches. It is for one goroutine.
type ClientFeed struct {
	c       *Client
	guest   *relay.Guest
	history History
	told    told
	lost    func(error) bool
	stop    func() // ends a catch-up
	once    sync.Once
}

// Open opens a feed behind a position, and closes the one before. relay.ErrNotHere says to ask again; any other error is for the client.
func (c *Client) Open(from event.Position) (*ClientFeed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return nil, relay.ErrNotHere
	default:
	}
	if c.feed != nil {
		c.feed.close()
		c.feed = nil
	}
	s := c.n.source(c.id.Source)
	if s == nil {
		return nil, relay.ErrNotHere
	}
	feed, err := s.openClient(c, from)
	if err != nil {
		return nil, err
	}
	c.feed = feed
	return feed, nil
}

// openClient opens a feed in the present session.
func (s *sourceRun) openClient(c *Client, from event.Position) (*ClientFeed, error) {
	s.mu.Lock()
	x, state, why := s.session, s.state, s.err
	s.mu.Unlock()
	switch {
	case state == status.SourceStopped:
		return nil, &event.StopError{Reason: fmt.Sprintf("source %s is stopped: %s", s.name, why)}
	case x == nil, !x.whole, x.epoch != from.Epoch:
		return nil, relay.ErrNotHere
	}
	feed := &ClientFeed{c: c, history: s.history(x.epoch), told: make(told), lost: s.source.Lost, stop: func() {}}
	guest, err := x.log.NewGuest(from, nil)
	if errors.Is(err, relay.ErrBehind) {
		var private *relay.Log
		if private, feed.stop, err = s.catchUp(context.Background(), x, c.id.String()+clientStream, from, everything); err == nil {
			if guest, err = private.NewGuest(from, x.log.Holds); err != nil {
				feed.stop()
			}
		}
	}
	if err != nil {
		return nil, err
	}
	feed.guest = guest
	return feed, nil
}

// Take returns the next batch, with all its events; what is there is returned even when ctx has ended. relay.ErrNotHere says that the feed is over and to
// open another one; any other error but the context's is for the client.
func (f *ClientFeed) Take(ctx context.Context) (event.Batch, error) {
	b, err := f.guest.Take(ctx)
	if err == nil {
		b.Events, err = f.told.fill(b.Events, f.history.At)
		return b, err
	}
	var stop *event.StopError
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return event.Batch{}, err
	case errors.As(err, &stop), f.lost(err):
		return event.Batch{}, err
	case !errors.Is(err, io.EOF) && !errors.Is(err, relay.ErrBehind):
		f.c.n.log.Debug("client's feed ended", "client", f.c.id.String(), "error", err)
	}
	return event.Batch{}, relay.ErrNotHere
}

// Close ends the feed.
func (f *ClientFeed) Close() {
	f.c.mu.Lock()
	if f.c.feed == f {
		f.c.feed = nil
	}
	f.c.mu.Unlock()
	f.close()
}

func (f *ClientFeed) close() {
	f.once.Do(func() {
		f.guest.Close()
		f.stop()
	})
}

// reachedClients returns the positions of the clients that are ahead of what is saved.
func (x *reign) reachedClients(v cluster.View) map[cluster.ClientID]event.Position {
	x.clientMu.Lock()
	defer x.clientMu.Unlock()
	saves := make(map[cluster.ClientID]event.Position)
	for id, c := range x.clients {
		saved, ok := v.Clients[id]
		if p := c.Position(); ok && p.Epoch == saved.Position.Epoch && saved.Position.Before(p) {
			saves[id] = p
		}
	}
	return saves
}

// reportClients says what clients there are, and where they stand.
func (n *Node) reportClients(v cluster.View) []status.Client {
	x := n.reign.Load()
	var out []status.Client
	for _, id := range sortedClients(v) {
		known := v.Clients[id]
		c := status.Client{ID: id.String(), Destination: id.Source, Filter: known.Filter, Position: known.Position.String()}
		position := known.Position
		if x != nil {
			x.clientMu.Lock()
			if open := x.clients[id]; open != nil {
				open.mu.Lock()
				position = later(position, open.position)
				c.Address, c.Batches, c.Bytes, c.LastError = open.doing.Address, open.doing.Batches, uint64(open.doing.Bytes), open.doing.Error
				open.mu.Unlock()
			}
			x.clientMu.Unlock()
		}
		c.Position, c.Version = position.String(), position.Version().String()
		if s := n.source(id.Source); s != nil {
			s.mu.Lock()
			if s.session != nil {
				end := s.session.log.Boundary()
				var lag float64
				if position.Version() < end.Version() && !position.Time.IsZero() {
					lag = max(0, time.Since(position.Time).Seconds())
				}
				c.LagSeconds = &lag
				if bytes, ok := s.bytesBehind(position); ok {
					c.LagBytes = &bytes
				}
			}
			s.mu.Unlock()
		}
		out = append(out, c)
	}
	return out
}

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
	"canalgo/sink"
	"canalgo/status"
)

var _ sink.Feed = (*dutyFeed)(nil)

// A dutyFeed is the leader's end of a duty's feed: a cursor of the shared log, or of a private one while it catches up.
type dutyFeed struct {
	*relay.Cursor
	s       *sourceRun
	id      cluster.DutyID
	history History
	log     *relay.Log // of the session
	stop    func()     // ends a catch-up
	abort   func()     // ends whoever serves it, in whatever it waits for
	closed  chan struct{}
	told    told
}

// Next implements sink.Feed. It fills in the definitions that the rows need, as the history has them now.
func (f *dutyFeed) Next(ctx context.Context) (event.Batch, error) {
	b, err := f.Cursor.Next(ctx)
	if err == nil {
		b.Events, err = f.told.fill(b.Events, f.history.At)
	}
	return b, err
}

// offer opens a duty's feed for the node that it is assigned to; abort ends whoever serves it. relay.ErrNotHere says to ask again.
func (n *Node) offer(ctx context.Context, o relay.Open, abort func()) (*dutyFeed, error) {
	id, err := cluster.ParseDutyID(o.Duty)
	if err != nil {
		return nil, err
	}
	assigned := func() (saved event.Position, ok bool) { // fencing, layer 2
		v, _ := n.coord.View()
		d := v.Duties[id]
		return d.Position, v.Leading && v.Nodes[d.Assignment.Node].ServerID == o.Node && uint64(d.Assignment.Epoch) == o.Epoch
	}
	s := n.source(id.Source)
	if _, ok := assigned(); s == nil || !ok {
		return nil, relay.ErrNotHere
	}
	return s.open(ctx, id, assigned, abort)
}

// open opens a duty's feed in the present session, the only one that the duty has. assigned returns the duty's saved position, and
// whether it still is its who asks.
func (s *sourceRun) open(ctx context.Context, id cluster.DutyID, assigned func() (event.Position, bool), abort func()) (*dutyFeed, error) {
	if err := s.supersede(ctx, id); err != nil {
		return nil, err
	}
	saved, ok := assigned()
	if !ok {
		return nil, relay.ErrNotHere
	}
	from := s.position(id, saved)
	s.mu.Lock()
	x, lost, why := s.session, s.lost, s.err
	held := s.held[id]
	s.mu.Unlock()
	switch {
	case lost:
		return nil, needsLoad(why)
	case x == nil, held, from.Epoch != x.epoch:
		return nil, relay.ErrNotHere
	}
	tables, ok := x.duties[id]
	if !ok {
		return nil, relay.ErrNotHere
	}
	want := func(t event.TableName) bool { return slices.Contains(tables, t) }
	f := &dutyFeed{s: s, id: id, history: s.history(x.epoch), told: make(told), log: x.log, stop: func() {}, abort: abort, closed: make(chan struct{})}
	cursor, err := x.log.NewCursor(from, want)
	if errors.Is(err, relay.ErrBehind) {
		cursor, f.stop, err = s.catchUpDuty(ctx, x, id, from, want)
	}
	if err != nil {
		return nil, err
	}
	f.Cursor = cursor
	if !s.register(f, x, assigned) {
		_ = cursor.Close()
		f.stop()
		return nil, relay.ErrNotHere
	}
	return f, nil
}

// register makes a feed the one of its duty. Meanwhile the duty may have moved, or somebody else may have been faster: what is reached
// is asked of the one that is registered, and a move ends no other.
func (s *sourceRun) register(f *dutyFeed, x *session, assigned func() (event.Position, bool)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := assigned(); !ok || s.feeds[f.id] != nil || s.held[f.id] || s.session != x {
		return false
	}
	s.feeds[f.id] = f
	return true
}

// supersede ends a feed that its node has lost without the leader noticing, and waits until it is closed.
func (s *sourceRun) supersede(ctx context.Context, id cluster.DutyID) error {
	s.mu.Lock()
	old := s.feeds[id]
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	_ = old.Cursor.Close() // its Next ends
	old.abort()
	timer := time.NewTimer(callTime)
	defer timer.Stop()
	select {
	case <-old.closed:
		return nil
	case <-timer.C:
		return relay.ErrNotHere
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maxCatchUps bounds the private streams of one source's duties, and maxClientCatchUps those of its clients: each is a dump of the server's
// and a ring of this node's memory.
const (
	maxCatchUps       = 8
	maxClientCatchUps = 4
)

// catchUpDuty gives a duty that is behind the shared log a stream of its own until its position lies in the log's newer half.
func (s *sourceRun) catchUpDuty(ctx context.Context, x *session, id cluster.DutyID, from event.Position, want func(event.TableName) bool) (*relay.Cursor, func(), error) {
	private, stop, err := s.catchUp(ctx, x, id.String(), from, want)
	if err != nil {
		return nil, nil, err
	}
	cursor, err := private.NewCursor(from, want)
	if err != nil {
		stop()
		return nil, nil, err
	}
	cursor.Until = x.log.Holds
	return cursor, stop, nil
}

// catchUp follows the source from a position on, until stop is called or the session ends.
func (s *sourceRun) catchUp(ctx context.Context, x *session, stream string, from event.Position, want func(event.TableName) bool) (private *relay.Log, stop func(), err error) {
	private, err = relay.NewLog(s.n.cfg.RingBytes/4, from, func() bool { return s.source.Progress(stream).Settled })
	if err != nil {
		return nil, nil, err
	}
	private.Expect(1)
	if !s.admit(stream, from) {
		return nil, nil, relay.ErrNotHere
	}
	s.log.Info("catch-up begins", "stream", stream, "from", from.String())
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		private.Close(s.source.Stream(ctx, stream, from, want, s.history(from.Epoch), private.Append))
	}()
	go func() {
		select {
		case <-x.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	return private, func() {
		cancel()
		<-done
		s.mu.Lock()
		delete(s.catchUps, stream)
		s.caughtUp++
		s.mu.Unlock()
		s.log.Info("catch-up ends", "stream", stream)
	}, nil
}

// admit reports whether there is a place for one more private stream.
func (s *sourceRun) admit(stream string, from event.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := maxCatchUps
	if isClient(stream) {
		places = maxClientCatchUps
	}
	for other := range s.catchUps {
		if isClient(other) == isClient(stream) {
			places--
		}
	}
	if places > 0 {
		s.catchUps[stream] = catchUp{since: time.Now(), from: from}
	}
	return places > 0
}

// Newest implements sink.Feed. The shared stream is ahead of a catch-up.
func (f *dutyFeed) Newest() (event.Version, bool) { return f.log.Newest() }

// Close implements sink.Feed and keeps the position that was reached.
func (f *dutyFeed) Close() error {
	err := f.Cursor.Close()
	f.stop()
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.last[f.id] = f.Position()
	if f.s.feeds[f.id] == f {
		delete(f.s.feeds, f.id)
		close(f.closed)
	}
	return err
}

// release ends the feeds of duties that are to move, in order: what was handed out is finished and acknowledged. It returns
// when they are closed, or after a while, then with those of which something may still be written; none is opened for them until
// unhold.
func (n *Node) release(ctx context.Context, ids []cluster.DutyID) (late []cluster.DutyID) {
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	var closing []*dutyFeed
	for _, id := range ids {
		s := n.source(id.Source)
		if s == nil {
			continue
		}
		s.mu.Lock()
		s.held[id] = true
		if f := s.feeds[id]; f != nil {
			f.End()
			closing = append(closing, f)
		}
		s.mu.Unlock()
	}
	for _, f := range closing {
		select {
		case <-f.closed:
		case <-ctx.Done():
			f.abort()
			late = append(late, f.id)
			n.log.Warn("duty moves before everything in flight was acknowledged; it will be written again", "duty", f.id.String())
		}
	}
	return late
}

// releaseTime is how long a node that lives may take to finish what a feed has handed out.
const releaseTime = 2 * time.Second

func (n *Node) unhold(ids []cluster.DutyID) {
	for _, id := range ids {
		if s := n.source(id.Source); s != nil {
			s.mu.Lock()
			delete(s.held, id)
			s.mu.Unlock()
		}
	}
}

// An asked is a connection on which a node has asked for a feed.
type asked struct {
	server *relay.Server
	open   relay.Open
}

// ServeFeeds accepts connections for feeds in frames of one version until the listener closes. Only a leader serves them.
func (n *Node) ServeFeeds(listener net.Listener, version uint8) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept feeds: %w", err)
		}
		asking.Go(func() {
			server, open, err := relay.Accept(conn, version)
			if err != nil {
				n.log.Debug("no feed", "from", conn.RemoteAddr().String(), "error", err)
				return
			}
			timer := time.NewTimer(renewEvery)
			defer timer.Stop()
			select {
			case n.asked <- asked{server, open}:
			case <-timer.C:
				server.Refuse(relay.ErrNotHere)
			}
		})
	}
}

// serveAsked serves the feeds that nodes ask for, until the term ends; all are closed when it returns (fencing, layer 2).
func (n *Node) serveAsked(ctx context.Context) error {
	var g errgroup.Group
	defer g.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-n.asked:
			g.Go(func() error {
				n.serve(ctx, a)
				return nil
			})
		}
	}
}

func (n *Node) serve(ctx context.Context, a asked) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed, err := n.offer(ctx, a.open, cancel)
	if err != nil {
		a.server.Refuse(err)
		return
	}
	defer feed.Close()
	if err := a.server.Serve(ctx, feed); err != nil && ctx.Err() == nil {
		n.log.Info("feed ended", "duty", a.open.Duty, "node", a.open.Node, "error", err)
	}
}

// openFeed opens the feed of a duty that is assigned to this node. nil says that there is none now.
func (n *Node) openFeed(ctx context.Context, r *dutyRun, v cluster.View) (sink.Feed, error) {
	open := relay.Open{Duty: r.id.String(), Epoch: uint64(r.assignment.Epoch), Node: n.cfg.Self.ServerID}
	feed, err := n.feedFrom(ctx, v, open)
	switch {
	case err == nil:
		return feed, nil
	case errors.Is(err, relay.ErrNotHere):
		r.enter(status.Waiting, "source "+r.id.Source, nil)
		n.idleBriefly(ctx)
		return nil, nil
	}
	return nil, err
}

// whileLed returns a context that ends when another node is known to lead than v says, or in another term. A leader that was cut
// off or frozen closes no connection: nobody waits for it then.
func (n *Node) whileLed(ctx context.Context, v cluster.View) (context.Context, context.CancelFunc) {
	return n.whileSeen(ctx, func(now cluster.View) bool {
		return now.Leader == "" || now.Leader == v.Leader && now.Term == v.Term
	})
}

// whileSeen returns a context that ends when the view is no longer as it has to be.
func (n *Node) whileSeen(ctx context.Context, holds func(cluster.View) bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			now, changed := n.coord.View()
			if !holds(now) {
				cancel()
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return ctx, cancel
}

// feedFrom opens a feed at whoever leads.
func (n *Node) feedFrom(ctx context.Context, v cluster.View, open relay.Open) (sink.Feed, error) {
	if v.Leading {
		feed, err := n.offer(ctx, open, func() {})
		if err != nil {
			return nil, err // not a nil *dutyFeed
		}
		return feed, nil
	}
	if v.LeaderAddress == "" {
		return nil, relay.ErrNotHere
	}
	dialing, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	conn, version, err := n.cfg.Peers.Feed(dialing, v.LeaderAddress)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLeaderGone, err)
	}
	feed, err := relay.OpenFeed(ctx, conn, version, open)
	if err != nil {
		return nil, connectionLost(err)
	}
	n.log.Info("feed opened", "duty", open.Duty, "leader", v.Leader, "frames", version)
	return remoteFeed{feed}, nil
}

// errLeaderGone is wrapped by the error of a feed whose connection to the leader failed.
var errLeaderGone = errors.New("no connection to the leader")

// A remoteFeed is the feed of a duty that another node leads.
type remoteFeed struct{ *relay.Feed }

// Next implements sink.Feed.
func (f remoteFeed) Next(ctx context.Context) (event.Batch, error) {
	b, err := f.Feed.Next(ctx)
	if err != nil && ctx.Err() == nil {
		err = connectionLost(err)
	}
	return b, err
}

// connectionLost marks an error of a feed that the leader did not say.
func connectionLost(err error) error {
	var stop *event.StopError
	if errors.Is(err, io.EOF) || errors.Is(err, relay.ErrNotHere) || errors.Is(err, relay.ErrBehind) || errors.As(err, &stop) {
		return err
	}
	return fmt.Errorf("%w: %w", errLeaderGone, err)
}

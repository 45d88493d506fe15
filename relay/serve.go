package relay

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"canalgo/event"
)

// An Open says which feed a node asks for: the first frame on the connection.
type Open struct {
	Duty  string // as cluster.DutyID prints it
	Epoch uint64 // of the duty's assignment
	Node  string // who asks
}

// Served is what a Server needs of a feed. *Cursor is one.
type Served interface {
	// Next returns the next batch, io.EOF at the end. When ctx has ended, it returns the batch that is there or ctx's error:
	// so a Server finds out, without waiting, whether there is more to send before it flushes. A feed that returns ctx's
	// error always is served as well, only slower.
	Next(ctx context.Context) (event.Batch, error)
	// Ack is called from another goroutine than Next.
	Ack(ctx context.Context, seq uint64) error
	Newest() (newest event.Version, settled bool)
}

// An ender is a Served that can be told to end, as a *Cursor is by End. Whether the node takes another batch does not matter then.
type ender interface {
	Ending() <-chan struct{} // closed when it was told
	AtEnd() bool             // Next returns ErrToldToEnd at once
}

// A Server is the leader's end of one feed's connection. After Accept, call one of Serve, Refuse and Close.
type Server struct {
	open Open
	link *link
	in   *frameReader
	out  *frameWriter
	head []byte // scratch

	sent    uint64        // what the batches sent cost
	granted atomic.Uint64 // what they may cost
	lastSeq atomic.Uint64 // of the last batch sent
	more    chan struct{} // has an element when granted has risen
}

// Accept reads which feed the other end asks for, in frames of a version from 1 to MaxVersion. It closes conn when it returns an
// error, and takes 5 s at most.
func Accept(conn net.Conn, version uint8) (*Server, Open, error) {
	l := &link{Conn: conn, until: time.Now().Add(acceptWait)}
	s := &Server{link: l, in: newFrameReader(l, version), out: newFrameWriter(l, version), more: make(chan struct{}, 1)}
	if err := s.accept(); err != nil {
		l.Close()
		return nil, Open{}, fmt.Errorf("accept feed: %w", err)
	}
	l.until = time.Time{}
	return s, s.open, nil
}

func (s *Server) accept() error {
	kind, err := s.in.next()
	if err != nil {
		return err
	}
	if kind != frameOpen {
		return fmt.Errorf("frame of type %d, want open", kind)
	}
	data, err := s.in.body(0, maxJSON)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &s.open)
}

// Close closes the connection; after Serve and Refuse it is closed already.
func (s *Server) Close() error { return s.link.Close() }

// Refuse tells the node why it does not get the feed, and closes the connection.
func (s *Server) Refuse(err error) {
	s.out.frame(frameEnd, appendEnding(err))
	_ = s.out.flush() // a node that is gone need not know
	s.link.Close()
}

// errLeft says that the node has closed its feed.
var errLeft = errors.New("the node has closed the feed")

// Serve sends the feed's batches and counts its acknowledgements until the node closes the feed (nil), the feed's Next
// returns an error (that error; nil for io.EOF), ctx ends, or the connection breaks. At the feed's end it tells the node
// why, and stays until the node closes the feed, for 10 s at most, so that what is in flight is still acknowledged. When it
// returns, the connection is closed and feed is not used any more.
func (s *Server) Serve(ctx context.Context, feed Served) error {
	defer context.AfterFunc(ctx, func() { s.link.Close() })()
	serving, stop := context.WithCancelCause(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		err := s.listen(serving, feed)
		stop(err) // first: the write that this frees fails as well, and is not the reason
		if err != errLeft {
			s.link.Close()
		}
	})
	err := s.send(serving, stop, feed)
	cause := context.Cause(serving)
	if cause == errLeft {
		s.out.frame(frameClosed, nil)
		_ = s.out.flush() // a node that is gone need not know
	}
	s.link.Close()
	listening.Wait()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case cause == errLeft:
		return nil
	case cause == nil:
		cause = fmt.Errorf("not closed %s after its end", drainWait)
	}
	return fmt.Errorf("serve feed %s to %s: %w", s.open.Duty, s.open.Node, cause)
}

// ended is a context that has ended.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// send sends until ctx ends (nil) or the feed does (its error). It ends ctx by stop when it cannot write.
func (s *Server) send(ctx context.Context, stop context.CancelCauseFunc, feed Served) error {
	s.out.frame(frameOpened, nil)
	for {
		s.awaitCredit(ctx, stop, feed)
		b, err := s.next(ctx, stop, feed)
		if ctx.Err() != nil {
			return nil // a batch that was read and not sent is not acknowledged
		}
		if err == nil {
			err = s.sendBatch(&b, feed)
		}
		if err != nil {
			s.drain(ctx, stop, feed, err)
			return err
		}
		if s.out.err != nil {
			stop(s.out.err)
		}
	}
}

// awaitCredit waits until the node takes another batch. The feed is not read meanwhile: it may fall off its log.
func (s *Server) awaitCredit(ctx context.Context, stop context.CancelCauseFunc, feed Served) {
	if s.sent < s.granted.Load() {
		return
	}
	var ending <-chan struct{}
	atEnd := func() bool { return false }
	if e, ok := feed.(ender); ok {
		ending, atEnd = e.Ending(), e.AtEnd
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for ctx.Err() == nil && s.sent >= s.granted.Load() && !atEnd() {
		s.flush(stop)
		select {
		case <-ctx.Done():
		case <-s.more:
		case <-ending:
			ending = nil // inside a transaction the rest of it comes first
		case <-tick.C:
			s.out.heartbeat(feed.Newest())
		}
	}
}

// next returns the feed's next batch. Only when there is none yet is what was written flushed.
func (s *Server) next(ctx context.Context, stop context.CancelCauseFunc, feed Served) (event.Batch, error) {
	b, err := feed.Next(ended)
	for err != nil && errors.Is(err, context.Canceled) && ctx.Err() == nil {
		s.flush(stop)
		waiting, cancel := context.WithTimeout(ctx, heartbeat)
		b, err = feed.Next(waiting)
		idle := waiting.Err() != nil
		cancel()
		if err == nil || !idle || ctx.Err() != nil {
			break // also when Canceled was the feed's own error
		}
		s.out.heartbeat(feed.Newest())
		s.flush(stop)
		b, err = feed.Next(ended)
	}
	return b, err
}

func (s *Server) flush(stop context.CancelCauseFunc) {
	if err := s.out.flush(); err != nil {
		stop(err)
	}
}

func (s *Server) sendBatch(b *event.Batch, feed Served) error {
	s.head = event.AppendHead(s.head[:0], b)
	size := len(s.head)
	for i := range b.Events {
		size += len(b.Events[i].Raw)
	}
	if size > maxBatch {
		return &event.StopError{Reason: fmt.Sprintf("a batch of %d bytes before %s, more than the %d that a feed carries", size, b.End, maxBatch)}
	}
	newest, settled := feed.Newest()
	s.lastSeq.Store(b.Seq) // before the node can have it
	s.sent += uint64(size) + batchCost
	s.out.batch(newest, settled, s.head, b.Events, size)
	return nil
}

// drain says why the feed has ended, and waits until the node has finished what is in flight.
func (s *Server) drain(ctx context.Context, stop context.CancelCauseFunc, feed Served, why error) {
	s.out.frame(frameEnd, appendEnding(why))
	end := time.NewTimer(drainWait)
	defer end.Stop()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		s.flush(stop)
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-tick.C:
			s.out.heartbeat(feed.Newest()) // conflicts are still judged by it
		}
	}
}

// listen takes the node's frames until it closes the feed (errLeft) or something is wrong.
func (s *Server) listen(ctx context.Context, feed Served) error {
	var acked, granted uint64
	for {
		kind, err := s.in.next()
		if err != nil {
			return err
		}
		switch kind {
		case frameProgress:
			p, err := s.in.body(progressBytes, progressBytes)
			if err != nil {
				return err
			}
			if seq := binary.BigEndian.Uint64(p); seq > acked {
				if last := s.lastSeq.Load(); seq > last { // rule 1: what was not delivered cannot have been written
					return fmt.Errorf("batch %d is acknowledged, the last one sent is %d", seq, last)
				}
				if err := feed.Ack(ctx, seq); err != nil {
					return fmt.Errorf("ack: %w", err)
				}
				acked = seq
			}
			if to := binary.BigEndian.Uint64(p[8:]); to > granted {
				granted = to
				s.granted.Store(to)
				signal(s.more)
			}
		case frameClose:
			if _, err := s.in.body(0, 0); err != nil {
				return err
			}
			return errLeft
		default:
			return fmt.Errorf("frame of type %d, which no node sends now", kind)
		}
	}
}

// signal makes whoever waits on c, whose buffer has room for one, look again.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"canalgo/event"
)

// A Feed is the node's end of a feed's connection: what a Cursor is on the leader itself. Next is for one goroutine; the
// other methods are safe for several. Ack does not wait: the latest acknowledgement is sent at once, in the background.
type Feed struct {
	duty  string
	link  *link
	in    *frameReader
	out   *frameWriter
	ready chan struct{} // has an element when Next should look again
	tell  chan struct{} // has an element when there is progress to send

	closing sync.Once
	leave   chan struct{} // closed by Close
	gone    chan struct{} // closed when nothing more is read
	running sync.WaitGroup

	mu       sync.Mutex
	arrived  []received // in order, behind those in next
	received uint64     // what all batches cost that were received
	taken    uint64     // of it, what Next has returned
	granted  uint64     // what the leader was last told that it may send
	acked    uint64
	newest   event.Version
	settled  bool
	end      error // why the leader sends no more batches
	err      error // why the connection is of no use any more

	next   []received // what Next returns before it looks at arrived again
	at     int
	inside bool // the last batch that Next returned did not end its transaction

	prefix [batchBytes]byte // scratch of readBatch
}

type received struct {
	batch event.Batch
	cost  uint64
}

// OpenFeed asks the leader at the other end of conn for a feed, in frames of a version from 1 to MaxVersion. The error is why the leader refuses it, or the
// connection's. conn belongs to the Feed then; on an error it is closed. ctx and 10 s bound the opening only.
func OpenFeed(ctx context.Context, conn net.Conn, version uint8, open Open) (*Feed, error) {
	l := &link{Conn: conn, until: time.Now().Add(openWait)}
	f := &Feed{duty: open.Duty, link: l, in: newFrameReader(l, version), out: newFrameWriter(l, version), ready: make(chan struct{}, 1), tell: make(chan struct{}, 1),
		leave: make(chan struct{}), gone: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	err := f.open(open)
	if !stop() {
		err = ctx.Err() // it has closed conn
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("open feed %s: %w", open.Duty, err)
	}
	l.until = time.Time{}
	f.running.Go(f.read)
	f.running.Go(f.write)
	return f, nil
}

func (f *Feed) open(open Open) error {
	data, err := json.Marshal(open)
	if err != nil {
		return err
	}
	f.out.frame(frameOpen, data)
	if err := f.out.flush(); err != nil {
		return err
	}
	kind, err := f.in.next()
	if err != nil {
		return err
	}
	switch kind {
	case frameOpened:
		_, err := f.in.body(0, 0)
		return err
	case frameEnd:
		refused, err := f.readEnd()
		if err == nil {
			err = refused
		}
		return err
	}
	return fmt.Errorf("frame of type %d, want opened or end", kind)
}

// Next returns the next batch. At the feed's end the batches that came before are returned first, but for one
// that was told to end: that ends behind the present transaction, so that nobody waits until megabytes are written; the duty's
// next feed delivers them. A connection that breaks ends the feed at once, because acknowledgements would not be counted.
func (f *Feed) Next(ctx context.Context) (event.Batch, error) {
	for {
		if b, ok, err := f.take(); ok || err != nil {
			return b, err
		}
		select {
		case <-ctx.Done():
			return event.Batch{}, ctx.Err()
		case <-f.ready:
		}
	}
}

func (f *Feed) take() (b event.Batch, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return event.Batch{}, false, f.err
	}
	if f.at == len(f.next) {
		f.next, f.arrived, f.at = f.arrived, f.next[:0], 0
	}
	if f.at == len(f.next) || f.end == ErrToldToEnd && !f.inside {
		return event.Batch{}, false, f.end
	}
	r := f.next[f.at]
	f.next[f.at] = received{}
	f.at++
	f.taken += r.cost
	f.inside = r.batch.Last() > r.batch.End.Version()
	if f.taken+Window-f.granted >= Window/4 {
		signal(f.tell)
	}
	return r.batch, true, nil
}

// Ack says that the destination has all batches up to seq. It fails when the leader can no longer be told.
func (f *Feed) Ack(_ context.Context, seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.acked = max(f.acked, seq)
	signal(f.tell)
	return nil
}

// Newest returns what the leader's log last said by Newest: with the last batch, or 200 ms ago, and later by the way here.
func (f *Feed) Newest() (event.Version, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest, f.settled
}

// Close sends the last acknowledgement, waits, for 1 s at most, until the leader has counted it, and closes the
// connection. The error says that it may not have been counted: the batches may be delivered again.
func (f *Feed) Close() error {
	f.closing.Do(func() {
		close(f.leave)
		limit := time.NewTimer(closeWait)
		defer limit.Stop()
		select {
		case <-f.gone:
		case <-limit.C:
			f.fail(fmt.Errorf("close feed %s: the leader does not answer", f.duty))
		}
		f.link.Close()
		f.running.Wait()
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == errClosed {
		return nil
	}
	return f.err
}

// errClosed says that Close was called, and went well.
var errClosed = errors.New("the feed is closed")

// fail notes why the connection is of no use any more.
func (f *Feed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	signal(f.ready)
}

// write tells the leader of progress, when there is any and every 500 ms.
func (f *Feed) write() {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	signal(f.tell) // the first grant
	for leaving := false; !leaving; {
		select {
		case <-f.gone:
			return
		case <-f.leave:
			leaving = true
		case <-f.tell:
		case <-tick.C:
		}
		f.mu.Lock()
		acked, granted := f.acked, f.taken+Window
		f.granted = granted
		f.mu.Unlock()
		f.out.progress(acked, granted)
		if leaving {
			f.out.frame(frameClose, nil)
		}
		if err := f.out.flush(); err != nil {
			f.fail(fmt.Errorf("feed %s: %w", f.duty, err))
			f.link.Close()
			return
		}
	}
}

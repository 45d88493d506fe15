package server

import (
	"context"
	"errors"
	"time"

	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
)

// units are those of a timeout, in the order of java.util.concurrent.TimeUnit.
var units = [...]time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}

// patience is how long a GET waits for a full batch: not at all, or for ever when it is negative.
func patience(r request) time.Duration {
	unit := time.Millisecond
	if r.Unit >= 0 && int(r.Unit) < len(units) {
		unit = units[r.Unit]
	}
	switch {
	case r.Timeout == -1:
		return 0
	case r.Timeout <= 0:
		return -1
	case r.Timeout > int64(24*time.Hour/unit):
		return 24 * time.Hour
	}
	return time.Duration(r.Timeout) * unit
}

// get answers with the next batch.
func (c *conn) get(r request) error {
	id, err := clientID(r.Client)
	if err != nil {
		return c.refuse(codeFailed, "get: %s", err)
	}
	x, err := c.server.session(c, id)
	switch {
	case errors.Is(err, relay.ErrNotHere):
		return c.write(wire.MessagesFrame(-1, nil)...)
	case errors.Is(err, cluster.ErrUnknown):
		return c.refuse(codeFailed, "ClientIdentity:%s should subscribe first", id)
	case err != nil:
		return c.refuse(codeFailed, "get: %s", elsewhere(id, err))
	}
	var b batch
	defer c.server.release(&b)
	err = c.fill(x, &b, r)
	if err != nil && len(b.data) == 0 {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		var stop *event.StopError
		if errors.As(err, &stop) {
			c.server.log.Error("a client of canal cannot go on", "client", id.String(), "error", err)
		}
		x.note(c.address, err.Error())
		return c.refuse(codeFailed, "get: %s", elsewhere(id, err))
	}
	number := x.hand(&b)
	x.note(c.address, "")
	return c.write(wire.MessagesFrame(number, b.data)...)
}

// fill fills a batch for as long as a GET may wait. Acknowledgements that come meanwhile are taken: they may be what it waits for.
func (c *conn) fill(x *session, b *batch, r request) error {
	over, cancel := c.deadline(patience(r))
	defer cancel()
	for {
		if err := c.acknowledgeEarly(); err != nil {
			return err
		}
		if l := x.limit(r.FetchSize); l.bytes > 0 || len(b.data) > 0 {
			interrupted, stop := c.untilRequest(over)
			ended, err := x.fill(interrupted, b, l)
			idle := ended && interrupted.Err() == nil // the source is not read just now
			stop()
			if err != nil || b.full {
				return err
			}
			if idle {
				sleep(over, retryTime)
			}
		} else if len(c.early) == 0 { // only an acknowledgement makes room
			interrupted, stop := c.untilRequest(over)
			<-interrupted.Done()
			stop()
		} else { // order is kept: what comes behind the first cannot make room for it
			return nil
		}
		switch {
		case over.Err() != nil:
			return c.ctx.Err()
		case x.client != nil && done(x.client.Done()):
			return relay.ErrNotHere
		}
	}
}

// acknowledgeEarly takes the acknowledgements that came early, up to the first other request.
func (c *conn) acknowledgeEarly() error {
	for len(c.early) > 0 && c.early[0].kind == wire.ClientAck {
		ack := c.early[0]
		c.early = c.early[1:]
		if err := c.acknowledge(ack); err != nil {
			return err
		}
	}
	return nil
}

// deadline returns a context that ends when a GET has waited long enough; 0 is over at once, a negative one never.
func (c *conn) deadline(wait time.Duration) (context.Context, context.CancelFunc) {
	if wait > 0 {
		return context.WithTimeout(c.ctx, wait)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	if wait == 0 {
		cancel()
	}
	return ctx, cancel
}

// maxEarly bounds how many requests are kept that came while a GET waited.
const maxEarly = 16

// untilRequest returns a context that ends with ctx, or when another request comes, which is then early; behind one that is early already more
// are only kept. Somebody has to take them, or nobody would notice that the client is gone. stop has to be called before anything else is done
// with the connection.
func (c *conn) untilRequest(ctx context.Context) (_ context.Context, stop func()) {
	if ctx.Err() != nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case r := <-c.requests:
				c.keep(r)
				if len(c.early) == 1 {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		cancel()
		<-watched
	}
}

// keep notes a request that came early. Who sends too many without waiting for an answer is not served any longer.
func (c *conn) keep(r request) {
	if len(c.early) == maxEarly {
		c.server.warn("a client of canal sends requests faster than it takes answers; its connection is closed", c.address)
		c.cancel()
		return
	}
	c.early = append(c.early, r)
}

func done(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

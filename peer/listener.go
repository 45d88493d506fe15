package peer

import (
	"net"
	"sync"
	"time"
)

// A listener hands out the connections of one protocol.
type listener struct {
	addr   net.Addr
	conns  chan *conn
	once   sync.Once
	closed chan struct{}
}

func newListener(addr net.Addr) *listener {
	return &listener{addr: addr, conns: make(chan *conn), closed: make(chan struct{})}
}

// Accept returns a connection to a node, or net.ErrClosed after Close or when the port has ended.
func (l *listener) Accept() (net.Conn, error) {
	for {
		select {
		case <-l.closed:
			return nil, net.ErrClosed
		case c := <-l.conns:
			if l.isClosed() {
				c.Close()
				return nil, net.ErrClosed
			}
			// One byte into an empty buffer; the deadline of the handshake still holds.
			if _, err := c.Write([]byte{ready}); err != nil {
				c.Close()
				continue
			}
			if err := c.SetDeadline(time.Time{}); err != nil {
				c.Close()
				continue
			}
			return c, nil
		}
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// offer waits for Accept until the deadline. It closes the connection when nobody takes it.
func (l *listener) offer(c *conn, deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case l.conns <- c:
	case <-l.closed:
		c.Close()
	case <-timer.C:
		c.Close()
	}
}

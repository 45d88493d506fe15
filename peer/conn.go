package peer

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

// errTooMuch ends a handshake that is larger than any of ours.
var errTooMuch = errors.New("sends more than a handshake of canalgo has")

// A bounded connection reads at most maxHandshake bytes until it is opened. Whoever opens it must not run beside a Read. What is
// written between hold and release leaves in one piece.
type bounded struct {
	net.Conn
	read int // bytes, while not open
	open bool

	mu   sync.Mutex
	held bool
	out  []byte // while held
}

func (b *bounded) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

func (b *bounded) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = false
	if len(b.out) == 0 {
		return nil
	}
	_, err := b.Conn.Write(b.out)
	b.out = b.out[:0]
	return err
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held {
		return b.Conn.Write(p)
	}
	b.out = append(b.out, p...)
	return len(p), nil
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.open {
		return b.Conn.Read(p)
	}
	if b.read >= maxHandshake {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), maxHandshake-b.read)])
	b.read += n
	return n, err
}

// A conn is a connection to a node. It is not a *tls.Conn because net/http would close one with a protocol of ours.
type conn struct {
	*tls.Conn
	raw *bounded
	mu  sync.Mutex // one Write at a time
}

// A small Write is one record, which goes out at once; of a larger one all records of 16 KiB go out by one system call.
const maxRecord = 16 << 10

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) <= maxRecord {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.hold()
	n, err := c.Conn.Write(p)
	if sent := c.raw.release(); err == nil && sent != nil {
		return 0, sent
	}
	return n, err
}

// Protocol returns what the ends of a connection that Dial or a Listener gave have agreed on.
func Protocol(c net.Conn) string {
	if c, ok := c.(*conn); ok {
		return c.ConnectionState().NegotiatedProtocol
	}
	return ""
}

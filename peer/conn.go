package peer

import (
	"crypto/tls"
	"errors"
	"net"
)

// errTooMuch ends a handshake that is larger than any of ours.
var errTooMuch = errors.New("sends more than a handshake of canalgo has")

// A bounded connection reads at most maxHandshake bytes until it is opened. Whoever opens it must not run beside a Read.
type bounded struct {
	net.Conn
	read int // bytes, while not open
	open bool
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
type conn struct{ *tls.Conn }

// Protocol returns what the ends of a connection that Dial or a Listener gave have agreed on.
func Protocol(c net.Conn) string {
	if c, ok := c.(*conn); ok {
		return c.ConnectionState().NegotiatedProtocol
	}
	return ""
}

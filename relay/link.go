package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

var errHungUp = errors.New("the other end closed the connection")

// A link is a connection on which a read or write that does not move ends. Its errors are never io.EOF, which would say
// that the feed has ended in good order.
type link struct {
	net.Conn
	until time.Time // a deadline for all, while the feed is being opened
}

func (l *link) deadline() time.Time {
	if !l.until.IsZero() {
		return l.until
	}
	return time.Now().Add(silence)
}

func (l *link) Read(p []byte) (int, error) {
	if err := l.SetReadDeadline(l.deadline()); err != nil {
		return 0, err
	}
	n, err := l.Conn.Read(p)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // without TLS, with it
		err = errHungUp
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the other end is silent: %w", err)
	}
	return n, err
}

func (l *link) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(l.deadline()); err != nil {
		return 0, err
	}
	n, err := l.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the other end takes nothing: %w", err)
	}
	return n, err
}

// Close closes the connection at once. TLS would say goodbye first, and wait 5 s for a frozen end to take it; the frames
// have said what there is to say.
func (l *link) Close() error {
	if over, ok := l.Conn.(interface{ NetConn() net.Conn }); ok {
		return over.NetConn().Close()
	}
	return l.Conn.Close()
}

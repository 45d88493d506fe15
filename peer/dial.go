package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What the HTTP client keeps.
const (
	maxIdle         = 64
	maxIdlePerNode  = 4
	idleTimeout     = 30 * time.Second
	maxAnswerHeader = 16 << 10 // bytes
)

// Dial connects to the node port at address, for one of the protocols: the other side chooses, and Protocol says which. When it
// returns without an error, the other side has the same token and has accepted the connection. It gives up when ctx ends or after 5 s. The error says what is wrong and wraps ErrToken,
// syscall.ECONNREFUSED when nobody listens there, or ctx's error.
func (i *Identity) Dial(ctx context.Context, address string, protocols ...string) (net.Conn, error) {
	c, err := i.dial(ctx, address, protocols)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", address, err)
	}
	return c, nil
}

func (i *Identity) dial(ctx context.Context, address string, protocols []string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	// Not HandshakeContext: it ends before the ready byte.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	c, err := i.shake(raw, protocols)
	if !stop() && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
		err = late(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// shake makes sure that the other side is a node and takes one of the protocols.
func (i *Identity) shake(raw net.Conn, protocols []string) (net.Conn, error) {
	stranger := &bounded{Conn: raw}
	c := &conn{Conn: tls.Client(stranger, i.client(protocols)), raw: stranger}
	if err := c.Handshake(); err != nil {
		return nil, noNode(err, strings.Join(protocols, ", "))
	}
	protocol := Protocol(c)
	if !slices.Contains(protocols, protocol) {
		return nil, fmt.Errorf("does not take %s; is it another version of canalgo?", strings.Join(protocols, ", "))
	}
	var first [1]byte
	switch _, err := c.Read(first[:]); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("closed the connection: it begins or stops just now, or does not take %s: %w", protocol, err)
	case first[0] != ready:
		return nil, fmt.Errorf("begins %s with %d, want %d; is it another version of canalgo?", protocol, first[0], ready)
	}
	stranger.open = true
	return c, nil
}

// late says why a dial is given up whose ctx has ended.
func late(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errSilent
}

var errSilent = fmt.Errorf("no answer in time; is the address right, and does a firewall let it through? %w", context.DeadlineExceeded)

// unreachable says why there is no TCP connection.
func unreachable(ctx context.Context, err error) error {
	var dns *net.DNSError
	var address *net.AddrError
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return late(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens there: %w", syscall.ECONNREFUSED)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("the host is unknown: %w", err)
	case errors.As(err, &address):
		return fmt.Errorf("want HOST:PORT: %w", err)
	case errors.As(err, &timeout) && timeout.Timeout(): // the socket's deadline is ctx's, and can come first
		return errSilent
	}
	return fmt.Errorf("cannot be reached: %w", err)
}

// noNode says why a handshake failed.
func noNode(err error, protocol string) error {
	var header tls.RecordHeaderError
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, errOtherKey):
		return fmt.Errorf("%w: its token is another one; compare what `canalgo token` prints on both", ErrToken)
	case errors.As(err, &header):
		return fmt.Errorf("%w: it does not speak TLS; is the port that of another program?", ErrToken)
	case refusal(err) == alertNoProtocol.Error():
		return fmt.Errorf("does not take %s; is it another version of canalgo, or another program?", protocol)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &errno):
		return fmt.Errorf("closed the connection in the handshake; does it stop just now, or is it another program? %w", err)
	}
	return fmt.Errorf("%w: %w", ErrToken, err)
}

// alertNoProtocol is no_application_protocol of RFC 7301, section 3.2.
const alertNoProtocol = tls.AlertError(120)

// refusal is the text of the alert by which the other side ended a handshake, or "". crypto/tls gives no more than a text.
func refusal(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

// Client returns an HTTP client whose connections are Dial's, of Call: http://HOST:PORT/path asks the node whose port is
// HOST:PORT. It keeps idle connections for 30 s, so a server should for longer, and follows no redirect. It sets no
// deadline for an answer; the request's context does. Each call returns a client with connections of its own.
func (i *Identity) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return i.Dial(ctx, address, Call)
			},
			MaxIdleConns:           maxIdle,
			MaxIdleConnsPerHost:    maxIdlePerNode,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxAnswerHeader,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

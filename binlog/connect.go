package binlog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

const (
	dialTimeout = 10 * time.Second
	// queryTimeout bounds how long a connection for queries waits for bytes.
	queryTimeout = time.Minute
	// sqlMode is the session's, so that a server's own setting cannot change what a value looks like:
	// PAD_CHAR_TO_FULL_LENGTH pads CHAR, ANSI_QUOTES and NO_BACKSLASH_ESCAPES change what a literal is.
	sqlMode = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES"
	// groupConcatBytes is how much group_concat may return: the server's own 1024 bytes would cut documents off silently.
	groupConcatBytes = 64 << 20
)

// boundConn is closed when a context ends, at once even if the server is frozen.
type boundConn struct {
	net.Conn
	stop    func() bool
	timeout time.Duration // of a read, for the message
}

// Read says what a timeout means: while it waits, a server sends a heartbeat now and then.
func (c *boundConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the server is silent: nothing came for %s: %w", c.timeout, err)
	}
	return n, err
}

func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// dial opens a connection that is closed when ctx ends.
func (s *Source) dial(ctx context.Context, readTimeout time.Duration) (*client.Conn, error) {
	conn, err := s.dialTLS(ctx, readTimeout, s.tls != nil)
	if err != nil && s.cfg.TLS.Mode == TLSPreferred && strings.Contains(err.Error(), "does not support TLS") {
		conn, err = s.dialTLS(ctx, readTimeout, false)
	}
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the socket was closed under it
	}
	if refused := (*mysql.MyError)(nil); errors.As(err, &refused) && refused.Code == mysql.ER_ACCESS_DENIED_ERROR && s.cfg.TLS.Mode == TLSOff {
		return nil, fmt.Errorf("connect to %s: %w (the account may need TLS: tls.mode = %q)", s.addr, err, TLSPreferred)
	}
	return nil, fmt.Errorf("connect to %s: %w", s.addr, err)
}

func (s *Source) dialTLS(ctx context.Context, readTimeout time.Duration, secure bool) (*client.Conn, error) {
	dialer := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &boundConn{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() }), timeout: readTimeout}, nil
	}
	return client.ConnectWithDialer(ctx, "tcp", s.addr, s.cfg.User, s.cfg.Password.Reveal(), "", dialer, func(c *client.Conn) error {
		if secure {
			c.SetTLSConfig(s.tls)
		}
		c.ReadTimeout, c.WriteTimeout = readTimeout, dialTimeout
		c.SetAttributes(map[string]string{"program_name": "canalgo", "canalgo_source": s.name})
		return nil
	})
}

// Connect opens a connection for queries: utf8mb4, times in UTC, a plain sql_mode. It ends with ctx; the caller closes it. When
// serverUUID is not empty and another server answers, the error is a *ServerChangedError.
func (s *Source) Connect(ctx context.Context, serverUUID string) (*client.Conn, Identity, error) {
	conn, err := s.dial(ctx, queryTimeout)
	if err != nil {
		return nil, Identity{}, err
	}
	fail := func(err error) (*client.Conn, Identity, error) {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, Identity{}, fmt.Errorf("connect to %s: %w", s.addr, err)
	}
	for _, statement := range []string{"SET NAMES utf8mb4", fmt.Sprintf("SET SESSION time_zone = '+00:00', sql_mode = '%s', group_concat_max_len = %d", sqlMode, groupConcatBytes)} {
		if _, err := conn.Execute(statement); err != nil {
			return fail(err)
		}
	}
	identity, err := identify(conn)
	if err != nil {
		return fail(err)
	}
	if serverUUID != "" && identity.ServerUUID != serverUUID {
		return fail(&ServerChangedError{Was: serverUUID, Now: identity.ServerUUID})
	}
	return conn, identity, nil
}

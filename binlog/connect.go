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
	// standbyTimeout bounds how long a server may take to say who it is while there is another one to ask.
	standbyTimeout = 3 * time.Second
	// standbyPatience is how long a server may be away, as for a restart, before another one is followed instead.
	standbyPatience = 5 * time.Second
	// queryTimeout bounds how long a connection for queries waits for bytes.
	queryTimeout = time.Minute
	// sqlMode is the session's, so that a server's own setting cannot change what a value looks like:
	// PAD_CHAR_TO_FULL_LENGTH pads CHAR, ANSI_QUOTES and NO_BACKSLASH_ESCAPES change what a literal is.
	sqlMode = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES"
	// groupConcatBytes is how much group_concat may return: the server's own 1024 bytes would cut documents off silently.
	groupConcatBytes = 64 << 20
)

// session is what each connection for queries begins with.
var session = []string{"SET NAMES utf8mb4",
	fmt.Sprintf("SET SESSION time_zone = '+00:00', sql_mode = '%s', group_concat_max_len = %d", sqlMode, groupConcatBytes)}

// boundConn is closed when a context ends, at once even if the server is frozen.
type boundConn struct {
	net.Conn
	stop func() bool
}

// Read says what a timeout means: while it waits, a server sends a heartbeat now and then.
func (c *boundConn) Read(p []byte) (int, error) {
	began := time.Now()
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the server is silent: nothing came for %s: %w", time.Since(began).Round(100*time.Millisecond), err)
	}
	return n, err
}

func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// dial opens a connection that is closed when ctx ends.
func (s *Source) dial(ctx context.Context, addr string, readTimeout time.Duration) (*client.Conn, error) {
	conn, err := s.dialTLS(ctx, addr, readTimeout, s.tls != nil)
	if err != nil && s.cfg.TLS.Mode == TLSPreferred && strings.Contains(err.Error(), "does not support TLS") {
		conn, err = s.dialTLS(ctx, addr, readTimeout, false)
	}
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the socket was closed under it
	}
	if refused := (*mysql.MyError)(nil); errors.As(err, &refused) && refused.Code == mysql.ER_ACCESS_DENIED_ERROR && s.cfg.TLS.Mode == TLSOff {
		return nil, fmt.Errorf("connect to %s: %w (the account may need TLS: tls.mode = %q)", addr, err, TLSPreferred)
	}
	return nil, fmt.Errorf("connect to %s: %w", addr, err)
}

func (s *Source) dialTLS(ctx context.Context, addr string, readTimeout time.Duration, secure bool) (*client.Conn, error) {
	timeout := dialTimeout
	if len(s.addrs) > 1 {
		timeout = standbyTimeout
	}
	dialer := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &boundConn{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
	}
	return client.ConnectWithDialer(ctx, "tcp", addr, s.cfg.User, s.cfg.Password.Reveal(), "", dialer, func(c *client.Conn) error {
		if secure {
			cfg := s.tls
			if host, _, err := net.SplitHostPort(addr); err == nil && cfg.ServerName == "" {
				cfg = cfg.Clone()
				cfg.ServerName = host // the client wants one; it is not verified
			}
			c.SetTLSConfig(cfg)
		}
		c.ReadTimeout, c.WriteTimeout = readTimeout, dialTimeout
		c.SetAttributes(map[string]string{"program_name": "canalgo", "canalgo_source": s.name})
		return nil
	})
}

// answer opens a connection to the server with that UUID, at whichever address it answers; with "" to the first server that does,
// beginning with the address that answered last. Statements are run before the server is asked who it is. Another server is a
// *ServerChangedError, but while an address does not answer, behind which the wanted server may be, only after standbyPatience.
func (s *Source) answer(ctx context.Context, readTimeout time.Duration, serverUUID string, statements ...string) (*client.Conn, Identity, error) {
	s.mu.Lock()
	first := s.at
	s.mu.Unlock()
	var silent error
	var changed *ServerChangedError
	for i := range s.addrs {
		at := (first + i) % len(s.addrs)
		conn, identity, err := s.ask(ctx, s.addrs[at], readTimeout, statements)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil, Identity{}, ctx.Err()
		case err != nil && silent == nil:
			silent = err
		case err != nil:
			silent = fmt.Errorf("%w; %w", silent, err)
		case serverUUID == "" || identity.ServerUUID == serverUUID:
			s.mu.Lock()
			if s.at = at; serverUUID != "" {
				s.missed = time.Time{}
			}
			s.mu.Unlock()
			return conn, identity, nil
		default:
			conn.Close()
			if changed == nil {
				changed = &ServerChangedError{Was: serverUUID, Now: identity.ServerUUID}
			}
		}
	}
	if changed == nil {
		return nil, Identity{}, silent
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missed.IsZero() {
		s.missed = time.Now()
	}
	if silent != nil && time.Since(s.missed) < standbyPatience {
		return nil, Identity{}, fmt.Errorf("server %s does not answer: %w", serverUUID, silent)
	}
	return nil, Identity{}, fmt.Errorf("connect to %s: %w", strings.Join(s.addrs, ", "), changed)
}

// ask connects to an address and asks who answers.
func (s *Source) ask(ctx context.Context, addr string, readTimeout time.Duration, statements []string) (*client.Conn, Identity, error) {
	asking := readTimeout
	if len(s.addrs) > 1 {
		asking = min(asking, standbyTimeout)
	}
	conn, err := s.dial(ctx, addr, asking)
	if err != nil {
		return nil, Identity{}, err
	}
	for _, statement := range statements {
		if _, err := conn.Execute(statement); err != nil {
			conn.Close()
			return nil, Identity{}, fmt.Errorf("connect to %s: %w", addr, err)
		}
	}
	identity, err := identify(conn)
	if err != nil {
		conn.Close()
		return nil, Identity{}, fmt.Errorf("connect to %s: %w", addr, err)
	}
	conn.ReadTimeout = readTimeout
	return conn, identity, nil
}

// Connect opens a connection for queries: utf8mb4, times in UTC, a plain sql_mode. It ends with ctx; the caller closes it. When
// serverUUID is not empty and another server answers, the error is a *ServerChangedError.
func (s *Source) Connect(ctx context.Context, serverUUID string) (*client.Conn, Identity, error) {
	return s.answer(ctx, queryTimeout, serverUUID, session...)
}

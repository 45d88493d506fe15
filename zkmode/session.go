package zkmode

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/go-hclog"

	"canalgo/backoff"
)

// errOver means that the session has ended: its ephemeral nodes are gone, or will be.
var errOver = errors.New("the session with zookeeper is over")

// A session is one session with the ensemble, over as many connections as it takes. It is never followed by another one: that
// one's owner begins anew, and believes nothing that this one was.
type session struct {
	conn   *zk.Conn
	events <-chan zk.Event // closed when conn has ended
	acl    []zk.ACL        // of what is canalgo's own
	prefix string          // the chroot
	log    hclog.Logger

	id      int64
	timeout time.Duration // as the ensemble has granted it

	ready chan struct{} // closed when there is a session
	over  chan struct{} // closed when it has ended
	once  sync.Once
	wire  atomic.Pointer[wire] // the newest connection
}

// connect waits until the ensemble has granted a session. Whoever gets it closes it.
func connect(ctx context.Context, c Config) (*session, error) {
	s := &session{acl: zk.WorldACL(zk.PermAll), prefix: strings.TrimSuffix(c.Chroot, "/"), log: c.Logger, ready: make(chan struct{}), over: make(chan struct{})}
	var err error
	s.conn, s.events, err = zk.Connect(c.Servers, c.SessionTimeout, zk.WithDialer(s.dialer(c.TLS)), zk.WithHostProvider(&hosts{}),
		zk.WithEventCallback(s.event), zk.WithLogger(quiet{c.Logger}))
	if err != nil {
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		s.close()
		return nil, ctx.Err()
	}
	if c.User != "" {
		s.acl = zk.AuthACL(zk.PermAll)
		err := s.retry(ctx, func() error {
			return s.do(ctx, func(z *zk.Conn) error { return z.AddAuth("digest", []byte(c.User+":"+c.Password)) })
		})
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// close ends the session, and with it its ephemeral nodes.
func (s *session) close() {
	s.end()
	s.conn.Close()
	for range s.events {
	}
}

func (s *session) end() { s.once.Do(func() { close(s.over) }) }

// event hears of the connection. It must not block.
func (s *session) event(e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	switch e.State {
	case zk.StateExpired, zk.StateAuthFailed:
		s.end()
	case zk.StateHasSession:
		id, timeout := s.wire.Load().granted()
		select {
		case <-s.ready: // the same one, over another connection
			if id != s.id {
				s.end()
			}
		default:
			s.id, s.timeout = id, timeout
			close(s.ready)
		}
	}
}

// watch breaks a connection on which nothing is answered, so that another server of the ensemble is asked. It returns when the
// session is over or ctx ends.
func (s *session) watch(ctx context.Context) error {
	wait := s.lease() / 3
	tick := time.NewTicker(wait)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return errOver
		case <-tick.C:
		}
		used := s.wire.Load()
		asking, cancel := context.WithTimeout(ctx, wait)
		_, err := call(asking, s, func(z *zk.Conn) (bool, error) {
			there, _, err := z.Exists("/")
			return there, err
		})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			s.log.Debug("zookeeper does not answer: try another server")
			used.Close()
		}
	}
}

// lease is how long a leader leads on after its last answer.
func (s *session) lease() time.Duration { return s.timeout / 3 }

// path puts the chroot before a path.
func (s *session) path(parts ...string) string { return s.prefix + "/" + strings.Join(parts, "/") }

// call does f, which waits for the ensemble, and returns early when ctx or the session ends.
func call[T any](ctx context.Context, s *session, f func(*zk.Conn) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan answer, 1)
	go func() {
		value, err := f(s.conn)
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-s.over:
		return none, errOver
	}
}

func (s *session) do(ctx context.Context, f func(*zk.Conn) error) error {
	_, err := call(ctx, s, func(z *zk.Conn) (struct{}, error) { return struct{}{}, f(z) })
	return err
}

// retry does f again until the ensemble has answered, or ctx or the session ends. What f asks for may have been done, and its answer
// lost.
func (s *session) retry(ctx context.Context, f func() error) error {
	wait := backoff.Backoff{Min: 10 * time.Millisecond, Max: 300 * time.Millisecond}
	for {
		err := f()
		if err == nil || answered(err) || errors.Is(err, errOver) || ctx.Err() != nil {
			return err
		}
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// answered reports whether an error is the ensemble's answer; any other one leaves open what was done.
func answered(err error) bool {
	for _, answer := range []error{zk.ErrNoNode, zk.ErrNodeExists, zk.ErrBadVersion, zk.ErrNotEmpty, zk.ErrNoAuth, zk.ErrInvalidACL, zk.ErrAPIError,
		zk.ErrNoChildrenForEphemerals, zk.ErrAuthFailed, zk.ErrInvalidPath, zk.ErrShortBuffer, errMalformed} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// A node is what is read of a znode.
type node struct {
	data    []byte
	version int32
	owner   int64           // the session of an ephemeral one
	changed <-chan zk.Event // gets an event when it has changed, if that was asked for
}

func (s *session) get(ctx context.Context, path string, watch bool) (node, error) {
	var found node
	err := s.retry(ctx, func() (err error) {
		found, err = call(ctx, s, func(z *zk.Conn) (node, error) {
			if !watch {
				data, stat, err := z.Get(path)
				if err != nil {
					return node{}, err
				}
				return node{data: data, version: stat.Version, owner: stat.EphemeralOwner}, nil
			}
			data, stat, changed, err := z.GetW(path)
			if err != nil {
				return node{}, err
			}
			return node{data: data, version: stat.Version, owner: stat.EphemeralOwner, changed: changed}, nil
		})
		return err
	})
	if err != nil {
		return node{}, fmt.Errorf("read %s: %w", path, err)
	}
	return found, nil
}

// children lists the names below a path, and watches them.
func (s *session) children(ctx context.Context, path string) (names []string, changed <-chan zk.Event, err error) {
	type list struct {
		names   []string
		changed <-chan zk.Event
	}
	var found list
	err = s.retry(ctx, func() (err error) {
		found, err = call(ctx, s, func(z *zk.Conn) (list, error) {
			names, _, changed, err := z.ChildrenW(path)
			return list{names, changed}, err
		})
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", path, err)
	}
	return found.names, found.changed, nil
}

// remove deletes a node, whatever it holds. One that is not there is no error.
func (s *session) remove(ctx context.Context, path string) error {
	err := s.retry(ctx, func() error {
		return s.do(ctx, func(z *zk.Conn) error { return z.Delete(path, -1) })
	})
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return fmt.Errorf("delete %s: %w", path, err)
	}
	return nil
}

// multi does all operations or none. failed is the one that was refused.
func (s *session) multi(ctx context.Context, ops ...any) (failed int, err error) {
	return call(ctx, s, func(z *zk.Conn) (int, error) {
		results, err := z.Multi(ops...)
		for i, r := range results {
			if r.Error != nil {
				return i, r.Error
			}
		}
		return 0, err
	})
}

// create makes a node and those above it, empty ones, with an open ACL. One that is there is no error.
func (s *session) create(ctx context.Context, path string, acl []zk.ACL) error {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		above := path[:i]
		err := s.retry(ctx, func() error {
			return s.do(ctx, func(z *zk.Conn) error {
				_, err := z.Create(above, nil, 0, acl)
				return err
			})
		})
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("create %s: %w", above, err)
		}
	}
	return nil
}

// dialer opens connections, and remembers the newest.
func (s *session) dialer(config *tls.Config) zk.Dialer {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: timeout}
		var conn net.Conn
		var err error
		if config != nil {
			conn, err = tls.DialWithDialer(dialer, network, address, config)
		} else {
			conn, err = dialer.Dial(network, address)
		}
		if err != nil {
			return nil, err
		}
		w := &wire{Conn: conn}
		s.wire.Store(w)
		return w, nil
	}
}

// A wire is one connection. It reads along what session the server grants, which the library does not tell: the first answer is
//
//	length:u32 | protocol version:u32 | session timeout in ms:u32 | session id:u64 | password
type wire struct {
	net.Conn
	mu   sync.Mutex
	head []byte
}

const (
	timeoutAt = 8
	sessionAt = 12
	grantEnd  = 20
)

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	if missing := grantEnd - len(w.head); missing > 0 {
		w.head = append(w.head, b[:min(n, missing)]...)
	}
	return n, err
}

// granted is the session and its timeout; nothing before the first answer was read.
func (w *wire) granted() (session int64, timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.head) < grantEnd {
		return 0, 0
	}
	return int64(binary.BigEndian.Uint64(w.head[sessionAt:])), time.Duration(binary.BigEndian.Uint32(w.head[timeoutAt:])) * time.Millisecond
}

// hosts hands out the servers by turns. Their names are looked up for each connection: an ensemble may move.
type hosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since the last connection
}

// Init implements zk.HostProvider; the library has shuffled the servers.
func (h *hosts) Init(servers []string) error {
	h.servers = servers
	return nil
}

// Len implements zk.HostProvider.
func (h *hosts) Len() int { return len(h.servers) }

// Next implements zk.HostProvider.
func (h *hosts) Next() (server string, again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	again = h.tried > 0 && h.tried%len(h.servers) == 0
	h.tried++
	return server, again
}

// Connected implements zk.HostProvider.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

// quiet takes what the library says at debug: what matters is said by the session's owner.
type quiet struct{ log hclog.Logger }

// Printf implements zk.Logger.
func (q quiet) Printf(format string, args ...any) { q.log.Debug(fmt.Sprintf(format, args...)) }

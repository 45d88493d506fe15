package proxy

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// TCP forwards connections to one address and can spoil them.
type TCP struct {
	target   string
	listener net.Listener

	mu       sync.Mutex
	changed  chan struct{} // closed and made anew whenever one of the next three changes
	cut      bool          // new connections are closed at once
	stalled  bool          // nothing passes, nothing is closed
	delay    time.Duration
	budget   int64 // bytes from the target until a connection ends; negative: no limit
	closed   bool
	links    map[*link]struct{}
	accepted int
}

// A link is one connection and its other half.
type link struct {
	client, server net.Conn
	gone           chan struct{}
	once           sync.Once
}

// NewTCP starts a proxy for the server at target, host:port. The caller closes it.
func NewTCP(target string) (*TCP, error) { return NewTCPOn("127.0.0.1:0", target) }

// NewTCPOn is NewTCP on another address than a loopback port of its own.
func NewTCPOn(listen, target string) (*TCP, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	t := &TCP{target: target, listener: l, changed: make(chan struct{}), budget: -1, links: make(map[*link]struct{})}
	go t.accept()
	return t, nil
}

// Addr is host:port of the proxy.
func (t *TCP) Addr() string { return t.listener.Addr().String() }

// Close ends the proxy and all its connections.
func (t *TCP) Close() error {
	t.change(func() { t.closed, t.cut = true, true })
	t.Break()
	return t.listener.Close()
}

// Break closes the connections that there are, with a reset; new ones are taken.
func (t *TCP) Break() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l := range t.links {
		l.close(true)
	}
}

// BreakAfter lets n more bytes from the target pass, over all connections together, then ends the connection that
// carried the last of them, once.
func (t *TCP) BreakAfter(n int64) { t.change(func() { t.budget = n }) }

// Cut breaks all connections and closes new ones at once, until Heal.
func (t *TCP) Cut() {
	t.change(func() { t.cut = true })
	t.Break()
}

// Stall lets nothing through and closes nothing, as a link that went dead does, until Heal. New connections are taken
// and get no answer.
func (t *TCP) Stall() { t.change(func() { t.stalled = true }) }

// Delay holds each piece of data back for d, in both directions; 0 ends it.
func (t *TCP) Delay(d time.Duration) { t.change(func() { t.delay = d }) }

// Heal ends Cut and Stall. What was sent into a stalled connection arrives.
func (t *TCP) Heal() { t.change(func() { t.cut, t.stalled = false, false }) }

// Connections counts the connections that were taken until now.
func (t *TCP) Connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted
}

func (t *TCP) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *TCP) accept() {
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return // closed
		}
		go t.serve(client)
	}
}

func (t *TCP) serve(client net.Conn) {
	l := &link{client: client, gone: make(chan struct{})}
	defer l.close(false)
	server, err := net.Dial("tcp", t.target)
	if err != nil {
		return
	}
	l.server = server
	t.mu.Lock()
	if t.cut || t.closed {
		t.mu.Unlock()
		return
	}
	t.links[l] = struct{}{}
	t.accepted++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.links, l)
	}()
	go t.pump(l, client, server, false)
	t.pump(l, server, client, true)
}

// pump copies one direction; when it ends, the whole link does.
func (t *TCP) pump(l *link, from io.Reader, to io.Writer, fromTarget bool) {
	defer l.close(false)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !t.pass(l) {
				return
			}
			data, last := buf[:n], false
			if fromTarget {
				data, last = t.spend(data)
			}
			if _, err := to.Write(data); err != nil {
				return
			}
			if last {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until data may pass; false when the link is gone.
func (t *TCP) pass(l *link) bool {
	t.mu.Lock()
	delay := t.delay
	t.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-l.gone:
		return false
	}
	for {
		t.mu.Lock()
		stalled, changed := t.stalled, t.changed
		t.mu.Unlock()
		if !stalled {
			return true
		}
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
	}
}

// spend takes data's bytes from the budget; last says that it is used up, with what is still to be sent.
func (t *TCP) spend(data []byte) (rest []byte, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.budget < 0 {
		return data, false
	}
	if int64(len(data)) < t.budget {
		t.budget -= int64(len(data))
		return data, false
	}
	data = data[:t.budget]
	t.budget = -1
	return data, true
}

// close ends both halves, in order or by a reset, which drops what is still under way.
func (l *link) close(reset bool) {
	l.once.Do(func() {
		close(l.gone)
		for _, c := range []net.Conn{l.client, l.server} {
			if tcp, ok := c.(*net.TCPConn); ok && tcp != nil {
				if reset {
					tcp.SetLinger(0)
				}
				tcp.Close()
			}
		}
	})
}

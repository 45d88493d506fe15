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
	changed  chan struct{} // closed and made anew whenever one of the next two changes
	cut      bool          // new connections are closed at once
	spoils   map[stretch]Spoil
	budget   int64 // bytes from the target until a connection ends; negative: no limit
	closed   bool
	links    map[*link]struct{}
	accepted int
}

// A stretch is one direction of the connections of one host, or of all hosts when host is "".
type stretch struct {
	host string
	way  Direction
}

// A link is one connection and its other half.
type link struct {
	host           string // of the client
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
	t := &TCP{target: target, listener: l, changed: make(chan struct{}), spoils: make(map[stretch]Spoil), budget: -1, links: make(map[*link]struct{})}
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
func (t *TCP) Stall() { t.both(Spoil{Stall: true}) }

// Delay holds each piece of data back for d, in both directions; 0 ends it.
func (t *TCP) Delay(d time.Duration) { t.both(Spoil{Delay: d}) }

func (t *TCP) both(s Spoil) {
	t.Spoil(ToTarget, s)
	t.Spoil(FromTarget, s)
}

// Spoil does that to all connections, those that there are and new ones, in one direction. It takes the place of what was
// done to that direction before.
func (t *TCP) Spoil(way Direction, s Spoil) { t.SpoilFrom("", way, s) }

// SpoilFrom is Spoil for the connections that one host, an IP address, has made; what is done to all is not done to those.
func (t *TCP) SpoilFrom(host string, way Direction, s Spoil) {
	t.change(func() {
		t.spoils[stretch{host, way}] = s
		if s == (Spoil{}) {
			delete(t.spoils, stretch{host, way})
		}
	})
}

// Heal ends Cut, Stall, Delay and every Spoil. What was sent into a stalled connection arrives.
func (t *TCP) Heal() {
	t.change(func() {
		t.cut = false
		clear(t.spoils)
	})
}

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
	host, _, _ := net.SplitHostPort(client.RemoteAddr().String())
	l := &link{host: host, client: client, gone: make(chan struct{})}
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
	go t.pump(l, client, server, ToTarget)
	t.pump(l, server, client, FromTarget)
}

// pump copies one direction; when it ends, the whole link does.
func (t *TCP) pump(l *link, from io.Reader, to io.Writer, way Direction) {
	defer l.close(false)
	buf := make([]byte, 64<<10)
	f := flow{link: l, way: way, to: to}
	for {
		n, err := from.Read(buf)
		if n > 0 && !t.pass(&f, buf[:n]) || err != nil {
			return
		}
	}
}

// A flow is one direction of one link.
type flow struct {
	link   *link
	way    Direction
	to     io.Writer
	passed int64 // bytes
}

// pass sends data on, spoiled as it is to be; false when the link has ended.
func (t *TCP) pass(f *flow, data []byte) bool {
	t.mu.Lock()
	hold := t.spoil(f).hold(len(data))
	t.mu.Unlock()
	select {
	case <-time.After(hold):
	case <-f.link.gone:
		return false
	}
	s, ok := t.flowing(f)
	if !ok {
		return false
	}
	if s.Drop {
		return true
	}
	data, last := s.clip(data, f.passed)
	if f.way == FromTarget && !last {
		data, last = t.spend(data)
	}
	s.flip(data, f.passed)
	f.passed += int64(len(data))
	if _, err := f.to.Write(data); err != nil {
		return false
	}
	if last {
		f.link.close(s.Reset)
	}
	return !last
}

// flowing waits while the flow is stalled and returns what is to be done to it then; false when the link is gone.
func (t *TCP) flowing(f *flow) (Spoil, bool) {
	for {
		t.mu.Lock()
		s, changed := t.spoil(f), t.changed
		t.mu.Unlock()
		if !s.Stall {
			return s, true
		}
		select {
		case <-changed:
		case <-f.link.gone:
			return s, false
		}
	}
}

// spoil runs under t.mu.
func (t *TCP) spoil(f *flow) Spoil {
	if s, ok := t.spoils[stretch{f.link.host, f.way}]; ok {
		return s
	}
	return t.spoils[stretch{"", f.way}]
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

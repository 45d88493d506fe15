package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// connBuffer is how many bytes a direction of a connection takes that nobody has read: what a write waits for.
const connBuffer = 256 << 10

// A half is one direction of a connection between two hosts.
type half struct {
	link *link // it goes over

	mu      sync.Mutex
	chunks  []chunk
	bytes   int
	closed  bool // by the one who writes: what is there can still be read
	broken  error
	changed chan struct{} // closed at each change
}

// A chunk is what one write has sent, and when it arrives.
type chunk struct {
	data []byte
	at   time.Time
}

func newHalf(l *link) *half { return &half{link: l, changed: make(chan struct{})} }

// wake tells those who wait that something changed. h.mu is held.
func (h *half) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) end(broken error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if broken != nil && h.broken == nil {
		h.broken = broken
	}
	h.closed = true
	h.wake()
}

// read waits for bytes that have arrived, until deadline if that is not zero, or until over is closed.
func (h *half) read(p []byte, deadline time.Time, over <-chan struct{}) (int, error) {
	for {
		up, linkChanged := h.link.state()
		h.mu.Lock()
		now := time.Now()
		var arrives time.Time
		switch {
		case h.broken != nil:
			h.mu.Unlock()
			return 0, h.broken
		case len(h.chunks) > 0 && up && !h.chunks[0].at.After(now):
			n := copy(p, h.chunks[0].data)
			if h.chunks[0].data = h.chunks[0].data[n:]; len(h.chunks[0].data) == 0 {
				h.chunks = h.chunks[1:]
			}
			h.bytes -= n
			h.wake()
			h.mu.Unlock()
			return n, nil
		case len(h.chunks) > 0 && up:
			arrives = h.chunks[0].at
		case len(h.chunks) == 0 && h.closed && up:
			h.mu.Unlock()
			return 0, io.EOF
		}
		changed := h.changed
		h.mu.Unlock()
		if err := await(changed, linkChanged, over, deadline, arrives); err != nil {
			return 0, err
		}
	}
}

// write puts bytes on the way, as far as there is room.
func (h *half) write(p []byte, deadline time.Time, over <-chan struct{}) (int, error) {
	sent := 0
	for {
		h.mu.Lock()
		switch {
		case h.broken != nil:
			h.mu.Unlock()
			return sent, h.broken
		case h.closed:
			h.mu.Unlock()
			return sent, net.ErrClosed
		}
		if room := connBuffer - h.bytes; room > 0 {
			n := min(room, len(p))
			h.chunks = append(h.chunks, chunk{append([]byte(nil), p[:n]...), time.Now().Add(h.link.delay())})
			h.bytes += n
			sent, p = sent+n, p[n:]
			h.wake()
		}
		changed := h.changed
		h.mu.Unlock()
		if len(p) == 0 {
			return sent, nil
		}
		if err := await(changed, nil, over, deadline, time.Time{}); err != nil {
			return sent, err
		}
	}
}

// await waits for one of the channels, or until is over; past the deadline it is an error.
func await(changed, linkChanged, over <-chan struct{}, deadline, until time.Time) error {
	next, late := until, false
	if !deadline.IsZero() && (next.IsZero() || deadline.Before(next)) {
		next, late = deadline, true
	}
	var timer <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-over:
		return net.ErrClosed
	case <-changed:
	case <-linkChanged:
	case <-timer:
		if late {
			return os.ErrDeadlineExceeded
		}
	}
	return nil
}

// A conn is one end of a connection between two hosts.
type conn struct {
	in, out  *half
	from, to string
	once     sync.Once
	over     chan struct{}
	gone     func(*conn) // takes it off the list of its host

	mu          sync.Mutex
	read, write time.Time // deadlines
}

// connect returns both ends of a new connection.
func connect(there, back *link) (near, far *conn) {
	a, b := newHalf(there), newHalf(back)
	near = &conn{in: b, out: a, from: there.from, to: there.to, over: make(chan struct{})}
	far = &conn{in: a, out: b, from: there.to, to: there.from, over: make(chan struct{})}
	return near, far
}

func (c *conn) deadlines() (read, write time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read, c.write
}

// Read is part of net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	deadline, _ := c.deadlines()
	return c.in.read(p, deadline, c.over)
}

// Write is part of net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	_, deadline := c.deadlines()
	return c.out.write(p, deadline, c.over)
}

// Close is part of net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.over)
		c.out.end(nil)
		if c.gone != nil {
			c.gone(c)
		}
	})
	return nil
}

// reset breaks the connection for both ends at once.
func (c *conn) reset(err error) {
	c.in.end(err)
	c.out.end(err)
}

// SetDeadline is part of net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = t, t
	return nil
}

// SetReadDeadline is part of net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return nil
}

// SetWriteDeadline is part of net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return nil
}

// An address is a host's name.
type address string

func (a address) Network() string { return "sim" }
func (a address) String() string  { return string(a) }

// LocalAddr is part of net.Conn.
func (c *conn) LocalAddr() net.Addr { return address(c.from) }

// RemoteAddr is part of net.Conn.
func (c *conn) RemoteAddr() net.Addr { return address(c.to) }

package peer

import (
	"container/list"
	"net"
	"sync"
)

// waiting are the connections in handshake, at most maxWaiting, oldest first. The zero value is ready for use by several
// goroutines.
type waiting struct {
	mu     sync.Mutex
	conns  list.List // of net.Conn
	closed bool
}

// enter adds a connection and closes the oldest when there are too many. A handshake of ours takes milliseconds, so the
// oldest is the least likely to be one.
func (w *waiting) enter(c net.Conn) *list.Element {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		c.Close()
		return nil
	}
	if w.conns.Len() >= maxWaiting {
		w.conns.Remove(w.conns.Front()).(net.Conn).Close()
	}
	return w.conns.PushBack(c)
}

// leave takes a connection out whose handshake has ended.
func (w *waiting) leave(place *list.Element) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if place != nil {
		w.conns.Remove(place) // nothing, when it was the oldest and is out already
	}
}

// close closes all that wait, and all that would enter.
func (w *waiting) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for place := w.conns.Front(); place != nil; place = place.Next() {
		place.Value.(net.Conn).Close()
	}
}

func (w *waiting) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns.Len()
}

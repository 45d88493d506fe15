package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// toSource is the other end of the nodes' links to the source. Those to a destination are called as that is.
const toSource = "mysql"

// callTimeout is how long a message waits on a link that is cut, as the real transports do.
const callTimeout = 5 * time.Second

var (
	errRefused = errors.New("connection refused")
	errTimeout = errors.New("i/o timeout")
	errReset   = errors.New("connection reset by peer")
	errGone    = errors.New("this process has ended")
)

// A network connects hosts by their names, which are their addresses too. Each pair has two links, one each way.
type network struct {
	mu     sync.Mutex
	random *rand.Rand
	hosts  map[string]*host // that run, by name
	silent map[string]bool  // names whose machine is gone: nobody even refuses there
	links  map[[2]string]*link
}

func newNetwork(random *rand.Rand) *network {
	return &network{random: random, hosts: make(map[string]*host), silent: make(map[string]bool), links: make(map[[2]string]*link)}
}

// host returns who runs under a name, nil when nobody does.
func (n *network) host(name string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[name]
}

func (n *network) link(from, to string) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[[2]string{from, to}]
	if l == nil {
		l = &link{net: n, from: from, to: to, changed: make(chan struct{})}
		n.links[[2]string{from, to}] = l
	}
	return l
}

// between returns a random duration.
func (n *network) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return low + time.Duration(n.random.Int64N(int64(high-low)))
}

// chance reports true with a probability.
func (n *network) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.Float64() < p
}

// A link is the way from one host to another.
type link struct {
	net      *network
	from, to string

	mu        sync.Mutex
	cuts      int // faults that cut it
	low, high time.Duration
	changed   chan struct{} // closed when it is cut or healed
}

// state reports whether the link is up, and returns a channel that is closed when that changes.
func (l *link) state() (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts == 0, l.changed
}

// cut cuts the link, or heals it by as many as it was cut.
func (l *link) cut(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts += by
	close(l.changed)
	l.changed = make(chan struct{})
}

// slow makes what passes the link take that long.
func (l *link) slow(low, high time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.low, l.high = low, high
}

func (l *link) delay() time.Duration {
	l.mu.Lock()
	low, high := l.low, l.high
	l.mu.Unlock()
	if high == 0 {
		return 0
	}
	return l.net.between(low, high)
}

// pass returns when a message has passed the link. One that is cut holds it up: it is late when the link heals in time.
func (l *link) pass(done, over <-chan struct{}, until time.Time) error {
	for {
		up, changed := l.state()
		if up {
			break
		}
		if !time.Now().Before(until) {
			return errTimeout
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-changed:
		case <-timer.C:
		case <-done:
			timer.Stop()
			return context.Canceled
		case <-over:
			timer.Stop()
			return errGone
		}
		timer.Stop()
	}
	if d := l.delay(); d > 0 {
		return pause(done, over, d)
	}
	return nil
}

// pause waits.
func pause(done, over <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-done:
		return context.Canceled
	case <-over:
		return errGone
	}
}

package raftfsm_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A network connects nodes by loopback TCP. Each is reached by its name, and can be cut off.
type network struct {
	mu     sync.Mutex
	places map[string]*place
}

func newNetwork() *network { return &network{places: make(map[string]*place)} }

// A place is one node's end: a raft.StreamLayer.
type place struct {
	network *network
	name    string
	net.Listener
	ctx   context.Context // ends dials
	close context.CancelFunc

	// Guarded by network.mu.
	cut   bool
	conns map[net.Conn]string // who is at the other end, "" when that is not known
}

// at returns a new end at a name; a former one is not reached any more.
func (n *network) at(t *testing.T, name string) *place {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &place{network: n, name: name, Listener: l, conns: make(map[net.Conn]string)}
	p.ctx, p.close = context.WithCancel(context.Background())
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[name] = p
	return p
}

// cut separates a node from the others, or connects it again.
func (n *network) cut(name string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[name].cut = cut
	if !cut {
		return
	}
	for _, p := range n.places {
		for conn, other := range p.conns {
			if p.name == name || other == name {
				conn.Close()
				delete(p.conns, conn)
			}
		}
	}
}

func (p *place) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	p.network.mu.Lock()
	to := p.network.places[string(address)]
	refused := to == nil || to.cut || p.cut
	p.network.mu.Unlock()
	if refused {
		return nil, errors.New("connection refused")
	}
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(p.ctx, "tcp", to.Addr().String())
	if err != nil {
		return nil, err
	}
	p.network.mu.Lock()
	defer p.network.mu.Unlock()
	if to.cut || p.cut {
		conn.Close()
		return nil, errors.New("connection refused")
	}
	p.conns[conn] = to.name
	return conn, nil
}

func (p *place) Close() error {
	p.close()
	return p.Listener.Close()
}

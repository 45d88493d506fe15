package raftfsm

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// What Raft's network transport is given.
const (
	poolSize    = 3 // connections that are kept to each node
	callTimeout = 5 * time.Second
)

// A Carrier carries Raft's messages: one of Raft's own transports, or one like them.
type Carrier interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// A transport carries Raft's messages. It is known by the address that others use, takes requests that this node makes to
// itself, and leaves no connection behind.
type transport struct {
	Carrier
	address  raft.ServerAddress
	streams  *streams // nil in memory
	requests chan raft.RPC
	closed   chan struct{}
	once     sync.Once
}

// newTransport begins to carry: by the carrier that is given, or over stream, or in memory, where there is nobody else, if both are nil.
func newTransport(given Carrier, stream raft.StreamLayer, address raft.ServerAddress, log hclog.Logger) *transport {
	t := &transport{address: address, requests: make(chan raft.RPC, 1), closed: make(chan struct{})}
	switch {
	case given != nil:
		t.Carrier = given
	case stream == nil:
		_, t.Carrier = raft.NewInmemTransport(address)
	default:
		t.streams = &streams{StreamLayer: stream, open: make(map[net.Conn]struct{})}
		t.Carrier = raft.NewNetworkTransportWithLogger(t.streams, poolSize, callTimeout, silent{quiet{log}})
	}
	go t.forward()
	return t
}

// forward hands on what comes from other nodes.
func (t *transport) forward() {
	for {
		select {
		case request := <-t.Carrier.Consumer():
			t.request(request)
		case <-t.closed:
			return
		}
	}
}

func (t *transport) request(request raft.RPC) {
	select {
	case t.requests <- request:
	case <-t.closed:
	}
}

// electNow has Raft stand for election at once, as a leader that hands over would.
func (t *transport) electNow() {
	t.request(raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}},
		RespChan: make(chan raft.RPCResponse, 1),
	})
}

// Consumer is part of raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.requests }

// LocalAddr is part of raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return t.address }

// Close ends all that waits for an answer.
func (t *transport) Close() error {
	var err error
	t.once.Do(func() {
		close(t.closed)
		err = t.Carrier.Close()
		if t.streams != nil {
			t.streams.closeAll()
		}
	})
	return err
}

// streams knows the connections that are open, because Raft's transport leaves them so at its end.
type streams struct {
	raft.StreamLayer

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// Accept is part of raft.StreamLayer.
func (s *streams) Accept() (net.Conn, error) { return s.keep(s.StreamLayer.Accept()) }

// Dial is part of raft.StreamLayer.
func (s *streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.keep(s.StreamLayer.Dial(address, timeout))
}

func (s *streams) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	s.open[conn] = struct{}{}
	return &stream{Conn: conn, of: s}, nil
}

func (s *streams) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.open {
		conn.Close()
	}
}

// A stream is one connection of streams.
type stream struct {
	net.Conn
	of *streams
}

// Close is part of net.Conn.
func (s *stream) Close() error {
	s.of.mu.Lock()
	delete(s.of.open, s.Conn)
	s.of.mu.Unlock()
	return s.Conn.Close()
}

package server

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"canalgo/canal/wire"
)

// How much is taken from who has not logged in, in what time, and how often the password may be wrong.
const (
	strangerFrame = 16 << 10
	strangerTime  = 10 * time.Second
	attempts      = 3
)

const (
	clientFrame = 256 << 10        // the largest frame of who has logged in: a subscription with its filter
	frameTime   = 30 * time.Second // for a frame to arrive that has begun
	writeTime   = time.Minute      // for an answer to be taken: clients wait no longer themselves
	longestIdle = time.Hour        // also what a client means that names none
	restTime    = 10 * time.Second // a client that asks for nothing for so long holds nothing any more
	startTime   = 10 * time.Second // for a source to be read that a client subscribes to
	retryTime   = 50 * time.Millisecond
	lingerTime  = 5 * time.Second
)

// Codes of errors.
const (
	codeFailed  = 400
	codeNoName  = 401
	codeNoBatch = 402
)

// A conn is one connection.
type conn struct {
	server  *Server
	raw     net.Conn
	in      *bufio.Reader
	address string
	ctx     context.Context
	cancel  context.CancelFunc
	left    chan struct{} // closed when it speaks for no client any more

	requests  chan request
	early     []request // came while a GET waited, in order
	readIdle  time.Duration
	writeIdle time.Duration
}

// A request is a packet behind the first.
type request struct {
	kind wire.Type
	wire.Request
}

func newConn(ctx context.Context, s *Server, raw net.Conn) *conn {
	c := &conn{server: s, raw: raw, in: bufio.NewReaderSize(raw, 4<<10), address: raw.RemoteAddr().String(), left: make(chan struct{}),
		requests: make(chan request), readIdle: longestIdle, writeIdle: longestIdle}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// run serves the connection until it ends.
func (c *conn) run() {
	defer c.cancel()
	defer c.raw.Close()
	defer context.AfterFunc(c.ctx, func() { c.raw.Close() })()
	defer func() {
		c.server.leave(c)
		close(c.left)
	}()
	err := c.logIn()
	if err == nil {
		go c.listen()
		err = c.serve()
	}
	c.server.log.Debug("connection of a canal client ended", "from", c.address, "error", err)
	var refused *refusal
	if errors.As(err, &refused) {
		c.linger()
	}
}

// A refusal ends a connection with an answer that the client is to read.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// linger gives a client the time to read the last answer: what it has sent meanwhile would have it thrown away.
func (c *conn) linger() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.raw, 1<<20)) // whatever ends it
}

// frame reads one frame, waiting for it for a time.
func (c *conn) frame(wait time.Duration, limit int) (wire.Packet, error) {
	if err := c.raw.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return wire.Packet{}, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return wire.Packet{}, err
	}
	if err := c.raw.SetReadDeadline(time.Now().Add(min(wait, frameTime))); err != nil {
		return wire.Packet{}, err
	}
	body, err := wire.ReadFrame(c.in, limit)
	if err != nil {
		return wire.Packet{}, err
	}
	return wire.ParsePacket(body)
}

// write sends an answer in pieces.
func (c *conn) write(pieces ...[]byte) error {
	if err := c.raw.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	buffers := net.Buffers(pieces)
	_, err := buffers.WriteTo(c.raw)
	return err
}

// refuse answers a request with an error.
func (c *conn) refuse(code int32, format string, args ...any) error {
	return c.write(wire.AckFrame(code, fmt.Sprintf(format, args...)))
}

// logIn has the other end prove that it knows the password. The first packet is taken for that, whatever type it says it has.
func (c *conn) logIn() error {
	until := time.Now().Add(strangerTime)
	seed := make([]byte, wire.SeedSize)
	_, _ = rand.Read(seed) // never fails
	if err := c.write(wire.HandshakeFrame(seed)); err != nil {
		return err
	}
	for range attempts {
		packet, err := c.frame(time.Until(until), strangerFrame)
		if err != nil {
			return err
		}
		auth, err := wire.ParseAuth(packet.Body)
		if err != nil {
			return err
		}
		if !c.server.cfg.allows(auth, seed) {
			c.server.warn("a client of canal has another user or password", c.address)
			if err := c.refuse(codeFailed, "auth failed for user:%s", printable(auth.User)); err != nil {
				return err
			}
			continue
		}
		if !c.server.admit(c) {
			_ = c.refuse(codeFailed, "too many connections: %d are served at a time (canal_server.max_connections)", c.server.cfg.MaxConnections)
			return &refusal{"too many connections"}
		}
		c.readIdle, c.writeIdle = idle(auth.ReadTimeout), idle(auth.WriteTimeout)
		if auth.Client.Destination != "" && auth.Client.ID != "" {
			if err := c.subscribe(auth.Client); err != nil {
				_ = c.refuse(codeFailed, "subscribe: %s", err)
				return &refusal{err.Error()}
			}
		}
		return c.write(wire.AckFrame(0, ""))
	}
	return &refusal{"the password was wrong too often"}
}

// allows reports whether a client may be served.
func (c Config) allows(auth wire.Auth, seed []byte) bool {
	return (c.User == "" || c.User == auth.User) && (c.Password == nil || c.Password.Proves(seed, auth.Password))
}

// printable keeps what somebody sent out of the way of who reads it.
func printable(text string) string {
	const longest = 64
	return strings.Trim(strconv.QuoteToASCII(text[:min(len(text), longest)]), `"`)
}

func idle(ms int32) time.Duration {
	if ms <= 0 {
		return longestIdle
	}
	return min(time.Duration(ms)*time.Millisecond, longestIdle)
}

// listen reads requests until the connection ends.
func (c *conn) listen() {
	defer c.cancel()
	for {
		packet, err := c.frame(c.readIdle, clientFrame)
		if err != nil {
			return
		}
		r := request{kind: packet.Type}
		if r.Request, err = wire.ParseRequest(packet.Type, packet.Body); err != nil {
			return
		}
		select {
		case c.requests <- r:
		case <-c.ctx.Done():
			return
		}
	}
}

// serve answers requests in the order in which they come.
func (c *conn) serve() error {
	wrote := time.Now()
	resting := time.NewTimer(restTime)
	defer resting.Stop()
	for {
		var r request
		if len(c.early) > 0 {
			r, c.early = c.early[0], c.early[1:]
		} else {
			silent := time.NewTimer(time.Until(wrote.Add(c.writeIdle)))
			select {
			case r = <-c.requests:
			case <-resting.C:
				silent.Stop()
				c.rest()
				continue
			case <-silent.C:
				return errors.New("nothing was written for as long as the client allows")
			case <-c.ctx.Done():
				silent.Stop()
				return c.ctx.Err()
			}
			silent.Stop()
		}
		answered, err := c.handle(r)
		if err != nil {
			return err
		}
		if answered {
			wrote = time.Now()
		}
		resting.Reset(restTime)
	}
}

// rest has what the connection speaks for hold nothing.
func (c *conn) rest() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for _, x := range c.server.sessions {
		if x.owner == c {
			x.rest()
		}
	}
}

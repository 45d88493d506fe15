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

	"canalgo/canal/filter"
	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
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
	early     *request // came while a GET waited
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
		if c.early != nil {
			r, c.early = *c.early, nil
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

// handle does what a request asks for and reports whether it was answered. An error ends the connection.
func (c *conn) handle(r request) (answered bool, err error) {
	switch r.kind {
	case wire.Subscription, wire.Unsubscription, wire.Get, wire.ClientAck, wire.ClientRollback:
	default:
		return true, c.refuse(codeFailed, "packet type: %s is NOT supported!", r.kind)
	}
	if r.Client.Destination == "" || r.Client.ID == "" {
		return true, c.refuse(codeNoName, "destination or clientId is null")
	}
	switch r.kind {
	case wire.Subscription:
		if err := c.subscribe(r.Client); err != nil {
			return true, c.refuse(codeFailed, "subscribe: %s", err)
		}
		return true, c.write(wire.AckFrame(0, ""))
	case wire.Unsubscription:
		if err := c.unsubscribe(r.Client); err != nil {
			return true, c.refuse(codeFailed, "unsubscribe: %s", err)
		}
		return true, c.write(wire.AckFrame(0, ""))
	case wire.Get:
		return true, c.get(r)
	case wire.ClientAck:
		return false, c.acknowledge(r)
	}
	return false, c.rollback(r)
}

// clientID reads whom a request is for.
func clientID(c wire.Client) (cluster.ClientID, error) {
	number, err := strconv.ParseInt(c.ID, 10, 16)
	if err != nil {
		return cluster.ClientID{}, fmt.Errorf("clientId %q: want a number from -32768 to 32767", printable(c.ID))
	}
	if !cluster.ValidName(c.Destination) {
		return cluster.ClientID{}, fmt.Errorf("destination %q is not known; it is the name of a source", printable(c.Destination))
	}
	return cluster.ClientID{Source: c.Destination, Number: int16(number)}, nil
}

// elsewhere says to a client what a Java server says whose instance does not run.
func elsewhere(id cluster.ClientID, err error) error {
	if errors.Is(err, cluster.ErrNotLeader) {
		return fmt.Errorf("destination:%s should start first: this node does not lead, ask another one", id.Source)
	}
	return err
}

func (c *conn) subscribe(client wire.Client) error {
	id, err := clientID(client)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(strings.ToValidUTF8(client.Filter, "\uFFFD"))
	if _, err := filter.Parse(text); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, startTime)
	defer cancel()
	if err := c.server.leader.Subscribe(ctx, id, text); err != nil {
		return elsewhere(id, err)
	}
	x, err := c.server.session(c, id)
	if err != nil {
		return elsewhere(id, err)
	}
	if err := x.filterBy(x.client.Filter()); err != nil {
		return err
	}
	x.note(c.address, "")
	return nil
}

func (c *conn) unsubscribe(client wire.Client) error {
	id, err := clientID(client)
	if err != nil {
		return err
	}
	if x, err := c.server.session(c, id); err == nil { // nobody else speaks for it meanwhile
		x.rest()
	}
	if err := c.server.leader.Unsubscribe(c.ctx, id); err != nil {
		return elsewhere(id, err)
	}
	c.server.drop(id)
	return nil
}

// acknowledge takes a batch off. Success is not answered; an error is, and the client takes it for the answer of its next request, after which
// no answer would fit its question: so the connection ends.
func (c *conn) acknowledge(r request) error {
	switch r.BatchID {
	case -1: // of an answer without entries
		return nil
	case 0:
		return c.end(codeNoBatch, errors.New("batchId should assign value"))
	}
	id, err := clientID(r.Client)
	if err != nil {
		return c.end(codeFailed, err)
	}
	x, err := c.server.session(c, id)
	if err != nil {
		return c.end(codeFailed, elsewhere(id, err))
	}
	if err := x.acknowledge(r.BatchID); err != nil {
		x.note(c.address, err.Error())
		return c.end(codeFailed, err)
	}
	x.note(c.address, x.told)
	return nil
}

// rollback has what is not acknowledged given again. It is not answered, see acknowledge; clients send it before they subscribe, too.
func (c *conn) rollback(r request) error {
	id, err := clientID(r.Client)
	if err != nil {
		return c.end(codeFailed, err)
	}
	x, err := c.server.session(c, id)
	if err != nil { // whatever it is, there is nothing to give again, and the next request says so
		return nil
	}
	if r.BatchID != 0 && (len(x.out) == 0 || x.out[0].id != r.BatchID) {
		err := fmt.Errorf("rollback error, clientId:%d batchId:%d is not exist , please check", id.Number, r.BatchID)
		if len(x.out) > 0 {
			err = fmt.Errorf("batchId:%d is not the firstly:%d", r.BatchID, x.out[0].id)
		}
		x.note(c.address, err.Error())
		return c.end(codeFailed, err)
	}
	x.rollback()
	x.note(c.address, x.told)
	return nil
}

// end answers with an error and has the connection end.
func (c *conn) end(code int32, err error) error {
	if err := c.refuse(code, "%s", err); err != nil {
		return err
	}
	return &refusal{err.Error()}
}

// units are those of a timeout, in the order of java.util.concurrent.TimeUnit.
var units = [...]time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}

// patience is how long a GET waits for a full batch: not at all, or for ever when it is negative.
func patience(r request) time.Duration {
	unit := time.Millisecond
	if r.Unit >= 0 && int(r.Unit) < len(units) {
		unit = units[r.Unit]
	}
	switch {
	case r.Timeout == -1:
		return 0
	case r.Timeout <= 0:
		return -1
	case r.Timeout > int64(24*time.Hour/unit):
		return 24 * time.Hour
	}
	return time.Duration(r.Timeout) * unit
}

// get answers with the next batch.
func (c *conn) get(r request) error {
	id, err := clientID(r.Client)
	if err != nil {
		return c.refuse(codeFailed, "get: %s", err)
	}
	x, err := c.server.session(c, id)
	switch {
	case errors.Is(err, relay.ErrNotHere):
		return c.write(wire.MessagesFrame(-1, nil)...)
	case errors.Is(err, cluster.ErrUnknown):
		return c.refuse(codeFailed, "ClientIdentity:%s should subscribe first", id)
	case err != nil:
		return c.refuse(codeFailed, "get: %s", elsewhere(id, err))
	}
	var b batch
	defer func() {
		if b.large {
			<-c.server.large
		}
	}()
	err = c.fill(x, &b, r)
	if err != nil && len(b.data) == 0 {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		var stop *event.StopError
		if errors.As(err, &stop) {
			c.server.log.Error("a client of canal cannot go on", "client", id.String(), "error", err)
		}
		x.note(c.address, err.Error())
		return c.refuse(codeFailed, "get: %s", elsewhere(id, err))
	}
	number := x.hand(&b)
	x.note(c.address, "")
	return c.write(wire.MessagesFrame(number, b.data)...)
}

// fill fills a batch for as long as a GET may wait. Acknowledgements that come meanwhile are taken: they may be what it waits for.
func (c *conn) fill(x *session, b *batch, r request) error {
	over, cancel := c.deadline(patience(r))
	defer cancel()
	for {
		if l := x.limit(r.FetchSize); l.bytes > 0 || len(b.data) > 0 {
			interrupted, stop := c.untilRequest(over)
			ended, err := x.fill(interrupted, b, l)
			stop()
			if err != nil || b.full {
				return err
			}
			if ended && interrupted.Err() == nil { // the source is not read just now
				sleep(over, retryTime)
			}
		} else if c.early == nil { // only an acknowledgement makes room
			interrupted, stop := c.untilRequest(over)
			<-interrupted.Done()
			stop()
		} else if c.early.kind != wire.ClientAck { // order is kept: what comes behind it cannot make room for it
			return nil
		}
		if c.early != nil && c.early.kind == wire.ClientAck {
			ack := *c.early
			c.early = nil
			if err := c.acknowledge(ack); err != nil {
				return err
			}
		}
		switch {
		case over.Err() != nil:
			return c.ctx.Err()
		case x.client != nil && done(x.client.Done()):
			return relay.ErrNotHere
		}
	}
}

// deadline returns a context that ends when a GET has waited long enough; 0 is over at once, a negative one never.
func (c *conn) deadline(wait time.Duration) (context.Context, context.CancelFunc) {
	if wait > 0 {
		return context.WithTimeout(c.ctx, wait)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	if wait == 0 {
		cancel()
	}
	return ctx, cancel
}

// untilRequest returns a context that ends with ctx, or when another request comes, which is then early. stop has to be called before anything
// else is done with the connection.
func (c *conn) untilRequest(ctx context.Context) (_ context.Context, stop func()) {
	if c.early != nil || ctx.Err() != nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case r := <-c.requests:
			c.early = &r
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-watched
	}
}

func done(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

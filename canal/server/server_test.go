package server_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/canal/server"
	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
)

// A source is a leader's end of one source: a log of transactions, each of some texts of statements.
type source struct {
	mu      sync.Mutex
	follows bool // it does not lead
	log     []event.Batch
	grown   chan struct{}
	clients map[cluster.ClientID]*client
	opened  int
}

type client struct {
	*source
	mu       sync.Mutex
	filter   string
	position event.Position
	progress server.Progress
	done     chan struct{}
}

const epoch = 5

func at(n int) event.Position {
	return event.Position{ServerUUID: "s", Epoch: epoch, Count: event.FirstCount + uint64(n), File: "binlog.000001", Offset: uint64(1000 * n)}
}

func newSource() *source {
	return &source{grown: make(chan struct{}), clients: make(map[cluster.ClientID]*client)}
}

func raw(kind byte, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1_700_000_000)
	b = binary.LittleEndian.AppendUint32(append(b, kind), 42)
	b = binary.LittleEndian.AppendUint32(b, uint32(19+len(body)))
	return append(append(b, make([]byte, 6)...), body...)
}

func query(sql string) []byte {
	return raw(2, append(append(make([]byte, 13), 0), sql...))
}

// commit adds a transaction; each text is that of a statement, or with a table before it and a colon a statement about that.
func (s *source) commit(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := at(len(s.log) + 1)
	b := event.Batch{End: end, Events: []event.Event{{Kind: event.Begin, Raw: query("BEGIN")}}}
	for _, text := range texts {
		e := event.Event{Kind: event.Query, Version: end.Version(), Raw: raw(29, append([]byte{0}, text...))}
		if table, ok := strings.CutPrefix(text, "TRUNCATE "); ok {
			e.Raw = query("TRUNCATE " + table)
		}
		b.Events = append(b.Events, e)
	}
	b.Events = append(b.Events, event.Event{Kind: event.Commit, Raw: raw(16, make([]byte, 8))})
	if len(texts) == 1 && strings.HasPrefix(texts[0], "TRUNCATE ") { // it is a transaction by itself
		b.Events = b.Events[1:2]
	}
	s.log = append(s.log, b)
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *source) Subscribe(_ context.Context, id cluster.ClientID, filter string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.follows {
		return cluster.ErrNotLeader
	}
	c := s.clients[id]
	if c == nil {
		c = &client{source: s, position: at(len(s.log)), done: make(chan struct{})}
		s.clients[id] = c
	}
	if filter != "" {
		c.filter = filter
	}
	return nil
}

func (s *source) Unsubscribe(_ context.Context, id cluster.ClientID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[id]; c != nil {
		close(c.done)
	}
	delete(s.clients, id)
	return nil
}

func (s *source) Client(id cluster.ClientID) (server.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	switch {
	case s.follows:
		return nil, cluster.ErrNotLeader
	case c == nil:
		return nil, cluster.ErrUnknown
	}
	return c, nil
}

func (c *client) Done() <-chan struct{} { return c.done }
func (c *client) Filter() string        { return c.filter }

func (c *client) Position() event.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

func (c *client) Reached(p event.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = p
}

func (c *client) Describe(context.Context, event.TableName) (*event.Table, error) {
	return nil, errors.New("nobody knows")
}

func (c *client) Note(p server.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = p
}

// Open gives every third feed an early end, and none at first.
func (c *client) Open(from event.Position) (server.Feed, error) {
	c.source.mu.Lock()
	defer c.source.mu.Unlock()
	c.opened++
	if c.opened%3 == 1 {
		return nil, relay.ErrNotHere
	}
	return &feed{s: c.source, next: int(from.Count - event.FirstCount), left: 5}, nil
}

type feed struct {
	s          *source
	next, left int
}

func (f *feed) Take(ctx context.Context) (event.Batch, error) {
	for {
		f.s.mu.Lock()
		grown := f.s.grown
		if f.next < len(f.s.log) && f.left > 0 {
			b := f.s.log[f.next]
			f.s.mu.Unlock()
			f.next++
			f.left--
			return b, nil
		}
		over := f.left == 0
		f.s.mu.Unlock()
		if over {
			return event.Batch{}, relay.ErrNotHere
		}
		select {
		case <-ctx.Done():
			return event.Batch{}, ctx.Err()
		case <-grown:
		}
	}
}

func (f *feed) Close() {}

// start starts a server and returns its address.
func start(t *testing.T, s *source, change func(*server.Config)) string {
	t.Helper()
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	password := wire.ParsePassword("secret")
	cfg := server.Config{User: "canal", Password: &password, MaxConnections: 8, Buffer: 1 << 20}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.New(l, cfg, s, hclog.NewNullLogger()).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the server ended: %v", err)
		}
	})
	return l.Addr().String()
}

// A peer is a client's end of a connection.
type peer struct {
	t *testing.T
	net.Conn
	seed []byte
}

func dial(t *testing.T, address string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{t: t, Conn: conn}
	hello := p.receive()
	if hello.Type != wire.Handshake || hello.Version != 1 {
		t.Fatalf("greets with %+v", hello)
	}
	p.seed = fields(hello.Body)[2][0]
	return p
}

func (p *peer) receive() wire.Packet {
	p.t.Helper()
	body, err := wire.ReadFrame(p, 64<<20)
	if err != nil {
		p.t.Fatalf("no answer: %v", err)
	}
	packet, err := wire.ParsePacket(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return packet
}

// ended reports whether the server closes the connection.
func (p *peer) ended() bool {
	_, err := io.Copy(io.Discard, p)
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

// fields are those of a message: bytes, or numbers as decimal text.
func fields(b []byte) map[int][][]byte {
	out := make(map[int][][]byte)
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		var v []byte
		if kind == protowire.VarintType {
			x, n := protowire.ConsumeVarint(b)
			b, v = b[n:], strconv.AppendInt(nil, int64(x), 10)
		} else {
			v, n = protowire.ConsumeBytes(b)
			b = b[n:]
		}
		out[int(number)] = append(out[int(number)], v)
	}
	return out
}

// send sends a packet: numbers as varints, texts with their length, by fields.
func (p *peer) send(kind wire.Type, values ...any) {
	p.t.Helper()
	var b []byte
	for i := 0; i < len(values); i += 2 {
		number := protowire.Number(values[i].(int))
		switch v := values[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
		}
	}
	if _, err := p.Write(wire.Frame(wire.Packet{Type: kind, Body: b})); err != nil {
		p.t.Fatal(err)
	}
}

// ack receives an ACK and returns its code and text.
func (p *peer) ack() (code, text string) {
	p.t.Helper()
	packet := p.receive()
	if packet.Type != wire.Ack {
		p.t.Fatalf("got a packet of type %s, want an ACK", packet.Type)
	}
	got := fields(packet.Body)
	if len(got[1]) > 0 {
		return string(got[1][0]), string(got[2][0])
	}
	return "", ""
}

func (p *peer) succeeds() {
	p.t.Helper()
	if code, text := p.ack(); code != "" {
		p.t.Fatalf("refused: %s %s", code, text)
	}
}

func (p *peer) refused(wantCode, wantText string) {
	p.t.Helper()
	if code, text := p.ack(); code != wantCode || !strings.Contains(text, wantText) {
		p.t.Fatalf("got %q %q, want %s with %q", code, text, wantCode, wantText)
	}
}

func (p *peer) auth(user, password string) {
	p.t.Helper()
	once := sha1.Sum([]byte(password))
	twice := sha1.Sum(once[:])
	mask := sha1.Sum(append(bytes.Clone(p.seed), twice[:]...))
	for i := range once {
		once[i] ^= mask[i]
	}
	p.send(wire.ClientAuthentication, 1, user, 2, hex.EncodeToString(once[:]))
}

// login connects and logs in.
func login(t *testing.T, address string) *peer {
	t.Helper()
	p := dial(t, address)
	p.auth("canal", "secret")
	p.succeeds()
	return p
}

// reader logs in and subscribes.
func reader(t *testing.T, address, filter string) *peer {
	t.Helper()
	p := login(t, address)
	p.send(wire.Subscription, 1, "shop", 2, "1001", 7, filter)
	p.succeeds()
	return p
}

// batch is what a GET gave.
type batch struct {
	id    string
	texts []string // of statements; "(" and ")" for the bounds of a transaction
}

func (p *peer) batch() batch {
	p.t.Helper()
	packet := p.receive()
	if packet.Type != wire.Messages {
		p.t.Fatalf("got a packet of type %s: %s", packet.Type, packet.Body)
	}
	got := fields(packet.Body)
	b := batch{id: string(got[1][0])}
	for _, data := range got[2] {
		e := fields(data)
		switch string(e[2][0]) {
		case "1":
			b.texts = append(b.texts, "(")
		case "3":
			b.texts = append(b.texts, ")")
		default:
			b.texts = append(b.texts, string(fields(e[3][0])[11][0]))
		}
	}
	return b
}

const size, timeout, unit = 3, 4, 5

// get asks for a batch without waiting for a full one, until there is one.
func (p *peer) get(fetch int) batch {
	p.t.Helper()
	for range 100 {
		p.send(wire.Get, 1, "shop", 2, "1001", size, fetch, timeout, 20, unit, 2)
		if b := p.batch(); b.id != "-1" {
			return b
		}
	}
	p.t.Fatal("nothing comes")
	return batch{}
}

// empty asks for a batch and wants none.
func (p *peer) empty() {
	p.t.Helper()
	p.send(wire.Get, 1, "shop", 2, "1001", size, 1000, timeout, 100, unit, 2)
	if b := p.batch(); b.id != "-1" || len(b.texts) > 0 {
		p.t.Fatalf("got %+v, want nothing", b)
	}
}

func wants(t *testing.T, got batch, id string, texts ...string) {
	t.Helper()
	if got.id != id || !reflect.DeepEqual(got.texts, texts) {
		t.Fatalf("batch %s has %q, want %s with %q", got.id, got.texts, id, texts)
	}
}

func (p *peer) acknowledge(id int) { p.send(wire.ClientAck, 1, "shop", 2, "1001", 3, id) }
func (p *peer) rollback(id int)    { p.send(wire.ClientRollback, 1, "shop", 2, "1001", 3, id) }

func (s *source) position() int {
	return int(s.clients[cluster.ClientID{Source: "shop", Number: 1001}].Position().Count - event.FirstCount)
}

func items(c *server.Config) { c.Items = true }

func TestLogin(t *testing.T) {
	address := start(t, newSource(), nil)
	p := dial(t, address)
	p.auth("canal", "wrong")
	p.refused("400", "auth failed for user:canal")
	p.auth("Canal", "secret")
	p.refused("400", "auth failed for user:Canal")
	p.auth("canal", "secret") // on the same connection, with the same seed
	p.succeeds()

	p = dial(t, address)
	for range 3 {
		p.auth("canal", "")
		p.refused("400", "auth failed")
	}
	if !p.ended() {
		t.Error("who is wrong three times stays")
	}

	// Whoever says at once for whom it speaks has subscribed.
	p = dial(t, address)
	p.send(wire.ClientAuthentication, 1, "canal", 2, "00", 5, "shop", 6, "1001")
	p.refused("400", "auth failed")
	open := start(t, newSource(), func(c *server.Config) { c.User, c.Password = "", nil })
	p = dial(t, open)
	p.send(wire.ClientAuthentication, 1, "anybody", 5, "shop", 6, "1001")
	p.succeeds()
	p.empty()
}

func TestRequestsThatAreRefused(t *testing.T) {
	s := newSource()
	address := start(t, s, nil)
	p := login(t, address)
	for _, kind := range []wire.Type{wire.Shutdown, wire.Dump, wire.Heartbeat} {
		p.send(kind, 1, "shop")
		p.refused("400", "packet type: "+kind.String()+" is NOT supported!")
	}
	p.send(wire.Get, 1, "shop", 3, 100)
	p.refused("401", "null")
	p.send(wire.Subscription, 2, "1001")
	p.refused("401", "null")
	p.send(wire.Get, 1, "shop", 2, "1001", timeout, -1)
	p.refused("400", "should subscribe first")
	p.send(wire.Subscription, 1, "shop", 2, "70000")
	p.refused("400", "clientId")
	p.send(wire.Subscription, 1, "shop", 2, "1001", 7, "(")
	p.refused("400", "filter")
	p.rollback(0) // of nobody: no answer
	p.send(wire.Subscription, 1, "shop", 2, "1001")
	p.succeeds()
	s.mu.Lock()
	s.follows = true
	s.mu.Unlock()
	p.rollback(0)
	p.send(wire.Subscription, 1, "shop", 2, "1001")
	p.refused("400", "destination:shop should start first")
	p.send(wire.Get, 1, "shop", 2, "1001")
	p.refused("400", "destination:shop should start first")
}

func TestBatchesInOrder(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, items), "")
	s.commit("a", "b")
	s.commit("c")
	wants(t, p.get(2), "1", "(", "a")
	wants(t, p.get(2), "2", "b", ")")
	p.acknowledge(1)
	wants(t, p.get(9), "3", "(", "c", ")")
	p.empty()
	if got := s.position(); got != 0 {
		t.Errorf("in the middle of the first transaction the position is %d", got)
	}
	p.acknowledge(-1)
	p.acknowledge(2)
	p.acknowledge(3)
	p.empty()
	if got := s.position(); got != 2 {
		t.Errorf("position %d, want 2", got)
	}
	s.commit("d")
	wants(t, p.get(9), "4", "(", "d", ")")
}

func TestRollbackGivesAgainWhatIsNotAcknowledged(t *testing.T) {
	s := newSource()
	address := start(t, s, items)
	p := reader(t, address, "")
	for n := range 7 {
		s.commit(fmt.Sprint("a", n), fmt.Sprint("b", n))
	}
	p.get(3)
	p.get(2)
	p.get(4)
	p.acknowledge(1)
	p.rollback(0)
	wants(t, p.get(4), "4", ")", "(", "a1", "b1")
	p.rollback(4)
	wants(t, p.get(2), "5", ")", "(")
	p.acknowledge(5)
	wants(t, p.get(1), "6", "a1")
	// The connection is cut; the next one gets what was not acknowledged.
	p.Close()
	p = reader(t, address, "")
	p.rollback(0)
	var all []string
	for len(all) < 23 {
		b := p.get(5)
		all = append(all, b.texts...)
		id, _ := strconv.Atoi(b.id)
		p.acknowledge(id)
	}
	want := []string{"a1", "b1", ")"}
	for n := 2; n < 7; n++ {
		want = append(want, "(", fmt.Sprint("a", n), fmt.Sprint("b", n), ")")
	}
	if !reflect.DeepEqual(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
}

// An error of what has no answer is read as the answer of the next request, so the connection ends after it.
func TestAcknowledgementsThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		request    func(*peer)
		code, text string
	}{
		"not the first":    {func(p *peer) { p.acknowledge(2) }, "400", "batchId:2 is not the firstly:1"},
		"unknown":          {func(p *peer) { p.acknowledge(9) }, "400", "ack error , clientId:1001 batchId:9 is not exist , please check"},
		"twice":            {func(p *peer) { p.acknowledge(1); p.acknowledge(1) }, "400", "batchId:1 is not exist"},
		"none":             {func(p *peer) { p.acknowledge(0) }, "402", "batchId"},
		"another rollback": {func(p *peer) { p.rollback(2) }, "400", "batchId:2 is not the firstly:1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			p := reader(t, start(t, s, items), "")
			s.commit("a")
			p.get(1)
			p.get(1)
			test.request(p)
			p.send(wire.Get, 1, "shop", 2, "1001", size, 100)
			p.refused(test.code, test.text)
			if !p.ended() {
				t.Error("the connection goes on")
			}
		})
	}
}

func TestFilter(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, nil), `shop\.t.*`)
	s.commit("TRUNCATE shop.other")
	s.commit("TRUNCATE shop.t1")
	wants(t, p.get(100), "1", "TRUNCATE shop.t1")
	p.acknowledge(1)
	p.send(wire.Subscription, 1, "shop", 2, "1001") // keeps the filter
	p.succeeds()
	s.commit("TRUNCATE shop.other")
	s.commit("TRUNCATE shop.t2")
	wants(t, p.get(100), "2", "TRUNCATE shop.t2")
	p.acknowledge(2)
	s.commit("TRUNCATE shop.other")
	p.empty()
	if got := s.position(); got != 5 {
		t.Errorf("what is not for the client pins the position at %d", got)
	}
	p.send(wire.Subscription, 1, "shop", 2, "1001", 7, `.*\..*`)
	p.succeeds()
	s.commit("TRUNCATE shop.other")
	wants(t, p.get(100), "3", "TRUNCATE shop.other")
	p.send(wire.Unsubscription, 1, "shop", 2, "1001")
	p.succeeds()
	p.send(wire.Get, 1, "shop", 2, "1001", timeout, -1)
	p.refused("400", "should subscribe first")
	p.send(wire.Subscription, 1, "shop", 2, "1001")
	p.succeeds()
	p.empty() // begins anew
}

func TestDDLAlone(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, func(c *server.Config) { c.DDLAlone = true }), "")
	s.commit("a")
	s.commit("TRUNCATE shop.t")
	s.commit("b")
	wants(t, p.get(100), "1", "(", "a", ")")
	wants(t, p.get(100), "2", "TRUNCATE shop.t")
	wants(t, p.get(100), "3", "(", "b", ")")
}

// A client that acknowledges nothing gets no more than the buffer holds; a GET that waits goes on when it does.
func TestBuffer(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, nil), "")
	large := strings.Repeat("x", 300_000)
	for range 6 {
		s.commit(large)
	}
	given := 0
	for {
		p.send(wire.Get, 1, "shop", 2, "1001", size, 200, timeout, 300, unit, 2)
		b := p.batch()
		if b.id == "-1" {
			break
		}
		given++
	}
	if given != 4 {
		t.Errorf("got %d batches of 300 kB without acknowledging, want the 4 that begin in 1 MiB", given)
	}
	p.send(wire.Get, 1, "shop", 2, "1001", size, 200, timeout, 0, unit, 2) // waits for ever
	p.acknowledge(1)
	if b := p.batch(); b.id != "5" {
		t.Errorf("got batch %s, want 5", b.id)
	}
}

// A GET waits for a full batch; a row that is larger comes by itself.
func TestSizes(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, func(c *server.Config) { c.Buffer = 64 << 20 }), "")
	s.commit("small")
	p.send(wire.Get, 1, "shop", 2, "1001", size, 1, timeout, 0)
	s.commit(strings.Repeat("x", 1024))
	if got := p.batch(); len(got.texts) != 5 {
		t.Errorf("a batch of 1 KiB has %d entries, want two transactions but the last end", len(got.texts))
	}
	s.commit(strings.Repeat("y", 20<<20))
	p.get(1)
	if got := p.get(1); len(got.texts) == 0 || len(got.texts[len(got.texts)-1]) != 20<<20 {
		t.Errorf("the large row is not there: %d entries", len(got.texts))
	}
}

// The newest connection speaks for a client; the one before is closed, whatever it waits for.
func TestNewestConnectionSpeaks(t *testing.T) {
	s := newSource()
	address := start(t, s, items)
	old := reader(t, address, "")
	old.send(wire.Get, 1, "shop", 2, "1001", size, 100, timeout, 0)
	p := reader(t, address, "")
	if !old.ended() {
		t.Error("the connection before goes on")
	}
	s.commit("a")
	wants(t, p.get(3), "1", "(", "a", ")")
}

func TestConnectionsAreBounded(t *testing.T) {
	address := start(t, newSource(), func(c *server.Config) { c.MaxConnections = 2 })
	first := login(t, address)
	login(t, address)
	p := dial(t, address)
	p.auth("canal", "secret")
	p.refused("400", "too many connections")
	if !p.ended() {
		t.Error("one too many stays")
	}
	// Strangers that say nothing do not keep anybody out.
	first.Close()
	for range 80 {
		dial(t, address)
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // until the server has seen that the first is gone
		p = dial(t, address)
		p.auth("canal", "secret")
		if code, _ := p.ack(); code == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody gets in")
		}
	}
}

func TestHostileBytes(t *testing.T) {
	s := newSource()
	address := start(t, s, nil)
	for name, data := range map[string]string{
		"a large frame":    "\x00\x10\x00\x00",
		"a negative one":   "\xff\xff\xff\xff",
		"no packet":        "\x00\x00\x00\x02\xff\xff",
		"HTTP":             "GET / HTTP/1.1\r\n\r\n",
		"no message in it": "\x00\x00\x00\x04\x2a\x02\xff\xff",
	} {
		p := dial(t, address)
		if _, err := p.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
		if !p.ended() {
			t.Errorf("%s: the connection stays", name)
		}
		p = login(t, address)
		if _, err := p.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
		if name != "a large frame" && !p.ended() {
			t.Errorf("%s: after the login the connection stays", name)
		}
	}
	p := reader(t, address, "")
	s.commit("a")
	wants(t, p.get(100), "1", "(", "a", ")")
}

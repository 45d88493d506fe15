package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/canal/server"
	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/event"
)

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

// A buffered is a connection of which something has been read ahead.
type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

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

// frame is a packet: numbers as varints, texts with their length, by fields.
func frame(kind wire.Type, values ...any) []byte {
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
	return wire.Frame(wire.Packet{Type: kind, Body: b})
}

func (p *peer) send(kind wire.Type, values ...any) {
	p.t.Helper()
	if _, err := p.Write(frame(kind, values...)); err != nil {
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

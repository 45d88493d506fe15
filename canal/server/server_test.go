package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"canalgo/canal/server"
	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/event"
)

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

// A GET waits for a full batch; one row in it may be larger than an answer.
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
	if got := p.get(1); len(got.texts) != 3 || len(got.texts[2]) != 20<<20 {
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

// A dump of MySQL's that breaks inside of a large transaction has its pieces come twice. They are given once, and all of them.
func TestPiecesThatComeAgain(t *testing.T) {
	group := event.Event{Kind: event.Group, Raw: raw(34, make([]byte, 42))}
	begin := event.Event{Kind: event.Begin, Raw: query("BEGIN")}
	first := func() event.Batch { return piece(0, group, begin, rowsOf("a"), rowsOf("b")) }
	second := func() event.Batch { return piece(0, rowsOf("c")) }
	last := func(n int) event.Batch {
		return piece(n, rowsOf("d"), event.Event{Kind: event.Commit, Raw: raw(16, make([]byte, 8))})
	}
	read := func(p *peer) (texts []string) {
		for {
			p.send(wire.Get, 1, "shop", 2, "1001", size, 2, timeout, 300, unit, 2)
			b := p.batch()
			if b.id == "-1" {
				return texts
			}
			texts = append(texts, b.texts...)
			id, _ := strconv.Atoi(b.id)
			p.acknowledge(id)
		}
	}
	want := []string{"(", "a", "b", "c", "d", ")"}
	for name, reopens := range map[string]bool{"in one feed": false, "before another feed": true} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			address := start(t, s, items)
			p := reader(t, address, "")
			s.holds(first(), second(), first(), second())
			got := read(p)
			if reopens {
				p.Close()
				p = reader(t, address, "")
				s.holds(first(), second(), last(3))
			} else {
				s.holds(first(), second(), first(), second(), last(5))
			}
			if got = append(got, read(p)...); !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// What was read ahead by one filter is not handed out by the next one.
func TestFilterThatChanges(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, func(c *server.Config) { c.DDLAlone = true }), "")
	s.commit("a")
	s.commit("TRUNCATE shop.t1")
	wants(t, p.get(100), "1", "(", "a", ")")
	p.acknowledge(1)
	p.send(wire.Subscription, 1, "shop", 2, "1001", 7, `shop\.t2`)
	p.succeeds()
	p.empty()
}

// An acknowledgement that is under way when a new epoch begins is not taken for one of a new batch.
func TestBatchesAreNotNumberedAgain(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, items), "")
	s.commit("a")
	wants(t, p.get(9), "1", "(", "a", ")")
	s.renew(cluster.ClientID{Source: "shop", Number: 1001})
	wants(t, p.get(9), "2", "(", "a", ")")
	p.acknowledge(1)
	p.send(wire.Get, 1, "shop", 2, "1001", size, 100)
	p.refused("400", "batchId:1 is not exist")
}

// One connection at a time has a large entry, also when what stands before it fills an answer.
func TestOneLargeEntryAtATime(t *testing.T) {
	const enough = 48 << 20 // for the answer to wait until it is read
	large := strings.Repeat("x", enough)
	for name, test := range map[string]struct {
		change func(*server.Config)
		commit func(*source)
		before []string // in an answer of its own
	}{
		"a row behind BEGIN":           {nil, func(s *source) { s.commit(large) }, nil},
		"a row, one entry at a time":   {items, func(s *source) { s.commit(large) }, []string{"("}},
		"a statement that comes alone": {func(c *server.Config) { c.DDLAlone = true }, func(s *source) { s.commit("a"); s.commit("TRUNCATE shop.t /*" + large + "*/") }, []string{"(", "a", ")"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			address := start(t, s, test.change)
			a, b := reader(t, address, ""), login(t, address)
			b.send(wire.Subscription, 1, "shop", 2, "1002")
			b.succeeds()
			test.commit(s)
			const fetch = 1
			if test.before != nil {
				for p, id := range map[*peer]string{a: "1001", b: "1002"} {
					p.send(wire.Get, 1, "shop", 2, id, size, fetch, timeout, 0)
					wants(t, p.batch(), "1", test.before...)
				}
			}
			a.send(wire.Get, 1, "shop", 2, "1001", size, fetch, timeout, 0)
			in := bufio.NewReader(a.Conn)
			if _, err := in.Peek(1); err != nil { // its answer has begun, and waits to be read
				t.Fatal(err)
			}
			a.Conn = buffered{a.Conn, in}
			for _, wait := range []int{300, -1} {
				b.send(wire.Get, 1, "shop", 2, "1002", size, fetch, timeout, wait, unit, 2)
				if got := b.batch(); len(got.texts) > 0 && len(got.texts[len(got.texts)-1]) >= enough {
					t.Fatal("two connections have a large entry at a time")
				}
			}
			if got := a.batch(); len(got.texts[len(got.texts)-1]) < enough || test.before == nil && len(got.texts) != 2 {
				t.Errorf("the large entry is not there: %d entries", len(got.texts))
			}
			b.send(wire.Get, 1, "shop", 2, "1002", size, fetch, timeout, 0)
			if got := b.batch(); len(got.texts[len(got.texts)-1]) < enough {
				t.Errorf("the large entry does not come to the other: %d entries", len(got.texts))
			}
		})
	}
}

// A GET that does not wait gets a large row that is there.
func TestLargeRowWithoutWaiting(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, func(c *server.Config) { c.Buffer = 1 << 30 }), "")
	const n = 12
	for range n {
		s.commit(strings.Repeat("x", 5<<20))
	}
	for large := 0; large < n; {
		p.send(wire.Get, 1, "shop", 2, "1001", size, 1, timeout, -1)
		for _, text := range p.batch().texts {
			if len(text) > 1 {
				large++
			}
		}
	}
}

// Who waits for more has no large row: one that was not for the client keeps nobody from having one.
func TestLargeRowForSomebodyElse(t *testing.T) {
	s := newSource()
	s.idle = make(chan struct{}, 1)
	address := start(t, s, nil)
	p, other := login(t, address), reader(t, address, "")
	p.send(wire.Subscription, 1, "shop", 2, "1002", 7, `shop\.t`)
	p.succeeds()
	s.commit("TRUNCATE shop.other /*" + strings.Repeat("x", 5<<20) + "*/")
	p.send(wire.Get, 1, "shop", 2, "1002", size, 1, timeout, 0)
	<-s.idle
	if got := other.get(1); len(got.texts) != 1 {
		t.Errorf("got %d entries, want one", len(got.texts))
	}
}

// A GET that waits for a source that is not read does not ask for it without a pause.
func TestSourceThatIsNotRead(t *testing.T) {
	s := newSource()
	s.away = true
	p := reader(t, start(t, s, nil), "")
	p.send(wire.Get, 1, "shop", 2, "1001", size, 1, timeout, 300, unit, 2)
	if b := p.batch(); b.id != "-1" {
		t.Errorf("got %+v, want nothing", b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened > 20 {
		t.Errorf("%d feeds were asked for in 300 ms", s.opened)
	}
}

// Requests that come while a GET waits are answered in order.
func TestRequestsBehindAGETThatWaits(t *testing.T) {
	s := newSource()
	p := reader(t, start(t, s, items), "")
	for range 5 {
		p.send(wire.Get, 1, "shop", 2, "1001", size, 3, timeout, 0)
	}
	for n := range 3 {
		p.acknowledge(-1)
		s.commit(fmt.Sprint("a", n))
		wants(t, p.batch(), fmt.Sprint(n+1), "(", fmt.Sprint("a", n), ")")
	}
}

// A client that goes while requests wait behind a GET leaves its place to others, and one that sends on and on is not served.
func TestClientsThatGoWhileRequestsWait(t *testing.T) {
	s := newSource()
	address := start(t, s, func(c *server.Config) { c.MaxConnections = 1 })
	p := reader(t, address, "")
	for range 4 {
		p.send(wire.Get, 1, "shop", 2, "1001", size, 100, timeout, 0)
	}
	p.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		p = dial(t, address)
		p.auth("canal", "secret")
		if code, _ := p.ack(); code == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("its place is not free")
		}
	}
	p.send(wire.Subscription, 1, "shop", 2, "1001")
	p.succeeds()
	if _, err := p.Write(bytes.Repeat(frame(wire.Get, 1, "shop", 2, "1001", size, 100, timeout, 0), 40)); err != nil {
		t.Fatal(err)
	}
	if !p.ended() {
		t.Error("who sends on and on is served on")
	}
}

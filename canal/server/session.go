package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"canalgo/canal/entry"
	"canalgo/canal/filter"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/relay"
)

// A session is what is known of one client while this node leads. Only the connection that owns it uses it.
type session struct {
	server *Server
	id     cluster.ClientID
	client Client
	owner  *conn  // guarded by Server.mu
	told   string // the error that the client was told last

	filter string // that wants is made of
	tables map[event.TableName]bool
	wants  filter.Filter
	maker  *entry.Maker

	acked place
	out   []handed // in order
	bytes int      // of out
	last  int64    // id of the last batch

	saved  time.Time // when acked was told to the leader
	broken error     // why reading failed last, at failed
	failed time.Time

	feed Feed // nil: to be opened behind read
	read place
	// Of the batch of the feed that is being read, and the transaction that it is of:
	events  []event.Event
	ends    bool // the last event ends the transaction
	end     event.Position
	run     event.GTIDRun
	begin   *entry.Entry  // waits for the first entry with rows
	entries int           // that there were of the transaction
	next    []entry.Entry // were made and not handed out yet
}

// A place is where a client stands: behind a position, and behind so many entries of the transaction that follows.
type place struct {
	position event.Position // without GTIDs
	executed event.GTIDSet
	entries  int
}

func (p place) clone() place {
	p.executed = p.executed.Clone()
	return p
}

// pass moves the place behind a transaction.
func (p *place) pass(end event.Position, runs ...event.GTIDRun) {
	p.position, p.entries = end, 0
	for _, r := range runs {
		p.executed.Add(r)
	}
}

// A handed is a batch that the client was given and has not acknowledged.
type handed struct {
	id      int64
	bytes   int
	passed  bool            // a transaction ends in it: end and runs hold
	end     event.Position  // of the last one that ends in it
	runs    []event.GTIDRun // executed up to there
	entries int             // of the transaction behind it
}

// pass notes that a transaction ends in the batch, or behind it with nothing for the client.
func (h *handed) pass(end event.Position, run event.GTIDRun) {
	h.passed, h.end, h.entries = true, end, 0
	if run.First.IsZero() {
		return
	}
	if n := len(h.runs); n > 0 {
		if r := &h.runs[n-1]; r.First.UUID == run.First.UUID && r.First.Tag == run.First.Tag && r.Last+1 == run.First.N {
			r.Last = run.Last
			return
		}
	}
	h.runs = append(h.runs, run)
}

func newSession(s *Server, id cluster.ClientID, client Client) (*session, error) {
	at := client.Position()
	executed, err := event.ParseGTIDSet(at.GTIDs)
	if err != nil {
		return nil, err
	}
	at.GTIDs = ""
	x := &session{server: s, id: id, client: client, acked: place{position: at, executed: executed}}
	x.maker = entry.New(s.cfg.Entries, x.want)
	x.maker.Describe = x.describe
	x.read = x.acked.clone()
	return x, x.filterBy(client.Filter())
}

// filterBy takes a filter. In the middle of a transaction that begins again: entries are counted by the filter.
func (x *session) filterBy(text string) error {
	if text == x.filter && x.tables != nil {
		return nil
	}
	wants, err := filter.Parse(text)
	if err != nil {
		return err
	}
	changed := x.tables != nil
	x.filter, x.wants, x.tables = text, wants, make(map[event.TableName]bool)
	if changed {
		x.acked.entries = 0
		x.rest() // what was read and not handed out was made by the filter before
		x.rollback()
	}
	return nil
}

// maxTables bounds how many tables' names a filter's answer is kept for.
const maxTables = 10_000

func (x *session) want(t event.TableName) bool {
	wanted, ok := x.tables[t]
	if !ok {
		if len(x.tables) >= maxTables {
			clear(x.tables)
		}
		wanted = x.wants.Wants(t)
		x.tables[t] = wanted
	}
	return wanted
}

// describeTime is how long an answer may wait for the server to describe a table whose rows come for the first time.
const describeTime = 2 * time.Second

// describe returns a table as it is now, nil when nobody says.
func (x *session) describe(name event.TableName) *event.Table {
	ctx, cancel := context.WithTimeout(context.Background(), describeTime)
	defer cancel()
	t, err := x.client.Describe(ctx, name)
	if err != nil {
		x.server.log.Debug("a table is not described", "client", x.id.String(), "table", name.String(), "error", err)
		return nil
	}
	return t
}

// note says what the client does, for the status.
func (x *session) note(address, told string) {
	x.told = told
	x.client.Note(Progress{Address: address, Batches: len(x.out), Bytes: x.bytes, Error: told})
}

// rest closes the feed: nothing is held for a client that asks for nothing.
func (x *session) rest() {
	if x.feed != nil {
		x.feed.Close()
	}
	x.feed, x.events, x.ends, x.next, x.begin = nil, nil, false, nil, nil
}

// rollback has everything that is not acknowledged given again.
func (x *session) rollback() {
	if len(x.out) == 0 && x.read.position == x.acked.position && x.read.entries == x.acked.entries {
		return
	}
	x.rest()
	x.out, x.bytes = nil, 0
	x.read = x.acked.clone()
}

// acknowledge takes the oldest batch off.
func (x *session) acknowledge(id int64) error {
	switch {
	case !slices.ContainsFunc(x.out, func(h handed) bool { return h.id == id }):
		return fmt.Errorf("ack error , clientId:%d batchId:%d is not exist , please check", x.id.Number, id)
	case x.out[0].id != id:
		return fmt.Errorf("batchId:%d is not the firstly:%d", id, x.out[0].id)
	}
	h := x.out[0]
	x.out = slices.Delete(x.out, 0, 1)
	x.bytes -= h.bytes
	if h.passed {
		x.acked.pass(h.end, h.runs...)
		x.reached()
	}
	x.acked.entries = h.entries
	return nil
}

// reached tells the leader what is acknowledged.
func (x *session) reached() {
	x.saved = time.Now()
	p := x.acked.position
	p.GTIDs = x.acked.executed.String()
	x.client.Reached(p)
}

// A limit is how much a batch may hold.
type limit struct{ bytes, entries int }

// maxAnswer bounds what one answer holds, in bytes; one entry goes beyond it when it is larger.
const maxAnswer = 4 << 20

// defaultFetch is what a client gets that asks for no size.
const defaultFetch = 1000

// limit is what a client may have now that asks for so much.
func (x *session) limit(fetch int32) limit {
	if fetch <= 0 {
		fetch = defaultFetch
	}
	l := limit{bytes: min(maxAnswer, x.server.cfg.Buffer-x.bytes), entries: math.MaxInt}
	if x.server.cfg.Items {
		l.entries = int(fetch)
	} else {
		l.bytes = min(l.bytes, int(min(fetch, maxAnswer>>10))<<10)
	}
	return l
}

// A batch is what one answer holds.
type batch struct {
	handed
	data  [][]byte
	large bool // it may hold a large entry, which only one connection at a time may have
	full  bool
}

// large reports whether so many bytes are more than every connection may hold.
func large(data []byte) bool { return len(data) > maxAnswer }

// add puts an entry into the batch.
func (b *batch) add(e entry.Entry, l limit) {
	b.data = append(b.data, e.Data)
	b.bytes += len(e.Data)
	b.full = b.full || large(e.Data) || b.bytes > l.bytes || len(b.data) >= l.entries
}

// hold waits for the right to have a large entry; false when ctx ends before. One that is free is taken even when ctx has ended before.
func (s *Server) hold(ctx context.Context, b *batch) bool {
	if b.large {
		return true
	}
	select {
	case s.large <- struct{}{}:
		b.large = true
		return true
	default:
	}
	select {
	case s.large <- struct{}{}:
		b.large = true
	case <-ctx.Done():
	}
	return b.large
}

// release gives that right back.
func (s *Server) release(b *batch) {
	if b.large {
		<-s.large
		b.large = false
	}
}

// fill adds what there is until the batch is full or ctx ends; ended says that it did. What is there is added even when ctx has ended before.
func (x *session) fill(ctx context.Context, b *batch, l limit) (ended bool, err error) {
	for !b.full {
		if len(x.next) > 0 {
			alone := x.next[0].DDL && x.server.cfg.DDLAlone
			if alone && len(b.data) > 0 {
				b.full = true
				break
			}
			if large(x.next[0].Data) && !x.server.hold(ctx, b) {
				return true, nil
			}
			b.add(x.next[0], l)
			b.full = b.full || alone
			x.next[0] = entry.Entry{} // the slice would keep it
			x.next = x.next[1:]
			x.read.entries++
			b.entries = x.read.entries
			continue
		}
		if len(x.events) > 0 {
			if large(x.events[0].Raw) && !x.server.hold(ctx, b) {
				return true, nil
			}
			if err := x.event(); err != nil {
				return false, err
			}
			continue
		}
		if x.ends {
			x.pass(b)
			continue
		}
		x.events = nil
		x.server.release(b) // a batch with a large entry is full: this one has none, and may wait for long
		switch err := x.take(ctx); {
		case err == nil:
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return true, nil
		case errors.Is(err, relay.ErrNotHere): // the feed is over, or there can be none now
			if x.feed == nil {
				return true, nil
			}
			x.rest()
		default:
			x.rest()
			if x.broken == nil {
				x.broken, x.failed = err, time.Now()
			}
			return true, err
		}
	}
	return false, nil
}

// failedFor is how long nobody asks again what has failed: a client may ask as often as it likes.
const failedFor = 5 * time.Second

// savedEvery is how often the leader is told of what passes while nothing is for the client.
const savedEvery = time.Second

// take gets the next batch of the source.
func (x *session) take(ctx context.Context) error {
	if x.broken != nil && time.Since(x.failed) < failedFor {
		return x.broken
	}
	x.broken = nil
	if x.feed == nil {
		from := x.read.position
		from.GTIDs = x.read.executed.String()
		feed, err := x.client.Open(from)
		if err != nil {
			return err
		}
		x.feed, x.entries, x.begin = feed, 0, nil
	}
	b, err := x.feed.Take(ctx)
	if err != nil {
		return err
	}
	x.events, x.ends, x.end, x.run = b.Events, b.Ends(), b.End, b.Executed().Run()
	executed := ""
	if x.server.cfg.Entries.GTIDs {
		set := x.read.executed.Clone()
		set.Add(b.GTID.Run())
		executed = set.String()
	}
	x.maker.Transaction(b.GTID, executed)
	return nil
}

// event makes an entry of the next event, if it gives one that the client has not had.
func (x *session) event() error {
	e := &x.events[0]
	if e.Kind == event.Group { // it heads a transaction, also one that comes again because MySQL's dump broke inside of it
		x.entries, x.begin = 0, nil
	}
	made, ok, err := x.maker.Entry(e)
	if err != nil {
		return err
	}
	switch {
	case !ok:
	case made.Kind == entry.Begin:
		x.begin = &made
	case made.Kind == entry.End && x.entries == 0: // nothing of the transaction is for the client
	default:
		begins := x.begin != nil
		if begins {
			x.give(*x.begin)
			x.begin = nil
		}
		if begins && large(made.Data) { // it is made again behind BEGIN, which may fill the batch
			return nil
		}
		x.give(made)
	}
	x.events = x.events[1:]
	return nil
}

// give has an entry handed out unless it was before.
func (x *session) give(e entry.Entry) {
	if x.entries++; x.entries > x.read.entries+len(x.next) {
		x.next = append(x.next, e)
	}
}

// pass moves behind a transaction that has been read to its end.
func (x *session) pass(b *batch) {
	x.ends, x.entries, x.begin = false, 0, nil
	x.read.pass(x.end, x.run)
	switch n := len(x.out); {
	case len(b.data) > 0:
		b.pass(x.end, x.run)
	case n > 0:
		x.out[n-1].pass(x.end, x.run)
	default: // nothing is in flight: a table without changes must not pin old files
		x.acked.pass(x.end, x.run)
		if b.passed = true; time.Since(x.saved) > savedEvery { // it may be long until something comes that is for the client
			x.reached()
		}
	}
}

// hand gives a batch that holds something its number.
func (x *session) hand(b *batch) int64 {
	if len(b.data) == 0 {
		if b.passed {
			x.reached()
		}
		return -1
	}
	x.last++
	b.id = x.last
	x.out = append(x.out, b.handed)
	x.bytes += b.bytes
	return b.id
}

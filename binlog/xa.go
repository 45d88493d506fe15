package binlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"canalgo/event"
)

// keptBytes bounds what is kept in memory of prepared transactions, so that those that end soon need not be read again.
const keptBytes = 8 << 20

// A place is where a transaction begins in the log.
type place struct {
	file   string
	offset uint64
}

// A prepared is an XA transaction between its PREPARE and its COMMIT or ROLLBACK.
type prepared struct {
	at     place
	time   time.Time         // of its PREPARE
	work   bool              // something in it is wanted, or nobody knows
	tables []event.TableName // wanted ones that it changes, as far as known
	batch  []event.Event     // what is wanted of it; nil when it has to be read again
	bytes  int               // of batch
}

// xa is what a tracker knows of prepared transactions. The rows of one belong to its XA COMMIT, with whose version they are handed
// on; at PREPARE only the place is noted. None of this is saved: what was prepared before the tracker began is found by looking
// back in the log. A server bounds how many are open by its undo slots.
type xa struct {
	open   map[string]*prepared // by xid, as statements in the log spell it
	ended  map[string]bool      // were ended, and have been prepared before known
	known  place                // every PREPARE behind it that has not ended is in open
	kept   int                  // bytes of batches in open
	sought sought               // of a look back for one transaction
	state  XAState
}

// XAState says which XA transactions with something that is wanted a stream knows to be prepared and not ended.
type XAState struct {
	Open  int
	Since time.Time      // when the first of them was prepared, on the source's clock
	At    event.Position // File and Offset of its rows; the server must keep that file until it ends
}

func newXA(from event.Position) xa {
	return xa{open: make(map[string]*prepared), ended: make(map[string]bool), known: place{from.File, from.Offset}}
}

// A rereader reads a log beside its stream.
type rereader interface {
	// reread feeds t from its boundary on, until done.
	reread(ctx context.Context, t *tracker, done func() bool) error
	// logNames lists the files of the log, the oldest first.
	logNames(ctx context.Context) ([]string, error)
}

// statementXA takes an XA statement and the xid that it names. XA END says nothing.
func (t *tracker) statementXA(ctx context.Context, raw []byte, verb, xid string) error {
	switch verb {
	case "START", "BEGIN":
		t.tx.begun, t.tx.xa, t.tx.xid, t.xid = true, true, xid, xid
		t.bound(event.Begin, raw)
		return nil
	case "END":
		t.bound(event.Commit, raw)
	case "COMMIT", "ROLLBACK":
		if err := t.step(); err != nil {
			return err
		}
		if verb == "COMMIT" {
			return t.commitXA(ctx, raw, xid)
		}
		t.statementText(raw)
		return t.rollbackXA(ctx, xid)
	}
	return nil
}

// prepared ends an XA transaction by its PREPARE, or in one phase by its commit.
func (t *tracker) prepared(ctx context.Context, onePhase bool) error {
	switch {
	case t.rereads:
		return t.end(ctx)
	case !onePhase:
		return t.prepare(ctx)
	case t.tx.unkept:
		if err := t.again(ctx, t.tx.at, t.tx.xid, 0); err != nil {
			return err
		}
	}
	return t.end(ctx)
}

// prepare ends a transaction by an XA PREPARE: nobody may apply its rows before the end is known.
func (t *tracker) prepare(ctx context.Context) error {
	xid := t.tx.xid
	p := &prepared{at: t.tx.at, time: t.tx.time, work: t.tx.work, tables: t.tx.tables, batch: t.tx.batch, bytes: t.tx.bytes}
	t.tx.batch, t.tx.bytes = nil, 0
	if err := t.end(ctx); err != nil {
		return err
	}
	t.xa.forget(xid)
	t.xa.add(xid, p)
	if xid == t.xa.sought.xid {
		t.xa.sought = sought{xid: xid, prepared: p}
	}
	for t.xa.kept > keptBytes {
		t.xa.drop(t.xa.oldest(func(p *prepared) bool { return p.bytes > 0 }))
	}
	return nil
}

// commitXA hands on the rows of a transaction that was prepared before, with the version of its XA COMMIT.
func (t *tracker) commitXA(ctx context.Context, raw []byte, xid string) error {
	p, err := t.find(ctx, xid)
	if err == nil && p == nil && t.mariadb && t.log != nil {
		var found sought
		found, err = t.findEnded(ctx, xid)
		p = found.prepared
	}
	if err != nil {
		return err
	}
	if xid == t.xa.sought.xid {
		t.xa.sought.committed = true
	}
	switch {
	case t.log == nil && (p == nil || p.batch == nil): // only places are looked for
	case p == nil:
		t.statement(&event.Stmt{Action: event.Missing,
			Text: fmt.Sprintf("the XA transaction %s was committed, and the server no longer has its rows", clip(xid))})
	case p.batch != nil:
		for i := range p.batch {
			if p.batch[i].Version != 0 {
				p.batch[i].Version = t.version()
			}
		}
		t.tx.batch, t.tx.bytes = append(t.tx.batch, p.batch...), t.tx.bytes+p.bytes
	case p.work:
		err := t.again(ctx, p.at, xid, t.version())
		if errors.Is(err, ErrPurged) && t.tx.pieces == 0 {
			t.statement(&event.Stmt{Action: event.Missing, Tables: p.tables,
				Text: fmt.Sprintf("the XA transaction %s was committed, and the server has purged its rows (%s:%d)", clip(xid), p.at.file, p.at.offset)})
		} else if err != nil {
			return err
		}
	}
	t.statementText(raw)
	return t.endXA(ctx, xid)
}

// endXA ends a transaction that ends a prepared one.
func (t *tracker) endXA(ctx context.Context, xid string) error {
	if err := t.end(ctx); err != nil {
		return err
	}
	if !t.xa.forget(xid) {
		t.xa.ended[xid] = true
	}
	return nil
}

// again reads a transaction from its beginning and hands its rows on within the present one: as pieces, the last of which is left
// in it. They get the version, or when that is 0 those that they had.
func (t *tracker) again(ctx context.Context, at place, xid string, version event.Version) error {
	from := t.boundary
	from.File, from.Offset = at.file, at.offset
	sub := newTracker(from, t.want, nil)
	sub.rereads, sub.fixed, sub.lowerCase, sub.history = true, version, t.lowerCase, t.history
	done := false
	sub.emit = func(ctx context.Context, b event.Batch) error {
		if done = !sub.tx.open; done {
			t.tx.batch, t.tx.bytes = append(t.tx.batch, b.Events...), t.tx.bytes+b.Bytes
			return nil
		}
		events := append(t.tx.batch, b.Events...)
		t.tx.batch, t.tx.bytes = nil, 0
		t.tx.pieces++
		return t.emit(ctx, event.Batch{Events: events, GTID: t.tx.gtid, End: t.boundary, Bytes: b.Bytes})
	}
	if err := t.log.reread(ctx, sub, func() bool { return done }); err != nil {
		return fmt.Errorf("read the XA transaction %s again at %s: %w", clip(xid), from, err)
	}
	if sub.xid != xid {
		return fmt.Errorf("%w: at %s stands another transaction than XA %s", ErrReset, from, clip(xid))
	}
	return nil
}

// find returns a prepared transaction. One that is not known was prepared before the tracker began: the log is read backwards, one
// file after the other, until it is found; nil if the log does not hold it.
func (t *tracker) find(ctx context.Context, xid string) (*prepared, error) {
	if p := t.xa.open[xid]; p != nil || t.log == nil {
		return p, nil
	}
	if t.byGTIDs { // what was passed over since the beginning is not known either
		t.xa.known = t.tx.at
	}
	files, err := t.log.logNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, file := range slices.Backward(files) {
		to := t.xa.known
		if fileBefore(to.file, file) || file == to.file && to.offset <= firstEvent {
			continue
		}
		switch err := t.lookBack(ctx, file, to); {
		case errors.Is(err, ErrPurged):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("look for the PREPARE of the XA transaction %s in %s: %w", clip(xid), file, err)
		}
		if p := t.xa.open[xid]; p != nil {
			return p, nil
		}
	}
	return nil, nil
}

// lookBack notes what was prepared in a file, up to a place when it is in that file, and had not ended.
func (t *tracker) lookBack(ctx context.Context, file string, to place) error {
	from := event.Position{ServerUUID: t.boundary.ServerUUID, File: file, Offset: firstEvent}
	sub := newTracker(from, func(event.TableName) bool { return false }, func(context.Context, event.Batch) error { return nil })
	err := t.log.reread(ctx, sub, func() bool {
		return sub.boundary.File != file || file == to.file && sub.boundary.Offset >= to.offset
	})
	if err != nil {
		return err
	}
	for xid, p := range sub.xa.open {
		if t.xa.open[xid] == nil && !t.xa.ended[xid] {
			t.xa.add(xid, &prepared{at: p.at, time: p.time, work: true})
		}
	}
	for xid := range sub.xa.ended {
		t.xa.ended[xid] = true
	}
	t.xa.known = place{file, firstEvent}
	return nil
}

func (x *xa) add(xid string, p *prepared) {
	x.open[xid] = p
	x.kept += p.bytes
	x.note()
}

// streamLog is the log that a stream reads, to be read again beside it.
type streamLog struct {
	source   *Source
	stream   string
	received *atomic.Uint64 // counts what is read again as the stream's own
}

func (l streamLog) reread(ctx context.Context, t *tracker, done func() bool) error {
	return l.source.readUntil(ctx, l.stream+"/xa", t.boundary, l.received, t, done)
}

func (l streamLog) logNames(ctx context.Context) ([]string, error) {
	files, _, err := l.source.Logs(ctx)
	names := make([]string, len(files))
	for i := range files {
		names[i] = files[i].Name
	}
	return names, err
}

// forget takes a transaction out and reports whether it was known.
func (x *xa) forget(xid string) bool {
	p := x.open[xid]
	if p == nil {
		return false
	}
	x.drop(p)
	delete(x.open, xid)
	x.note()
	return true
}

// drop gives back the memory of a transaction's events.
func (x *xa) drop(p *prepared) {
	x.kept -= p.bytes
	p.batch, p.bytes = nil, 0
}

// note brings state up to date.
func (x *xa) note() {
	x.state = XAState{}
	for _, p := range x.open {
		if p.work {
			x.state.Open++
		}
	}
	if p := x.oldest(func(p *prepared) bool { return p.work }); p != nil {
		x.state.Since, x.state.At = p.time, event.Position{File: p.at.file, Offset: p.at.offset}
	}
}

// oldest returns the transaction that was prepared first among some, nil if there is none.
func (x *xa) oldest(among func(*prepared) bool) *prepared {
	var oldest *prepared
	for _, p := range x.open {
		if among(p) && (oldest == nil || p.at.before(oldest.at)) {
			oldest = p
		}
	}
	return oldest
}

func (p place) before(q place) bool {
	return fileBefore(p.file, q.file) || p.file == q.file && p.offset < q.offset
}

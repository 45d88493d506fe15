package binlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"canalgo/backoff"
	"canalgo/event"
)

// emitError is an error of emit, or of a History, to be told from those of the source.
type emitError struct{ err error }

func (e *emitError) Error() string { return e.err.Error() }

// noting is a History whose errors end a stream.
type noting struct{ History }

// Note implements History.
func (n noting) Note(ctx context.Context, definitions []event.Definition) error {
	if err := n.History.Note(ctx, definitions); err != nil {
		return &emitError{fmt.Errorf("note the definition of %s: %w", definitions[0].Table.Name, err)}
	}
	return nil
}

// Stream emits everything after from, in order, until ctx ends, whose error it then returns, or the source fails for good. It
// connects again by itself, at the last transaction boundary; pieces of a transaction that was not read to its end are then
// emitted again, with the same versions. Between such repeats End never moves back.
//
// stream names the reader to the server, which allows one dump for each name in a cluster: a second one ends the first.
// Only rows of tables that want and the configuration let through are emitted; a transaction without any is an empty batch. When want lets
// the zero name through, it gets what belongs to no table, too: the bounds of transactions and the texts of statements (event.Group and
// those behind it).
//
// history keeps the definitions of the tables whose rows come without the names of their columns; it may be nil, then nobody can
// decode such rows. A changed definition is noted before what follows it is emitted.
//
// Errors that end it: ErrPurged, ErrReset, ErrServerChanged, *event.StopError, and whatever emit or history returns.
func (s *Source) Stream(ctx context.Context, stream string, from event.Position, want func(event.TableName) bool,
	history History, emit func(context.Context, event.Batch) error) error {
	executed, err := event.ParseGTIDSet(from.GTIDs)
	if err != nil {
		return fmt.Errorf("position %s: %w", from, err)
	}
	p := s.startProgress(stream, from)
	defer p.ended()
	var t *tracker
	t = newTracker(from, func(name event.TableName) bool { return (name.IsZero() || s.filter(name)) && want(name) },
		func(ctx context.Context, b event.Batch) error {
			executed.Add(b.Executed().Run())
			p.read(t, b)
			//failpoint source.before_emit
			if err := emit(ctx, b); err != nil {
				return &emitError{err}
			}
			return nil
		})
	t.log, t.definer = streamLog{s, stream, &p.received}, s
	if history != nil {
		t.history = noting{history}
	}
	wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second}
	for {
		before := t.boundary
		err := s.follow(ctx, stream, t, &executed, p)
		p.disconnected(err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var stop *event.StopError
		var emitted *emitError
		switch {
		case errors.As(err, &emitted):
			return emitted.err
		case Lost(err), errors.Is(err, ErrServerChanged), errors.As(err, &stop):
			return fmt.Errorf("stream from %s: %w", t.boundary, err)
		}
		if t.boundary != before {
			wait.Reset()
		}
		s.log.Warn("connect to the source again", "stream", stream, "position", t.boundary.String(), "error", err)
		if err := wait.Wait(ctx); err != nil {
			return err
		}
	}
}

// follow reads over one connection. It returns as soon as ctx ends: the socket is closed, nobody waits for the server.
func (s *Source) follow(ctx context.Context, stream string, t *tracker, executed *event.GTIDSet, p *progress) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	from := t.boundary
	from.GTIDs = executed.String()
	d, err := s.openDump(ctx, stream, from, &p.received)
	if err != nil {
		return err
	}
	defer d.conn.Close()
	t.boundary.ServerUUID = d.end.ServerUUID
	t.lowerCase = d.lowerCase
	t.restart()
	p.connected(d.end)
	s.log.Info("reading the binary log", "stream", stream, "position", from.String())
	watching.Go(func() { s.watch(ctx, d.end.ServerUUID, p) })
	settled := false
	for {
		h, err := d.feed(ctx, t)
		if err != nil {
			return err
		}
		if !settled {
			settled = hasReached(t, executed, d.end)
		}
		if settled || h.kind == typeHeartbeat || h.kind == typeHeartbeatV2 {
			p.heard(t, settled, h)
		}
	}
}

// hasReached reports whether everything up to the end of a log has been read.
func hasReached(t *tracker, executed *event.GTIDSet, end event.Position) bool {
	if t.boundary.File != "" {
		return !positionBefore(t.boundary, end)
	}
	set, err := event.ParseGTIDSet(end.GTIDs)
	return err == nil && executed.Contains(set)
}

// positionBefore orders places in one server's log.
func positionBefore(p, q event.Position) bool {
	return fileBefore(p.File, q.File) || p.File == q.File && p.Offset < q.Offset
}

// watchEvery is how often the server is asked for the end of its log.
const watchEvery = time.Second

// watch asks for the end of the log beside the dump, which cannot tell how much is still to come.
func (s *Source) watch(ctx context.Context, serverUUID string, p *progress) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var conn *client.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if conn == nil {
			var err error
			if conn, _, err = s.Connect(ctx, serverUUID); err != nil {
				s.log.Debug("ask for the end of the binary log", "error", err)
				continue
			}
		}
		asked := time.Now()
		end, err := logEnd(conn)
		var files []LogFile
		if err == nil && p.isBehind(end) {
			files, err = logFiles(conn)
		}
		if err != nil {
			s.log.Debug("ask for the end of the binary log", "error", err)
			conn.Close()
			conn = nil
			continue
		}
		p.serverEnd(end, asked, files)
	}
}

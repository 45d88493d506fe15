package binlog

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"canalgo/event"
)

// StartCurrent is the start that means the present end of the log.
const StartCurrent = "current"

var (
	fileAndOffset = regexp.MustCompile(`^([^:/\s]+\.\d{6,}):(\d+)$`)
	onlyFile      = regexp.MustCompile(`^[^:/\s]+\.\d{6,}$`)
	someUUID      = regexp.MustCompile(`(?i)^\s*[0-9a-f]{8}-`)
)

// parseStart reads a start: a position without anything is "current", one with a time only is behind the last transaction before it.
func parseStart(start string) (event.Position, error) {
	if start == StartCurrent {
		return event.Position{}, nil
	}
	if m := fileAndOffset.FindStringSubmatch(start); m != nil {
		offset, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			return event.Position{}, fmt.Errorf("%q: %w", start, err)
		}
		if offset < firstEvent {
			return event.Position{}, fmt.Errorf("%q: the first event of a file stands at %d", start, firstEvent)
		}
		return event.Position{File: m[1], Offset: offset}, nil
	}
	if at, err := time.Parse(time.RFC3339, start); err == nil {
		return event.Position{Time: at.UTC()}, nil
	}
	set, err := event.ParseGTIDSet(start)
	switch {
	case err != nil && someUUID.MatchString(start) && !strings.Contains(start, "."):
		return event.Position{}, err
	case err != nil && onlyFile.MatchString(start):
		return event.Position{}, fmt.Errorf("%q has no offset; write for example \"%[1]s:%d\"", start, firstEvent)
	case err != nil || set.IsEmpty():
		return event.Position{}, fmt.Errorf(`%q is not "current", a file and offset like "binlog.000042:4", a time like "2026-02-28T23:59:59Z", or a GTID set like "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"`, start)
	}
	return event.Position{GTIDs: set.String()}, nil
}

// Resolve turns a start into a position without epoch and count; "" is the configured start. A time becomes the end of the last
// transaction before it, by the source's clock. A file and offset must be the end of a transaction, else the error is an *event.StopError.
func (s *Source) Resolve(ctx context.Context, start string) (event.Position, error) {
	if start == "" {
		start = s.cfg.Start
	}
	wanted, err := parseStart(start)
	if err != nil {
		return event.Position{}, fmt.Errorf("start: %w", err)
	}
	conn, identity, err := s.Connect(ctx, "")
	if err != nil {
		return event.Position{}, err
	}
	defer conn.Close()
	if !identity.LogBin {
		return event.Position{}, &event.StopError{Reason: "the server writes no binary log", Fix: "start mysqld with --log-bin"}
	}
	now, err := serverTime(conn)
	if err != nil {
		return event.Position{}, err
	}
	var p event.Position
	switch {
	case wanted.File != "":
		if err := checkFile(conn, wanted); err != nil {
			return event.Position{}, fmt.Errorf("start %s: %w", start, err)
		}
		p, err = s.scan(ctx, identity, wanted)
	case wanted.GTIDs != "":
		p = event.Position{GTIDs: wanted.GTIDs}
		if identity.GTIDs() {
			identity, err = awaitExecuted(ctx, conn, identity, wanted.GTIDs)
		}
		if err == nil {
			err = checkGTIDs(identity, wanted.GTIDs)
		}
	case wanted.Time.After(now):
		err = &event.StopError{Reason: "the server's clock shows " + now.Format(time.RFC3339) + ", which is before it", Fix: "start at a time that is over, or with \"current\""}
	case !wanted.Time.IsZero():
		p, err = s.before(ctx, conn, identity, wanted.Time)
	default:
		p, err = s.current(ctx, conn, identity)
	}
	if err != nil {
		return event.Position{}, fmt.Errorf("start %s: %w", start, err)
	}
	p.ServerUUID = identity.ServerUUID
	if p.Time.IsZero() {
		p.Time = now
	}
	return p, nil
}

// serverTime is the source's clock.
func serverTime(conn *client.Conn) (time.Time, error) {
	r, err := conn.Execute("SELECT UNIX_TIMESTAMP(NOW(6))")
	if err != nil {
		return time.Time{}, fmt.Errorf("read the server's clock: %w", err)
	}
	text, _ := r.GetString(0, 0)
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the server's clock: %w", err)
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC(), nil
}

// current returns the end of the log. The GTID set that the server shows beside it may lack transactions that are in the
// log already but not yet visible, so it counts only once nothing moves any more; on a busy server the log itself says it.
func (s *Source) current(ctx context.Context, conn *client.Conn, identity Identity) (event.Position, error) {
	end, err := logEnd(conn)
	if err != nil {
		return event.Position{}, err
	}
	if !identity.GTIDs() {
		end.GTIDs = ""
		return end, nil
	}
	if identity.MariaDB { // it tells for any place
		before, err := placeGTIDs(conn, end.File, end.Offset)
		end.GTIDs = before.String()
		return end, err
	}
	for range 3 {
		select {
		case <-ctx.Done():
			return event.Position{}, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		again, err := logEnd(conn)
		if err != nil {
			return event.Position{}, err
		}
		if again.File == end.File && again.Offset == end.Offset && again.GTIDs == end.GTIDs {
			return end, nil
		}
		end = again
	}
	return s.scan(ctx, identity, end)
}

// scan reads a file from its beginning up to p and returns p with the GTIDs executed there.
func (s *Source) scan(ctx context.Context, identity Identity, p event.Position) (event.Position, error) {
	if p.Offset == firstEvent && !identity.GTIDs() {
		return p, nil
	}
	isEnd := false
	at, err := s.scanUntil(ctx, identity, p.File, func(t *tracker) bool {
		isEnd = isEnd || t.boundary.File == p.File && t.boundary.Offset == p.Offset
		return t.boundary.File != p.File || t.boundary.Offset >= p.Offset
	})
	if err != nil {
		return event.Position{}, err
	}
	if !isEnd {
		return event.Position{}, &event.StopError{Reason: fmt.Sprintf("%s is not the end of a transaction", p),
			Fix: fmt.Sprintf("the nearest end after it is %s", at)}
	}
	p.Time, p.GTIDs = at.Time, at.GTIDs
	return p, nil
}

// EndBefore returns the end of the last transaction at or before a place in the log, without epoch and count. The place may be in the
// middle of a transaction, which then comes again.
func (s *Source) EndBefore(ctx context.Context, file string, offset uint64) (event.Position, error) {
	conn, identity, err := s.Connect(ctx, "")
	if err != nil {
		return event.Position{}, err
	}
	defer conn.Close()
	wanted := event.Position{File: file, Offset: max(offset, firstEvent)}
	if err := checkFile(conn, wanted); err != nil {
		return event.Position{}, fmt.Errorf("start %s: %w", wanted, err)
	}
	p, err := s.scanUntil(ctx, identity, file, func(t *tracker) bool { return t.file != file || t.offset >= wanted.Offset })
	if err != nil {
		return event.Position{}, fmt.Errorf("start %s: %w", wanted, err)
	}
	p.ServerUUID = identity.ServerUUID
	if p.Time.IsZero() {
		p.Time, err = serverTime(conn)
	}
	return p, err
}

// scanUntil reads from the beginning of a file until done, which is asked before each event behind the head of the file, and returns
// the end of the last transaction before that, with the GTIDs executed there.
func (s *Source) scanUntil(ctx context.Context, identity Identity, file string, done func(*tracker) bool) (event.Position, error) {
	start := event.Position{ServerUUID: identity.ServerUUID, File: file, Offset: firstEvent}
	var executed event.GTIDSet
	headed := false // the GTIDs of earlier files, which head a file, were read
	t := newTracker(start, func(event.TableName) bool { return false }, func(_ context.Context, b event.Batch) error {
		executed.Add(b.Executed().Run())
		return nil
	})
	t.previous = func(set event.GTIDSet) { executed, headed = set, true }
	if err := s.readUntil(ctx, "scan", t.boundary, nil, t, func() bool { return headed && done(t) }); err != nil {
		return event.Position{}, err
	}
	p := event.Position{File: t.boundary.File, Offset: t.boundary.Offset, Time: t.boundary.Time}
	if identity.GTIDs() {
		p.GTIDs = executed.String()
	}
	return p, nil
}

// before returns the end of the last transaction before a time: the first one that was committed then or later comes behind it.
func (s *Source) before(ctx context.Context, conn *client.Conn, identity Identity, at time.Time) (event.Position, error) {
	file, err := s.fileAt(ctx, conn, identity, at)
	if err != nil {
		return event.Position{}, err
	}
	end, err := logEnd(conn)
	if err != nil {
		return event.Position{}, err
	}
	p, err := s.scanUntil(ctx, identity, file, func(t *tracker) bool {
		return t.tx.open && !t.tx.time.IsZero() && !t.tx.time.Before(at) || !positionBefore(t.boundary, end)
	})
	if p.Time.IsZero() { // the last one is in an earlier file
		p.Time = at
	}
	return p, err
}

// fileAt returns the newest file that was begun before a time, looking from the newest to the oldest.
func (s *Source) fileAt(ctx context.Context, conn *client.Conn, identity Identity, at time.Time) (string, error) {
	files, err := logFiles(conn)
	if err != nil {
		return "", err
	}
	var begun time.Time
	for _, f := range slices.Backward(files) {
		_, err := s.scanUntil(ctx, identity, f.Name, func(t *tracker) bool {
			begun = time.Unix(int64(t.created.at), 0).UTC()
			return true
		})
		if err != nil {
			return "", err
		}
		if begun.Unix() < at.Unix() { // in the same second, the file before may have transactions of that time
			return f.Name, nil
		}
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%w: it has no binary log", ErrReset)
	}
	return "", fmt.Errorf("%w: its oldest one, %s, begins at %s; to start there, write %q", ErrPurged, files[0].Name, begun.Format(time.RFC3339),
		fmt.Sprintf("%s:%d", files[0].Name, firstEvent))
}

// checkGTIDs reports whether the server can go on from a set.
func checkGTIDs(identity Identity, gtids string) error {
	if !identity.GTIDs() {
		return &event.StopError{Reason: "a position by GTIDs needs gtid_mode=ON, it is " + identity.GTIDMode, Fix: "start with a file and offset"}
	}
	set, err := event.ParseGTIDSet(gtids)
	if err != nil {
		return err
	}
	if !identity.Executed.Contains(set) {
		return fmt.Errorf("%w: the position has transactions %s, the server has executed only %s (another server, a reset log or a restored backup)",
			ErrReset, short(set.String()), short(identity.Executed.String()))
	}
	if !set.Contains(identity.Purged) {
		return fmt.Errorf("%w: it has purged the logs of %s, the position has only %s", ErrPurged, short(identity.Purged.String()), short(set.String()))
	}
	return nil
}

// checkFile reports whether the server's log holds a position by file and offset.
func checkFile(conn *client.Conn, p event.Position) error {
	files, err := logFiles(conn)
	if err != nil {
		return err
	}
	return fileAmong(files, p)
}

func fileAmong(files []LogFile, p event.Position) error {
	if len(files) == 0 {
		return fmt.Errorf("%w: it has no binary log", ErrReset)
	}
	for _, f := range files {
		if f.Name == p.File {
			if p.Offset > f.Size {
				return fmt.Errorf("%w: the position is %s, but the file has only %d bytes", ErrReset, p, f.Size)
			}
			return nil
		}
	}
	if fileBefore(p.File, files[0].Name) {
		return fmt.Errorf("%w: %s is not on the server (oldest: %s)", ErrPurged, p.File, files[0].Name)
	}
	return fmt.Errorf("%w: %s is not on the server (newest: %s)", ErrReset, p.File, files[len(files)-1].Name)
}

// fileBefore orders names of binary logs by their number: 999999 comes before 1000000.
func fileBefore(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// short cuts a long text for a message.
func short(text string) string {
	if text == "" {
		return "none"
	}
	if len(text) > 300 {
		return text[:300] + "…"
	}
	return text
}

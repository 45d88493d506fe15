package binlog

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"canalgo/event"
)

// What MariaDB does otherwise than MySQL. Its formats are described in its documentation, "Replication Protocol" and "GTID_EVENT".

const mariadbFix = "use MariaDB 10.5 to 10.11, or a MySQL server, 8.0 or later"

func isMariaDB(version string) bool { return strings.Contains(version, "MariaDB") }

// identifyMariaDB completes what is known of a MariaDB.
func identifyMariaDB(conn *client.Conn, i Identity, host, port string) (Identity, error) {
	if !atLeast(i.Version, 10, 5) || atLeast(i.Version, 10, 12) { // 11.4 leaves places out of the headers of events
		return Identity{}, &event.StopError{Reason: "this is " + i.Version, Fix: mariadbFix}
	}
	i.MariaDB, i.ServerUUID, i.GTIDMode = true, mariadbServer(i.ServerID, host, port), "ON" // it cannot be switched off
	text, err := scalar(conn, "SELECT @@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return Identity{}, fmt.Errorf("read the server's GTIDs: %w", err)
	}
	i.Executed, err = parseGTIDs(text)
	return i, err
}

// mariadbServer names a server. The server_id is its own among all that replicate from each other; host and port tell servers apart
// that were never told to. A server that was built anew at the same place has another log, which checkPlace sees.
func mariadbServer(id uint32, host, port string) string {
	return fmt.Sprintf("mariadb-%d@%s:%s", id, host, port)
}

// checkPlace reports whether the log at a place is the one that the position was read from: the GTIDs before it are the same.
func (s *Source) checkPlace(ctx context.Context, serverUUID string, p event.Position) error {
	if p.GTIDs == "" || p.Offset > math.MaxUint32 { // the function knows no larger one
		return nil
	}
	conn, _, err := s.Connect(ctx, serverUUID) // not the dump's, which waits for a short time only: the server reads the file up to there
	if err != nil {
		return err
	}
	defer conn.Close()
	want, err := event.ParseGTIDSet(p.GTIDs)
	if err != nil {
		return err
	}
	got, err := placeGTIDs(conn, p.File, p.Offset)
	if err != nil {
		return err
	}
	if got.String() != want.String() {
		return fmt.Errorf("%w: at %s it has transactions %s, the position has %s", ErrReset, p, short(got.String()), short(want.String()))
	}
	return nil
}

// placeGTIDs returns the GTIDs before a place of the log; none when no event ends there.
func placeGTIDs(conn *client.Conn, file string, offset uint64) (event.GTIDSet, error) {
	text, err := scalar(conn, "SELECT BINLOG_GTID_POS(?, ?)", file, offset)
	if err != nil {
		return event.GTIDSet{}, fmt.Errorf("ask for the GTIDs before %s:%d: %w", file, offset, err)
	}
	return parseGTIDs(text)
}

// awaitSnapshot returns once the server shows the transactions before a position. It says at which place of the log a consistent snapshot
// stands: when one stands at or behind the position, so does all that is read later. A position without a file is that of its GTIDs.
func awaitSnapshot(ctx context.Context, conn *client.Conn, at event.Position, timeout time.Duration) error {
	wanted, err := event.ParseGTIDSet(at.GTIDs)
	if err != nil {
		return err
	}
	var has event.Position
	for deadline := time.Now().Add(timeout); ; {
		if at.File == "" {
			end, err := logEnd(conn)
			if err != nil {
				return err
			}
			if executed, err := event.ParseGTIDSet(end.GTIDs); err == nil && executed.Contains(wanted) {
				at.File, at.Offset = end.File, end.Offset
			}
		}
		if has, err = snapshotPlace(conn); err != nil {
			return err
		}
		if at.File != "" && !positionBefore(has, at) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for transactions: after %s the server shows them up to %s only, not to %s", timeout, has, at)
		}
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// snapshotPlace takes a consistent snapshot and returns where it stands in the log.
func snapshotPlace(conn *client.Conn) (event.Position, error) {
	if _, err := conn.Execute("START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return event.Position{}, fmt.Errorf("take a snapshot: %w", err)
	}
	r, err := conn.Execute("SHOW STATUS WHERE Variable_name IN ('binlog_snapshot_file', 'binlog_snapshot_position')")
	if err != nil {
		return event.Position{}, fmt.Errorf("ask where a snapshot stands: %w", err)
	}
	var p event.Position
	for i := range r.Values {
		switch name, _ := r.GetString(i, 0); strings.ToLower(name) {
		case "binlog_snapshot_file":
			p.File, _ = r.GetString(i, 1)
		case "binlog_snapshot_position":
			p.Offset, _ = r.GetUint(i, 1)
		}
	}
	_, err = conn.Execute("COMMIT") // an open one would keep old rows in the server
	return p, err
}

// The flags of a GTID that matter here.
const (
	gtidStandalone  = 1   // one statement without an end of its own
	gtidGroupCommit = 2   // an id of 8 bytes follows
	gtidPreparedXA  = 64  // ends in an XA PREPARE; its xid follows
	gtidCompletedXA = 128 // is an XA COMMIT or ROLLBACK; its xid follows
)

// beginMariaDB notes a transaction's GTID. It stands for BEGIN and XA START, too:
//
//	number:u64 | domain:u32 | flags:u8 | [group:u64] | [format:u32 | sizes of gtrid and bqual:u8 each | both] | ...
func (t *tracker) beginMariaDB(h header, raw []byte) error {
	if err := t.beginAt(h); err != nil {
		return err
	}
	t.bound(event.Group, raw)
	server, body := binary.LittleEndian.Uint32(raw[5:]), raw[headerSize:]
	flags := body[12]
	t.mariadb = true
	t.tx.begun = flags&gtidStandalone == 0
	t.tx.time = time.Unix(int64(h.timestamp), 0).UTC()
	if n := int64(binary.LittleEndian.Uint64(body)); n > 0 {
		t.tx.gtid = event.MariaDBGTID(binary.LittleEndian.Uint32(body[8:]), server, n)
	}
	if flags&gtidPreparedXA == 0 {
		return nil
	}
	at := 13
	if flags&gtidGroupCommit != 0 {
		at += 8
	}
	xid, ok := mariadbXID(body[min(at, len(body)):])
	if !ok {
		return t.stop("a malformed GTID of an XA transaction", "")
	}
	t.tx.xa, t.tx.xid, t.xid = true, xid, xid
	return nil
}

// checkpoint moves the position behind an event that the server writes by itself, perhaps as the last one for long.
func (t *tracker) checkpoint(ctx context.Context) error {
	if t.tx.open || t.boundary.File != t.file {
		return nil
	}
	t.boundary.Offset = max(t.boundary.Offset, t.offset)
	return t.emit(ctx, event.Batch{End: t.boundary})
}

// mariadbXID spells an xid as the statements that end it do: X'gtrid',X'bqual',format.
func mariadbXID(b []byte) (string, bool) {
	if len(b) < 6 || len(b) < 6+int(b[4])+int(b[5]) {
		return "", false
	}
	gtrid, bqual := b[6:6+int(b[4])], b[6+int(b[4]):6+int(b[4])+int(b[5])]
	return fmt.Sprintf("X'%s',X'%s',%d", hex.EncodeToString(gtrid), hex.EncodeToString(bqual), binary.LittleEndian.Uint32(b)), true
}

// gtidList takes the last GTIDs of each domain and server before the file, the last of a domain behind the others:
//
//	number and flags:u32 | domain:u32 | server:u32 | number:u64 | ...
func (t *tracker) gtidList(body []byte) error {
	if t.previous == nil {
		return nil
	}
	var set event.GTIDSet
	n := int(binary.LittleEndian.Uint32(body) & (1<<28 - 1))
	if len(body)-4 < 16*n {
		return t.stop("a malformed list of GTIDs", "")
	}
	for b := body[4 : 4+16*n]; len(b) > 0; b = b[16:] {
		g := event.MariaDBGTID(binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int64(binary.LittleEndian.Uint64(b[8:])))
		set.Add(g.Run())
	}
	t.previous(set)
	return nil
}

// maxInflation is how many times larger zlib can make its input at most.
const maxInflation = 1032

// inflate unpacks what MariaDB has compressed in an event; a size that cannot be is not believed:
//
//	1:1 algorithm:3 unused:1 size of size:3 | size, big-endian | zlib
func inflate(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0]&0x70 != 0 || len(b) < 1+int(b[0]&7) {
		return nil, errors.New("it is compressed in a way that is not known")
	}
	size := big(b[1 : 1+int(b[0]&7)])
	if size > maxEvent {
		return nil, fmt.Errorf("it has %d bytes unpacked, more than the %d that are taken", size, maxEvent)
	}
	if size > maxInflation*uint64(len(b)) {
		return nil, fmt.Errorf("it has %d bytes and claims to have %d unpacked", len(b), size)
	}
	r, err := zlib.NewReader(bytes.NewReader(b[1+int(b[0]&7):]))
	if err != nil {
		return nil, err
	}
	out := make([]byte, size)
	n, err := io.ReadFull(r, out)
	if err != nil {
		return nil, fmt.Errorf("it has %d bytes unpacked instead of %d: %w", n, size, err)
	}
	switch n, err := r.Read(make([]byte, 1)); {
	case n > 0 || err == nil:
		return nil, fmt.Errorf("it has more than %d bytes unpacked", size)
	case err != io.EOF: // its checksum stands at the end
		return nil, err
	}
	return out, nil
}

package binlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/uuid"

	"canalgo/event"
)

// useHeartbeatV2 is a flag of the dump commands: heartbeats whose offset has 64 bits.
const useHeartbeatV2 = 2

// A dump is one connection over which the server sends its log.
type dump struct {
	conn *client.Conn
	end  event.Position // the server's end of log when the dump began
	// lowerCase: the server stores names of tables in lower case, statements have them as they were written.
	lowerCase bool
	checksums bool // a CRC32 follows each event; the format description says so
	frame     frame
}

// openDump connects, checks that the server holds what follows from, and asks for it. It ends with ctx.
func (s *Source) openDump(ctx context.Context, stream string, from event.Position, received *atomic.Uint64) (_ *dump, err error) {
	conn, identity, err := s.answer(ctx, time.Duration(s.cfg.ReadTimeout), from.ServerUUID)
	if errors.Is(err, ErrServerChanged) && from.File == "" { // GTIDs are the same everywhere
		conn, identity, err = s.answer(ctx, time.Duration(s.cfg.ReadTimeout), "")
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if err := s.checkPosition(ctx, conn, identity, from); err != nil {
		return nil, err
	}
	d := &dump{conn: conn, lowerCase: identity.LowerCaseNames, frame: frame{received: received}}
	if d.end, err = logEnd(conn); err != nil {
		return nil, err
	}
	d.end.ServerUUID = identity.ServerUUID
	id, replica := s.replicaID(stream, identity.ServerID)
	heartbeat := time.Duration(s.cfg.Heartbeat).Nanoseconds()
	// Both spellings: 8.0.26 renamed them. NONE is about what comes before the first format description.
	prepare := fmt.Sprintf("SET @source_binlog_checksum = 'NONE', @master_binlog_checksum = 'NONE', "+
		"@source_heartbeat_period = %d, @master_heartbeat_period = %d, @replica_uuid = '%s', @slave_uuid = '%s'",
		heartbeat, heartbeat, replica, replica)
	if identity.MariaDB {
		prepare += ", @mariadb_slave_capability = 4" // its own events, as they are
		if from.File == "" {
			prepare += ", @slave_connect_state = '" + from.GTIDs + "', @slave_gtid_strict_mode = 0"
		}
	}
	if _, err := conn.Execute(prepare); err != nil {
		return nil, fmt.Errorf("prepare the dump: %w", err)
	}
	if err := register(conn, id); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	flags := uint16(useHeartbeatV2)
	if identity.MariaDB {
		flags = 0 // the same bit asks it for the texts of statements
	}
	command := fileDumpCommand(id, from, flags)
	if from.File == "" && !identity.MariaDB {
		set, err := event.ParseGTIDSet(from.GTIDs)
		if err != nil {
			return nil, err
		}
		command = gtidDumpCommand(id, set)
	}
	conn.ResetSequence()
	if err := conn.WritePacket(command); err != nil {
		return nil, fmt.Errorf("ask for the binary log: %w", err)
	}
	return d, nil
}

// commitPatience is how long a transaction that was read may take to become visible: the server sends it first, and a replica that
// takes over may be behind.
const commitPatience = 10 * time.Second

// checkPosition reports whether the server's log holds a position: an error says what is missing better than the server does.
func (s *Source) checkPosition(ctx context.Context, conn *client.Conn, identity Identity, from event.Position) error {
	if !identity.LogBin {
		return &event.StopError{Reason: "the server writes no binary log", Fix: "start mysqld with --log-bin"}
	}
	if from.File == "" {
		return checkGTIDs(identity, from.GTIDs)
	}
	if err := checkFile(conn, from); err != nil {
		return err
	}
	if identity.MariaDB {
		return s.checkPlace(ctx, identity.ServerUUID, from)
	}
	if !identity.GTIDs() || from.GTIDs == "" {
		return nil
	}
	_, err := awaitExecuted(ctx, conn, identity, from.GTIDs)
	return err
}

// awaitExecuted gives a server some time to have executed a GTID set, and returns what it is then.
func awaitExecuted(ctx context.Context, conn *client.Conn, identity Identity, gtids string) (Identity, error) {
	set, err := event.ParseGTIDSet(gtids)
	if err != nil {
		return identity, err
	}
	for deadline := time.Now().Add(commitPatience); !identity.Executed.Contains(set); {
		if time.Now().After(deadline) {
			return identity, fmt.Errorf("%w: the position has transactions %s, the server has executed only %s (another server, a reset log or a restored backup)", ErrReset,
				short(gtids), short(identity.Executed.String()))
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return identity, ctx.Err()
		case <-timer.C:
		}
		if identity, err = identify(conn); err != nil {
			return identity, err
		}
	}
	return identity, nil
}

// replicaID returns what a server knows a stream by: the same on every node that runs it, so that the server itself ends
// the dump of a leader that does not know yet that it is one no more, and another one for every other stream.
func (s *Source) replicaID(stream string, sourceID uint32) (uint32, uuid.UUID) {
	replica := uuid.NewSHA1(uuid.NameSpaceOID, []byte(strings.Join([]string{"canalgo", s.cluster, s.name, stream}, "\x00")))
	id := s.cfg.ServerID
	if id == 0 {
		for id = binary.BigEndian.Uint32(replica[:]); id == 0 || id == sourceID; id++ {
		}
	}
	return id, replica
}

// register makes the server list the connection as a replica.
func register(conn *client.Conn, id uint32) error {
	conn.ResetSequence()
	if err := conn.WritePacket(registerCommand(id)); err != nil {
		return err
	}
	_, err := conn.ReadOKPacket()
	return err
}

// registerCommand makes the stream visible in SHOW REPLICAS:
//
//	command:u8 | server_id:u32 | host | user | password: length:u8 and bytes each | port:u16 | rank:u32 | source_id:u32
func registerCommand(id uint32) []byte {
	const host = "canalgo"
	b := append(make([]byte, 4), mysql.COM_REGISTER_SLAVE)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = append(append(b, byte(len(host))), host...)
	return append(b, make([]byte, 1+1+2+4+4)...)
}

// fileDumpCommand asks for a file from an offset on:
//
//	command:u8 | offset:u32 | flags:u16 | server_id:u32 | file
//
// Behind 4 GiB the whole file has to be asked for.
func fileDumpCommand(id uint32, from event.Position, flags uint16) []byte {
	offset := uint32(firstEvent)
	if from.Offset == uint64(uint32(from.Offset)) {
		offset = uint32(from.Offset)
	}
	b := append(make([]byte, 4), mysql.COM_BINLOG_DUMP)
	b = binary.LittleEndian.AppendUint32(b, offset)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, id)
	return append(b, from.File...)
}

// gtidDumpCommand asks for all transactions but those of a set:
//
//	command:u8 | flags:u16 | server_id:u32 | file length:u32 | offset:u64 | set length:u32 | set
func gtidDumpCommand(id uint32, set event.GTIDSet) []byte {
	encoded := set.Encode()
	b := append(make([]byte, 4), mysql.COM_BINLOG_DUMP_GTID)
	b = binary.LittleEndian.AppendUint16(b, useHeartbeatV2)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, firstEvent)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(encoded)))
	return append(b, encoded...)
}

// feed reads one event and hands it to the tracker.
func (d *dump) feed(ctx context.Context, t *tracker) (header, error) {
	raw, err := d.next(func(h header, head []byte, rest io.Reader) error { return t.largePayload(ctx, h, head, rest) })
	if err != nil {
		return header{}, err
	}
	h := readHeader(raw)
	if len(raw) < int(h.size) {
		if h.kind == typeTransactionPayload {
			return h, nil // it was taken while it came
		}
		return h, t.oversized(ctx, raw)
	}
	kept, err := t.event(ctx, raw)
	if !kept {
		d.frame.spare = raw[:0]
	}
	return h, err
}

// readUntil feeds t from a position on, that of its boundary, over a connection of its own, until done, which is asked before each event.
func (s *Source) readUntil(ctx context.Context, stream string, from event.Position, received *atomic.Uint64, t *tracker, done func() bool) error {
	d, err := s.openDump(ctx, stream, from, received)
	if err != nil {
		return err
	}
	defer d.conn.Close()
	t.lowerCase = d.lowerCase
	for !done() {
		if _, err := d.feed(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// next reads one event. One above maxEvent comes cut short: its header and the first bytes of its body. But a compressed transaction
// above it goes to large while it arrives, in a goroutine that has ended when next returns.
func (d *dump) next(large func(h header, head []byte, rest io.Reader) error) ([]byte, error) {
	f := &d.frame
	f.data, f.size = nil, 0
	f.large = func(h header, head []byte, rest io.Reader) error {
		if d.checksums { // it is not verified: that would need all of it before its first row
			rest = io.LimitReader(rest, int64(h.size)-headerSize-int64(len(head))-checksumSize)
		}
		return large(h, head, rest)
	}
	err := d.conn.ReadPacketTo(f)
	if taken, handled := f.wait(err); handled {
		return f.data, taken
	}
	if err != nil {
		return nil, fmt.Errorf("read the binary log: %w", err)
	}
	switch {
	case f.size == 0:
		return nil, errors.New("read the binary log: an empty packet")
	case f.status == mysql.ERR_HEADER:
		return nil, dumpError(d.conn.HandleErrorPacket(append([]byte{f.status}, f.data...)))
	case f.status == mysql.EOF_HEADER:
		return nil, errors.New("read the binary log: the server ended it")
	case f.status != mysql.OK_HEADER || f.size < 1+headerSize || f.size-1 != int(readHeader(f.data).size):
		return nil, fmt.Errorf("read the binary log: a malformed packet of %d bytes", f.size)
	}
	return d.verify(f.data)
}

// verify checks an event's checksum and takes it off. A format description always has room for one, and says whether it and
// those after it are filled. Before the first one there are none, because the dump was asked for without.
func (d *dump) verify(raw []byte) ([]byte, error) {
	h := readHeader(raw)
	if len(raw) < int(h.size) {
		return raw, nil // cut short
	}
	if h.kind == typeFormatDescription && len(raw) >= headerSize+shortest(h.kind) {
		d.checksums = raw[len(raw)-checksumSize-1] == 1
	}
	if !d.checksums {
		return raw, nil
	}
	body := len(raw) - checksumSize
	if body < headerSize || crc32.ChecksumIEEE(raw[:body]) != binary.LittleEndian.Uint32(raw[body:]) {
		return nil, fmt.Errorf("read the binary log: an event of type %d was damaged: its checksum is wrong", h.kind)
	}
	if h.kind == typeFormatDescription {
		return raw, nil
	}
	binary.LittleEndian.PutUint32(raw[9:], uint32(body))
	return raw[:body], nil
}

// dumpError gives the server's reasons to end a dump the names that they have here. They share error 1236 and differ by text.
func dumpError(err error) error {
	var server *mysql.MyError
	if !errors.As(err, &server) || server.Code != mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG {
		return fmt.Errorf("read the binary log: %w", err)
	}
	text := server.Message
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("Could not find first log file name"), has("purged required binary logs"), has("binlog files have been purged"):
		return fmt.Errorf("%w: %s", ErrPurged, text)
	// A position was the end of an event once: where the server finds none, the log is another one.
	case has("more GTIDs than the"), has("> file size"), has("impossible position"), has("bogus data in log event"), has("which is not in the master's binlog"):
		return fmt.Errorf("%w: %s", ErrReset, text)
	}
	return fmt.Errorf("read the binary log: %w", err) // among them a log that was reset: connecting again tells
}

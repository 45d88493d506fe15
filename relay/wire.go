package relay

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"canalgo/event"
)

// A feed over a connection is a row of frames, both ways. Numbers are big-endian.
//
//	frame      length:u32 | version:u8 | type:u8 | payload | crc32c:u32
//
// length counts what follows it; crc32c covers what precedes it. version is the same in all frames of a connection: the highest that
// both ends know, as whoever connects them has found out. An end refuses any other. So it stands for version 1:
//
//	from the node
//	open       JSON of Open; the first frame
//	progress   acked:u64 | granted:u64       also every 500 ms, as a sign of life
//	close      (empty)                       nothing more will be acknowledged
//
//	from the leader
//	opened     (empty)                       or end, in answer to open
//	batch      newest:u64 | settled:u8 | size:u32 | the first bytes of event.AppendBatch
//	part       further bytes of the batch; parts follow it at once until size is reached
//	heartbeat  newest:u64 | settled:u8       when nothing else was sent for 200 ms
//	end        JSON of ending                no batch follows; heartbeats do
//	closed     (empty)                       in answer to close: the last acknowledgement has been counted
//
// A batch costs its size and batchCost. The leader begins a batch only while what it has sent costs less than the node has
// granted; so the node holds at most Window and one batch (rule 7), however long its destination is away, and whatever
// else there is to say gets through. Silence of 3 s means a dead or frozen end, never a slow destination.
//
// What other versions have beside that, batchExtra says.

// Window is what a node takes in advance: bytes of batches that were sent and that Next has not returned.
const Window = 4 << 20

// batchCost is what a batch costs beyond its size. Both ends count it.
const batchCost = 256

// maxBatch is the size of the largest batch that travels: an event of 64 MiB and what explains it.
const maxBatch = 80 << 20

// The frames' sizes.
const (
	prefixBytes = 4 + 1 + 1
	crcBytes    = 4
	maxFrame    = 256 << 10 // with length and crc
	maxPayload  = maxFrame - prefixBytes - crcBytes

	newsBytes     = 8 + 1
	batchBytes    = newsBytes + 4
	progressBytes = 8 + 8
	maxJSON       = 32 << 10
)

// How long things may take.
const (
	silence   = 3 * time.Second // from one end, or of a write that does not move
	heartbeat = 200 * time.Millisecond
	keepAlive = 500 * time.Millisecond

	acceptWait = 5 * time.Second  // for open
	openWait   = 10 * time.Second // for the answer to open
	drainWait  = 10 * time.Second // after the feed's end, for close
	closeWait  = time.Second      // for closed
)

type frameKind uint8

const (
	frameOpen frameKind = iota + 1
	frameProgress
	frameClose
	frameOpened
	frameBatch
	framePart
	frameHeartbeat
	frameEnd
	frameClosed
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A frameWriter writes frames into a buffer. Its first error stays, and nothing is written after it.
type frameWriter struct {
	out     *bufio.Writer
	version uint8
	err     error
	sum     uint32 // of the frame at hand
	room    int    // payload bytes that the frame at hand lacks
	unbegun int    // bytes of the batch at hand that belong into parts not begun yet
	scratch [prefixBytes + progressBytes]byte
}

func newFrameWriter(w io.Writer, version uint8) *frameWriter {
	return &frameWriter{out: bufio.NewWriterSize(w, 64<<10), version: version}
}

// begin begins a frame; put must be given size bytes of payload then.
func (w *frameWriter) begin(kind frameKind, size int) {
	w.sum, w.room = 0, size
	prefix := w.scratch[:prefixBytes]
	binary.BigEndian.PutUint32(prefix, uint32(prefixBytes-4+size+crcBytes))
	prefix[4], prefix[5] = w.version, byte(kind)
	w.write(prefix)
	if size == 0 {
		w.finish()
	}
}

func (w *frameWriter) put(p []byte) {
	w.write(p)
	if w.room -= len(p); w.room == 0 {
		w.finish()
	}
}

func (w *frameWriter) write(p []byte) {
	if w.err == nil {
		w.sum = crc32.Update(w.sum, castagnoli, p)
		_, w.err = w.out.Write(p)
	}
}

func (w *frameWriter) finish() {
	crc := w.scratch[:crcBytes]
	binary.BigEndian.PutUint32(crc, w.sum)
	w.write(crc)
}

func (w *frameWriter) frame(kind frameKind, payload []byte) {
	w.begin(kind, len(payload))
	if len(payload) > 0 {
		w.put(payload)
	}
}

func (w *frameWriter) heartbeat(newest event.Version, settled bool) {
	w.begin(frameHeartbeat, newsBytes)
	w.put(appendNews(w.scratch[prefixBytes:prefixBytes], newest, settled))
}

func (w *frameWriter) progress(acked, granted uint64) {
	w.begin(frameProgress, progressBytes)
	p := binary.BigEndian.AppendUint64(w.scratch[prefixBytes:prefixBytes], acked)
	w.put(binary.BigEndian.AppendUint64(p, granted))
}

// batch writes head and the events' raw bytes, size bytes together, in as many frames as it takes.
func (w *frameWriter) batch(newest event.Version, settled bool, head []byte, events []event.Event, size int) {
	extra := batchExtra(w.version)
	first := min(size, maxPayload-batchBytes-len(extra))
	w.unbegun = size - first
	w.begin(frameBatch, batchBytes+len(extra)+first)
	p := appendNews(w.scratch[prefixBytes:prefixBytes], newest, settled)
	p = binary.BigEndian.AppendUint32(p, uint32(size))
	w.put(append(p, extra...))
	w.spread(head)
	for i := range events {
		w.spread(events[i].Raw)
	}
}

func (w *frameWriter) spread(p []byte) {
	for len(p) > 0 && w.err == nil {
		if w.room == 0 {
			next := min(w.unbegun, maxPayload)
			w.unbegun -= next
			w.begin(framePart, next)
		}
		n := min(len(p), w.room)
		w.put(p[:n])
		//failpoint relay.after_chunk w.err
		p = p[n:]
	}
}

func (w *frameWriter) flush() error {
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

func appendNews(dst []byte, newest event.Version, settled bool) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(newest))
	if settled {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func readNews(p []byte) (newest event.Version, settled bool) {
	return event.Version(binary.BigEndian.Uint64(p)), p[8] == 1
}

// A frameReader reads frames: next, then the payload by fill or body, then finish, which says whether it was sound.
type frameReader struct {
	in      *bufio.Reader
	version uint8
	sum     uint32
	left    int // payload bytes of the frame at hand that were not read
	scratch [prefixBytes]byte
	buf     []byte // of body
}

func newFrameReader(r io.Reader, version uint8) *frameReader {
	return &frameReader{in: bufio.NewReaderSize(r, 64<<10), version: version}
}

func (r *frameReader) next() (frameKind, error) {
	prefix := r.scratch[:]
	if _, err := io.ReadFull(r.in, prefix); err != nil {
		return 0, err
	}
	length := binary.BigEndian.Uint32(prefix)
	if length < prefixBytes-4+crcBytes || length > maxFrame-4 {
		return 0, fmt.Errorf("frame with a length of %d", length)
	}
	if prefix[4] != r.version {
		return 0, fmt.Errorf("frame of version %d, this connection was opened for %d", prefix[4], r.version)
	}
	r.sum = crc32.Update(0, castagnoli, prefix)
	r.left = int(length) - (prefixBytes - 4) - crcBytes
	return frameKind(prefix[5]), nil
}

// fill reads the next bytes of the payload.
func (r *frameReader) fill(p []byte) error {
	if len(p) > r.left {
		return fmt.Errorf("frame lacks %d bytes", len(p)-r.left)
	}
	if _, err := io.ReadFull(r.in, p); err != nil {
		return err
	}
	r.left -= len(p)
	r.sum = crc32.Update(r.sum, castagnoli, p)
	return nil
}

// finish checks the frame, all of whose payload was read.
func (r *frameReader) finish() error {
	crc := r.scratch[:crcBytes]
	if _, err := io.ReadFull(r.in, crc); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint32(crc); got != r.sum {
		return fmt.Errorf("frame is damaged: checksum %08x, want %08x", got, r.sum)
	}
	return nil
}

// body reads the whole payload, least to most bytes of it. It is valid until the next call.
func (r *frameReader) body(least, most int) ([]byte, error) {
	if r.left < least || r.left > most {
		return nil, fmt.Errorf("frame with %d bytes of payload, want %d to %d", r.left, least, most)
	}
	if cap(r.buf) < r.left {
		r.buf = make([]byte, r.left)
	}
	p := r.buf[:r.left]
	if err := r.fill(p); err != nil {
		return nil, err
	}
	return p, r.finish()
}

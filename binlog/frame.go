package binlog

import (
	"io"
	"sync/atomic"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// A frame takes one packet: a status byte and, when that is 0, an event. The bytes are copied once, into memory of the event's
// own. Of an event above maxEvent only the head is kept; if it is a compressed transaction, it goes through large besides.
type frame struct {
	status byte
	data   []byte
	size   int
	spare  []byte // memory of an event that nobody kept
	// received counts the bytes of all packets, as they come; nil for nobody who asks.
	received *atomic.Uint64
	// large takes a compressed transaction above maxEvent. head begins its body; rest blocks until more has arrived.
	large  func(h header, head []byte, rest io.Reader) error
	stream *packetStream
}

// oversizedHead is how much of an event above maxEvent is kept.
const oversizedHead = 512

// Write takes the next bytes of the packet. The first call has at least its first 16 KiB.
func (f *frame) Write(p []byte) (int, error) {
	n := len(p)
	if f.received != nil {
		f.received.Add(uint64(n))
	}
	if f.size == 0 && n > 0 {
		f.status = p[0]
		p = p[1:]
		want := min(n-1, oversizedHead) // of what is no event
		if f.status == mysql.OK_HEADER && len(p) >= headerSize {
			h := readHeader(p)
			if want = int(h.size); want > maxEvent {
				want = oversizedHead
				if h.kind == typeTransactionPayload {
					f.stream = startStream(h, append([]byte{}, p[headerSize:]...), f.large)
				}
			}
		}
		f.data, f.spare = f.spare[:0], nil
		if cap(f.data) < want || cap(f.data) > 4*want+1024 {
			f.data = make([]byte, 0, want)
		}
	} else if f.stream != nil {
		f.size += n
		return f.stream.w.Write(p)
	}
	f.data = append(f.data, p[:min(len(p), cap(f.data)-len(f.data))]...)
	f.size += n
	return n, nil
}

// wait ends the stream of a compressed transaction, if there is one, after reading the packet gave err. When handled, the result says how
// the transaction was taken; else reading failed, and that is what counts.
func (f *frame) wait(err error) (taken error, handled bool) {
	s := f.stream
	if s == nil {
		return nil, false
	}
	f.stream = nil
	s.w.CloseWithError(err) // nil is the end
	taken = <-s.done
	if err != nil && (taken == nil || s.broken) {
		return nil, false
	}
	return taken, true
}

// A packetStream hands what is written to w to a goroutine.
type packetStream struct {
	w      *io.PipeWriter
	done   chan error
	broken bool // the goroutine met the end of the connection; read after done
}

func startStream(h header, head []byte, take func(header, []byte, io.Reader) error) *packetStream {
	r, w := io.Pipe()
	s := &packetStream{w: w, done: make(chan error, 1)}
	go func() {
		err := take(h, head, readerFunc(func(p []byte) (int, error) {
			n, err := r.Read(p)
			s.broken = s.broken || err != nil && err != io.EOF
			return n, err
		}))
		if err == nil {
			_, _ = io.Copy(io.Discard, r) // the checksum; whoever writes sees errors itself
		}
		r.CloseWithError(err)
		s.done <- err
	}()
	return s
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

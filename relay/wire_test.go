package relay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/relay"
)

// The frames' types, as wire.go numbers them.
const (
	frameOpen = iota + 1
	frameProgress
	frameClose
	frameOpened
	frameBatch
	framePart
	frameHeartbeat
	frameEnd
	frameClosed
)

// frame makes a frame as wire.go draws it.
func frame(kind byte, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(2+len(payload)+4))
	b = append(append(b, 1, kind), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func progress(acked, granted uint64) []byte {
	return frame(frameProgress, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, acked), granted)...)
}

func batchFrame(b event.Batch) []byte {
	data := event.AppendBatch(nil, &b)
	payload := binary.BigEndian.AppendUint32(make([]byte, 9), uint32(len(data)))
	return frame(frameBatch, append(payload, data...)...)
}

func join(frames ...[]byte) (all []byte) {
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

var openFrame = frame(frameOpen, []byte(`{"Duty":"shop/users","Epoch":3,"Node":"b"}`)...)

func damaged(frame []byte, at int, to byte) []byte {
	d := append([]byte(nil), frame...)
	d[at] = to
	return d
}

// malformed are frames that no end takes, with what the error says.
var malformed = []struct {
	name, want string
	frame      []byte
}{
	{"of another version", "version 2", damaged(progress(0, 0), 4, 2)},
	{"too short a length", "length of 5", []byte{0, 0, 0, 5, 1, 1, 0, 0, 0, 0}},
	{"too long a length", "length of 262141", []byte{0, 3, 0xff, 0xfd, 1, 1, 0, 0, 0, 0}},
	{"of an unknown type", "type 77", frame(77, 1, 2, 3)},
	{"of a type of later", "type 1", openFrame},
}

func TestServerRefusesMalformedFrames(t *testing.T) {
	cases := append(malformed[:len(malformed):len(malformed)], []struct {
		name, want string
		frame      []byte
	}{
		{"damaged", "checksum", damaged(progress(0, 0), 10, 1)},
		{"cut short", "closed the connection", progress(0, 0)[:20]},
		{"cut off in the prefix", "closed the connection", []byte{0, 0}},
		{"with too much", "payload", frame(frameProgress, make([]byte, 17)...)},
		{"with too little", "payload", frame(frameProgress, 1)},
		{"acknowledging the future", "batch 3 is acknowledged, the last one sent is 2", progress(3, 0)},
	}...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				served := accept(t.Context(), far, &fake{batches: raws(2, 10)})
				write(t, near, openFrame)
				go func() { _, _ = io.Copy(io.Discard, near) }()
				write(t, near, progress(0, 1<<20))
				synctest.Wait()
				_, _ = near.Write(c.frame) // it may not be read to its end
				synctest.Wait()
				near.Close()
				if err := <-served; err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, io.EOF) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			})
		})
	}
}

func TestAcceptRefusesWhoDoesNotOpen(t *testing.T) {
	for _, c := range []struct {
		name, want string
		says       []byte
		after      time.Duration
	}{
		{"says nothing", "silent", nil, 5 * time.Second},
		{"says half", "silent", openFrame[:20], 5 * time.Second},
		{"says something else", "want open", progress(0, 0), 0},
		{"is not JSON", "invalid character", frame(frameOpen, 'x'), 0},
		{"talks too much", "payload", frame(frameOpen, make([]byte, 40<<10)...), 0},
		{"speaks HTTP", "length", []byte("GET / HTTP/1.1\r\n\r\n"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				start := time.Now()
				served := accept(t.Context(), far, &fake{})
				_, _ = near.Write(c.says)
				if err := <-served; err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if d := time.Since(start); d != c.after {
					t.Errorf("after %s, want %s", d, c.after)
				}
			})
		})
	}
}

func TestFeedRefusesMalformedFrames(t *testing.T) {
	one := raws(1, 100)[0]
	data := event.AppendBatch(nil, &one)
	head := func(size uint32) []byte { return binary.BigEndian.AppendUint32(make([]byte, 9), size) }
	cases := append(malformed[:len(malformed):len(malformed)], []struct {
		name, want string
		frame      []byte
	}{
		{"damaged", "checksum", damaged(frame(frameHeartbeat, make([]byte, 9)...), 10, 1)},
		{"damaged batch", "checksum", damaged(batchFrame(one), 100, 77)},
		{"batch too large", "more than", frame(frameBatch, head(80<<20+1)...)},
		{"batch with more than its size", "lacks", frame(frameBatch, append(head(uint32(len(data)-1)), data...)...)},
		{"batch of nothing", "lacks", frame(frameBatch, head(100)...)},
		{"batch without a head", "lacks", frame(frameBatch, 1, 2, 3)},
		{"heartbeat inside a batch", "inside a batch", join(frame(frameBatch, append(head(uint32(len(data))), data[:50]...)...), frame(frameHeartbeat, make([]byte, 9)...))},
		{"empty part", "lacks", join(frame(frameBatch, append(head(uint32(len(data))), data[:50]...)...), frame(framePart))},
		{"malformed batch", "too many", frame(frameBatch, append(head(uint32(len(data)+1)), append(data, 0)...)...)},
		{"more than was granted", "granted", join(many(20, batchFrame(raws(1, 240<<10)[0]))...)},
		{"batch after the end", "after the feed's end", join(frame(frameEnd, []byte(`{"kind":"eof"}`)...), batchFrame(one))},
		{"malformed end", "end of the feed", frame(frameEnd, '[')},
		{"short heartbeat", "payload", frame(frameHeartbeat, 1)},
		{"frame of the other end", "type 2", progress(0, 0)},
	}...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, far := lead(t, c.frame)
				synctest.Wait()
				if _, err := far.Write([]byte{0}); err == nil {
					t.Error("the connection is open")
				}
				if err := f.Ack(t.Context(), 0); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				f.Close()
			})
		})
	}
}

func many(n int, frame []byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = frame
	}
	return all
}

// A recording plays what one end said, and takes everything.
type recording struct {
	net.Conn
	said   io.Reader
	closed chan struct{}
	once   sync.Once
}

func play(says []byte) *recording {
	return &recording{said: bytes.NewReader(says), closed: make(chan struct{})}
}

func (r *recording) Read(p []byte) (int, error)       { return r.said.Read(p) }
func (r *recording) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }
func (r *recording) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

// FuzzFrame says anything to both ends: as it is, and as the payload of a frame that is well made.
func FuzzFrame(f *testing.F) {
	for _, m := range malformed {
		f.Add(byte(0), m.frame)
	}
	f.Add(byte(0), join(progress(1, 1<<20), frame(frameClose)))
	f.Add(byte(frameBatch), batchFrame(raws(1, 10)[0])[6:])
	f.Add(byte(frameEnd), []byte(`{"kind":"stop","text":"a","fix":"b"}`))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		if kind != 0 {
			data = frame(kind, data[:min(len(data), 100<<10)]...)
		}
		if s, _, err := relay.Accept(play(data), 1); err == nil {
			_ = s.Serve(t.Context(), &fake{batches: raws(2, 10)})
		}
		s, _, err := relay.Accept(play(join(openFrame, data)), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(t.Context(), &fake{batches: raws(2, 10)}); errors.Is(err, io.EOF) {
			t.Errorf("serve: %v", err)
		}
		if _, err := relay.OpenFeed(t.Context(), play(data), 1, open); err == nil {
			t.Log("opened")
		}
		feed, err := relay.OpenFeed(t.Context(), play(join(frame(frameOpened), data)), 1, open)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = feed.Next(t.Context())
		}
		feed.Close()
	})
}

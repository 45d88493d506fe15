package relay_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"canalgo/event"
	"canalgo/relay"
)

// An endless feed has the same batch, n times.
type endless struct {
	batch event.Batch
	n     int
}

func (e *endless) Next(context.Context) (event.Batch, error) {
	if e.n == 0 {
		return event.Batch{}, io.EOF
	}
	e.n--
	e.batch.Seq++
	return e.batch, nil
}

func (e *endless) Ack(context.Context, uint64) error { return nil }

func (e *endless) Newest() (event.Version, bool) { return 1, true }

// transactions are those of which feeds are made: 500 rows of 200 bytes, and one row.
var transactions = []struct{ events, size int }{{13, 8 << 10}, {1, 200}}

func benchmarkBatch(events, size int) event.Batch {
	b := transaction(1, user)
	b.Events[0].Raw, b.Events[1].Raw, b.Events[2].Raw = make([]byte, 100), make([]byte, 120), make([]byte, size)
	b.End.Time = time.Now()
	for range events - 1 {
		b.Events = append(b.Events, b.Events[2])
	}
	b.Bytes = 220 + events*size
	return b
}

// BenchmarkServe measures both ends over loopback TCP.
func BenchmarkServe(b *testing.B) {
	benchmarkServe(b, func(near, far net.Conn) (net.Conn, net.Conn) { return near, far })
}

// BenchmarkServeTLS measures both ends as nodes are connected.
func BenchmarkServeTLS(b *testing.B) {
	benchmarkServe(b, func(near, far net.Conn) (net.Conn, net.Conn) { return encrypt(b, near, far) })
}

func benchmarkServe(b *testing.B, over func(near, far net.Conn) (net.Conn, net.Conn)) {
	for _, c := range transactions {
		b.Run(fmt.Sprintf("%dx%dB", c.events, c.size), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			batch := benchmarkBatch(c.events, c.size)
			b.SetBytes(int64(batch.Bytes))
			b.ReportAllocs()
			near, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			far, err := listener.Accept()
			if err != nil {
				b.Fatal(err)
			}
			near, far = over(near, far)
			served := accept(b.Context(), far, &endless{batch: batch, n: b.N})
			f, err := relay.OpenFeed(b.Context(), near, 1, open)
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for n := 0; ; n++ {
				got, err := f.Next(b.Context())
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				if n%100 == 0 {
					if err := f.Ack(b.Context(), got.Seq); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			f.Close()
			<-served
		})
	}
}

// A hollow connection takes everything at no cost, from a node that grants everything.
type hollow struct {
	*recording
	greeted bool
}

func (h *hollow) Read(p []byte) (int, error) {
	if !h.greeted {
		h.greeted = true
		return copy(p, join(openFrame, progress(0, math.MaxUint64))), nil
	}
	<-h.closed
	return 0, net.ErrClosed
}

// BenchmarkLeader measures what a batch costs the leader, without the connection.
func BenchmarkLeader(b *testing.B) {
	for _, c := range transactions {
		b.Run(fmt.Sprintf("%dx%dB", c.events, c.size), func(b *testing.B) {
			batch := benchmarkBatch(c.events, c.size)
			b.SetBytes(int64(batch.Bytes))
			b.ReportAllocs()
			conn := &hollow{recording: play(nil)}
			s, _, err := relay.Accept(conn, 1)
			if err != nil {
				b.Fatal(err)
			}
			feed := &endless{batch: batch, n: b.N}
			ctx, cancel := context.WithCancel(b.Context())
			_ = s.Serve(ctx, &until{feed, cancel})
		})
	}
}

// until cancels instead of ending: nobody is there to finish.
type until struct {
	*endless
	cancel func()
}

func (u *until) Next(ctx context.Context) (event.Batch, error) {
	b, err := u.endless.Next(ctx)
	if err != nil {
		u.cancel()
	}
	return b, err
}

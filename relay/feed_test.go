package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/relay"
	"canalgo/sink"
)

var _ sink.Feed = (*relay.Feed)(nil)

var open = relay.Open{Duty: "shop/users", Epoch: 3, Node: "b"}

// A fake is a feed whose batches are there; it ends with end, or waits when that is nil.
type fake struct {
	mu      sync.Mutex
	batches []event.Batch
	end     error
	acked   uint64
	newest  event.Version
	settled bool
	read    int // batches
	eager   bool
}

func (f *fake) Next(ctx context.Context) (event.Batch, error) {
	f.mu.Lock()
	if f.eager && ctx.Err() != nil {
		f.mu.Unlock()
		return event.Batch{}, ctx.Err()
	}
	if len(f.batches) > 0 {
		defer f.mu.Unlock()
		b := f.batches[0]
		f.batches = f.batches[1:]
		f.read++
		return b, nil
	}
	if f.end != nil {
		defer f.mu.Unlock()
		return event.Batch{}, f.end
	}
	f.mu.Unlock()
	<-ctx.Done()
	return event.Batch{}, ctx.Err()
}

func (f *fake) Ack(_ context.Context, seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = seq
	return nil
}

func (f *fake) Newest() (event.Version, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest, f.settled
}

func (f *fake) set(newest event.Version, settled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest, f.settled = newest, settled
}

// raws returns n batches with one event of size bytes.
func raws(n, size int) []event.Batch {
	batches := make([]event.Batch, n)
	for i := range batches {
		raw := make([]byte, size)
		for j := range raw {
			raw[j] = byte(i + j*7 + j>>8)
		}
		end := at(uint64(i))
		batches[i] = event.Batch{Seq: uint64(i + 1), End: end, Bytes: size, Events: []event.Event{{Kind: event.Rows, Table: user, Version: end.Version(), Raw: raw}}}
		batches[i].End.Time = time.Unix(1e9, 0).UTC()
	}
	return batches
}

// accept serves feed on conn; what Serve returns arrives on the channel.
func accept(ctx context.Context, conn net.Conn, feed relay.Served) <-chan error {
	served := make(chan error, 1)
	go func() {
		s, got, err := relay.Accept(conn, 1)
		switch {
		case err != nil:
		case got != open:
			err = fmt.Errorf("asked for %+v, want %+v", got, open)
			s.Refuse(err)
		default:
			err = s.Serve(ctx, feed)
		}
		served <- err
	}()
	return served
}

// connect opens feed over a pipe.
func connect(t *testing.T, feed relay.Served) (*relay.Feed, <-chan error) {
	t.Helper()
	near, far := net.Pipe()
	served := accept(t.Context(), far, feed)
	f, err := relay.OpenFeed(t.Context(), near, 1, open)
	if err != nil {
		t.Fatal(err)
	}
	return f, served
}

func take(t *testing.T, f *relay.Feed) event.Batch {
	t.Helper()
	b, err := f.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// finish closes the feed and wants both ends to end well.
func finish(t *testing.T, f *relay.Feed, served <-chan error) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func count(p event.Position) uint64 { return p.Count - event.FirstCount }

func TestFeedIsTheCursorOverAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1<<20)
		c, local := newCursor(t, l, at(0), user), newCursor(t, l, at(0), user)
		f, served := connect(t, c)
		for n := uint64(1); n <= 3; n++ {
			appendAll(t, l, transaction(3*n-2, user), transaction(3*n-1, other), transaction(3*n, user))
			for range 2 {
				got, want := take(t, f), next(t, local)
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("got\n%+v, want\n%+v", got, want)
				}
				if err := f.Ack(t.Context(), got.Seq); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // no time passes: the acknowledgement must not wait for the next sign of life
				if got, want := count(c.Position()), count(want.End); got < want {
					t.Errorf("position at %d after the acknowledgement of %d", got, want)
				}
			}
		}
		finish(t, f, served)
	})
}

func TestLargeBatchesTravelInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []event.Batch
		for i, size := range []int{0, 1, 256 << 10, 1 << 20, relay.Window + 1, 9 << 20, 1} {
			b := raws(1, size)[0]
			b.Seq = uint64(i + 1)
			if size == 0 {
				b.Events[0].Raw = nil
			} else {
				b.Events = append(b.Events, b.Events[0], event.Event{Kind: event.TableMap, Table: other})
			}
			batches = append(batches, b)
		}
		f, served := connect(t, &fake{batches: batches})
		for _, want := range batches {
			if got := take(t, f); !reflect.DeepEqual(got, want) {
				t.Fatalf("batch %d with events of %d bytes came otherwise", want.Seq, want.Bytes)
			}
		}
		finish(t, f, served)
	})
}

func TestBatchAboveTheLimitStopsTheDuty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := raws(1, 1<<20)[0]
		for range 80 {
			big.Events = append(big.Events, big.Events[0])
		}
		f, served := connect(t, &fake{batches: []event.Batch{big}})
		var stop *event.StopError
		if _, err := f.Next(t.Context()); !errors.As(err, &stop) {
			t.Errorf("got %v, want a StopError", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.As(err, &stop) {
			t.Errorf("serve: got %v, want a StopError", err)
		}
	})
}

// A destination may be away for hours: memory stays bounded, nothing ends, and afterwards all goes on.
func TestSlowDestinationIsNotADeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		feed := &fake{batches: raws(40, size), newest: 1}
		f, served := connect(t, feed)
		time.Sleep(time.Hour)
		feed.mu.Lock()
		read := feed.read
		feed.mu.Unlock()
		if read*size > relay.Window+size {
			t.Errorf("%d batches of 1 MiB were sent to a node that takes none", read)
		}
		feed.set(2, true)
		time.Sleep(time.Second)
		if newest, settled := f.Newest(); newest != 2 || !settled {
			t.Errorf("newest %d, settled %v: no heartbeat came through", newest, settled)
		}
		start := time.Now()
		for n := uint64(1); n <= 40; n++ {
			if b := take(t, f); b.Seq != n {
				t.Fatalf("got batch %d, want %d", b.Seq, n)
			}
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("the leader learnt %s late that there was room", d)
		}
		finish(t, f, served)
	})
}

func TestCursorFallsOffWhileTheDestinationIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 3<<20)
		c, quick := newCursor(t, l, at(0), user), newCursor(t, l, at(0), user)
		f, served := connect(t, c)
		go func() {
			for {
				if _, err := quick.Next(t.Context()); err != nil {
					return
				}
			}
		}()
		for n := uint64(1); n <= 20; n++ {
			b := transaction(n, user)
			b.Events[2].Raw, b.Bytes = make([]byte, 1<<20), 1<<20
			appendAll(t, l, b)
		}
		for n := uint64(1); ; n++ {
			b, err := f.Next(t.Context())
			if err != nil {
				if !errors.Is(err, relay.ErrBehind) || n < 5 {
					t.Errorf("got %v at batch %d, want ErrBehind after the window", err, n)
				}
				break
			}
			if count(b.End) != n {
				t.Fatalf("got transaction %d, want %d", count(b.End), n)
			}
		}
		f.Close()
		if err := <-served; !errors.Is(err, relay.ErrBehind) {
			t.Errorf("serve: got %v", err)
		}
		l.Close(io.EOF)
	})
}

func TestFeedIsServedWithoutTheTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, served := connect(t, &fake{batches: raws(100, 10), eager: true})
		for n := uint64(1); n <= 100; n++ {
			if b := take(t, f); b.Seq != n {
				t.Fatalf("got batch %d, want %d", b.Seq, n)
			}
		}
		finish(t, f, served)
	})
}

func TestNewestFollowsAndNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &fake{newest: 5}
		f, served := connect(t, feed)
		for _, step := range []struct {
			newest, want event.Version
			settled      bool
		}{{5, 5, false}, {9, 9, true}, {7, 9, true}, {12, 12, true}} {
			feed.set(step.newest, step.settled)
			time.Sleep(250 * time.Millisecond)
			synctest.Wait()
			if newest, settled := f.Newest(); newest != step.want || settled != step.settled {
				t.Errorf("newest %d, settled %v; want %d, %v", newest, settled, step.want, step.settled)
			}
		}
		finish(t, f, served)

		f, served = connect(t, &fake{newest: 30, settled: true, batches: raws(1, 10)})
		synctest.Wait() // no time for a heartbeat
		if newest, settled := f.Newest(); newest != 30 || !settled {
			t.Errorf("with a batch: newest %d, settled %v", newest, settled)
		}
		finish(t, f, served)
	})
}

func TestOpeningIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		says  []byte
		after time.Duration
		want  error
	}{
		{"by time", nil, 10 * time.Second, os.ErrDeadlineExceeded},
		{"by the context", nil, time.Second, context.DeadlineExceeded},
		{"by nonsense", frame(frameHeartbeat), 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				go func() { _, _ = io.Copy(io.Discard, far) }()
				go func() { _, _ = far.Write(c.says) }()
				ctx := t.Context()
				if c.want == context.DeadlineExceeded {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, c.after)
					defer cancel()
				}
				start := time.Now()
				if _, err := relay.OpenFeed(ctx, near, 1, open); err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if d := time.Since(start); d != c.after {
					t.Errorf("after %s, want %s", d, c.after)
				}
				if _, err := near.Write(nil); err == nil {
					t.Error("the connection is open")
				}
			})
		})
	}
}

// The bubble of synctest fails when a goroutine is left.
func TestNoGoroutineIsLeft(t *testing.T) {
	for name, end := range map[string]func(f *relay.Feed, cancel func()){
		"closed by the node":        func(f *relay.Feed, _ func()) { f.Close() },
		"ended by the leader":       func(f *relay.Feed, cancel func()) { cancel(); _, _ = f.Next(context.Background()); f.Close() },
		"closed several times":      func(f *relay.Feed, _ func()) { go f.Close(); f.Close(); f.Close() },
		"closed while Next waits":   func(f *relay.Feed, _ func()) { go f.Close(); _, _ = f.Next(context.Background()) },
		"ended while both are busy": func(f *relay.Feed, cancel func()) { go f.Close(); cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1000} {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					near, far := net.Pipe()
					served := accept(ctx, far, &fake{batches: raws(n, 10000)})
					f, err := relay.OpenFeed(ctx, near, 1, open)
					if err != nil {
						t.Fatal(err)
					}
					start := time.Now()
					for range min(10, n) {
						take(t, f)
					}
					end(f, cancel)
					if err := <-served; err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("serve: %v", err)
					}
					if d := time.Since(start); d > time.Second {
						t.Errorf("took %s", d)
					}
				})
			}
		})
	}
}

func TestContextEndsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		near, far := net.Pipe()
		defer near.Close()
		served := accept(ctx, far, &fake{batches: raws(1000, 1000)})
		write(t, near, openFrame)
		write(t, near, progress(0, math.MaxUint64)) // and reads nothing: a write is waiting
		synctest.Wait()
		start := time.Now()
		cancel()
		if err := <-served; err != context.Canceled {
			t.Errorf("got %v, want canceled", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("took %s", d)
		}
	})
}

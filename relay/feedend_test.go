package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/relay"
)

// What was received when the connection breaks is not returned: nobody would count its acknowledgement.
func TestBrokenConnectionIsNotTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, says := range [][]byte{nil, frame(frameEnd, []byte(`{"kind":"eof"}`)...)} {
			f, far := lead(t, batchFrame(raws(1, 10)[0]), says)
			synctest.Wait()
			far.Close()
			synctest.Wait()
			if b, err := f.Next(t.Context()); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got batch %d, %v, want an error that is not io.EOF", b.Seq, err)
			}
			f.Close()
		}
	})
}

func TestEndIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, 1<<20)
		c := newCursor(t, l, at(0), user)
		f, served := connect(t, c)
		for n := uint64(1); n <= 20; n++ {
			appendAll(t, l, transaction(n, user))
		}
		l.Close(io.EOF)
		time.Sleep(time.Minute / 10) // the end has arrived, no batch was taken
		var last event.Batch
		for n := uint64(1); n <= 20; n++ {
			last = take(t, f)
			if count(last.End) != n {
				t.Fatalf("got transaction %d, want %d", count(last.End), n)
			}
		}
		if _, err := f.Next(t.Context()); err != io.EOF {
			t.Fatalf("got %v, want io.EOF", err)
		}
		time.Sleep(3 * time.Second) // what is in flight takes its time
		if err := f.Ack(t.Context(), last.Seq); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil { // at once: the acknowledgement may not be lost on the way
			t.Fatal(err)
		}
		if got := count(c.Position()); got != 20 {
			t.Errorf("position at %d when Close returned, want 20", got)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func TestServeWaitsTenSecondsForTheNodeToFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, served := connect(t, &fake{end: io.EOF})
		start := time.Now()
		if err := <-served; err == nil {
			t.Error("ended as if the node had finished")
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("after %s", d)
		}
		synctest.Wait()
		if err := f.Ack(t.Context(), 1); err == nil {
			t.Error("an acknowledgement was taken that nobody counts")
		}
		f.Close()
	})
}

func TestEndsKeepTheirMeaning(t *testing.T) {
	stop := &event.StopError{Reason: "a <reason>", Fix: "a fix"}
	for _, c := range []struct {
		name string
		err  error
		is   error // nothing else of these may match
		stop bool
		text string
	}{
		{"eof", fmt.Errorf("next: %w", io.EOF), io.EOF, false, "EOF"},
		{"behind", relay.ErrBehind, relay.ErrBehind, false, relay.ErrBehind.Error()},
		{"behind with a reason", fmt.Errorf("catch up: %w", relay.ErrBehind), relay.ErrBehind, false, "catch up: " + relay.ErrBehind.Error()},
		{"stop", fmt.Errorf("describe: %w", stop), nil, true, stop.Error()},
		{"needs load", errors.Join(stop, relay.ErrNeedsLoad), relay.ErrNeedsLoad, true, stop.Error() + "\n" + relay.ErrNeedsLoad.Error()},
		{"not here", fmt.Errorf("leader is c: %w", relay.ErrNotHere), relay.ErrNotHere, false, "leader is c: " + relay.ErrNotHere.Error()},
		{"other", errors.New("1236 (HY000)"), nil, false, "1236 (HY000)"},
		{"canceled by the source", context.Canceled, nil, false, "context canceled"},
		{"long", errors.New(strings.Repeat("\x01", 1<<20)), nil, false, strings.Repeat("\x01", 2<<10)},
	} {
		check := func(t *testing.T, way string, err error) {
			t.Helper()
			for _, target := range []error{io.EOF, relay.ErrBehind, relay.ErrNeedsLoad, relay.ErrNotHere, context.Canceled} {
				if errors.Is(err, target) != (target == c.is) {
					t.Errorf("%s: %v is %v: %v", way, err, target, errors.Is(err, target))
				}
			}
			var got *event.StopError
			if errors.As(err, &got) != c.stop || c.stop && *got != *stop {
				t.Errorf("%s: %v carries %v", way, err, got)
			}
			if !strings.HasSuffix(err.Error(), c.text) {
				t.Errorf("%s: got %q, want %q", way, err, c.text)
			}
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, served := connect(t, &fake{batches: raws(2, 10), end: c.err})
				take(t, f)
				take(t, f)
				for range 2 {
					_, err := f.Next(t.Context())
					check(t, "end", err)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
				if err := <-served; c.is == io.EOF && err != nil || c.is != io.EOF && err != c.err {
					t.Errorf("serve: got %v, want %v", err, c.err)
				}

				near, far := net.Pipe()
				go func() {
					s, _, err := relay.Accept(far, 1)
					if err != nil {
						t.Error(err)
						return
					}
					s.Refuse(c.err)
				}()
				_, err := relay.OpenFeed(t.Context(), near, 1, open)
				check(t, "refused", err)
			})
		})
	}
}

func TestUnknownEndIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := lead(t, frame(frameEnd, []byte(`{"kind":"of a later version","text":"the moon"}`)...))
		if _, err := f.Next(t.Context()); err == nil || err.Error() != "the moon" {
			t.Errorf("got %v", err)
		}
		f.Close()
	})
}

package relay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/relay"
)

func TestFrozenNodeIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name  string
		after []byte // what the node still says
		reads bool
		want  string
	}{
		{"reads but says nothing", nil, true, "silent"},
		{"does not read", progress(0, math.MaxUint64), false, "takes nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				served := accept(t.Context(), far, &endless{batch: raws(1, 1000)[0], n: math.MaxInt})
				write(t, near, openFrame)
				if _, err := io.ReadFull(near, make([]byte, len(frame(frameOpened)))); err != nil {
					t.Fatal(err)
				}
				var node sync.WaitGroup
				defer node.Wait()
				node.Go(func() {
					if c.reads {
						_, _ = io.Copy(io.Discard, near)
					}
					for err := error(nil); err == nil; time.Sleep(500 * time.Millisecond) {
						_, err = near.Write(c.after)
					}
				})
				start := time.Now()
				if err := <-served; !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if d := time.Since(start); d < 2500*time.Millisecond || d > 3500*time.Millisecond {
					t.Errorf("after %s, want about 3s", d)
				}
			})
		})
	}
}

func write(t *testing.T, conn net.Conn, data []byte) {
	t.Helper()
	if _, err := conn.Write(data); err != nil {
		t.Error(err)
	}
}

// lead plays a leader that says only what it is given.
func lead(t *testing.T, says ...[]byte) (*relay.Feed, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	go func() { _, _ = far.Write(join(append([][]byte{frame(frameOpened)}, says...)...)) }()
	f, err := relay.OpenFeed(t.Context(), near, 1, open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return f, far
}

func TestFrozenLeaderIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := lead(t)
		start := time.Now()
		if _, err := f.Next(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			t.Errorf("got %v, want silence", err)
		}
		if d := time.Since(start); d < 2500*time.Millisecond || d > 3500*time.Millisecond {
			t.Errorf("after %s, want about 3s", d)
		}
		if err := f.Ack(t.Context(), 1); err == nil {
			t.Error("an acknowledgement was taken that nobody counts")
		}
		if f.Close() == nil {
			t.Error("closed as if the last acknowledgement had been counted")
		}
	})
}

func TestCloseWaitsASecondForAFrozenLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := lead(t)
		start := time.Now()
		if f.Close() == nil {
			t.Error("closed as if the last acknowledgement had been counted")
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("took %s", d)
		}
	})
}

func TestMalformedFrameFreesAWriteThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		served := accept(t.Context(), far, &fake{batches: raws(1000, 1000)})
		write(t, near, join(openFrame, progress(0, math.MaxUint64)))
		synctest.Wait() // nothing is read: a write is waiting
		start := time.Now()
		write(t, near, frame(77))
		if err := <-served; err == nil || !strings.Contains(err.Error(), "type 77") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("after %s", d)
		}
	})
}

// encrypt makes a TLS connection of each end of one.
func encrypt(t testing.TB, near, far net.Conn) (client, server net.Conn) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, public, private)
	if err != nil {
		t.Fatal(err)
	}
	own := tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: private}
	return tls.Client(near, &tls.Config{InsecureSkipVerify: true}), tls.Server(far, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13})
}

func encryptedPipe(t *testing.T) (client, server net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	return encrypt(t, near, far)
}

func TestFeedOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := encryptedPipe(t)
		served := accept(t.Context(), far, &fake{batches: raws(10, 1<<20), end: io.EOF})
		f, err := relay.OpenFeed(t.Context(), near, 1, open)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			take(t, f)
		}
		if _, err := f.Next(t.Context()); err != io.EOF {
			t.Errorf("got %v, want io.EOF", err)
		}
		finish(t, f, served)

		near, far = encryptedPipe(t)
		ctx, cancel := context.WithCancel(t.Context())
		served = accept(ctx, far, &fake{})
		if f, err = relay.OpenFeed(t.Context(), near, 1, open); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // nothing is being written, so the read fails first
		cancel()
		if _, err := f.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "closed the connection") {
			t.Errorf("got %v", err)
		}
		f.Close()
		<-served
	})
}

func TestFrozenNodeIsNoticedOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := encryptedPipe(t)
		served := accept(t.Context(), far, &fake{batches: raws(1000, 1000)})
		write(t, near, join(openFrame, progress(0, math.MaxUint64)))
		if _, err := io.ReadFull(near, make([]byte, len(frame(frameOpened)))); err != nil {
			t.Fatal(err)
		}
		var node sync.WaitGroup
		defer node.Wait()
		node.Go(func() {
			for err := error(nil); err == nil; time.Sleep(500 * time.Millisecond) {
				_, err = near.Write(progress(0, 0))
			}
		})
		start := time.Now()
		if err := <-served; err == nil || !strings.Contains(err.Error(), "takes nothing") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d > 3500*time.Millisecond {
			t.Errorf("after %s, want about 3s", d)
		}
	})
}

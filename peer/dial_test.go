package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/peer"
)

func TestAnotherTokenIsRefused(t *testing.T) {
	log := new(record)
	p := listen(t, log.logger())
	accepted := echo(p.Listener(peer.Raft))
	stop := run(t, p)
	_, err := identity(t, otherToken).Dial(t.Context(), p.Addr().String(), peer.Raft)
	if !errors.Is(err, peer.ErrToken) {
		t.Errorf("Dial gives %v, want ErrToken", err)
	}
	eventually(t, "logged", func() bool { return strings.Contains(log.String(), "another token") })
	stop()
	if got := accepted.Load(); got != 0 {
		t.Errorf("%d connections were accepted", got)
	}
	for _, secret := range []string{token, otherToken, "horse"} {
		if text := fmt.Sprint(err, log); strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
}

func TestShortTokenIsRefused(t *testing.T) {
	_, err := peer.NewIdentity([]byte("horse"))
	if err == nil || strings.Contains(err.Error(), "horse") {
		t.Errorf("NewIdentity gives %v, want an error without the token", err)
	}
}

func TestUnknownProtocolIsRefused(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	accepted := echo(p.Listener(peer.Raft))
	run(t, p)
	for _, protocol := range []string{peer.Feed(1), "canalgo-raft/2"} {
		_, err := identity(t, token).Dial(t.Context(), p.Addr().String(), protocol)
		if err == nil || errors.Is(err, peer.ErrToken) || !strings.Contains(err.Error(), "does not take "+protocol) {
			t.Errorf("%s: Dial gives %v, want that the protocol is not taken", protocol, err)
		}
	}
	if got := accepted.Load(); got != 0 {
		t.Errorf("%d connections were accepted", got)
	}
}

// serve gives each connection to answer, and closes it thereafter.
func serve(t *testing.T, answer func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(net.Conn)
		is     error // nil: not ErrToken
		says   string
	}{
		"a banner": {
			answer: func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n"); _, _ = io.Copy(io.Discard, c) },
			is:     peer.ErrToken, says: "does not speak TLS",
		},
		"an endless handshake": {
			answer: func(c net.Conn) {
				record := append([]byte{22, 3, 3, 0x40, 0, 2, 0, 0xf0, 0}, make([]byte, 0x4000-4)...)
				_, err := c.Write(record)
				for record = append([]byte{22, 3, 3, 0x40, 0}, make([]byte, 0x4000)...); err == nil; {
					_, err = c.Write(record)
				}
			},
			is: peer.ErrToken, says: "more than a handshake",
		},
		"closed at once": {answer: func(net.Conn) {}, says: "closed the connection in the handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, test.answer)
			_, err := identity(t, token).Dial(t.Context(), address, peer.Raft)
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "node "+address+": ") {
				t.Errorf("Dial gives %v, want node %s: ... %s", err, address, test.says)
			}
			if got, want := errors.Is(err, peer.ErrToken), test.is != nil; got != want {
				t.Errorf("ErrToken is %t, want %t: %v", got, want, err)
			}
			nothingLeft(t)
		})
	}
}

func TestDialOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): "nobody listens there",
		"127.0.0.1":       "want HOST:PORT",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := identity(t, token).Dial(ctx, address, peer.Raft)
		cancel()
		if err == nil || errors.Is(err, peer.ErrToken) || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial %s gives %v, want %q", address, err, want)
		}
		if refused := errors.Is(err, syscall.ECONNREFUSED); refused != (address == l.Addr().String()) {
			t.Errorf("Dial %s: ECONNREFUSED is %t: %v", address, refused, err)
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	silent := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := identity(t, token).Dial(ctx, silent, peer.Raft); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial gives %v, want context.DeadlineExceeded", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	greeted := serve(t, func(c net.Conn) { cancel(); _, _ = io.Copy(io.Discard, c) })
	if _, err := identity(t, token).Dial(ctx, greeted, peer.Raft); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial gives %v, want context.Canceled", err)
	}
	// A node that takes nobody: nothing but the ready byte is missing.
	p := listen(t, hclog.NewNullLogger())
	p.Listener(peer.Raft)
	run(t, p)
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := identity(t, token).Dial(ctx, p.Addr().String(), peer.Raft); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial gives %v, want context.DeadlineExceeded", err)
	}
}

func TestUntakenConnectionIsClosed(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	p.SetTimeout(100 * time.Millisecond)
	p.Listener(peer.Raft)
	run(t, p)
	_, err := identity(t, token).Dial(t.Context(), p.Addr().String(), peer.Raft)
	if err == nil || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("Dial gives %v, want that the connection was closed", err)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	run(t, p)
	for address, want := range map[string]string{
		p.Addr().String(): "is in use by another process",
		"192.0.2.1:8112":  "use :8112 for all",
		"8112":            "want HOST:PORT",
		"127.0.0.1:-3":    "listen: ",
	} {
		_, err := peer.Listen(address, identity(t, token), hclog.NewNullLogger())
		if err == nil || !strings.HasPrefix(err.Error(), "listen: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen on %s gives %v, want %q", address, err, want)
		}
	}
}

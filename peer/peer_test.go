package peer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/peer"
)

const (
	token      = "correct horse battery staple, 1!"
	otherToken = "another horse battery staple, 2!"
	patience   = 30 * time.Second // of a test with what must happen
)

func identity(t testing.TB, token string) *peer.Identity {
	t.Helper()
	i, err := peer.NewIdentity([]byte(token))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func listen(t testing.TB, logger hclog.Logger) *peer.Port {
	t.Helper()
	p, err := peer.Listen("127.0.0.1:0", identity(t, token), logger)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs the port; the function it returns, and the test's end, stop it and see that nothing is left.
func run(t testing.TB, p *peer.Port) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v, want context.Canceled", err)
			}
		case <-time.After(patience):
			t.Error("Run did not end")
		}
		nothingLeft(t)
	}
	t.Cleanup(stop)
	return stop
}

// eventually asks until ask says yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ask(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not %s within %s", what, patience)
		}
	}
}

// nothingLeft waits until no goroutine is in the package.
func nothingLeft(t testing.TB) {
	t.Helper()
	buffer := make([]byte, 1<<20)
	eventually(t, "free of goroutines", func() bool {
		return !bytes.Contains(buffer[:runtime.Stack(buffer, true)], []byte("canalgo/peer."))
	})
}

// echo sends back what comes, and counts the connections.
func echo(l net.Listener) *atomic.Int32 {
	var count atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return &count
}

func dial(t testing.TB, p *peer.Port, protocol string) net.Conn {
	t.Helper()
	c, err := identity(t, token).Dial(t.Context(), p.Addr().String(), protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// exchange sends n bytes and wants them back.
func exchange(t testing.TB, c net.Conn, n int) {
	t.Helper()
	sent := bytes.Repeat([]byte("canalgo"), n/7+1)[:n]
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read what was sent: %v", err)
	}
	if !bytes.Equal(got, sent) {
		t.Fatal("got other bytes than were sent")
	}
}

func TestEachProtocolReachesItsListener(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	counts := map[string]*atomic.Int32{}
	protocols := []string{peer.Raft, peer.Feed(1), peer.Call}
	for _, protocol := range protocols {
		counts[protocol] = echo(p.Listener(protocol))
	}
	run(t, p)
	for i, protocol := range protocols {
		c := dial(t, p, protocol)
		exchange(t, c, 1<<20) // more than a handshake may have
		for j, other := range protocols {
			want := int32(0)
			if j <= i {
				want = 1
			}
			if got := counts[other].Load(); got != want {
				t.Errorf("after %s: %s has %d connections, want %d", protocol, other, got, want)
			}
		}
		c.Close()
	}
}

func TestDeadlineEndsWithTheHandshake(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	timeout := time.Second
	p.SetTimeout(timeout)
	echo(p.Listener(peer.Feed(1)))
	run(t, p)
	c := dial(t, p, peer.Feed(1))
	defer c.Close()
	<-time.After(timeout) // the time itself is what is tested
	exchange(t, c, 100)
}

// Of several protocols the port takes the one that it prefers, whatever the order in which they are offered.
func TestTheNewestCommonProtocolIsTaken(t *testing.T) {
	for _, test := range []struct {
		listens, offers []string
		want            string
	}{
		{[]string{peer.Feed(10), peer.Feed(2), peer.Feed(1)}, []string{peer.Feed(1), peer.Feed(2), peer.Feed(10)}, peer.Feed(10)},
		{[]string{peer.Feed(2), peer.Feed(1)}, []string{peer.Feed(2), peer.Feed(1)}, peer.Feed(2)},
		{[]string{peer.Feed(2), peer.Feed(1)}, []string{peer.Feed(1)}, peer.Feed(1)},
		{[]string{peer.Feed(1)}, []string{peer.Feed(3), peer.Feed(2), peer.Feed(1)}, peer.Feed(1)},
		{[]string{peer.Feed(2)}, []string{peer.Feed(1)}, ""},
		{[]string{peer.Raft, peer.Feed(2)}, []string{peer.Feed(3), peer.Feed(1)}, ""},
	} {
		p := listen(t, hclog.NewNullLogger())
		accepted := map[string]*atomic.Int32{}
		for _, protocol := range test.listens {
			accepted[protocol] = echo(p.Listener(protocol))
		}
		stop := run(t, p)
		c, err := identity(t, token).Dial(t.Context(), p.Addr().String(), test.offers...)
		switch {
		case test.want == "" && (err == nil || !strings.Contains(err.Error(), "does not take")):
			t.Errorf("%v offered to %v: %v, want that none is taken", test.offers, test.listens, err)
		case test.want != "" && err != nil:
			t.Errorf("%v offered to %v: %v", test.offers, test.listens, err)
		case err == nil:
			if got := peer.Protocol(c); got != test.want {
				t.Errorf("%v offered to %v: %q, want %q", test.offers, test.listens, got, test.want)
			}
			eventually(t, "accepted", func() bool { return accepted[test.want].Load() == 1 })
			c.Close()
		}
		stop()
	}
}

func TestRunEndsWithEverything(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	p.SetTimeout(10 * patience) // so that it is not time that ends handshakes
	l := p.Listener(peer.Raft)
	stop := run(t, p)
	for range 3 { // strangers who wait
		c, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "3 in handshake", func() bool { return p.Waiting() == 3 })
	i := identity(t, token)
	untaken := make(chan error, 1) // nobody calls Accept
	go func() {
		_, err := i.Dial(context.Background(), p.Addr().String(), peer.Raft)
		untaken <- err
	}()
	stop()
	if err := <-untaken; err == nil {
		t.Error("Dial gave a connection that nobody took")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Run gives %v, want net.ErrClosed", err)
	}
	_, err := i.Dial(t.Context(), p.Addr().String(), peer.Raft)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial after Run gives %v, want ECONNREFUSED", err)
	}
}

func TestClosedListenerTakesNoMore(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	l := p.Listener(peer.Raft)
	feeds := echo(p.Listener(peer.Feed(1)))
	run(t, p)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gives %v, want net.ErrClosed", err)
	}
	_, err := identity(t, token).Dial(t.Context(), p.Addr().String(), peer.Raft)
	if err == nil || errors.Is(err, peer.ErrToken) || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("Dial gives %v, want that the connection was closed", err)
	}
	exchange(t, dial(t, p, peer.Feed(1)), 10)
	if got := feeds.Load(); got != 1 {
		t.Errorf("%d feeds, want 1", got)
	}
}

func TestCallsAreHTTP(t *testing.T) {
	p := listen(t, hclog.NewNullLogger())
	var connections atomic.Int32
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				http.Redirect(w, r, "/echo", http.StatusFound)
				return
			}
			_, _ = io.Copy(w, r.Body)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		},
	}
	calls := p.Listener(peer.Call)
	served := make(chan error, 1)
	go func() { served <- server.Serve(calls) }()
	run(t, p)
	client := identity(t, token).Client()
	base := "http://" + p.Addr().String()
	for range 3 {
		response, err := client.Post(base+"/echo", "application/json", strings.NewReader(`{"a": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != `{"a": 1}` || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	}
	response, err := client.Get(base + "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusFound {
		t.Errorf("got status %d, want the redirect itself", response.StatusCode)
	}
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections for 4 requests, want 1", got)
	}
	client.CloseIdleConnections()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

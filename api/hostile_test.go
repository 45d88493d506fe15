package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/hashicorp/go-hclog"

	"canalgo/api"
)

// A memory listener hands out one end of a pipe for each dial, so that time can be virtual.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { close(m.closed); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8111} }

// dial connects from a host.
func (m *memory) dial(host string) net.Conn {
	ours, theirs := net.Pipe()
	m.conns <- from{theirs, host}
	return ours
}

type from struct {
	net.Conn
	host string
}

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.host), Port: 50000} }

// hostile runs a test against a server in virtual time.
func hostile(t *testing.T, test func(t *testing.T, m *memory)) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- api.New(m, &node{}, nil, hclog.NewNullLogger()).Run(ctx) }()
		test(t, m)
		cancel()
		<-ended
	})
}

// TestSlowClientsAreClosed sends a byte every 2 s, as a slowloris does.
func TestSlowClientsAreClosed(t *testing.T) {
	for name, request := range map[string]struct {
		text string
		most time.Duration
	}{
		"header": {"GET /status HTTP/1.1\r\nHost: localhost\r\nX-Long: " + strings.Repeat("y", 1000), 6 * time.Second},
		"body": {"POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n" +
			strings.Repeat(" ", 1000), 12 * time.Second},
		"nothing": {"", 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			hostile(t, func(t *testing.T, m *memory) {
				conn := m.dial("127.0.0.1")
				head, slow, _ := strings.Cut(request.text, "\r\n\r\n")
				if slow == "" {
					head, slow = "", request.text
				} else {
					head += "\r\n\r\n"
				}
				began, written := time.Now(), make(chan struct{})
				go func() {
					defer close(written)
					_, _ = io.WriteString(conn, head)
					for i := range len(slow) {
						if _, err := io.WriteString(conn, slow[i:i+1]); err != nil {
							return
						}
						time.Sleep(2 * time.Second)
					}
				}()
				answer, _ := io.ReadAll(conn) // or an error, when it is closed without one
				conn.Close()
				defer func() { <-written }()
				if took := time.Since(began); took > request.most || bytes.Contains(answer, []byte(" 200 ")) {
					t.Errorf("after %s: %q", took, answer)
				}
			})
		})
	}
}

// TestLargeRequestsAreRefused sends more than any request of ours has.
func TestLargeRequestsAreRefused(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 100<<20)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	post := "POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for name, c := range map[string]struct{ request, want string }{
		"header of 10 MB":          {"GET /status HTTP/1.1\r\nX: " + strings.Repeat("y", 10<<20) + "\r\n\r\n", "431"},
		"100,000 query parameters": {"GET /status?" + strings.Repeat("a=b&", 100_000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "431"},
		"body said to be of 1 GB":  {post + "Content-Length: 1000000000\r\n\r\n" + strings.Repeat(" ", 2<<20), "413"},
		"gzip bomb":                {post + fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()) + bomb.String(), "400"},
	} {
		t.Run(name, func(t *testing.T) {
			hostile(t, func(t *testing.T, m *memory) {
				conn := m.dial("127.0.0.1")
				defer conn.Close()
				go func() { _, _ = io.WriteString(conn, c.request) }() // it is cut off
				answer := make([]byte, 12)
				if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 "+c.want {
					t.Errorf("%q, %v, want %s", answer, err, c.want)
				}
			})
		})
	}
}

// TestOthersMayOnlyRead asks from another host: B58.
func TestOthersMayOnlyRead(t *testing.T) {
	const host = " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
	for request, want := range map[string]string{
		"GET /status" + host + "\r\n":        "200",
		"GET /v1/quarantine" + host + "\r\n": "403",
		"POST /v1/pause" + host + "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}": "403",
	} {
		hostile(t, func(t *testing.T, m *memory) {
			conn := m.dial("10.0.0.9")
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, request) }()
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+want) {
				t.Errorf("%.30s: %.60q, %v, want %s", request, answer, err, want)
			}
		})
	}
}

// TestConnectionsAreBounded opens as many as are served; the next one waits until one of them is closed for its silence.
func TestConnectionsAreBounded(t *testing.T) {
	hostile(t, func(t *testing.T, m *memory) {
		for range 256 {
			conn := m.dial("127.0.0.1")
			defer conn.Close()
		}
		began := time.Now()
		conn := m.dial("127.0.0.1")
		defer conn.Close()
		if waited := time.Since(began); waited < 4*time.Second || waited > 6*time.Second {
			t.Errorf("connection 257 was taken after %s, want 5 s", waited)
		}
	})
}

// TestPortWithoutPrivilege listens on a port below 1024: B15.
func TestPortWithoutPrivilege(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread loses its privileges, and ends with the goroutine
		header := struct {
			version uint32
			pid     int32
		}{version: 0x20080522} // _LINUX_CAPABILITY_VERSION_3 of capget(2)
		var none [6]uint32
		if _, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0); errno != 0 {
			t.Error(errno)
		}
		l, err := api.Listen("127.0.0.1:1")
		if err == nil {
			l.Close()
		}
		done <- err
	}()
	if err := <-done; err == nil || err.Error() != "node.http: no permission to listen on 127.0.0.1:1; use a port of 1024 or above" {
		t.Error(err)
	}
}

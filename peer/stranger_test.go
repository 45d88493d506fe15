package peer_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"canalgo/peer"
)

// A record is the log of a port.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *record) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: r})
}

// certificate makes a self-signed one; with der given, it claims that one without having its key.
func certificate(t *testing.T, der []byte) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der == nil {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		if der, err = x509.CreateCertificate(rand.Reader, template, template, public, private); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// try does a TLS handshake and returns the certificate that the port showed, if it did.
func try(conn net.Conn, config *tls.Config) (shown []byte) {
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		shown = state.PeerCertificates[0].Raw
		return nil
	}
	client := tls.Client(conn, config)
	_ = client.Handshake() // succeeds: a TLS 1.3 client is done before the server has looked at it
	_, _ = client.Read(make([]byte, 1))
	return shown
}

var raftOnly = []string{peer.Raft}

// strangers are what may connect. Each speaks to the port, which must then close the connection.
var strangers = map[string]func(t *testing.T, conn net.Conn){
	"bytes":   func(_ *testing.T, conn net.Conn) { _, _ = io.WriteString(conn, "hello, hello\n") },
	"HTTP":    func(_ *testing.T, conn net.Conn) { _, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
	"garbage": func(_ *testing.T, conn net.Conn) { _, _ = conn.Write(bytes.Repeat([]byte("garbage!"), 1<<17)) },
	"ClientHello without end": func(_ *testing.T, conn net.Conn) {
		// content type 22, version 3.1, length 0x4000 | message type 1, length 0xf000
		r := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xf0, 0}, make([]byte, 0x4000-4)...)
		for range 2 { // then it stalls
			if _, err := conn.Write(r); err != nil {
				return
			}
			r = append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 0x4000)...)
		}
	},
	"TLS 1.2": func(t *testing.T, conn net.Conn) {
		if try(conn, &tls.Config{NextProtos: raftOnly, MaxVersion: tls.VersionTLS12}) != nil {
			t.Error("the port speaks TLS 1.2")
		}
	},
	"no certificate": func(_ *testing.T, conn net.Conn) { try(conn, &tls.Config{NextProtos: raftOnly}) },
	"own certificate": func(t *testing.T, conn net.Conn) {
		try(conn, &tls.Config{NextProtos: raftOnly, Certificates: []tls.Certificate{certificate(t, nil)}})
	},
	"our certificate without its key": func(t *testing.T, conn net.Conn) {
		other, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		shown := try(other, &tls.Config{NextProtos: raftOnly})
		try(conn, &tls.Config{NextProtos: raftOnly, Certificates: []tls.Certificate{certificate(t, shown)}})
	},
	"no protocol": func(t *testing.T, conn net.Conn) {
		if try(conn, &tls.Config{}) != nil {
			t.Error("who names no protocol gets to see the certificate")
		}
	},
	"another protocol": func(t *testing.T, conn net.Conn) {
		if try(conn, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}) != nil {
			t.Error("who names another protocol gets to see the certificate")
		}
	},
	"Raft in plain": func(t *testing.T, conn net.Conn) {
		trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, patience, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer trans.Close()
		request := raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x")}, Term: 1 << 60}
		address := raft.ServerAddress(conn.RemoteAddr().String())
		if err := trans.RequestVote("x", address, &request, new(raft.RequestVoteResponse)); err == nil {
			t.Error("a vote was answered")
		}
		_, _ = conn.Write([]byte{0}) // a heartbeat's first byte
		_ = conn.(*net.TCPConn).CloseWrite()
	},
}

func TestStrangersStayOutside(t *testing.T) {
	for name, speak := range strangers {
		t.Run(name, func(t *testing.T) {
			log := new(record)
			p := listen(t, log.logger())
			p.SetTimeout(10 * patience) // so that it is not time that closes the connection
			accepted := echo(p.Listener(peer.Raft))
			stop := run(t, p)
			conn, err := net.Dial("tcp", p.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			speak(t, conn)
			var timeout net.Error
			if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("the port did not close the connection")
			}
			eventually(t, "logged", func() bool { return strings.Contains(log.String(), "[WARN]") })
			eventually(t, "left alone", func() bool { return p.Waiting() == 0 })
			stop()
			if got := accepted.Load(); got != 0 {
				t.Errorf("%d connections were accepted", got)
			}
			if n := strings.Count(log.String(), "[WARN]"); n != 1 || strings.Contains(log.String(), "[ERROR]") {
				t.Errorf("want 1 warning, got %d:\n%s", n, log)
			}
		})
	}
}

func TestStalledHandshakeIsClosed(t *testing.T) {
	log := new(record)
	p := listen(t, log.logger())
	p.SetTimeout(50 * time.Millisecond)
	accepted := echo(p.Listener(peer.Raft))
	stop := run(t, p)
	conn, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}) // a ClientHello of 512 bytes begins
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read gives %v, want that the port closed the connection", err)
	}
	eventually(t, "logged", func() bool { return strings.Contains(log.String(), "did not finish the handshake in time") })
	stop()
	if got := accepted.Load(); got != 0 {
		t.Errorf("%d connections were accepted", got)
	}
}

func TestHealthCheckIsNotLogged(t *testing.T) {
	log := new(record)
	p := listen(t, log.logger())
	run(t, p)
	for _, say := range []string{"", "hello"} {
		conn, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, say)
		conn.Close()
	}
	eventually(t, "logged", func() bool { return strings.Contains(log.String(), "[WARN]") })
	if n := strings.Count(log.String(), "[DEBUG]"); n != 1 {
		t.Errorf("%d connections are logged, want the one that said something:\n%s", n, log)
	}
}

func TestNodeGetsInPastStrangers(t *testing.T) {
	log := new(record)
	p := listen(t, log.logger())
	p.SetTimeout(10 * patience) // so that it is not time that makes room
	accepted := echo(p.Listener(peer.Raft))
	run(t, p)
	conns := make([]net.Conn, peer.MaxWaiting+100)
	for i := range conns {
		conn, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	begin := time.Now()
	exchange(t, dial(t, p, peer.Raft), 100)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the node waited %s", took)
	}
	if got := p.Waiting(); got > peer.MaxWaiting {
		t.Errorf("%d wait, want at most %d", got, peer.MaxWaiting)
	}
	for _, conn := range conns[:100] { // the oldest
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("read gives %v, want that the port closed the connection", err)
		}
	}
	if got := accepted.Load(); got != 1 {
		t.Errorf("%d accepted, want 1", got)
	}
	if n := strings.Count(log.String(), "[WARN]"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}

func TestOneWarningAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(record)
		refuse := peer.Refusals(log.logger())
		from := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5}
		for range 90 { // in 90 s
			refuse(from, strings.Repeat("x", 1000))
			time.Sleep(time.Second)
		}
		if n := strings.Count(log.String(), "[DEBUG]"); n != 90 {
			t.Errorf("%d debug lines, want 90", n)
		}
		if n := strings.Count(log.String(), "[WARN]"); n != 2 || !strings.Contains(log.String(), "count=60") {
			t.Errorf("want 2 warnings, the second of 60, got %d", n)
		}
		if strings.Contains(log.String(), strings.Repeat("x", 201)) {
			t.Error("a long reason is logged whole")
		}
	})
}

//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/peer"
)

// patience is how long a node may keep a stranger's connection.
const patience = 10 * time.Second

// memoryPerStranger is how much of a node's memory one may take.
const memoryPerStranger = 64 << 10

// tlsWith is what a stranger says that it is.
func tlsWith(t *testing.T, certificate bool) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{peer.Raft}}
	if !certificate {
		return config
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}
	return config
}

// raftFrames are the bytes by which a leader of a term far ahead asks for votes, says that it leads and hands over.
func raftFrames(t *testing.T) []byte {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var frames []byte
	for _, send := range []func(raft.Transport) error{
		func(r raft.Transport) error {
			return r.RequestVote("n1", raft.ServerAddress(l.Addr().String()), &raft.RequestVoteRequest{RPCHeader: stranger, Term: 1 << 40, LastLogIndex: 1 << 40, LastLogTerm: 1 << 39}, &raft.RequestVoteResponse{})
		},
		func(r raft.Transport) error {
			return r.AppendEntries("n1", raft.ServerAddress(l.Addr().String()), &raft.AppendEntriesRequest{RPCHeader: stranger, Term: 1 << 40,
				Entries: []*raft.Log{{Index: 1 << 20, Term: 1 << 40, Data: []byte("planted")}}}, &raft.AppendEntriesResponse{})
		},
		func(r raft.Transport) error {
			return r.TimeoutNow("n1", raft.ServerAddress(l.Addr().String()), &raft.TimeoutNowRequest{RPCHeader: stranger}, &raft.TimeoutNowResponse{})
		},
	} {
		taken := make(chan []byte, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				taken <- nil
				return
			}
			buf := make([]byte, 64<<10)
			n, _ := conn.Read(buf)
			conn.Close()
			taken <- buf[:n]
		}()
		transport := raft.NewNetworkTransportWithLogger(plain{l}, 1, time.Second, hclog.NewNullLogger())
		_ = send(transport) // nobody answers
		transport.Close()
		frame := <-taken
		if len(frame) == 0 {
			t.Fatal("no frame of Raft's was recorded")
		}
		frames = append(frames, frame...)
	}
	return frames
}

var stranger = raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("stranger"), Addr: []byte("127.0.0.1:1")}

// plain is Raft's stream without anything that protects it.
type plain struct{ net.Listener }

func (plain) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

func (plain) Accept() (net.Conn, error) { return nil, net.ErrClosed }

func (plain) Close() error { return nil }

// strangers are what connects to a node port without the token. Each says something; then it waits to be closed.
func strangers(t *testing.T) map[string]func(net.Conn) {
	frames := raftFrames(t)
	hello := recordHello(t)
	in := func(config *tls.Config, data []byte) func(net.Conn) {
		return func(conn net.Conn) {
			client := tls.Client(conn, config.Clone())
			_ = client.Handshake()
			_, _ = client.Write(data) // sent before the node has looked at the certificate
		}
	}
	return map[string]func(net.Conn){
		"silence":     func(net.Conn) {},
		"plain bytes": func(conn net.Conn) { _, _ = conn.Write(bytes.Repeat([]byte("hello "), 30_000)) },
		"HTTP": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "POST /join HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
		},
		"Raft":                    func(conn net.Conn) { _, _ = conn.Write(frames) },
		"half of Raft":            func(conn net.Conn) { _, _ = conn.Write(frames[:20]) },
		"half a TLS hello":        func(conn net.Conn) { _, _ = conn.Write(hello[:len(hello)/2]) },
		"a TLS hello, no more":    func(conn net.Conn) { _, _ = conn.Write(hello) },
		"Raft in TLS":             in(tlsWith(t, false), frames),
		"Raft in TLS, with a key": in(tlsWith(t, true), frames),
	}
}

// recordHello is how TLS begins.
func recordHello(t *testing.T) []byte {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_ = tls.Client(far, tlsWith(t, false)).Handshake()
		far.Close()
	}()
	buf := make([]byte, 16<<10)
	n, err := near.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// resident is how much memory a node's process has.
func resident(n *harness.Node) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// TestStrangersAtThePort has 200 connections without the token at once on the leader's port and on another node's. Nothing changes,
// no row is late for it, and each is closed.
func TestStrangersAtThePort(t *testing.T) {
	const count = 200
	c := newTrio(t, "strangers", oracle.WorkloadConfig{}, 1)
	c.begin()
	c.must(c.work.Fill(t.Context(), 1000))
	c.allEqual()
	before, err := c.cluster.Status(t.Context())
	c.must(err)
	talk := strangers(t)
	leader := c.leader()
	for _, n := range []*harness.Node{leader, c.neither(leader)} {
		was, err := resident(n)
		c.must(err)
		var talking sync.WaitGroup
		var longest time.Duration
		var mu sync.Mutex
		for range count/len(talk) + 1 {
			for name, speak := range talk {
				talking.Go(func() {
					took, err := visitPort(n.Port, speak)
					mu.Lock()
					defer mu.Unlock()
					longest = max(longest, took)
					if err != nil {
						t.Errorf("%s at %s: %v", name, n.Name, err)
					}
				})
			}
		}
		most := was
		gone := make(chan struct{})
		go func() {
			talking.Wait()
			close(gone)
		}()
		c.await("the end of all strangers", func() error {
			now, err := resident(n)
			if err != nil {
				return err
			}
			most = max(most, now)
			select {
			case <-gone:
				return nil
			default:
				return errors.New("some are connected")
			}
		})
		t.Logf("%s: %d strangers, the last was closed after %s; memory grew from %d to %d KiB", n.Name, count, longest.Round(time.Millisecond), was>>10, most>>10)
		if grown := most - was; grown > count*memoryPerStranger {
			t.Errorf("%s grew by %d KiB for each of %d strangers", n.Name, grown/count>>10, count)
		}
	}
	after, err := c.cluster.Status(t.Context())
	c.must(err)
	if after.Term != before.Term || after.Leader != before.Leader {
		t.Errorf("term %d of %s, was %d of %s", after.Term, after.Leader, before.Term, before.Leader)
	}
	for _, n := range c.cluster.Nodes {
		select {
		case <-n.Ended():
			t.Errorf("%s has ended:\n%s", n.Name, n.LogTail(20))
		default:
		}
		if strings.Contains(n.LogTail(1000), "planted") {
			t.Errorf("%s printed what a stranger said", n.Name)
		}
	}
	c.must(c.db.Exec("UPDATE strangers.acc SET ver = ver + 1 WHERE id < 100"))
	c.allEqual()
}

// visitPort connects, speaks and waits until the node closes the connection, which it must.
func visitPort(address string, speak func(net.Conn)) (time.Duration, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(began.Add(patience)); err != nil {
		return 0, err
	}
	speak(conn)
	_, err = io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return time.Since(began), fmt.Errorf("the connection is open after %s", patience)
	}
	return time.Since(began), nil // how it was closed does not matter
}

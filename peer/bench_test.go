package peer_test

import (
	"io"
	"net"
	"testing"

	"github.com/hashicorp/go-hclog"

	"canalgo/peer"
)

// BenchmarkConn writes 64 KiB at a time to a reader in the same process; tcp is what TLS is to be compared with.
func BenchmarkConn(b *testing.B) {
	b.Run("peer", func(b *testing.B) {
		p := listen(b, hclog.NewNullLogger())
		l := p.Listener(peer.Feed(1))
		run(b, p)
		go accept(l)
		c := dial(b, p, peer.Feed(1))
		defer c.Close()
		write(b, c)
	})
	b.Run("tcp", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go accept(l)
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		write(b, c)
	})
}

// accept reads one connection to its end and says so by one byte.
func accept(l net.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = io.Copy(struct{ io.Writer }{io.Discard}, c)
	_, _ = c.Write([]byte{1})
}

func write(b *testing.B, c net.Conn) {
	block := make([]byte, 64<<10)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := c.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDial is what a new connection costs both sides.
func BenchmarkDial(b *testing.B) {
	p := listen(b, hclog.NewNullLogger())
	echo(p.Listener(peer.Call))
	run(b, p)
	i, address := identity(b, token), p.Addr().String()
	for b.Loop() {
		c, err := i.Dial(b.Context(), address, peer.Call)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

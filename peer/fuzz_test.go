package peer_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/hashicorp/go-hclog"

	"canalgo/peer"
)

// FuzzStranger says anything to a node port: nothing of it may reach a protocol, and the port closes the connection.
func FuzzStranger(f *testing.F) {
	for _, hello := range []string{"", "hello", "POST /join HTTP/1.1\r\n\r\n{}", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "\x16\x03\x03\x40\x00\x02"} {
		f.Add([]byte(hello))
	}
	p := listen(f, hclog.NewNullLogger())
	accepted := echo(p.Listener(peer.Call))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		<-ended
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write(data) // it may be cut off
		if err := conn.(*net.TCPConn).CloseWrite(); err == nil {
			_, _ = io.Copy(io.Discard, conn) // an alert, or a reset
		}
		if n := accepted.Load(); n != 0 {
			t.Errorf("%d strangers got in", n)
		}
	})
}

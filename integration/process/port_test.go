package process

import (
	"fmt"
	"net"
	"testing"
)

// TestFreePort starts in front of the end of the range, where a port is taken.
func TestFreePort(t *testing.T) {
	ports.given = lastPort - 2
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lastPort))
	if err == nil {
		defer taken.Close()
	}
	seen := map[int]bool{lastPort: true} // is taken, by us or by somebody else
	for range 100 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port < firstPort || port > lastPort || seen[port] {
			t.Fatalf("port %d, after %d others", port, len(seen))
		}
		seen[port] = true
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

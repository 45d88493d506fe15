package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The ports that FreePort gives: below those that the kernel gives to outgoing connections and to listeners on port 0 (from 32768,
// net.ipv4.ip_local_port_range), which could take one before the process that it was found for listens.
const (
	firstPort = 10_000
	lastPort  = 32_767
)

var ports struct {
	sync.Mutex
	given int // the last one; 0 before the first
}

// FreePort returns a port on loopback that nobody listens at. Each is given once, so that a process may start long after its port was found.
func FreePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == 0 {
		ports.given = firstPort + rand.IntN(lastPort-firstPort) // other programs may look for ports, too
	}
	var last error
	for range lastPort - firstPort + 1 {
		if ports.given++; ports.given > lastPort {
			ports.given = firstPort
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports.given))
		if err == nil {
			return ports.given, l.Close()
		}
		last = err
	}
	return 0, errors.Join(fmt.Errorf("no port of %d to %d is free on loopback", firstPort, lastPort), last)
}

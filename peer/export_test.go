package peer

import (
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	MaxWaiting   = maxWaiting
	MaxHandshake = maxHandshake
	WarnEvery    = warnEvery
)

// SetTimeout sets how long a handshake may take; before Run.
func (p *Port) SetTimeout(d time.Duration) { p.timeout = d }

// Waiting is how many connections are in handshake.
func (p *Port) Waiting() int { return p.waiting.len() }

// Refusals returns what logs who was not let in.
func Refusals(logger hclog.Logger) func(from net.Addr, reason string) {
	return (&refusals{logger: logger}).add
}

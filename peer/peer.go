// Package peer is the one port over which nodes speak to each other.
//
// In comes an address and a protocol, out comes a net.Conn whose other end has the cluster's secret. Every connection is
// TLS 1.3 with a certificate on both sides; its Ed25519 key is derived from the secret, and each side accepts exactly that
// public key (docs/decisions/0008). The protocol is agreed on by ALPN. When the connection is taken, the accepting side
// sends one byte:
//
//	ready:u8 (1)
//
// because in TLS 1.3 the dialler is through the handshake before the other side has seen its certificate. So a connection
// that Dial returns has been accepted by the program behind that protocol.
//
// A stranger, who does not have the secret, gets no further than the handshake. Until it is done a connection may send
// 16 KiB and take 5 s, and when more than 512 wait, the oldest is closed. What a flood of handshakes costs in CPU is not
// bounded. A peer that vanished is noticed after about 11 s by TCP keep-alive while the connection is idle; while data is in
// flight it is for the protocol's deadlines.
package peer

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// The protocols, as ALPN names them; and Feed.
const (
	Raft = "canalgo-raft/1" // hashicorp/raft's frames
	Call = "canalgo-call/1" // HTTP/1.1 with JSON
)

// Feed names the protocol of feeds in one version of their frames: batches one way, acknowledgements the other.
func Feed(version uint8) string { return fmt.Sprintf("canalgo-feed/%d", version) }

// ErrToken is wrapped by Dial's error when the other side has another token, or is no canalgo node at all. It is not when
// nothing answers, or when a node does not take the protocol.
var ErrToken = errors.New("not a node with this cluster's token")

// What a connection may cost before both sides are known to each other.
const (
	handshakeTimeout = 5 * time.Second
	maxHandshake     = 16 << 10 // bytes read; ours takes about 2 KiB
	maxWaiting       = 512      // connections
)

// ready is what the accepting side sends first.
const ready = 1

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

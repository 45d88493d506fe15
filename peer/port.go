package peer

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/backoff"
)

// A Port is where a node is reached by the others. Its listeners are safe for use by several goroutines.
type Port struct {
	listener  net.Listener
	identity  *Identity
	listeners map[string]*listener // by protocol; does not change once Run has begun
	protocols []string             // of listeners, in the order in which they were asked for
	timeout   time.Duration        // of a handshake, until Accept has taken the connection
	waiting   waiting
	refusals  refusals
}

// Listen opens the node port. The error says what is wrong with the address and what to do. Run closes it.
func Listen(address string, identity *Identity, logger hclog.Logger) (*Port, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, explainListen(address, err)
	}
	return &Port{
		listener:  l,
		identity:  identity,
		listeners: map[string]*listener{},
		timeout:   handshakeTimeout,
		refusals:  refusals{logger: logger},
	}, nil
}

func explainListen(address string, err error) error {
	var dns *net.DNSError
	var syntax *net.AddrError
	_, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen: %s is in use by another process; stop it or set another address", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen: no permission to listen on %s; use a port of 1024 or above", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen: %s is not an address of this host; use :%s for all that it has", address, port)
	case errors.As(err, &dns) && port != "":
		return fmt.Errorf("listen: the host or the port of %s is unknown; use :%s for all addresses of this host", address, port)
	case errors.As(err, &syntax):
		return fmt.Errorf("listen: want HOST:PORT, got %q", address)
	}
	return fmt.Errorf("listen: on %s: %w", address, err)
}

// Addr is where the port listens.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// Listener returns the listener of one protocol, and the same one when called again. It is called before Run; a connection
// whose protocol nobody listens for is closed; of several that it offers, the one is taken that was listened for first. Accept hands out connections whose other end has the token; one that is not
// taken within 5 s is closed. After Close, and when Run has ended, Accept returns net.ErrClosed, and further connections
// are closed. Those handed out stay open and belong to who took them.
func (p *Port) Listener(protocol string) net.Listener {
	l := p.listeners[protocol]
	if l == nil {
		l = newListener(p.Addr())
		p.listeners[protocol] = l
		p.protocols = append(p.protocols, protocol)
	}
	return l
}

// Run accepts connections until ctx ends. It is called once.
func (p *Port) Run(ctx context.Context) error {
	config := p.identity.server(p.protocols)
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	defer g.Wait()
	defer cancel()
	g.Go(func() {
		<-ctx.Done()
		p.listener.Close()
		p.waiting.close()
		for _, l := range p.listeners {
			l.Close()
		}
	})
	pause := backoff.Backoff{Min: 10 * time.Millisecond, Max: time.Second}
	for {
		raw, err := p.listener.Accept()
		switch {
		case err == nil:
			pause.Reset()
			place, deadline := p.waiting.enter(raw), time.Now().Add(p.timeout)
			g.Go(func() { p.receive(ctx, raw, config, place, deadline) })
		case ctx.Err() != nil:
			return ctx.Err()
		case exhausted(err):
			p.refusals.add(p.Addr(), err.Error())
			if err := pause.Wait(ctx); err != nil {
				return err
			}
		default:
			return fmt.Errorf("accept nodes on %s: %w", p.Addr(), err)
		}
	}
}

// exhausted reports whether accepting may succeed later.
func exhausted(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// receive finds out who has connected and hands a node's connection to its listener.
func (p *Port) receive(ctx context.Context, raw net.Conn, config *tls.Config, place *list.Element, deadline time.Time) {
	stranger := &bounded{Conn: raw}
	c := &conn{Conn: tls.Server(stranger, config), raw: stranger}
	err := raw.SetDeadline(deadline)
	if err == nil {
		err = c.Handshake()
	}
	p.waiting.leave(place)
	l := p.listeners[c.ConnectionState().NegotiatedProtocol]
	if err == nil && l == nil {
		err = errors.New("wants a protocol that nobody listens for")
	}
	if err != nil {
		raw.Close()
		// Who connects and says nothing is a health check.
		if ctx.Err() == nil && !(errors.Is(err, io.EOF) && stranger.read == 0) {
			p.refusals.add(raw.RemoteAddr(), reason(err))
		}
		return
	}
	stranger.open = true
	l.offer(c, deadline)
}

// reason says why a handshake failed, for the log.
func reason(err error) string {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header):
		return "does not speak TLS"
	case errors.Is(err, net.ErrClosed):
		return fmt.Sprintf("dropped as the oldest of more than %d that wait", maxWaiting)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "did not finish the handshake in time"
	case refusal(err) != "":
		return "does not accept this node, so it has another token or is no node: " + refusal(err)
	}
	return err.Error()
}

// Close gives the address free. Only a Port that is not Run is closed: Run does so itself.
func (p *Port) Close() error { return p.listener.Close() }

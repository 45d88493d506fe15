package sim

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"canalgo/node"
	"canalgo/relay"
)

var _ node.Peers = peers{}

// peers is the network as one host sees it: calls and feeds.
type peers struct{ *host }

func (n *network) isSilent(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.silent[name]
}

// reach waits until a message has come to a host, which is returned. done and over end it.
func (h *host) reach(to string, done, over <-chan struct{}, until time.Time) (*host, error) {
	if err := h.net.link(h.name, to).pass(done, over, until); err != nil {
		return nil, err
	}
	there := h.net.host(to)
	switch {
	case h.dead.Load():
		return nil, errGone
	case there == nil && h.net.isSilent(to):
		return nil, cmp.Or(pause(done, over, time.Until(until)), errTimeout)
	case there == nil:
		return nil, errRefused
	}
	return there, nil
}

// RoundTrip implements http.RoundTripper. A request whose sender has given up is handled all the same when it arrives.
func (p peers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	type result struct {
		response *http.Response
		err      error
	}
	sent, to := time.Now(), r.URL.Host
	answered := make(chan result, 1)
	go func() {
		h, err := p.reach(to, nil, p.over, sent.Add(callTimeout))
		if err != nil {
			answered <- result{err: err}
			return
		}
		w := httptest.NewRecorder()
		request := r.Clone(h.ctx)
		request.Body = io.NopCloser(bytes.NewReader(body))
		h.calls.ServeHTTP(w, request)
		if w.Code == http.StatusOK && r.URL.Path == "/session" {
			p.oracle.granted(p.host, h, sent)
		}
		err = p.net.link(to, p.name).pass(nil, p.over, sent.Add(2*callTimeout))
		if h.dead.Load() {
			err = errReset
		}
		answered <- result{w.Result(), err}
	}()
	select {
	case a := <-answered:
		if a.err == nil && a.response.StatusCode == http.StatusOK && r.URL.Path == "/session" {
			p.renewed(sent)
		}
		return a.response, a.err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Feed implements node.Peers.
func (p peers) Feed(ctx context.Context, address string) (net.Conn, uint8, error) {
	until := time.Now().Add(callTimeout)
	h, err := p.reach(address, ctx.Done(), p.over, until)
	if err != nil {
		return nil, 0, err
	}
	if err := p.net.link(address, p.name).pass(ctx.Done(), p.over, until); err != nil {
		return nil, 0, err
	}
	near, far := connect(p.net.link(p.name, address), p.net.link(address, p.name))
	p.keep(near)
	h.keep(far)
	select {
	case h.feeds <- far:
		return near, relay.MaxVersion, nil
	case <-h.over:
		near.Close()
		return nil, 0, errRefused
	case <-ctx.Done():
		near.Close()
		far.Close()
		return nil, 0, ctx.Err()
	}
}

// Refuses implements node.Peers.
func (p peers) Refuses(ctx context.Context, address string) bool {
	h, err := p.reach(address, ctx.Done(), p.over, time.Now().Add(time.Second))
	return h == nil && err == errRefused
}

// listener gives a node the connections on which others ask for feeds.
type listener struct{ *host }

// Accept is part of net.Listener.
func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.feeds:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (l listener) Close() error { return nil }

// Addr is part of net.Listener.
func (l listener) Addr() net.Addr { return address(l.name) }

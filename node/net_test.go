package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/node"
	"canalgo/relay"
)

// A network connects the nodes of a test by their names, which are their addresses.
type network struct {
	mu    sync.Mutex
	hosts map[string]*host
	began time.Time
	feeds func(net.Conn) net.Conn            // what a feed's connection goes through, nil for nothing
	calls func(from string, r *http.Request) // hears of each call before its answer leaves, which waits for it; nil for nobody
	files map[string][]string                // by the node's name: what its file would change
	logs  func(line string)                  // is given each line, by several goroutines; nil for nobody
}

// Write hands on a line of a log.
func (n *network) Write(line []byte) (int, error) {
	if n.logs != nil {
		n.logs(string(line))
	}
	return len(line), nil
}

// A host is one node and its listener for feeds.
type host struct {
	node  *node.Node
	feeds chan net.Conn
	done  chan struct{}
	cut   bool // it reaches nobody, and nobody reaches it
}

func newNetwork() *network { return &network{hosts: map[string]*host{}, began: time.Now()} }

var errRefused = errors.New("connection refused")

// reach returns a host, as another one sees it.
func (n *network) reach(from, to string) (*host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[to]
	switch {
	case h == nil:
		return nil, errRefused
	case from != to && (h.cut || n.hosts[from] != nil && n.hosts[from].cut):
		return nil, errors.New("no route")
	}
	return h, nil
}

func (n *network) setCut(name string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name].cut = cut
}

// peers is the network as one node sees it.
type peers struct {
	*network
	from string
}

func (p peers) RoundTrip(r *http.Request) (*http.Response, error) {
	h, err := p.reach(p.from, r.URL.Host)
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	h.node.Calls().ServeHTTP(w, r)
	if p.calls != nil {
		p.calls(p.from, r)
	}
	return w.Result(), nil
}

func (p peers) Feed(ctx context.Context, address string) (net.Conn, uint8, error) {
	h, err := p.reach(p.from, address)
	if err != nil {
		return nil, 0, err
	}
	here, there := net.Pipe()
	select {
	case h.feeds <- there:
		if p.feeds != nil {
			here = p.feeds(here)
		}
		return here, relay.MaxVersion, nil
	case <-h.done:
		return nil, 0, errRefused
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (p peers) Refuses(_ context.Context, address string) bool {
	_, err := p.reach(p.from, address)
	return errors.Is(err, errRefused)
}

// Accept, Close and Addr make a host a net.Listener.
func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.feeds:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}
func (h *host) Close() error   { return nil }
func (h *host) Addr() net.Addr { return &net.TCPAddr{} }

// start runs a node of a network until the test ends, or until the returned function is called.
func (n *network) start(t testing.TB, w *world, member node.Coordinator, name string, c cluster.Config) (*node.Node, func()) {
	t.Helper()
	one, err := node.New(node.Config{ID: name, Version: "test", Self: cluster.Node{ServerID: name + "@1", Address: name, Version: "test", Commands: cluster.MaxCommandVersion},
		Peers: peers{n, name}, Seed: c, RingBytes: 20_000, Clock: func() time.Duration { return time.Since(n.began) }, Differs: func(cluster.Config) []string { return n.files[name] },
		Log: hclog.New(&hclog.LoggerOptions{Name: name, Output: io.MultiWriter(t.Output(), n), DisableTime: true})}, member, parts{w, name})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{node: one, feeds: make(chan net.Conn), done: make(chan struct{})}
	n.mu.Lock()
	n.hosts[name] = h
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- one.ServeFeeds(h, relay.MaxVersion) }()
	go func() { ended <- one.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run %s: %v", name, err)
			}
			n.mu.Lock()
			if n.hosts[name] == h {
				delete(n.hosts, name)
			}
			n.mu.Unlock()
			close(h.done)
			<-ended
		})
	}
	t.Cleanup(stop)
	return one, stop
}

// trio starts nodes n1, n2 ... of one cluster.
func trio(t *testing.T, w *world, n *network, members *memory.Cluster, count int, c cluster.Config) (nodes []*node.Node, stops []func()) {
	t.Helper()
	for i := range count {
		one, stop := n.start(t, w, members.Member(i), fmt.Sprintf("n%d", i+1), c)
		nodes, stops = append(nodes, one), append(stops, stop)
	}
	return nodes, stops
}

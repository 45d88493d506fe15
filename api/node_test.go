package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"canalgo/api"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/status"
	"canalgo/verify"
)

const canary = "c4n4ry-hunter2"

// node is a Control that remembers what it was asked.
type node struct {
	mu         sync.Mutex
	report     status.Report
	calls      []string
	file       config.File
	err        error
	quarantine []cluster.Quarantined
	leader     string // another node's port; "" when this one leads, unless there is noLeader
	noLeader   bool
	verified   verify.Result
}

func (n *node) call(format string, args ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, fmt.Sprintf(format, args...))
	return n.err
}

func (n *node) asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	calls := n.calls
	n.calls = nil
	return calls
}

func (n *node) Report(context.Context) status.Report { return n.report }

func (n *node) Leader() (string, bool) { return n.leader, n.leader == "" && !n.noLeader }

func (n *node) Rewind(_ context.Context, source, start string) (string, error) {
	return "binlog.000007:4", n.call("rewind %s %s", source, start)
}

func (n *node) Remove(_ context.Context, name string) error { return n.call("remove %s", name) }

func (n *node) Leave() { _ = n.call("leave") }

func (n *node) SetPaused(_ context.Context, what string, paused bool) error {
	return n.call("paused %s %v", what, paused)
}

func (n *node) Apply(_ context.Context, file config.File, dryRun bool) (api.Applied, error) {
	n.file = file
	return api.Applied{Version: 3, Changes: []string{"a"}, NeedLoad: []string{"shop/orders"}}, n.call("apply %v", dryRun)
}

func (n *node) Verify(_ context.Context, source, mapping string, values bool, progress func(verify.Result)) (verify.Result, error) {
	progress(verify.Result{Rows: 1})
	return n.verified, n.call("verify %s/%s %v", source, mapping, values)
}

func (n *node) StartLoad(_ context.Context, source, mapping string, part *api.Part) error {
	if part != nil {
		return n.call("load of %s %s with %q", source, mapping, part.Params)
	}
	return n.call("load %s %s", source, mapping)
}

func (n *node) Quarantine(context.Context) ([]cluster.Quarantined, error) { return n.quarantine, nil }

func (n *node) RetryQuarantine(_ context.Context, ids []uint64) (int, error) {
	return len(ids), n.call("retry %v", ids)
}

func (n *node) DropQuarantine(_ context.Context, ids []uint64) (int, error) {
	return len(ids), n.call("drop %v", ids)
}

// serve runs a server until the test ends and returns its address.
func serve(t *testing.T, n *node) string {
	t.Helper()
	return serveWith(t, n, nil)
}

func serveWith(t *testing.T, n *node, peers http.RoundTripper) string {
	t.Helper()
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- api.New(l, n, peers, hclog.NewNullLogger()).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return l.Addr().String()
}

func client(t *testing.T, address string) *api.Client {
	t.Helper()
	c, err := api.NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var orders = cluster.DutyID{Source: "shop", Mapping: "orders", Kind: cluster.Stream}

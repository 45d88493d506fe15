package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/status"
)

// Peers reaches the other nodes by the addresses of their node ports.
type Peers interface {
	// RoundTrip carries a call: http://ADDRESS/PATH.
	http.RoundTripper
	// Feed connects to an address for a duty's feed, in frames of the highest version that both ends know.
	Feed(ctx context.Context, address string) (conn net.Conn, version uint8, err error)
	// Refuses reports whether the host of an address says that nobody listens there; silence does not count.
	Refuses(ctx context.Context, address string) bool
}

// The paths of the calls. Each is a POST with a JSON body and a JSON answer.
const (
	callHello    = "/hello"    // any node: who is there
	callJoin     = "/join"     // the leader: take a node in
	callPromote  = "/promote"  // the leader: let a node vote that has caught up
	callRemove   = "/remove"   // the leader: take a node out
	callSession  = "/session"  // the leader: renew a lease
	callPropose  = "/propose"  // the leader: replicate a command
	callBoundary = "/boundary" // the leader: how far a source was read
	callReport   = "/report"   // any node: what it does
	callReach    = "/reach"    // any node: does it reach a source or a sink
	callSame     = "/same"     // the leader: is this process the one of its identity
	callRetry    = "/retry"    // the node that does the duty: write a document again
)

// The bodies.
type (
	none struct{}

	// A Hello is how a node answers one that wants to join.
	Hello struct {
		ClusterID     string `json:"cluster_id"`
		Node          string `json:"node"`
		Address       string `json:"address"` // of the node that answers
		Leader        string `json:"leader"`  // "" while there is none
		LeaderAddress string `json:"leader_address"`
		Bootstraps    bool   `json:"bootstraps,omitempty"` // it has no cluster, and is about to make one
		ServerID      string `json:"server_id,omitempty"`
		Run           string `json:"run,omitempty"` // of the process, new at each start
	}

	// An identity says which process it is that asks.
	identity struct {
		Name     string `json:"name"`
		ServerID string `json:"server_id"`
		Run      string `json:"run,omitempty"`
	}

	joinRequest struct {
		Name string       `json:"name"`
		Node cluster.Node `json:"node"`
		Run  string       `json:"run,omitempty"`
	}
	memberRequest struct {
		Name     string `json:"name"`
		ServerID string `json:"server_id,omitempty"`
	}
	sessionRequest struct {
		identity
		Draining bool                             `json:"draining,omitempty"` // give it nothing more, take what it has
		Stages   map[cluster.DutyID]status.Stage  `json:"stages,omitempty"`   // of the duties that it does
		Failing  map[cluster.DutyID]time.Duration `json:"failing,omitempty"`  // for how long the destination has not taken a write
	}
	sessionAnswer struct {
		Term cluster.Term `json:"term"`
	}
	proposeRequest struct {
		Command []byte `json:"command"` // as cluster.Encode writes it
	}
	proposeAnswer struct {
		Applied uint64 `json:"applied"` // the index at which the leader has applied it
	}
	boundaryRequest struct {
		Source string `json:"source"`
		Epoch  uint32 `json:"epoch"`
	}
	// A boundary is how far a source was read.
	boundary struct {
		End     event.Position `json:"end"` // of the newest transaction, with its GTIDs
		Newest  event.Version  `json:"newest"`
		Settled bool           `json:"settled"`
		GTIDs   bool           `json:"gtids"`
	}
	reachRequest struct { // one of both
		Source string `json:"source,omitempty"`
		Sink   string `json:"sink,omitempty"`
	}
	retryRequest struct {
		ID      uint64 `json:"id"`
		Applied uint64 `json:"applied"` // index at which the leader saw the entry
	}
)

// kinds are the errors that keep their meaning on the way between two nodes, by the answer's HTTP status.
var kinds = []struct {
	code int
	err  error
}{
	{http.StatusMisdirectedRequest, cluster.ErrNotLeader},
	{http.StatusConflict, cluster.ErrStale},
	{http.StatusGone, cluster.ErrUnknown},
	{http.StatusUnprocessableEntity, cluster.ErrInvalid},
	{http.StatusNotFound, ErrNotFound},
	{http.StatusTooEarly, errNoStream},
	{http.StatusForbidden, errStranger},
	{http.StatusLocked, errTwin},
}

// errStranger refuses a session to a node that is not a member, or no longer.
var errStranger = errors.New("this node is not a member of the cluster")

// A CallError is another node's refusal.
type CallError struct {
	Code int
	Text string
}

func (e *CallError) Error() string { return e.Text }

// Unwrap returns the error that the other node meant, or nil.
func (e *CallError) Unwrap() error {
	for _, k := range kinds {
		if k.code == e.Code {
			return k.err
		}
	}
	return nil
}

// maxCall bounds a body: a command of cluster.MaxCommand bytes in base64, and a report of thousands of duties.
const maxCall = 8 << 20

// Call sends a request to the node at an address. A refusal is a *CallError.
func Call(ctx context.Context, peers http.RoundTripper, address, path string, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := peers.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("call %s%s: %w", address, path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxCall))
	if err != nil {
		return fmt.Errorf("call %s%s: %w", address, path, err)
	}
	if response.StatusCode != http.StatusOK {
		return &CallError{Code: response.StatusCode, Text: string(bytes.TrimSpace(body))}
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("call %s%s: the answer: %w", address, path, err)
	}
	return nil
}

// SayHello asks the node at an address who it is; a node that wants to join does so before it has a data folder.
func SayHello(ctx context.Context, peers http.RoundTripper, address string) (Hello, error) {
	var h Hello
	err := Call(ctx, peers, address, callHello, none{}, &h)
	return h, err
}

// Calls answers the calls of other nodes. Whoever serves it has authenticated them.
func (n *Node) Calls() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(callHello, answers(func(context.Context, none) (Hello, error) { return n.hello(), nil }))
	mux.Handle(callJoin, answers(n.takeIn))
	mux.Handle(callPromote, answers(n.promote))
	mux.Handle(callRemove, answers(n.takeOut))
	mux.Handle(callSession, answers(n.renewed))
	mux.Handle(callPropose, answers(n.proposed))
	mux.Handle(callBoundary, answers(func(_ context.Context, r boundaryRequest) (boundary, error) {
		return n.localBoundary(r.Source, r.Epoch)
	}))
	mux.Handle(callReport, answers(func(context.Context, none) (status.Report, error) { return n.localReport(), nil }))
	mux.Handle(callSame, answers(n.same))
	mux.Handle(callReach, answers(n.reach))
	mux.Handle(callRetry, answers(func(ctx context.Context, r retryRequest) (none, error) {
		if err := n.awaitApplied(ctx, r.Applied); err != nil {
			return none{}, err
		}
		return none{}, n.retryHere(ctx, r.ID)
	}))
	return mux
}

// answers makes a handler of a function from one body to another.
func answers[In, Out any](do func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
		if err == nil {
			err = json.Unmarshal(data, &in)
		}
		if r.Method != http.MethodPost || err != nil {
			http.Error(w, "a call is a POST with a JSON body", http.StatusBadRequest)
			return
		}
		out, err := do(r.Context(), in)
		if err == nil {
			data, err = json.Marshal(out)
		}
		if err != nil {
			http.Error(w, err.Error(), codeOf(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data) // the other node is gone
	})
}

func codeOf(err error) int {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.code
		}
	}
	return http.StatusInternalServerError
}

// atLeader does a call at the leader, or directly when this node leads.
func atLeader[In, Out any](ctx context.Context, n *Node, path string, in In, here func(context.Context, In) (Out, error)) (Out, error) {
	v, _ := n.coord.View()
	var out Out
	switch {
	case v.Leading:
		return here(ctx, in)
	case v.LeaderAddress == "":
		return out, fmt.Errorf("there is no leader: %w", cluster.ErrNotLeader)
	}
	err := Call(ctx, n.cfg.Peers, v.LeaderAddress, path, in, &out)
	return out, err
}

// propose replicates a command, through the leader where this is another node, and returns when it is applied here.
func (n *Node) propose(ctx context.Context, cmd cluster.Command) error {
	v, _ := n.coord.View()
	if v.Leading {
		return n.coord.Propose(ctx, v.Term, cmd)
	}
	data, err := cluster.Encode(cmd)
	if err != nil {
		return err
	}
	answer, err := atLeader(ctx, n, callPropose, proposeRequest{Command: data}, n.proposed)
	if err != nil {
		return err
	}
	return n.awaitApplied(ctx, answer.Applied)
}

// proposed replicates another node's command.
func (n *Node) proposed(ctx context.Context, r proposeRequest) (proposeAnswer, error) {
	cmd, err := cluster.Decode(r.Command)
	if err != nil {
		return proposeAnswer{}, err
	}
	v, _ := n.coord.View()
	if err := n.coord.Propose(ctx, v.Term, cmd); err != nil {
		return proposeAnswer{}, err
	}
	v, _ = n.coord.View()
	return proposeAnswer{Applied: v.Applied}, nil
}

// awaitApplied waits until this node has applied the log up to index.
func (n *Node) awaitApplied(ctx context.Context, index uint64) error {
	for {
		v, changed := n.coord.View()
		if v.Applied >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// boundary says how far the leader has read a source in an epoch; an error while it does not read it.
func (n *Node) boundary(ctx context.Context, source string, epoch uint32) (boundary, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return atLeader(ctx, n, callBoundary, boundaryRequest{Source: source, Epoch: epoch},
		func(context.Context, boundaryRequest) (boundary, error) { return n.localBoundary(source, epoch) })
}

// callTime bounds a call that should be quick.
const callTime = 3 * time.Second

func (n *Node) localBoundary(source string, epoch uint32) (boundary, error) {
	s := n.source(source)
	if s == nil {
		return boundary{}, errNoStream
	}
	s.mu.Lock()
	x := s.session
	s.mu.Unlock()
	if x == nil || x.epoch != epoch {
		return boundary{}, errNoStream
	}
	newest, settled := x.log.Newest()
	return boundary{End: x.log.Boundary(), Newest: newest, Settled: settled, GTIDs: x.gtids}, nil
}

// source returns the leader's half of a source, nil when this node does not lead or there is none.
func (n *Node) source(name string) *sourceRun {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sources[name]
}

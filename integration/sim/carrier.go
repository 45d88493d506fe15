package sim

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"canalgo/raftfsm"
)

var _ raftfsm.Carrier = (*carrier)(nil)

// A carrier carries Raft's messages of one host over the network.
type carrier struct {
	host   *host
	in     chan raft.RPC
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	beats func(raft.RPC) // answers heartbeats at once
}

func newCarrier(h *host) *carrier {
	return &carrier{host: h, in: make(chan raft.RPC), closed: make(chan struct{})}
}

// call carries one request there and its answer back. at is when it was answered.
func (c *carrier) call(target raft.ServerAddress, request any, data io.Reader, beat bool) (response any, at time.Time, err error) {
	n := c.host.net
	until := time.Now().Add(callTimeout)
	to := string(target)
	if c.host.dead.Load() {
		return nil, at, errGone
	}
	h, err := c.host.reach(to, nil, c.closed, until)
	if err != nil {
		return nil, at, err
	}
	answer, err := h.carrier.take(request, data, beat, c.closed, until)
	if err != nil {
		return nil, at, err
	}
	at = time.Now()
	if h.dead.Load() {
		return nil, at, errReset
	}
	if err := n.link(to, c.host.name).pass(nil, c.closed, until); err != nil {
		return nil, at, err
	}
	if c.host.dead.Load() || h.dead.Load() { // what a dead one did after its death is not on its disk
		return nil, at, errGone
	}
	return answer.Response, at, answer.Error
}

// take gives a request to this host's Raft and returns the answer.
func (c *carrier) take(request any, data io.Reader, beat bool, over <-chan struct{}, until time.Time) (raft.RPCResponse, error) {
	answers := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{Command: request, Reader: data, RespChan: answers}
	if beat {
		c.mu.Lock()
		beats := c.beats
		c.mu.Unlock()
		if beats != nil {
			beats(rpc)
			select {
			case a := <-answers:
				return a, nil
			default: // it has just shut down
				return raft.RPCResponse{}, errReset
			}
		}
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	in := c.in
	for {
		select {
		case in <- rpc:
			in = nil
		case a := <-answers:
			return a, nil
		case <-timer.C:
			return raft.RPCResponse{}, errTimeout
		case <-c.closed:
			return raft.RPCResponse{}, errReset
		case <-over:
			return raft.RPCResponse{}, errGone
		}
	}
}

// Consumer is part of raft.Transport.
func (c *carrier) Consumer() <-chan raft.RPC { return c.in }

// LocalAddr is part of raft.Transport.
func (c *carrier) LocalAddr() raft.ServerAddress { return raft.ServerAddress(c.host.name) }

// AppendEntriesPipeline is part of raft.Transport.
func (c *carrier) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// exchange carries a copy of a request there, and the answer back into resp.
func exchange[Q, A any](c *carrier, target raft.ServerAddress, args *Q, resp *A, data io.Reader) error {
	_, err := exchangeAt(c, target, args, resp, data, false)
	return err
}

// exchangeAt is exchange, of a heartbeat too, and tells when it was answered.
func exchangeAt[Q, A any](c *carrier, target raft.ServerAddress, args *Q, resp *A, data io.Reader, beat bool) (at time.Time, err error) {
	request := *args
	answer, at, err := c.call(target, &request, data, beat)
	if a, ok := answer.(*A); ok && err == nil {
		*resp = *a
	}
	return at, err
}

// AppendEntries is part of raft.Transport.
func (c *carrier) AppendEntries(_ raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	term := args.Term
	beat := term != 0 && args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
	c.host.oracle.leads(c.host, term)
	at, err := exchangeAt(c, target, args, resp, nil, beat)
	if err == nil && resp.Term == term {
		c.host.heard(string(target), at)
	}
	return err
}

// RequestVote is part of raft.Transport.
func (c *carrier) RequestVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return exchange(c, target, args, resp, nil)
}

// RequestPreVote is part of raft.WithPreVote.
func (c *carrier) RequestPreVote(_ raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return exchange(c, target, args, resp, nil)
}

// InstallSnapshot is part of raft.Transport.
func (c *carrier) InstallSnapshot(_ raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	content, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	return exchange(c, target, args, resp, bytes.NewReader(content))
}

// TimeoutNow is part of raft.Transport.
func (c *carrier) TimeoutNow(_ raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return exchange(c, target, args, resp, nil)
}

// EncodePeer is part of raft.Transport.
func (c *carrier) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// DecodePeer is part of raft.Transport.
func (c *carrier) DecodePeer(a []byte) raft.ServerAddress { return raft.ServerAddress(a) }

// SetHeartbeatHandler is part of raft.Transport.
func (c *carrier) SetHeartbeatHandler(f func(raft.RPC)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beats = f
}

// Close is part of raft.WithClose.
func (c *carrier) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

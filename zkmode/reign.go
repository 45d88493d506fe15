package zkmode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"canalgo/cluster"
)

// A reign is this node's leadership in one term.
type reign struct {
	term    cluster.Term
	path    string // of its election node
	session *session
	clock   func() time.Duration
	over    chan struct{} // closed when the term is
	once    sync.Once
	asks    chan chan error // of Verify
	grown   chan struct{}   // gets a value when a snapshot is due

	mu    sync.Mutex
	until time.Duration // on clock: the term is over then, unless the ensemble answers
	size  int           // of the commands since the snapshot, in bytes
}

func (t *reign) end() { t.once.Do(func() { close(t.over) }) }

func (t *reign) ended() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// confirmed notes that the ensemble has confirmed, at some time after sent, that this node leads.
func (t *reign) confirmed(sent time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = max(t.until, sent+t.session.lease())
}

func (t *reign) left() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.until - t.clock()
}

// within returns a context that ends with the term, too.
func (t *reign) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-t.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// write does the operations as one, if this node still leads (fencing layer 1). When it does not, its error is
// cluster.ErrNotLeader and the term is over.
func (t *reign) write(ctx context.Context, ops ...any) error {
	sent := t.clock()
	failed, err := t.session.multi(ctx, append([]any{&zk.CheckVersionRequest{Path: t.path, Version: -1}}, ops...)...)
	switch {
	case t.ended():
		return errors.Join(cluster.ErrNotLeader, err)
	case err == nil:
		t.confirmed(sent)
		return nil
	case errors.Is(err, zk.ErrNoNode) && failed == 0:
		t.end()
		return fmt.Errorf("%w: %w", cluster.ErrNotLeader, err)
	case errors.Is(err, errOver):
		t.end()
		return fmt.Errorf("%w: %w", cluster.ErrNotLeader, err)
	}
	return err
}

// check has the ensemble's majority confirm that this node leads.
func (t *reign) check(ctx context.Context) error {
	return t.session.retry(ctx, func() error {
		err := t.write(ctx)
		if errors.Is(err, cluster.ErrNotLeader) {
			return errOver // do not try again
		}
		return err
	})
}

// keep answers who asks whether this node leads, asks by itself at times, and ends the term when the ensemble has not answered for
// the length of the lease.
func (t *reign) keep(ctx context.Context) {
	ctx, cancel := t.within(ctx)
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { t.expire(ctx) })
	tick := time.NewTicker(t.session.lease() / 4)
	defer tick.Stop()
	for {
		var asked []chan error
		select {
		case a := <-t.asks:
			asked = append(asked, a)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for more := true; more; { // one answer is enough for all that asked before it was sent for
			select {
			case a := <-t.asks:
				asked = append(asked, a)
			default:
				more = false
			}
		}
		err := t.check(ctx)
		for _, a := range asked {
			a <- err
		}
	}
}

// expire ends the term with its lease.
func (t *reign) expire(ctx context.Context) {
	for {
		left := t.left()
		if left <= 0 {
			t.end()
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// parting is how long the election node of a term that is over stays, for what lead still has to write, before the next one leads.
const parting = 500 * time.Millisecond

// leadTerm leads in one term, until it is over and lead has returned.
func (n *Node) leadTerm(ctx context.Context, s *session, turn candidate, lead Lead) error {
	t := &reign{term: turn.term(), path: n.path(s, "election", turn.znode), session: s, clock: n.cfg.Clock, over: make(chan struct{}),
		asks: make(chan chan error), grown: make(chan struct{}, 1)}
	if err := t.check(ctx); err != nil || t.ended() {
		return nil // lost already; elections finds out why
	}
	if err := n.replica.hold(ctx, t.over); err != nil {
		return nil
	}
	_, err := n.catchUp(ctx, s) // behind every write of earlier terms: their znodes are gone
	n.replica.free()
	if err != nil {
		return fmt.Errorf("catch up: %w", err)
	}
	living := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { t.keep(ctx) })
	background.Go(func() { n.keepShort(ctx, t) })

	n.mu.Lock()
	n.reign = t
	n.mu.Unlock()
	n.board.Update(func(v *cluster.View) {
		v.Term, v.Leader, v.LeaderAddress, v.Leading = t.term, n.meta.NodeID, n.cfg.Address, true
	})
	n.log.Info("elected", "term", t.term)
	g, leading := errgroup.WithContext(ctx)
	returned := make(chan struct{})
	g.Go(func() error {
		defer close(returned)
		err := lead(leading, t.term)
		if err != nil && !t.ended() && ctx.Err() == nil && !errors.Is(err, cluster.ErrNotLeader) {
			return leadError{fmt.Errorf("lead in term %d: %w", t.term, err)}
		}
		if errors.Is(err, cluster.ErrNotLeader) {
			t.end()
		}
		select { // one that returned early leads nothing until its term ends
		case <-t.over:
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-t.over:
		case <-s.over:
		case <-leading.Done():
		}
		t.end()
		n.dethrone(t)
		cancel()
		select {
		case <-returned:
		case <-time.After(parting):
		}
		_ = s.remove(living, t.path) // else it goes with the session
		return nil
	})
	err = g.Wait()
	n.log.Info("no longer the leader", "term", t.term)
	return err
}

// dethrone shows that a term is over.
func (n *Node) dethrone(t *reign) {
	n.mu.Lock()
	n.reign = nil
	n.mu.Unlock()
	n.board.Update(func(v *cluster.View) {
		if v.Leading && v.Term == t.term {
			v.Leader, v.LeaderAddress, v.Leading = "", "", false
		}
	})
}

// endTerm ends a term whose election node is gone.
func (n *Node) endTerm(term cluster.Term) {
	if t := n.leads(term); t != nil {
		t.end()
	}
}

// leads returns this node's leadership in a term, nil when it does not lead in it.
func (n *Node) leads(term cluster.Term) *reign {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.reign
	if t == nil || t.term != term {
		return nil
	}
	if t.left() <= 0 {
		t.end()
	}
	if t.ended() {
		return nil
	}
	return t
}

// Verify returns nil only if the ensemble's majority confirmed, after the call began, that this node leads in term.
func (n *Node) Verify(ctx context.Context, term cluster.Term) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := n.leads(term)
	if t == nil {
		return fmt.Errorf("verify term %d: %w", term, cluster.ErrNotLeader)
	}
	answer := make(chan error, 1)
	select {
	case t.asks <- answer:
	case <-t.over:
		return fmt.Errorf("verify term %d: %w", term, cluster.ErrNotLeader)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("verify term %d: %w: %w", term, cluster.ErrNotLeader, err)
		}
		return nil
	case <-t.over:
		return fmt.Errorf("verify term %d: %w", term, cluster.ErrNotLeader)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Propose replicates cmd and returns when it is applied here. A command that is refused gives its refusal, cluster.ErrRefused among
// them; cluster.ErrNotLeader means that this node does not lead in term. While the ensemble does not answer it waits, at most until
// the term is over. After any error but a refusal, and cluster.ErrTooNew, the command may still be applied.
func (n *Node) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	if err := n.propose(ctx, term, cmd); err != nil {
		return fmt.Errorf("propose %T: %w", cmd, err)
	}
	return nil
}

func (n *Node) propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	v, _ := n.View()
	version, err := v.WriteVersion(cluster.CommandVersion(cmd))
	if err != nil {
		return err
	}
	// Through the bytes, so that what is applied here is what others read.
	data, err := cluster.EncodeVersion(cmd, version)
	if err != nil {
		return err
	}
	if cmd, err = cluster.Decode(data); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t := n.leads(term)
	if t == nil {
		return cluster.ErrNotLeader
	}
	if err := n.replica.hold(ctx, t.over); err != nil {
		return notLeader(err)
	}
	leading, cancel := t.within(ctx)
	err = n.write(leading, t, cmd, data)
	cancel()
	n.replica.free()
	if err != nil && ctx.Err() == nil && t.ended() {
		err = errors.Join(cluster.ErrNotLeader, err)
	}
	if errors.Is(err, cluster.ErrRefused) { // by a state that may be outdated, if another node leads
		if verified := n.Verify(ctx, term); verified != nil {
			return verified
		}
	}
	return notLeader(err)
}

func notLeader(err error) error {
	if errors.Is(err, errOver) {
		return fmt.Errorf("%w: %w", cluster.ErrNotLeader, err)
	}
	return err
}

// write puts a command at the end of the log. The lock is held.
func (n *Node) write(ctx context.Context, t *reign, cmd cluster.Command, data []byte) error {
	r := n.replica
	nonce := random()
	for {
		switch {
		case t.ended():
			return cluster.ErrNotLeader
		case !r.sure:
			if _, err := n.catchUp(ctx, t.session); err != nil {
				return err
			}
			if r.nonce == nonce {
				return nil // it is there, only its answer was lost
			}
		}
		next, err := r.state.Apply(cmd)
		if err != nil {
			return err
		}
		h := r.head
		h.Applied++
		e := entry{term: uint64(t.term), nonce: nonce, command: data}
		if len(data) > maxPart {
			b, err := n.writeParts(ctx, t, h.Applied, nonce, data)
			if err != nil {
				return err
			}
			e.parts, e.command = uint32(b.Parts), nil
		}
		r.sure = false
		err = t.write(ctx,
			&zk.CreateRequest{Path: n.path(t.session, "log", fmt.Sprint(h.Applied)), Data: e.encode(), Acl: t.session.acl},
			&zk.SetDataRequest{Path: n.path(t.session, "state"), Data: marshal(h), Version: r.version})
		switch {
		case err == nil:
			r.head, r.version, r.nonce, r.sure = h, r.version+1, nonce, true
			n.replace(next, h.Applied)
			t.grow(len(data), h)
			return nil
		case errors.Is(err, cluster.ErrNotLeader), ctx.Err() != nil:
			return err
		case errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNodeExists): // an earlier command whose answer was not waited for
		case answered(err):
			return err
		}
	}
}

// grow counts a command, and asks for a snapshot when there are many.
func (t *reign) grow(bytes int, h head) {
	t.mu.Lock()
	t.size += bytes
	due := t.size > snapshotBytes
	t.mu.Unlock()
	var since uint64
	if h.Snapshot != nil {
		since = h.Snapshot.Index
	}
	if due || h.Applied-since >= snapshotEvery {
		select {
		case t.grown <- struct{}{}:
		default:
		}
	}
}

// keepShort writes snapshots when they are due.
func (n *Node) keepShort(ctx context.Context, t *reign) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.over:
			return
		case <-t.grown:
		}
		t.mu.Lock()
		t.size = 0
		t.mu.Unlock()
		if err := n.snapshot(ctx, t); err != nil && ctx.Err() == nil && !t.ended() {
			n.log.Warn("the log in zookeeper was not shortened", "error", err)
		}
	}
}

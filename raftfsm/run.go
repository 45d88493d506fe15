package raftfsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"canalgo/cluster"
	"canalgo/folder"

	"github.com/hashicorp/raft"
)

// Lead is what a node does as leader.
type Lead = func(ctx context.Context, term cluster.Term) error

// Run takes part until ctx ends, then gives the data folder free; it is called once. Each time this node is elected it
// calls lead, with everything of earlier terms applied. lead's ctx ends with the term, and lead is not called again
// before it has returned. When lead returns an error while its term lasts, or this node cannot go on (its disk refuses,
// an entry is of a newer version, it was removed from the cluster), Run ends with an error; cluster.ErrRemoved in the last
// case, and then New refuses the folder.
func (n *Node) Run(ctx context.Context, lead Lead) (err error) {
	n.mu.Lock()
	if n.state != idle {
		n.mu.Unlock()
		return errors.New("raftfsm: a Node runs once")
	}
	n.state = running
	n.mu.Unlock()
	defer func() { err = errors.Join(err, n.release()) }()
	defer func() {
		if errors.Is(err, cluster.ErrRemoved) {
			n.meta.Removed = true
			err = errors.Join(err, n.folder.WriteMeta(n.meta))
		}
	}()

	cache, err := raft.NewLogCache(logsCached, n.store)
	if err != nil {
		return fmt.Errorf("make the log's cache: %w", err)
	}
	if n.fsm.known, err = n.newestCommand(); err != nil {
		return err
	}
	elected := make(chan bool) // without a buffer: each change is seen, and in order
	n.conf.NotifyCh = elected
	n.trans = newTransport(n.carrier, n.stream, n.address, n.log)
	var r *raft.Raft
	if err := guard(func() (err error) {
		r, err = raft.NewRaft(n.conf, n.fsm, cache, n.store, n.snapshots, n.trans)
		return err
	}); err != nil {
		return errors.Join(fmt.Errorf("data folder %s: start raft: %w", n.folder.Path, err), n.trans.Close())
	}
	leaders := make(chan raft.Observation, 1) // what comes while one is there is the same news
	r.RegisterObserver(raft.NewObserver(leaders, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	n.mu.Lock()
	n.raft = r
	n.mu.Unlock()

	stop := make(chan struct{})
	terms := make(chan electedTerm)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		n.watch(r, elected, leaders, terms, stop)
	}()
	if n.sole {
		n.trans.electNow() // nobody else can be leading, so there is nothing to wait for
	}
	err = n.lead(ctx, terms, lead)

	n.mu.Lock()
	n.state = ended // no call begins from here on
	n.mu.Unlock()
	n.await()
	shutdown := r.Shutdown()
	err = errors.Join(err, n.trans.Close(), shutdown.Error()) // the one first: what waits for other nodes ends with it
	close(n.stopped)
	close(stop)
	<-watched
	n.board.Update(func(v *cluster.View) { v.Leader, v.LeaderAddress, v.Leading = "", "", false })
	return err
}

// newestCommand returns the newest command in the log, without its data; zero when there is none behind the snapshot.
func (n *Node) newestCommand() (raft.Log, error) {
	first, err := n.store.FirstIndex()
	if err != nil {
		return raft.Log{}, folder.Explain(n.folder.Path, err)
	}
	last, err := n.store.LastIndex()
	if err != nil {
		return raft.Log{}, folder.Explain(n.folder.Path, err)
	}
	for i := last; i >= first && i > 0; i-- {
		var entry raft.Log
		if err := n.store.GetLog(i, &entry); err != nil {
			return raft.Log{}, folder.Explain(n.folder.Path, err)
		}
		if entry.Type == raft.LogCommand {
			return raft.Log{Index: entry.Index, Term: entry.Term}, nil
		}
	}
	return raft.Log{}, nil
}

// answerTime is how long Run waits at its end for calls to be answered.
const answerTime = time.Second

// await waits until the calls that wait for Raft have their answers: when it is shut down it forgets some. Each gets its
// own soon, by a majority's disks or by the end of the term, unless this node's disk is gone.
func (n *Node) await() {
	answered := make(chan struct{})
	go func() {
		n.calls.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(answerTime):
	}
}

// An electedTerm is one term in which this node was elected.
type electedTerm struct {
	term cluster.Term
	lost <-chan struct{} // closed when the term is over
}

// watch reads every change of leadership at once, because Raft waits for it, hands out the newest term that is not over,
// and shows who leads elsewhere.
func (n *Node) watch(r *raft.Raft, elected <-chan bool, leaders <-chan raft.Observation, terms chan<- electedTerm, stop <-chan struct{}) {
	var newest electedTerm
	var lost chan struct{}
	var out chan<- electedTerm // nil while there is nothing to hand out
	end := func() {
		if lost != nil {
			close(lost)
		}
		lost, out = nil, nil
	}
	defer end()
	n.showLeader(r) // Raft has run for a moment: who was heard then is no news any more
	for {
		select {
		case leads := <-elected:
			end()
			if leads {
				lost = make(chan struct{})
				newest, out = electedTerm{term: cluster.Term(r.CurrentTerm()), lost: lost}, terms
				continue
			}
			n.board.Update(func(v *cluster.View) { v.Leader, v.LeaderAddress, v.Leading = "", "", false })
			n.showLeader(r)
			n.log.Info("no longer the leader", "term", newest.term)
		case <-leaders:
			n.showLeader(r)
		case out <- newest:
			out = nil
		case <-stop:
			return
		}
	}
}

// showLeader shows who leads when that is not this node, which shows itself once it has caught up.
func (n *Node) showLeader(r *raft.Raft) {
	address, id := r.LeaderWithID()
	if id == n.conf.LocalID {
		return
	}
	term := cluster.Term(r.CurrentTerm())
	n.board.Update(func(v *cluster.View) {
		v.Leader, v.LeaderAddress, v.Leading = cluster.ServerName(string(id)), string(address), false
		v.Term = max(v.Term, term)
	})
}

// lead calls lead for each term, one after the other.
func (n *Node) lead(ctx context.Context, terms <-chan electedTerm, lead Lead) error {
	for {
		select {
		case t := <-terms:
			if err := n.leadTerm(ctx, t, lead); err != nil {
				return err
			}
		case err := <-n.failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) leadTerm(ctx context.Context, t electedTerm, lead Lead) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	returned := make(chan error, 1)
	go func() { returned <- n.leadCaughtUp(ctx, t, lead) }()

	var failed error
	lost := t.lost
	for {
		select {
		case err := <-returned:
			if errors.Is(err, cluster.ErrNotLeader) && failed == nil && ctx.Err() == nil {
				// Raft says so a moment before the term ends, or because a transfer was tried: then this node leads on.
				select {
				case <-lost:
				case <-ctx.Done():
				case <-time.After(electionPause):
					go func() { returned <- n.leadCaughtUp(ctx, t, lead) }()
					continue
				}
				return nil
			}
			return n.led(ctx, t.term, err, failed)
		case failed = <-n.failed:
			cancel()
		case <-lost:
			cancel()
			lost = nil
		}
	}
}

// electionPause is how long a lead that Raft has refused waits for the end of its term before it begins again.
const electionPause = 100 * time.Millisecond

// led says what lead's return means for Run.
func (n *Node) led(ctx context.Context, term cluster.Term, err, failed error) error {
	if failed == nil {
		select {
		case failed = <-n.failed:
		default:
		}
	}
	switch {
	case failed != nil: // the reason; err is what came of it
		return failed
	case err == nil:
		return nil
	case ctx.Err() == nil:
		return fmt.Errorf("lead in term %d: %w", term, err)
	case !errors.Is(err, context.Canceled) && !errors.Is(err, cluster.ErrNotLeader):
		n.log.Warn("leading ended", "term", term, "error", err)
	}
	return nil
}

// leadCaughtUp calls lead when everything of earlier terms is applied here.
func (n *Node) leadCaughtUp(ctx context.Context, t electedTerm, lead Lead) error {
	if err := n.call(ctx, t.term, func(r *raft.Raft) error { return r.Barrier(0).Error() }); err != nil {
		if errors.Is(err, cluster.ErrNotLeader) {
			return nil // lost already
		}
		return fmt.Errorf("catch up: %w", err)
	}
	over := false
	n.board.Update(func(v *cluster.View) {
		select {
		case <-t.lost: // and watch has shown that, or will after this
			over = true
		default:
			if over = v.Term > t.term; !over {
				v.Term, v.Leader, v.LeaderAddress, v.Leading = t.term, n.meta.NodeID, string(n.address), true
			}
		}
	})
	if over {
		return nil
	}
	n.log.Info("elected", "term", t.term)
	return lead(ctx, t.term)
}

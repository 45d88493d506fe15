package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"canalgo/integration/harness"
	"canalgo/status"
)

// How often each is measured.
const (
	leaderKills = 50
	workerKills = 30
	handovers   = 20
)

// insertPeriod is how often a row is inserted while nodes are ended.
const insertPeriod = 20 * time.Millisecond

// failovers ends nodes of a cluster of three and measures, from that moment, until the first row is readable that was inserted
// after it. The log has more than 500 MB, because some readers scan it.
func (b *bench) failovers(ctx context.Context) (err error) {
	const index = "failover"
	if err := b.longLog(ctx); err != nil {
		return err
	}
	log, err := create(b.db, user("failover"))
	if err != nil {
		return err
	}
	if err := b.freshIndex(ctx, index); err != nil {
		return err
	}
	p, err := b.run(ctx, job{from: []backlog{log}, start: log.start(), sink: b.es.URL(), index: index, nodes: 3})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	f := &failover{b: b, cluster: p.cluster, log: log, index: index, client: &http.Client{}}
	defer f.client.CloseIdleConnections()
	inserting, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.insert(inserting) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if err := f.settle(ctx); err != nil {
		return err
	}
	if b.wants("failover") {
		if err := f.leader(ctx); err != nil {
			return err
		}
	}
	if b.wants("worker_failover") {
		if err := f.worker(ctx); err != nil {
			return err
		}
	}
	if b.wants("handover") {
		return f.handover(ctx)
	}
	return nil
}

// longLog fills the present file of the binary log.
func (b *bench) longLog(ctx context.Context) error {
	statements := []string{"SET GLOBAL max_binlog_size = 1073741824", "FLUSH BINARY LOGS", "CREATE DATABASE IF NOT EXISTS filler", "CREATE TABLE IF NOT EXISTS filler.t (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB)"}
	for range 65 {
		statements = append(statements, "INSERT INTO filler.t (b) VALUES (REPEAT('x', 8000000))")
	}
	if err := b.db.Exec(statements...); err != nil {
		return fmt.Errorf("fill the log: %w", err)
	}
	return ctx.Err()
}

// A failover is a cluster that is written to all the time.
type failover struct {
	b       *bench
	cluster *harness.Cluster
	log     backlog
	index   string
	client  *http.Client

	mu   sync.Mutex
	next int // id of the row that is inserted next
}

const duty = "shop/bench1"

// insert inserts rows until ctx ends.
func (f *failover) insert(ctx context.Context) error {
	c, err := f.b.db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	tick := time.NewTicker(insertPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		f.mu.Lock()
		f.next++
		id := f.next
		f.mu.Unlock()
		if err := f.log.insert(c, id); err != nil {
			return fmt.Errorf("insert row %d: %w", id, err)
		}
	}
}

// settle waits until the cluster is whole and what is inserted arrives.
func (f *failover) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.cluster.WaitWhole(ctx); err != nil {
		return err
	}
	_, err := f.cluster.Wait(ctx, "the stream to have caught up", func(r status.Report) bool {
		d, _ := r.Duty(duty)
		return d.LagSeconds != nil && *d.LagSeconds < 0.5
	})
	return err
}

// until ends a node by end and returns the time until a row is readable that was inserted after that; the node is started again.
func (f *failover) until(ctx context.Context, n *harness.Node, end func() error) (time.Duration, error) {
	f.mu.Lock()
	first := f.next + 1 // the row that is under way now counts as one from before
	f.mu.Unlock()
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	err := until(ctx, 2*time.Millisecond, func(ctx context.Context) (bool, error) {
		return exists(ctx, f.client, fmt.Sprintf("%s/%s/_doc/%d?_source=false", f.b.es.URL(), f.index, first+1))
	})
	took := time.Since(began)
	if err := errors.Join(err, <-ended); err != nil {
		return 0, err
	}
	if err := n.Start(); err != nil {
		return 0, err
	}
	return took, f.settle(ctx)
}

// repeat ends a node that pick names, count times, and returns how long each took in ms. what says in the notes what is done to it.
func (f *failover) repeat(ctx context.Context, what string, count int, pick func(turn int) (*harness.Node, error), end func(*harness.Node) error) ([]float64, error) {
	var times []float64
	for turn := range count {
		n, err := pick(turn)
		if err != nil {
			return nil, err
		}
		took, err := f.until(ctx, n, func() error { return end(n) })
		if err != nil {
			return nil, err
		}
		times = append(times, ms(took))
		f.b.note("%s %s, %d of %d: %.0f ms", what, n.Name, turn+1, count, ms(took))
	}
	return times, nil
}

// leader kills the leader: in every other turn the one that does the duty, too.
func (f *failover) leader(ctx context.Context) error {
	both := 0
	times, err := f.repeat(ctx, "kill of the leader", leaderKills, func(turn int) (*harness.Node, error) {
		leader, err := f.cluster.Leader(ctx)
		if err != nil {
			return nil, err
		}
		holder, err := f.cluster.Holder(ctx, duty)
		if err == nil && turn%2 == 1 {
			leader, err = f.bring(ctx, holder)
		}
		if leader == holder {
			both++
		}
		return leader, err
	}, (*harness.Node).Kill)
	if err != nil {
		return err
	}
	f.b.note("%d of %d leaders held the duty", both, leaderKills)
	f.b.value("failover_p50", percentile(times, 50), "ms")
	f.b.value("failover_p99", percentile(times, 99), "ms")
	f.b.value("failover_max", percentile(times, 100), "ms")
	return nil
}

// bring has a node lead: those that lead before it are stopped in order, and started again, until it does.
func (f *failover) bring(ctx context.Context, wanted *harness.Node) (*harness.Node, error) {
	for range 10 {
		leader, err := f.cluster.Leader(ctx)
		if err != nil || leader == wanted {
			return leader, err
		}
		if err := leader.Stop(); err != nil {
			return nil, err
		}
		if err := leader.Start(); err != nil {
			return nil, err
		}
		if err := f.settle(ctx); err != nil {
			return nil, err
		}
	}
	return f.cluster.Leader(ctx)
}

// worker kills the node that does the duty and does not lead.
func (f *failover) worker(ctx context.Context) error {
	times, err := f.repeat(ctx, "kill of the worker", workerKills, func(int) (*harness.Node, error) { return f.apart(ctx) }, (*harness.Node).Kill)
	if err != nil {
		return err
	}
	f.b.value("worker_failover_p50", percentile(times, 50), "ms")
	f.b.value("worker_failover_p99", percentile(times, 99), "ms")
	return nil
}

// apart returns the node that does the duty, when it does not lead; else leadership is given away first.
func (f *failover) apart(ctx context.Context) (*harness.Node, error) {
	for {
		leader, err := f.cluster.Leader(ctx)
		if err != nil {
			return nil, err
		}
		holder, err := f.cluster.Holder(ctx, duty)
		if err != nil || leader != holder {
			return holder, err
		}
		if err := errors.Join(leader.Stop(), leader.Start(), f.settle(ctx)); err != nil {
			return nil, err
		}
	}
}

// handover stops the leader and the node that does the duty by SIGTERM, in turn.
func (f *failover) handover(ctx context.Context) error {
	times, err := f.repeat(ctx, "SIGTERM of", handovers, func(turn int) (*harness.Node, error) {
		if turn%2 == 1 {
			return f.apart(ctx)
		}
		return f.cluster.Leader(ctx)
	}, (*harness.Node).Stop)
	if err != nil {
		return err
	}
	f.b.value("handover_p50", percentile(times, 50), "ms")
	f.b.value("handover_max", percentile(times, 100), "ms")
	return nil
}

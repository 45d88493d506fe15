package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// KillLeaders kills the leader of a cluster under load, again and again, and measures from each kill until a row has arrived that
// was inserted after it. At the end all is compared. The error says that the laboratory itself failed.
func (l *Lab) KillLeaders(ctx context.Context, count int) (Record, error) {
	return l.leaders(ctx, Kills, count, false, func(ctx context.Context, t *trial, leader *harness.Node) (time.Duration, error) {
		t.outcome.Kills++
		if t.elastic.InFlight(hostOf(leader.HTTP)) > 0 {
			t.outcome.InFlight++
		}
		if err := leader.Kill(); err != nil {
			return 0, err
		}
		took, err := t.beat.arrival(ctx)
		return took, errors.Join(err, leader.Start())
	})
}

// CutLeaders cuts the leader off from the other nodes, again and again, while it still reaches MySQL and Elasticsearch, and counts
// the requests that it begins after its lease. Without versions, which are then taken out on the way to Elasticsearch, nothing but
// the lease keeps two from writing one document. The times are from the cut until a row has arrived that was inserted after it.
func (l *Lab) CutLeaders(ctx context.Context, count int, versions bool) (Record, error) {
	what := Cuts
	if !versions {
		what = CutsUnversioned
	}
	return l.leaders(ctx, what, count, !versions, func(ctx context.Context, t *trial, leader *harness.Node) (time.Duration, error) {
		host := t.hostNumber(leader)
		if err := l.net.Cut(ctx, host); err != nil {
			return 0, err
		}
		began := time.Now()
		// The old leader's duties may write what it had read; a row that is inserted now arrives by another.
		took, err := t.beat.arrival(ctx)
		sleep(ctx, time.Until(began.Add(oracle.LeaseTime+oracle.LeaseSlack+time.Second)))
		late, _ := t.visits.AfterLease(hostOf(leader.HTTP), began, time.Now())
		t.late += len(late)
		if len(late) > 0 {
			t.outcome.violate("%s began %d requests after its lease, the first %s", leader.Name, len(late), late[0])
		}
		return took, errors.Join(err, l.net.Heal(context.Background(), host))
	})
}

// leaders ends the leader's leadership count times by end, which returns how long it took until a row arrived.
func (l *Lab) leaders(ctx context.Context, what string, count int, strip bool, end func(context.Context, *trial, *harness.Node) (time.Duration, error)) (_ Record, err error) {
	t, err := l.newTrial(ctx, uint64(time.Now().UnixNano()), trialOptions{direct: true, strip: strip, beat: true,
		work: oracle.WorkloadConfig{Keys: 3000, MaxRows: 50, Pace: 60 * time.Millisecond}})
	if err != nil {
		return Record{}, err
	}
	defer func() { err = errors.Join(err, t.end(err != nil || len(t.outcome.Violations) > 0)) }()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(loading)
	g.Go(func() error { return t.work.Run(gctx) })
	g.Go(func() error { return t.beat.run(gctx) })
	r := Record{What: what}
	for range count {
		took, err := t.endLeader(gctx, end)
		if err != nil {
			return Record{}, errors.Join(fmt.Errorf("%s, after %d: %w", what, len(r.TimesMS), err), context.Cause(gctx))
		}
		r.TimesMS = append(r.TimesMS, took.Milliseconds())
	}
	stop()
	if err := g.Wait(); err != nil {
		return Record{}, err
	}
	if err := t.settle(ctx); err != nil {
		return Record{}, err
	}
	if err := t.judge(ctx); err != nil {
		return Record{}, err
	}
	o := t.outcome.Record(Raft, 0, "")
	o.What, o.TimesMS, o.Late = r.What, r.TimesMS, t.late
	return o, nil
}

// endLeader waits until the cluster is whole and keeps up, and ends the leader's leadership.
func (t *trial) endLeader(ctx context.Context, end func(context.Context, *trial, *harness.Node) (time.Duration, error)) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := t.cluster.WaitWhole(ctx); err != nil {
		return 0, err
	}
	_, err := t.cluster.Wait(ctx, "the streams to have caught up", func(r status.Report) bool {
		for _, d := range r.Duties {
			if d.LagSeconds == nil || *d.LagSeconds > 0.5 {
				return false
			}
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	leader, err := t.cluster.Leader(ctx)
	if err != nil {
		return 0, err
	}
	return end(ctx, t, leader)
}

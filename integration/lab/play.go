package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// An Outcome is what a schedule did and showed.
type Outcome struct {
	Faults       map[string]int // that were made, by kind
	Kills        int            // of processes of canalgo
	InFlight     int            // of these, with a write under way
	Transactions int64
	Rows         int64         // changed
	Items        int           // that Elasticsearch was sent
	Repeats      int           // of these, refused as older, or written again at their version
	Whole        time.Duration // from the last healing until all nodes worked
	Equal        time.Duration // from there until everything was written
	Violations   []string      // of what must hold
	Evidence     string        // the folder with logs and trace, when there are violations
}

func (o *Outcome) violate(format string, args ...any) {
	o.Violations = append(o.Violations, fmt.Sprintf(format, args...))
}

// Play plays a schedule and judges it. The error says that the laboratory itself failed, or ctx ended: the outcome shows nothing.
func (l *Lab) Play(ctx context.Context, s Schedule) (Outcome, error) {
	t, err := l.newTrial(ctx, s.Seed, trialOptions{mode: s.Mode, load: s.Seed%3 == 0, tls: s.Seed%2 == 0, work: oracle.WorkloadConfig{
		Keys: 3000, MaxRows: 400, Pace: 20 * time.Millisecond, Truncates: true}})
	if err != nil {
		return Outcome{}, err
	}
	err = t.play(ctx, s)
	o := t.outcome
	if len(o.Violations) > 0 || err != nil {
		o.Evidence = t.dir
		err = errors.Join(err, os.WriteFile(filepath.Join(t.dir, "trace"), []byte(s.String()), 0o644))
	}
	return o, errors.Join(err, t.end(o.Evidence != ""))
}

func (t *trial) play(ctx context.Context, s Schedule) error {
	sampler := &oracle.Sampler{Elasticsearch: t.lab.es, Index: t.name, IDs: t.work.HotIDs(), Node: t, Ledger: t.work.Ledger()}
	t.sampler = sampler
	sampling, stopSampling := context.WithCancel(ctx)
	defer stopSampling()
	watch, watching := errgroup.WithContext(sampling)
	watch.Go(func() error { return sampler.Run(watching) })

	loading, stopLoad := context.WithTimeout(ctx, s.Load)
	defer stopLoad()
	g, gctx := errgroup.WithContext(loading)
	g.Go(func() error { return t.work.Run(gctx) })
	g.Go(func() error { return t.makeAll(gctx, s.Events) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	stopSampling()
	if err := watch.Wait(); err != nil {
		return err
	}
	if err := sampler.Err(); err != nil {
		t.outcome.violate("sampler: %v", err)
	}
	log, err := oracle.ReadLog(t.lab.db, schema+"."+t.name)
	if err != nil {
		return err
	}
	if wrong := sampler.CheckPositions(log, &t.holds); len(wrong) > 0 {
		t.outcome.violate("%d saved positions are wrong:\n%s", len(wrong), strings.Join(wrong[:min(20, len(wrong))], "\n"))
	}
	return t.judge(ctx)
}

// makeAll makes the faults when it is their time, and heals each; all are healed when it returns.
func (t *trial) makeAll(ctx context.Context, events []Event) error {
	began := time.Now()
	var all sync.WaitGroup
	errs := make([]error, len(events))
	for i, e := range events {
		all.Go(func() {
			if sleep(ctx, time.Until(began.Add(e.Start))) {
				errs[i] = t.make(ctx, e)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// sleep waits, and reports whether ctx did not end meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// errTaken says that a fault cannot be made now.
var errTaken = errors.New("it is in the hands of another fault")

// make makes one fault, keeps it and heals it.
func (t *trial) make(ctx context.Context, e Event) error {
	k, ok := kindOf(e.Fault)
	if !ok {
		return fmt.Errorf("there is no fault %q", e.Fault)
	}
	f := &fault{trial: t, event: e}
	defer f.give()
	err := f.take(k.takes...)
	if err == nil {
		err = k.make(ctx, f)
	}
	t.mu.Lock()
	if err == nil {
		t.outcome.Faults[e.Fault]++
	}
	t.mu.Unlock()
	if errors.Is(err, errTaken) || ctx.Err() != nil {
		err = nil
	}
	// What was broken before an error is healed, too.
	if len(f.heals) > 0 {
		sleep(ctx, e.Length)
	}
	for _, heal := range slices.Backward(f.heals) {
		err = errors.Join(err, heal())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e, err)
	}
	return nil
}

// settle starts what does not run, and waits until all work and everything is written.
func (t *trial) settle(ctx context.Context) error {
	began := time.Now()
	for _, n := range t.cluster.Nodes {
		select {
		case <-n.Ended():
			if !t.excused[n] {
				t.outcome.violate("%s ended by itself with %d:\n%s", n.Name, n.ExitCode(), n.LogTail(15))
			}
			_ = n.Kill() // it says that it had ended by itself
			if err := n.Start(); err != nil {
				return err
			}
		default:
		}
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := harness.Poll(waiting, func() error {
		report, err := t.cluster.Status(waiting)
		if err == nil && !harness.Whole(report, len(t.cluster.Nodes)) {
			err = errors.Join(fmt.Errorf("not yet: %+v", report), t.removeStrangers(waiting, report))
		}
		return err
	})
	if err != nil {
		return t.overdue(ctx, "the cluster is not whole", err)
	}
	t.outcome.Whole = time.Since(began)
	if err := oracle.Quiet(waiting, t.lab.db, t); err != nil {
		return t.overdue(ctx, "not everything is written", err)
	}
	t.outcome.Equal = time.Since(began)
	return nil
}

// overdue is a violation unless ctx has ended.
func (t *trial) overdue(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.outcome.violate("%s %s after all was healed: %.2000v\n%s", what, patience, err, t.cluster.LogTail(15))
	return nil
}

// judge compares, now that nothing changes any more.
func (t *trial) judge(ctx context.Context) error {
	o := &t.outcome
	for _, index := range t.indices {
		result, err := (oracle.Pair{SQL: t.work.SQL(), Index: index}).Compare(ctx, t.lab.db, t.lab.es)
		if err != nil {
			return err
		}
		if err := result.Err(); err != nil {
			o.violate("%s: %v", index, err)
		}
	}
	stats := t.elastic.Stats()
	if stats.Regressions > 0 && !t.strip { // without versions, what is delivered again is older for a moment
		o.violate("%d times a document had a lower version than before", stats.Regressions)
	}
	o.Transactions, o.Rows, o.Items, o.Repeats = t.work.Transactions(), t.work.Rows(), stats.Items, stats.Repeats
	checking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	report, err := t.cluster.Wait(checking, "the same state everywhere", func(r status.Report) bool { return harness.SameState(r, len(t.cluster.Nodes)) })
	if err != nil {
		return t.overdue(ctx, "the nodes' states differ", err)
	}
	if report.Quarantine > 0 {
		o.violate("%d documents are set aside though nothing refused them for good", report.Quarantine)
	}
	for _, n := range t.cluster.Nodes {
		if err := n.Leaks(checking); err != nil {
			o.violate("%v", err)
		}
	}
	return ctx.Err() // what was found when it had ended says nothing
}

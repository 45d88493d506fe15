package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/status"
)

// frozenRounds is how often MySQL is frozen: one half of it idle, the other while rows are inserted.
const frozenRounds = 20

// frozen stops mysqld by SIGSTOP and measures, from that moment, until the status says that the source is silent. Its connections
// stay open meanwhile, so nothing but the silence tells.
func (b *bench) frozen(ctx context.Context) (err error) {
	log, err := create(b.db, user("frozen"))
	if err != nil {
		return err
	}
	h, err := startHole()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	p, err := b.run(ctx, job{from: []backlog{log}, start: log.start(), sink: h.url, index: "frozen", nodes: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.db.Continue(), p.stop()) }()
	inserting, stop := context.WithCancel(ctx)
	var inserts errgroup.Group
	defer func() {
		stop()
		err = errors.Join(err, b.db.Continue(), inserts.Wait())
	}()
	f := &failover{b: b, log: log}
	var times []float64
	for round := range frozenRounds {
		if round == frozenRounds/2 {
			inserts.Go(func() error { return f.insert(inserting) })
		}
		if err := p.untilSource(ctx, status.SourceStreaming, ""); err != nil {
			return err
		}
		// Heartbeats come every second; any moment between two of them may be the one.
		if err := pause(ctx, time.Second+rand.N(time.Second)); err != nil {
			return err
		}
		began := time.Now()
		if err := b.db.Pause(); err != nil {
			return err
		}
		if err := p.untilSource(ctx, status.SourceConnecting, "silent"); err != nil {
			return err
		}
		times = append(times, time.Since(began).Seconds())
		b.note("round %d: SIGSTOP of mysqld noticed after %.2f s", round+1, times[round])
		if err := b.db.Continue(); err != nil {
			return err
		}
	}
	b.value("frozen_source_p50", percentile(times, 50), "s")
	b.value("frozen_source", percentile(times, 100), "s")
	return nil
}

// untilSource waits until the source is in a state, with a text in its last error.
func (p *program) untilSource(ctx context.Context, state status.SourceState, says string) error {
	err := p.until(ctx, 5*time.Millisecond, func(ctx context.Context) (bool, error) {
		r, err := p.client.Report(ctx)
		if err != nil || len(r.Sources) == 0 {
			return false, nil // it does not listen yet
		}
		return r.Sources[0].State == state && strings.Contains(r.Sources[0].LastError, says), nil
	})
	if err != nil {
		return fmt.Errorf("wait for a source that is %s: %w", state, err)
	}
	return nil
}

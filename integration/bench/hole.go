package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// hole measures go-mysql alone and canalgo into a hole in turn, in rows per CPU second: on each of these numbers of nodes. Their
// names get the suffix, and those of one node a 1.
func (b *bench) hole(ctx context.Context, log backlog, suffix string, nodes ...int) error {
	var ceilings []float64
	rates := make(map[int][]float64)
	for turn := range b.pairs {
		cpu, err := b.decodeAlone(ctx, log)
		if err != nil {
			return err
		}
		ceiling := float64(log.rows) / cpu.Seconds()
		ceilings = append(ceilings, ceiling)
		for _, n := range nodes {
			s, err := b.intoHole(ctx, n, log)
			if err != nil {
				return fmt.Errorf("sync on %d nodes: %w", n, err)
			}
			rate := float64(log.rows) / s.cpu.Seconds()
			rates[n] = append(rates[n], rate)
			b.peak[n] = max(b.peak[n], s.rss)
			b.note("turn %d: %s: go-mysql %.0f rows/cpu-s; canalgo on %d nodes into the hole %.0f rows/cpu-s (%.3f), %.0f rows/s, leader's cpu %.2fs (%.3f), rss %.0f MB", turn+1,
				log.table, ceiling, n, rate, rate/ceiling, float64(log.rows)/s.took.Seconds(), s.leader.Seconds(), s.leader.Seconds()/cpu.Seconds(), float64(s.rss)/1e6)
		}
	}
	b.value("decode_ceiling"+suffix, median(ceilings), "rows/cpu-s")
	for _, n := range nodes {
		name := suffix
		if n == 1 {
			name = "_1" + suffix
		}
		b.ratio("hole_sync"+name, median(quotients(rates[n], ceilings)))
		b.value("hole_sync_rate"+name, median(rates[n]), "rows/cpu-s")
	}
	return nil
}

// decodeAlone returns the CPU time that go-mysql needs for a backlog.
func (b *bench) decodeAlone(ctx context.Context, log backlog) (time.Duration, error) {
	if err := quiet(ctx, b.note, b.db.PID()); err != nil {
		return 0, err
	}
	return decode(ctx, b.db.Addr(), log)
}

// A holed is one run of canalgo into a hole; on one node its start is included.
type holed struct {
	took time.Duration
	cost
}

// intoHole runs a mapping for each of the backlogs, which lie in one log from the first one's start.
func (b *bench) intoHole(ctx context.Context, nodes int, logs ...backlog) (s holed, err error) {
	h, err := startHole()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	p, err := b.run(ctx, job{from: logs, start: logs[0].start(), sink: h.url, index: "hole", nodes: nodes})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	rows := 0
	for _, log := range logs {
		rows += log.rows
	}
	err = p.until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		n, err := h.documents(ctx)
		return n >= rows, err
	})
	if err != nil {
		return s, err
	}
	s.took = time.Since(p.began)
	s.cost, err = p.cost()
	return s, err
}

// ready measures how long canalgo takes from its start to the first event, on a fresh folder.
func (b *bench) ready(ctx context.Context, log backlog) error {
	var times []float64
	for turn := range b.pairs {
		if err := quiet(ctx, b.note, b.db.PID()); err != nil {
			return err
		}
		took, err := b.untilReady(ctx, log)
		if err != nil {
			return err
		}
		b.note("turn %d: first event after %s", turn+1, took.Round(time.Millisecond))
		times = append(times, took.Seconds())
	}
	b.value("ready", median(times), "s")
	return nil
}

func (b *bench) untilReady(ctx context.Context, log backlog) (took time.Duration, err error) {
	h, err := startHole()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	p, err := b.run(ctx, job{from: []backlog{log}, start: log.start(), sink: h.url, index: "ready", nodes: 1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	err = p.until(ctx, 5*time.Millisecond, func(ctx context.Context) (bool, error) {
		r, err := p.client.Report(ctx)
		if err != nil {
			return false, nil // it does not listen yet
		}
		return len(r.Sources) > 0 && r.Sources[0].EventsRead > 0, nil
	})
	return time.Since(p.began), err
}

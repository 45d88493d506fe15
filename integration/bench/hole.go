package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// hole measures pairs of go-mysql alone and canalgo into a hole, in rows per CPU second. Their names get the suffix.
func (b *bench) hole(ctx context.Context, log backlog, suffix string) error {
	var ceilings, syncs []float64
	for turn := range b.pairs {
		if err := quiet(ctx, b.note, b.db.PID()); err != nil {
			return err
		}
		cpu, err := decode(ctx, b.db.Addr(), log)
		if err != nil {
			return err
		}
		ceiling := float64(log.rows) / cpu.Seconds()
		s, err := b.intoHole(ctx, log)
		if err != nil {
			return fmt.Errorf("sync: %w", err)
		}
		rate := float64(log.rows) / s.cpu.Seconds()
		ceilings, syncs, b.peak = append(ceilings, ceiling), append(syncs, rate), max(b.peak, s.rss)
		b.note("turn %d: %s: go-mysql %.0f rows/cpu-s; canalgo into the hole %.0f rows/cpu-s (%.3f), %.0f rows/s, rss %.0f MB", turn+1, log.table, ceiling,
			rate, rate/ceiling, float64(log.rows)/s.took.Seconds(), float64(s.rss)/1e6)
	}
	b.value("decode_ceiling"+suffix, median(ceilings), "rows/cpu-s")
	b.ratio("hole_sync"+suffix, median(quotients(syncs, ceilings)))
	b.value("hole_sync_rate"+suffix, median(syncs), "rows/cpu-s")
	return nil
}

// A holed is one run of canalgo into a hole, its start included.
type holed struct {
	took, cpu time.Duration
	rss       int // bytes
}

func (b *bench) intoHole(ctx context.Context, log backlog) (s holed, err error) {
	h, err := startHole()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	p, err := b.run(job{from: log, start: log.start(), sink: h.url, index: "hole"})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	err = p.until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		n, err := h.documents(ctx)
		return n >= log.rows, err
	})
	if err != nil {
		return s, err
	}
	s.took = time.Since(p.began)
	if s.cpu, err = cpuOf(p.process.Pid); err != nil {
		return s, err
	}
	s.rss, err = peakRSS(p.process.Pid)
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
	p, err := b.run(job{from: log, start: log.start(), sink: h.url, index: "ready"})
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

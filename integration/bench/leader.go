package main

import (
	"context"
	"fmt"
)

// leader measures what the leader spends per row when another node does the work, over what go-mysql spends on decoding it: for
// transactions of 1,000 rows, of one row, and compressed ones.
func (b *bench) leader(ctx context.Context) error {
	for _, one := range []struct {
		suffix, session string
		each, rows      int
	}{
		{"", "", 1000, b.rows},
		{"_small", "", 1, max(1, b.rows/10)},
		{"_compressed", "SET SESSION binlog_transaction_compression = ON", 1000, b.rows},
	} {
		w := user("leader" + one.suffix)
		w.each, w.session = one.each, one.session
		log, err := fill(ctx, b.db, w, one.rows)
		if err != nil {
			return err
		}
		var ratios []float64
		for turn := range b.pairs {
			cpu, err := b.decodeAlone(ctx, log)
			if err != nil {
				return err
			}
			s, err := b.intoHole(ctx, 3, log)
			if err != nil {
				return fmt.Errorf("%d rows a transaction%s: %w", one.each, one.suffix, err)
			}
			ratios = append(ratios, s.leader.Seconds()/cpu.Seconds())
			b.note("turn %d: %d rows, %d a transaction%s: go-mysql's cpu %.2fs, the leader's %.2fs (%.3f), all nodes' %.2fs, %.0f rows/s", turn+1, log.rows, one.each,
				one.suffix, cpu.Seconds(), s.leader.Seconds(), ratios[turn], s.cpu.Seconds(), float64(log.rows)/s.took.Seconds())
		}
		b.ratio("leader_cpu"+one.suffix, median(ratios))
	}
	return nil
}

// scale measures rows per second into the hole of one, two and three mappings of a table each, on three nodes: the leader streams
// for all, and with three has one of them itself.
func (b *bench) scale(ctx context.Context) error {
	var logs []backlog
	for i := range 3 {
		log, err := fill(ctx, b.db, user(fmt.Sprintf("part%d", i+1)), max(1, b.rows/3))
		if err != nil {
			return err
		}
		logs = append(logs, log)
	}
	for count := 1; count <= len(logs); count++ {
		var rates []float64
		for turn := range b.pairs {
			if err := quiet(ctx, b.note, b.db.PID()); err != nil {
				return err
			}
			s, err := b.intoHole(ctx, 3, logs[:count]...)
			if err != nil {
				return fmt.Errorf("%d mappings: %w", count, err)
			}
			rows := count * logs[0].rows
			rates = append(rates, float64(rows)/s.took.Seconds())
			b.note("turn %d: %d mappings, %.0f rows/s, cpu of all %.2fs, of the leader %.2fs", turn+1, count, rates[turn], s.cpu.Seconds(), s.leader.Seconds())
		}
		b.value(fmt.Sprintf("scale_%d", count), median(rates), "rows/s")
	}
	return nil
}

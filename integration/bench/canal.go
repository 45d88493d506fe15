package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
)

// canalProtocol measures rows per CPU second of a leader that serves canal's Java client, which only acknowledges, over those of go-mysql alone,
// and the leader's memory meanwhile.
func (b *bench) canalProtocol(ctx context.Context) error {
	log, err := fill(ctx, b.db, user("canal"), b.rows)
	if err != nil {
		return err
	}
	var ratios []float64
	most := 0
	for turn := range b.pairs {
		cpu, err := b.decodeAlone(ctx, log)
		if err != nil {
			return err
		}
		s, err := b.toCanalClient(ctx, log)
		if err != nil {
			return err
		}
		ratios = append(ratios, cpu.Seconds()/s.cpu.Seconds())
		most = max(most, s.rss)
		b.note("turn %d: %d rows: go-mysql's cpu %.2fs, the leader's %.2fs (%.3f), %.0f rows/s, rss %.0f MB", turn+1, log.rows, cpu.Seconds(), s.cpu.Seconds(), ratios[turn],
			float64(log.rows)/s.took.Seconds(), float64(s.rss)/1e6)
	}
	b.ratio("canal_protocol", median(ratios))
	b.value("canal_protocol_rss", float64(most)/1e6, "MB")
	return nil
}

// toCanalClient runs one node, from its start, until a client has acknowledged all rows of a backlog.
func (b *bench) toCanalClient(ctx context.Context, log backlog) (s holed, err error) {
	dir, err := os.MkdirTemp(b.dir, "canalgo-")
	if err != nil {
		return s, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	address := l.Addr().String()
	l.Close()
	node, err := harness.New(dir, fmt.Sprintf("[canal_server]\nlisten = %q\n[source.shop]\naddr = %q\nuser = %q\npassword = %q\nstart = %q\n", address, b.db.Addr(),
		component.CanalgoUser, component.CanalgoPassword, log.start()))
	if err != nil {
		return s, err
	}
	client, err := component.StartCanalClient(ctx, filepath.Join(dir, "java.log"))
	if err != nil {
		return s, err
	}
	defer client.Kill()
	if err := node.Start(); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, node.Stop()) }()
	err = until(ctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		r, err := node.Status(ctx)
		return err == nil && r.Leader != "", nil
	})
	if err != nil {
		return s, fmt.Errorf("%w\n%s", err, node.LogTail(20))
	}
	began := time.Now()
	for _, line := range []string{fmt.Sprintf("simple %s shop - -", address), "connect", `subscribe shop\.` + log.table, fmt.Sprintf("drain %d", log.rows)} {
		if _, err := client.Do(line); err != nil {
			return s, fmt.Errorf("%s: %w\n%s", line, err, node.LogTail(20))
		}
	}
	s.took = time.Since(began)
	if s.cpu, err = cpuOf(node.PID()); err != nil {
		return s, err
	}
	s.rss, err = peakRSS(node.PID())
	return s, err
}

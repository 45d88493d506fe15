// Command soak runs canalgo between a real MySQL and a real Elasticsearch for SOAK_TIME (1h) while both, the links to them and
// canalgo itself are killed, paused and cut at random, under random writes. Every minute all rows are compared with all
// documents. It ends with 0 only if they were equal each time and nothing ever went back.
//
//	SOAK_TIME=10m make soak
//	SOAK_SEED=7 make soak    # the same faults and changes again
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
)

const (
	round = time.Minute     // between two comparisons
	calm  = 4 * time.Second // between two faults, on average
	// patience bounds what is waited for: a restart, and what was written in a round.
	patience = 5 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	length, seed := time.Hour, uint64(time.Now().UnixNano())
	if text := os.Getenv("SOAK_TIME"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("SOAK_TIME: %w", err)
		}
	}
	if text := os.Getenv("SOAK_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("SOAK_SEED: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "canalgo-soak-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nseed %d; data and logs are in %s", err, seed, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	s := &soak{random: rand.New(rand.NewPCG(seed, 0))}
	defer s.end()
	if err := s.start(ctx, dir, seed); err != nil {
		return err
	}
	fmt.Printf("seed %d, for %s\n", seed, length)
	begin := time.Now()
	for n := 1; time.Since(begin) < length; n++ {
		faults, result, err := s.round(ctx)
		if err != nil {
			return fmt.Errorf("round %d, after %s: %w", n, strings.Join(faults, ", "), err)
		}
		fmt.Printf("%8s  round %d: %d rows equal %d documents after %s\n", time.Since(begin).Round(time.Second), n,
			result.Rows, result.Documents, strings.Join(faults, ", "))
	}
	stats := s.elastic.Stats()
	fmt.Printf("%d transactions, %d rows changed, %d repeats\n", s.work.Transactions(), s.work.Rows(), stats.Repeats)
	return s.node.Stop()
}

// soak is everything that runs, and the source of chance for the faults.
type soak struct {
	random  *rand.Rand
	db      *component.MySQL
	es      *component.Elasticsearch
	mysql   *proxy.TCP
	elastic *proxy.Elastic
	work    *oracle.Workload
	node    *harness.Node
}

func (s *soak) start(ctx context.Context, dir string, seed uint64) (err error) {
	if s.db, err = component.StartMySQL(ctx, filepath.Join(dir, "mysql")); err != nil {
		return err
	}
	if s.es, err = component.StartElasticsearch(ctx, filepath.Join(dir, "elasticsearch"), component.ElasticsearchOptions{}); err != nil {
		return err
	}
	if s.mysql, err = proxy.NewTCP(s.db.Addr()); err != nil {
		return err
	}
	if s.elastic, err = proxy.NewElastic(s.es.URL()); err != nil {
		return err
	}
	s.work, err = oracle.NewWorkload(s.db, oracle.WorkloadConfig{Table: "soak.acc", Seed: seed, Truncates: true, Pace: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	if err := s.work.Create(); err != nil {
		return err
	}
	if err := s.work.Fill(ctx, 10_000); err != nil {
		return err
	}
	sections := fmt.Sprintf(`
[source.soak]
addr = %q
user = %q
password = %q

[sink.search]
type = "elasticsearch"
addresses = [%q]
bulk_docs = 500
replicas = 0

[mapping.acc]
source = "soak"
sink = "search"
load = "initial"
_index = "acc"
sql = %q
`, s.mysql.Addr(), component.CanalgoUser, component.CanalgoPassword, s.elastic.URL(), s.work.SQL())
	node, err := harness.New(filepath.Join(dir, "canalgo"), sections)
	if err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	s.node = node
	return s.ready(ctx)
}

// end kills what is left; whatever is wrong was found before.
func (s *soak) end() {
	if s.node != nil {
		s.node.Kill()
	}
	if s.elastic != nil {
		s.elastic.Close()
	}
	if s.mysql != nil {
		s.mysql.Close()
	}
	if s.es != nil {
		s.es.Kill()
	}
	if s.db != nil {
		s.db.Kill()
	}
}

func (s *soak) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.node.WaitReady(ctx)
}

// round writes under faults, then waits for quiet and compares.
func (s *soak) round(ctx context.Context) (faults []string, result oracle.Result, err error) {
	sampler := &oracle.Sampler{Elasticsearch: s.es, Index: "acc", IDs: s.work.HotIDs(), Node: s.node, Ledger: s.work.Ledger()}
	sampling, stopSampling := context.WithCancel(ctx)
	defer stopSampling()
	watch, watching := errgroup.WithContext(sampling)
	watch.Go(func() error { return sampler.Run(watching) })

	g, gctx := errgroup.WithContext(ctx)
	writing, stopWriting := context.WithCancel(gctx)
	defer stopWriting()
	g.Go(func() error { return s.work.Run(writing) })
	g.Go(func() error {
		defer stopWriting()
		for begin := time.Now(); time.Since(begin) < round; {
			if err := s.pause(gctx, calm); err != nil {
				return err
			}
			f := s.faults()[s.random.IntN(len(s.faults()))]
			faults = append(faults, f.name)
			if err := f.make(gctx); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return faults, result, err
	}
	quiet, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := oracle.Quiet(quiet, s.db, s.node); err != nil {
		return faults, result, fmt.Errorf("%w; the end of the log:\n%s", err, s.node.LogTail(30))
	}
	stopSampling()
	if err := errors.Join(watch.Wait(), sampler.Err()); err != nil {
		return faults, result, err
	}
	result, err = oracle.Pair{SQL: s.work.SQL(), Index: "acc"}.Compare(ctx, s.db, s.es)
	if err == nil {
		err = result.Err()
	}
	if n := s.elastic.Stats().Regressions; err == nil && n > 0 {
		err = fmt.Errorf("%d documents got a lower version", n)
	}
	return faults, result, err
}

// A fault breaks something and mends it again before it returns.
type fault struct {
	name string
	make func(ctx context.Context) error
}

func (s *soak) faults() []fault {
	restart := func(ctx context.Context, end func() error) error {
		if err := end(); err != nil {
			return err
		}
		if err := s.pause(ctx, time.Second); err != nil {
			return err
		}
		if err := s.node.Start(); err != nil {
			return err
		}
		return s.ready(ctx)
	}
	// during keeps a fault for a while.
	during := func(ctx context.Context, begin, end func()) error {
		begin()
		defer end()
		return s.pause(ctx, 5*time.Second)
	}
	return []fault{
		{"kill -9", func(ctx context.Context) error { return restart(ctx, s.node.Kill) }},
		{"kill -9 with an answer under way", func(ctx context.Context) error {
			hold := s.elastic.HoldAfter()
			defer hold.Release()
			caught, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := hold.Wait(caught); err != nil {
				return err
			}
			return restart(ctx, s.node.Kill)
		}},
		{"SIGTERM", func(ctx context.Context) error { return restart(ctx, s.node.Stop) }},
		{"canalgo paused", func(ctx context.Context) error {
			if err := s.node.Pause(); err != nil {
				return err
			}
			return errors.Join(s.pause(ctx, 5*time.Second), s.node.Continue())
		}},
		{"MySQL killed", func(ctx context.Context) error {
			return errors.Join(s.db.Kill(), s.pause(ctx, time.Second), s.db.Start(ctx))
		}},
		{"Elasticsearch killed", func(ctx context.Context) error {
			return errors.Join(s.es.Kill(), s.pause(ctx, time.Second), s.es.Start(ctx))
		}},
		{"dump broken", func(context.Context) error { s.mysql.BreakAfter(s.random.Int64N(1 << 20)); return nil }},
		{"MySQL unreachable", func(ctx context.Context) error { return during(ctx, s.mysql.Cut, s.mysql.Heal) }},
		{"MySQL silent", func(ctx context.Context) error { return during(ctx, s.mysql.Stall, s.mysql.Heal) }},
		{"Elasticsearch answers 503", func(ctx context.Context) error {
			return during(ctx, func() { s.elastic.FailRequests(func(*http.Request) int { return 503 }) }, func() { s.elastic.FailRequests(nil) })
		}},
		{"Elasticsearch is full", func(ctx context.Context) error {
			full := func(i proxy.Item) int {
				if i.Version%3 == 0 {
					return 429
				}
				return 0
			}
			return during(ctx, func() { s.elastic.FailItems(full) }, func() { s.elastic.FailItems(nil) })
		}},
	}
}

// pause waits about d, between half and one and a half of it; the error is ctx's.
func (s *soak) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d/2 + time.Duration(s.random.Int64N(int64(d)))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

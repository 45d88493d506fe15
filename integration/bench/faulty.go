package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
	"canalgo/status"
)

const (
	// faultyItems is how many rows are inserted or updated. A million is written with faults in all turns, and one without.
	faultyItems = 250_000
	faultyTurns = 4
	// faultyShare of the items, and of the requests, fail.
	faultyShare = 0.2
	// faultyBehind is how many rows after its insert a row is updated: often while the insert is still being retried.
	faultyBehind = 10_000
	// reset stands for a request whose connection is reset.
	reset = -1
)

// faulty measures canalgo into an Elasticsearch that refuses a fifth of all items and a fifth of all requests at random, over the same
// without faults. Both go through the same proxy. Afterwards all documents must be equal to all rows, and none may ever have been
// replaced by an older one.
func (b *bench) faulty(ctx context.Context) error {
	log, err := b.insertsAndUpdates(ctx)
	if err != nil {
		return err
	}
	var clean, spoiled []float64
	for turn := range faultyTurns {
		rate, err := b.throughProxy(ctx, log, func(*proxy.Elastic) {})
		if err != nil {
			return fmt.Errorf("without faults: %w", err)
		}
		clean = append(clean, rate)
		if rate, err = b.throughProxy(ctx, log, spoil); err != nil {
			return fmt.Errorf("with faults: %w", err)
		}
		spoiled = append(spoiled, rate)
		b.note("turn %d: through the proxy %.0f items/s, with faults %.0f (%.3f)", turn+1, clean[turn], spoiled[turn], spoiled[turn]/clean[turn])
	}
	b.ratio("faulty_sink", median(quotients(spoiled, clean)))
	return nil
}

// spoil has a proxy refuse items and requests.
func spoil(e *proxy.Elastic) {
	e.FailItems(func(proxy.Item) int { return fault(http.StatusTooManyRequests, http.StatusServiceUnavailable) })
	e.FailRequests(func(r *http.Request) int {
		if !strings.HasSuffix(r.URL.Path, "/_bulk") {
			return 0
		}
		status := fault(http.StatusServiceUnavailable, reset)
		if status == reset {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		return status
	})
}

// fault returns one of both in a share of all cases, else 0.
func fault(one, other int) int {
	switch draw := rand.Float64(); {
	case draw < faultyShare/2:
		return one
	case draw < faultyShare:
		return other
	}
	return 0
}

// insertsAndUpdates fills a log with rows each of which is updated a while after it was inserted.
func (b *bench) insertsAndUpdates(ctx context.Context) (backlog, error) {
	w := user("faulty")
	w.sql = strings.Replace(w.sql, " from ", " from "+schema+".", 1) // MySQL itself runs it, too
	log, err := create(b.db, w)
	if err != nil {
		return log, err
	}
	log.rows = faultyItems / 2
	const each = 1000
	var text []byte
	for first := 1; first <= log.rows+faultyBehind; first += each {
		text = append(text[:0], "insert into "+schema+"."+w.table+" values "...)
		for id := first; id < first+each; id++ {
			text = append(w.values(append(text, '('), id), "),"...)
		}
		statements := []string{
			string(text[:len(text)-1]),
			fmt.Sprintf("update %s.%s set age = age + 100 where id between %d and %d", schema, w.table, first-faultyBehind, first-faultyBehind+each-1),
		}
		if first > log.rows {
			statements = statements[1:]
		}
		if err := errors.Join(b.db.Exec(statements...), ctx.Err()); err != nil {
			return log, fmt.Errorf("fill %s: %w", w.table, err)
		}
	}
	b.note("backlog: %d inserts and updates of %s.%s from %s", faultyItems, schema, w.table, log.start())
	return log, nil
}

// throughProxy returns how many items per second one node writes, and checks all that it wrote.
func (b *bench) throughProxy(ctx context.Context, log backlog, spoil func(*proxy.Elastic)) (rate float64, err error) {
	const index = "faulty"
	if err := b.freshIndex(ctx, index); err != nil {
		return 0, err
	}
	e, err := proxy.NewElastic(b.es.URL())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	spoil(e)
	p, err := b.run(ctx, job{from: []backlog{log}, start: log.start(), sink: e.URL(), index: index, nodes: 1})
	if err != nil {
		return 0, err
	}
	var counters status.Counters
	err = p.until(ctx, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		r, err := p.client.Report(ctx)
		if err != nil {
			return false, nil // it does not listen yet
		}
		d, _ := r.Duty(duty)
		counters = d.Counters
		return counters.Read >= faultyItems && d.Stage == status.Idle, nil
	})
	took := time.Since(p.began)
	if err := errors.Join(err, p.stop()); err != nil {
		return 0, err
	}
	stats := e.Stats()
	b.note("%d rows in %.1f s: %d requests, %d items arrived at the proxy, %d acknowledged, %d refused, %d repeats", counters.Read, took.Seconds(), stats.Bulks,
		stats.Items, stats.Acknowledged, stats.Refused, stats.Repeats)
	if stats.Regressions > 0 || counters.SetAside > 0 {
		return 0, fmt.Errorf("%d documents were replaced by older ones, %d were set aside", stats.Regressions, counters.SetAside)
	}
	result, err := oracle.Pair{SQL: log.sql, Index: index}.Compare(ctx, b.db, b.es)
	if err := errors.Join(err, result.Err()); err != nil {
		return 0, err
	}
	b.note("all %d rows and %d documents are equal", result.Rows, result.Documents)
	return faultyItems / took.Seconds(), b.es.DeleteIndex(ctx, index)
}

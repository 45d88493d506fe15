package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"canalgo/status"
)

// elastic measures turns of the bare loader, canalgo following, and canalgo loading, into the same Elasticsearch.
func (b *bench) elastic(ctx context.Context, log backlog) error {
	shape, err := b.bestShape(ctx, log)
	if err != nil {
		return err
	}
	var ceilings, loads, swept []float64
	syncs := make(map[int][]float64) // by nodes
	for turn := range b.pairs {
		rate, err := b.ceiling(ctx, log, log.rows, shape)
		if err != nil {
			return fmt.Errorf("bare loader: %w", err)
		}
		ceilings = append(ceilings, rate)
		b.note("turn %d: bare loader %.0f docs/s", turn+1, rate)
		for _, nodes := range []int{3, 1} {
			if !b.wants(numbered("es_sync", nodes), numbered("rss_max", nodes)) {
				continue
			}
			s, err := b.sync(ctx, log, nodes)
			if err != nil {
				return fmt.Errorf("sync on %d nodes: %w", nodes, err)
			}
			syncs[nodes], b.peak[nodes] = append(syncs[nodes], s.rate), max(b.peak[nodes], s.rss)
			b.note("turn %d: sync on %d nodes %.0f docs/s (%.3f), canalgo cpu %.2fs, rss %.0f MB", turn+1, nodes, s.rate, s.rate/rate, s.cpu.Seconds(), float64(s.rss)/1e6)
		}
		if b.wants("load") {
			l, err := b.load(ctx, log)
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
			loads, swept = append(loads, l.rate), append(swept, l.swept)
			b.note("turn %d: load %.0f docs/s (%.3f), with its sweep %.0f docs/s (%.3f), canalgo cpu %.2fs, rss %.0f MB", turn+1, l.rate, l.rate/rate,
				l.swept, l.swept/rate, l.cpu.Seconds(), float64(l.rss)/1e6)
		}
	}
	b.value("es_ceiling", median(ceilings), "docs/s")
	for _, nodes := range []int{3, 1} {
		if len(syncs[nodes]) > 0 {
			b.ratio(numbered("es_sync", nodes), median(quotients(syncs[nodes], ceilings)))
		}
	}
	if len(loads) > 0 {
		b.ratio("load", median(quotients(loads, ceilings)))
		b.ratio("load_swept", median(quotients(swept, ceilings)))
	}
	return nil
}

// numbered returns the name of a figure for a number of nodes.
func numbered(name string, nodes int) string {
	if nodes == 1 {
		return name + "_1"
	}
	return name
}

// bestShape tries the shapes of requests on a part of the documents, twice, because the server's first minute is its slowest.
func (b *bench) bestShape(ctx context.Context, log backlog) (bulkShape, error) {
	var best bulkShape
	fastest := 0.0
	rows := max(1, log.rows/3)
	for round := range 2 {
		for _, shape := range bulkShapes {
			rate, err := b.ceiling(ctx, log, rows, shape)
			if err != nil {
				return best, fmt.Errorf("bare loader: %w", err)
			}
			b.note("bare loader, %s: %.0f docs/s", shape, rate)
			if round > 0 && rate > fastest {
				best, fastest = shape, rate
			}
		}
	}
	b.note("bare loader: best is %s", best)
	return best, nil
}

// ceiling returns the documents per second of the bare loader.
func (b *bench) ceiling(ctx context.Context, log backlog, rows int, shape bulkShape) (float64, error) {
	const index = "ceiling"
	if err := b.freshIndex(ctx, index); err != nil {
		return 0, err
	}
	took, err := loadBulk(ctx, b.es.URL(), index, log.workload, rows, shape)
	if err != nil {
		return 0, err
	}
	if err := b.verify(ctx, index, log, rows); err != nil {
		return 0, err
	}
	return float64(rows) / took.Seconds(), b.es.DeleteIndex(ctx, index)
}

// A synced is one run of canalgo into Elasticsearch.
type synced struct {
	rate  float64 // docs/s to the last document
	swept float64 // docs/s to the end of the load's sweep; 0 of a stream
	cost
}

// sync lets canalgo follow the backlog from its beginning.
func (b *bench) sync(ctx context.Context, log backlog, nodes int) (synced, error) {
	return b.intoElastic(ctx, log, job{from: []backlog{log}, start: log.start(), sink: b.es.URL(), index: "sync", nodes: nodes}, func(r status.Report) (written, done bool) {
		for _, d := range r.Duties {
			if d.Load == nil && d.Counters.Applied >= uint64(log.rows) {
				return true, true
			}
		}
		return false, false
	})
}

// load lets canalgo load the rows that exist.
func (b *bench) load(ctx context.Context, log backlog) (synced, error) {
	return b.intoElastic(ctx, log, job{from: []backlog{log}, start: "current", load: "initial", sink: b.es.URL(), index: "load", nodes: 1}, func(r status.Report) (written, done bool) {
		for _, d := range r.Duties {
			if d.Load != nil {
				return d.Load.Rows >= uint64(log.rows), d.Load.Phase == "done"
			}
		}
		return false, false
	})
}

// intoElastic runs canalgo on a fresh index until Elasticsearch has as many documents as the log has rows, canalgo knows that they
// are written, and then that its job is done.
func (b *bench) intoElastic(ctx context.Context, log backlog, j job, progress func(status.Report) (written, done bool)) (s synced, err error) {
	if err := b.freshIndex(ctx, j.index); err != nil {
		return s, err
	}
	p, err := b.run(ctx, j)
	if err != nil {
		return s, err
	}
	running := true
	defer func() {
		if running {
			p.stop() // there is an error already
		}
	}()
	err = p.until(ctx, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		n, err := b.indexed(ctx, j.index)
		return n >= log.rows, err
	})
	if err != nil {
		return s, err
	}
	for _, reached := range []func(written, done bool) bool{
		func(written, _ bool) bool { return written },
		func(_, done bool) bool { return done },
	} {
		err := p.until(ctx, 10*time.Millisecond, func(ctx context.Context) (bool, error) {
			r, err := p.client.Report(ctx)
			return err == nil && reached(progress(r)), err
		})
		if err != nil {
			return s, err
		}
		s.swept = float64(log.rows) / time.Since(p.began).Seconds()
		if s.rate == 0 {
			s.rate = s.swept
		}
	}
	if s.cost, err = p.cost(); err != nil {
		return s, err
	}
	running = false
	if err := p.stop(); err != nil {
		return s, err
	}
	if err := b.verify(ctx, j.index, log, log.rows); err != nil {
		return s, err
	}
	return s, b.es.DeleteIndex(ctx, j.index)
}

// freshIndex makes an empty index and waits until the servers are at rest.
func (b *bench) freshIndex(ctx context.Context, index string) error {
	if err := b.es.DeleteIndex(ctx, index); err != nil {
		return err
	}
	if err := b.es.CreateIndex(ctx, index, indexBody); err != nil {
		return err
	}
	return quiet(ctx, b.note, b.db.PID(), b.es.PID())
}

// indexed returns how many documents the index has taken, whether a search sees them already or not.
func (b *bench) indexed(ctx context.Context, index string) (int, error) {
	const path = "_all.primaries.indexing.index_total"
	body, err := b.es.Request(ctx, http.MethodGet, "/"+index+"/_stats/indexing?filter_path="+path, nil)
	if err != nil {
		return 0, err
	}
	var answer struct {
		All struct {
			Primaries struct {
				Indexing struct {
					Total int `json:"index_total"`
				}
			}
		} `json:"_all"`
	}
	err = json.Unmarshal(body, &answer)
	return answer.All.Primaries.Indexing.Total, err
}

// verify checks that an index has a document for each of the rows, no more, and for some that it is the right one.
func (b *bench) verify(ctx context.Context, index string, log backlog, rows int) error {
	if err := b.es.Refresh(ctx, index); err != nil {
		return err
	}
	n, err := b.es.Count(ctx, index)
	if err != nil {
		return err
	}
	if n != rows {
		return fmt.Errorf("index %s has %d documents, want %d", index, n, rows)
	}
	for _, id := range []int{1, (rows + 1) / 2, rows} {
		doc, found, err := b.es.Get(ctx, index, strconv.Itoa(id))
		if err != nil {
			return err
		}
		var got, want any
		if found {
			err = json.Unmarshal(doc.Source, &got)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", id, err)
		}
		if err := json.Unmarshal(log.document(nil, id), &want); err != nil {
			return err
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("index %s: document %d is %s, want %s", index, id, doc.Source, log.document(nil, id))
		}
	}
	return nil
}

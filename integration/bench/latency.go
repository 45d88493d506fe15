package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	latencySamples = 3000
	latencyWarmUp  = 250 // samples before them that do not count: the Java server's first requests are slow
	latencyPeriod  = time.Second / 50
	latencyPoll    = 2 * time.Millisecond
)

// latency inserts rows one by one at a steady rate and asks for each document by id until it is there.
func (b *bench) latency(ctx context.Context) (err error) {
	const index = "latency"
	log, err := create(b.db, user("tick"))
	if err != nil {
		return err
	}
	if err := b.freshIndex(ctx, index); err != nil {
		return err
	}
	p, err := b.run(ctx, job{from: []backlog{log}, start: log.start(), sink: b.es.URL(), index: index, nodes: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := b.db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	insert := func(id int) error { return log.insert(c, id) }
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	readable := func(id int) func(context.Context) (bool, error) { return b.readable(client, index, id) }
	if err := insert(0); err != nil {
		return err
	}
	if err := p.until(ctx, latencyPoll, readable(0)); err != nil {
		return err
	}

	var mu sync.Mutex
	var seen, committed []float64 // ms; guarded by mu
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i := range latencyWarmUp + latencySamples {
		if pause(ctx, time.Until(began.Add(time.Duration(i)*latencyPeriod))) != nil {
			break // g has the error
		}
		sent := time.Now()
		if err := insert(i + 1); err != nil {
			return errors.Join(err, g.Wait())
		}
		commit := time.Now()
		g.Go(func() error {
			if err := p.until(ctx, latencyPoll, readable(i+1)); err != nil {
				return err
			}
			if i < latencyWarmUp {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			seen, committed = append(seen, ms(time.Since(commit))), append(committed, ms(commit.Sub(sent)))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(seen) != latencySamples {
		return fmt.Errorf("%d samples, want %d", len(seen), latencySamples)
	}
	b.note("latency of %d rows at %.1f rows/s: p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, most %.1f ms; the commits themselves: p50 %.1f, p99 %.1f ms", len(seen),
		float64(latencyWarmUp+latencySamples)/time.Since(began).Seconds(), percentile(seen, 50), percentile(seen, 90), percentile(seen, 99), percentile(seen, 99.9),
		percentile(seen, 100), percentile(committed, 50), percentile(committed, 99))
	b.value("latency_p50", percentile(seen, 50), "ms")
	b.value("latency_p99", percentile(seen, 99), "ms")
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// readable reports whether a document can be read by its id.
func (b *bench) readable(client *http.Client, index string, id int) func(context.Context) (bool, error) {
	url := fmt.Sprintf("%s/%s/_doc/%d?_source=false", b.es.URL(), index, id)
	return func(ctx context.Context) (bool, error) { return exists(ctx, client, url) }
}

// exists reports whether a document can be read.
func exists(ctx context.Context, client *http.Client, url string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, fmt.Errorf("GET %s: %s", url, resp.Status)
}

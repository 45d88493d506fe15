package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

const (
	existing = 20_000           // rows of orders before canalgo starts
	away     = 20 * time.Second // how long Elasticsearch is gone
	// searchPassword is the sink's, planted to be looked for afterwards.
	searchPassword = "planted-search-secret"
)

const ordersSQL = "select o.id as _id, o.id, o.customer, o.price, o.note, o.at from shop.orders o"

// pairs are what must be equal at the end: each mapping's own query, and its index.
func (d *demo) pairs() []oracle.Pair {
	return []oracle.Pair{{SQL: ordersSQL, Index: "orders"}, {SQL: d.load.SQL(), Index: "busy"}}
}

func (d *demo) story() []step {
	return []step{
		{"MySQL and Elasticsearch are in the cache", d.install},
		{"MySQL answers", d.startMySQL},
		{"Elasticsearch answers", d.startElasticsearch},
		{fmt.Sprintf("MySQL has %d orders, Elasticsearch none", existing), d.fill},
		{"canalgo starts and follows MySQL", d.start},
		{"the existing rows are loaded", d.loaded},
		{"an inserted row is seen in Elasticsearch", d.insert},
		{"an updated row is seen", d.update},
		{"a row with a new key has moved", d.move},
		{"a deleted row is gone", d.remove},
		{"canalgo is killed by kill -9 under load, and catches up", d.kill},
		{fmt.Sprintf("Elasticsearch is away for %.0f s under load, canalgo says so", away.Seconds()), d.outage},
		{"all rows equal all documents", d.compare},
		{"no password is in logs, status or stored data", d.secrets},
	}
}

func (d *demo) install(ctx context.Context) (string, error) {
	begin := time.Now()
	err := component.Install(ctx)
	return took(begin), err
}

func (d *demo) startMySQL(ctx context.Context) (_ string, err error) {
	begin := time.Now()
	if d.db, err = component.StartMySQL(ctx, d.path("mysql")); err != nil {
		return "", err
	}
	return took(begin) + ", " + d.db.Addr(), nil
}

func (d *demo) startElasticsearch(ctx context.Context) (_ string, err error) {
	begin := time.Now()
	d.es, err = component.StartElasticsearch(ctx, d.path("elasticsearch"),
		component.ElasticsearchOptions{User: "canalgo", Password: searchPassword})
	if err != nil {
		return "", err
	}
	return took(begin) + ", " + d.es.URL(), nil
}

func (d *demo) fill(ctx context.Context) (_ string, err error) {
	begin := time.Now()
	statements := []string{
		"CREATE DATABASE shop",
		`CREATE TABLE shop.orders (
			id BIGINT NOT NULL PRIMARY KEY,
			customer VARCHAR(60) CHARACTER SET utf8mb4 NOT NULL,
			price DECIMAL(10,2) NOT NULL,
			note TEXT CHARACTER SET utf8mb4,
			at DATETIME NOT NULL
		)`,
	}
	const step = 1000
	for first := 1; first <= existing; first += step {
		rows := make([]string, step)
		for i := range rows {
			id := first + i
			rows[i] = fmt.Sprintf("(%d, 'Müller & Söhne %d', %d.%02d, 'on the way ✓', '2026-01-01 00:00:00' + INTERVAL %d SECOND)",
				id, id%997, id%500, id%100, id)
		}
		statements = append(statements, "INSERT INTO shop.orders VALUES "+strings.Join(rows, ","))
	}
	if err := d.db.Exec(statements...); err != nil {
		return "", err
	}
	if d.load, err = oracle.NewWorkload(d.db, oracle.WorkloadConfig{Table: "shop.busy", Seed: 1, MaxRows: 200, Pace: 20 * time.Millisecond}); err != nil {
		return "", err
	}
	if err := d.load.Create(); err != nil {
		return "", err
	}
	return took(begin), nil
}

func (d *demo) start(ctx context.Context) (_ string, err error) {
	sections := fmt.Sprintf(`
[source.shop]
addr = %q
user = %q
password = %q

[sink.search]
type = "elasticsearch"
addresses = [%q]
user = "canalgo"
password = %q
replicas = 0

[mapping.orders]
source = "shop"
sink = "search"
load = "initial"
_index = "orders"
sql = %q

[mapping.busy]
source = "shop"
sink = "search"
_index = "busy"
sql = %q
`, d.db.Addr(), component.CanalgoUser, component.CanalgoPassword, d.es.URL(), searchPassword, ordersSQL, d.load.SQL())
	node, err := harness.New(d.path("canalgo"), sections)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := node.Start(); err != nil {
		return "", err
	}
	d.node = node
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := d.node.WaitReady(ctx); err != nil {
		return "", err
	}
	return took(begin) + ", http://" + d.node.HTTP, nil
}

func (d *demo) loaded(ctx context.Context) (string, error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	report, err := d.node.Wait(ctx, "the load", func(r status.Report) bool {
		for _, duty := range r.Duties {
			if duty.Load != nil && duty.Load.Phase == "done" {
				return true
			}
		}
		return false
	})
	if err != nil {
		return "", err
	}
	if err := d.es.Refresh(ctx, "orders"); err != nil {
		return "", err
	}
	n, err := d.es.Count(ctx, "orders")
	if err != nil {
		return "", err
	}
	if n != existing {
		return "", fmt.Errorf("%d documents, want %d; status: %+v", n, existing, report.Duties)
	}
	return fmt.Sprintf("%s, %d documents", took(begin), n), nil
}

func (d *demo) insert(ctx context.Context) (string, error) {
	return d.change(ctx, "INSERT INTO shop.orders VALUES (1000001, '東京', 12.50, NULL, '2026-02-03 04:05:06')", "1000001", "東京")
}

func (d *demo) update(ctx context.Context) (string, error) {
	return d.change(ctx, "UPDATE shop.orders SET note = 'arrived' WHERE id = 42", "42", "arrived")
}

func (d *demo) move(ctx context.Context) (string, error) {
	measured, err := d.change(ctx, "UPDATE shop.orders SET id = 1000007 WHERE id = 7", "1000007", "1000007")
	if err != nil {
		return "", err
	}
	return measured, d.see(ctx, "7", "")
}

func (d *demo) remove(ctx context.Context) (string, error) {
	return d.change(ctx, "DELETE FROM shop.orders WHERE id = 13", "13", "")
}

// change commits a statement and measures until the document says so; see tells what that means.
func (d *demo) change(ctx context.Context, statement, id, text string) (string, error) {
	if err := d.db.Exec(statement); err != nil {
		return "", err
	}
	begin := time.Now() // committed
	if err := d.see(ctx, id, text); err != nil {
		return "", err
	}
	return took(begin) + " after the commit", nil
}

// see waits until a document has text in it, or is gone when text is empty.
func (d *demo) see(ctx context.Context, id, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		doc, found, err := d.es.Get(ctx, "orders", id)
		if err != nil {
			return err
		}
		if found == (text != "") && bytes.Contains(doc.Source, []byte(text)) {
			return nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("document %s is %q after 10 s, want %q in it", id, doc.Source, text)
		}
	}
}

// underLoad does something while shop.busy changes all the time, and returns after the last change.
func (d *demo) underLoad(ctx context.Context, do func(ctx context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	writing, enough := context.WithCancel(ctx)
	defer enough()
	g.Go(func() error { return d.load.Run(writing) })
	g.Go(func() error {
		defer enough()
		return do(ctx)
	})
	return g.Wait()
}

func (d *demo) kill(ctx context.Context) (string, error) {
	before := d.load.Rows()
	var down, ready time.Duration
	err := d.underLoad(ctx, func(ctx context.Context) error {
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
		died := time.Now()
		if err := d.node.Kill(); err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		down = time.Since(died)
		again := time.Now()
		if err := d.node.Start(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := d.node.WaitReady(ctx); err != nil {
			return err
		}
		ready = time.Since(again)
		return pause(ctx, 3*time.Second)
	})
	if err != nil {
		return "", err
	}
	behind, err := d.caughtUp(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("down %s, ready after %s, equal %s after %d changed rows", round(down), round(ready), behind, d.load.Rows()-before), nil
}

func (d *demo) outage(ctx context.Context) (string, error) {
	before := d.load.Rows()
	var noticed time.Duration
	var said string
	err := d.underLoad(ctx, func(ctx context.Context) error {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		if err := d.es.Kill(); err != nil {
			return err
		}
		gone := time.Now()
		report, err := d.node.Wait(ctx, "the outage in the status", func(r status.Report) bool { return outage(r, gone) != "" })
		if err != nil {
			return err
		}
		noticed, said = time.Since(gone), outage(report, gone)
		if err := pause(ctx, away-time.Since(gone)); err != nil {
			return err
		}
		return d.es.Start(ctx)
	})
	if err != nil {
		return "", err
	}
	behind, err := d.caughtUp(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q after %s, equal %s after %d changed rows", said, round(noticed), behind, d.load.Rows()-before), nil
}

// outage is the stage of a duty that does not get on and says why, since a moment.
func outage(r status.Report, since time.Time) string {
	for _, duty := range r.Duties {
		waits := duty.Stage == status.Waiting || duty.Stage == status.Stuck
		if duty.Kind == "stream" && waits && duty.LastError != "" && duty.ErrorTime.After(since) {
			return string(duty.Stage)
		}
	}
	return ""
}

// caughtUp waits until everything that MySQL has is written, now that nothing writes any more, and says how long it took.
func (d *demo) caughtUp(ctx context.Context) (string, error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := oracle.Quiet(ctx, d.db, d.node); err != nil {
		return "", err
	}
	behind := took(begin)
	_, err := d.compare(ctx)
	return behind, err
}

func (d *demo) compare(ctx context.Context) (string, error) {
	var rows, documents int
	for _, pair := range d.pairs() {
		result, err := pair.Compare(ctx, d.db, d.es)
		if err != nil {
			return "", err
		}
		if err := result.Err(); err != nil {
			return "", err
		}
		rows, documents = rows+result.Rows, documents+result.Documents
	}
	return fmt.Sprintf("%d rows, %d documents", rows, documents), nil
}

func (d *demo) secrets(ctx context.Context) (string, error) {
	return "", d.node.Leaks(ctx, component.CanalgoPassword, searchPassword)
}

func took(begin time.Time) string { return round(time.Since(begin)) }

func round(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// pause waits; the error is ctx's.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

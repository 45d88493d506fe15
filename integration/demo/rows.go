package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/oracle"
	"canalgo/status"
)

// A table is one of schema shop, with a mapping and an index of the same name.
type table struct {
	name   string
	sql    string // the mapping's
	insert string // of a row, by id and a text that its document has
}

func (t table) duty() string { return "shop/" + t.name }

const (
	users  = 2_000 // rows before canalgo starts
	orders = 20_000
	busy   = 2_000 // of items, and of payments

	// insertBusy is for the tables that a Workload made.
	insertBusy = "INSERT INTO shop.%s (id, ver, writer, seq, bal, name, txt) VALUES (%%d, 1, 0, 0, 9.99, '%%s', '')"
)

// fill makes four tables: user and orders are the story's own, items and payments are for the load.
func (d *demo) fill(ctx context.Context) (string, error) {
	begin := time.Now()
	if err := d.db.Exec("CREATE DATABASE shop",
		"CREATE TABLE shop.user (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(60) CHARACTER SET utf8mb4 NOT NULL)",
		`CREATE TABLE shop.orders (
			id BIGINT NOT NULL PRIMARY KEY,
			customer VARCHAR(60) CHARACTER SET utf8mb4 NOT NULL,
			price DECIMAL(10,2) NOT NULL,
			note TEXT CHARACTER SET utf8mb4,
			at DATETIME NOT NULL
		)`); err != nil {
		return "", err
	}
	if err := d.rows("user", users, func(id int) string { return fmt.Sprintf("(%d, 'Zoë %d')", id, id) }); err != nil {
		return "", err
	}
	if err := d.rows("orders", orders, func(id int) string {
		return fmt.Sprintf("(%d, 'Müller & Söhne %d', %d.%02d, 'on the way ✓', '2026-01-01 00:00:00' + INTERVAL %d SECOND)", id, id%997, id%500, id%100, id)
	}); err != nil {
		return "", err
	}
	d.tables = []table{
		{"user", "select u.id as _id, u.id, u.name from shop.user u", "INSERT INTO shop.user VALUES (%d, '%s')"},
		{"orders", "select o.id as _id, o.id, o.customer, o.price, o.note, o.at from shop.orders o",
			"INSERT INTO shop.orders VALUES (%d, '%s', 12.50, NULL, '2026-02-03 04:05:06')"},
	}
	d.load = &load{}
	for i, name := range []string{"items", "payments"} {
		w, err := oracle.NewWorkload(d.db, oracle.WorkloadConfig{Table: "shop." + name, Seed: uint64(i + 1), MaxRows: 200, Pace: 40 * time.Millisecond})
		if err != nil {
			return "", err
		}
		if err := w.Create(); err != nil {
			return "", err
		}
		if err := w.Fill(ctx, busy); err != nil {
			return "", err
		}
		d.load.workloads = append(d.load.workloads, w)
		d.tables = append(d.tables, table{name, w.SQL(), fmt.Sprintf(insertBusy, name)})
	}
	return fmt.Sprintf("%s, %d rows", took(begin), users+orders+2*busy), nil
}

// rows inserts the rows 1 to n.
func (d *demo) rows(table string, n int, row func(id int) string) error {
	const step = 1000
	for first := 1; first <= n; first += step {
		rows := make([]string, step)
		for i := range rows {
			rows[i] = row(first + i)
		}
		if err := d.db.Exec("INSERT INTO shop." + table + " VALUES " + strings.Join(rows, ",")); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) loaded(ctx context.Context) (string, error) {
	begin := time.Now()
	waiting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := d.cluster.Wait(waiting, "the loads", func(r status.Report) bool {
		done := 0
		for _, duty := range r.Duties {
			if duty.Load != nil && duty.Load.Phase == "done" {
				done++
			}
		}
		return done == len(d.tables)
	}); err != nil {
		return "", err
	}
	measured := took(begin)
	equal, err := d.compare(ctx)
	return measured + ", " + equal, err
}

func (d *demo) insert(ctx context.Context) (string, error) {
	return d.change(ctx, "INSERT INTO shop.orders VALUES (900001, '東京', 12.50, NULL, '2026-02-03 04:05:06')", "900001", "東京")
}

func (d *demo) update(ctx context.Context) (string, error) {
	return d.change(ctx, "UPDATE shop.orders SET note = 'arrived' WHERE id = 42", "42", "arrived")
}

func (d *demo) move(ctx context.Context) (string, error) {
	measured, err := d.change(ctx, "UPDATE shop.orders SET id = 900007 WHERE id = 7", "900007", "900007")
	if err != nil {
		return "", err
	}
	return measured, d.see(ctx, "orders", "7", "")
}

func (d *demo) remove(ctx context.Context) (string, error) {
	return d.change(ctx, "DELETE FROM shop.orders WHERE id = 13", "13", "")
}

// change commits a statement on orders and measures until the document says so; see tells what that means.
func (d *demo) change(ctx context.Context, statement, id, text string) (string, error) {
	if err := d.db.Exec(statement); err != nil {
		return "", err
	}
	begin := time.Now() // committed
	if err := d.see(ctx, "orders", id, text); err != nil {
		return "", err
	}
	return took(begin) + " after the commit", nil
}

// probe inserts a row into each of the tables and measures from a moment until each one's document is there.
func (d *demo) probe(ctx context.Context, since time.Time, tables ...table) ([]time.Duration, error) {
	d.probes++
	id, text := 1_000_000+d.probes, fmt.Sprintf("probe %d", d.probes)
	for _, t := range tables {
		if err := d.db.Exec(fmt.Sprintf(t.insert, id, text)); err != nil {
			return nil, err
		}
	}
	seen := make([]time.Duration, len(tables))
	g, ctx := errgroup.WithContext(ctx)
	for i, t := range tables {
		g.Go(func() error {
			err := d.see(ctx, t.name, fmt.Sprint(id), text)
			seen[i] = time.Since(since)
			return err
		})
	}
	return seen, g.Wait()
}

// each says how long the row of each table took.
func each(tables []table, seen []time.Duration) string {
	parts := make([]string, len(tables))
	for i, t := range tables {
		parts[i] = t.name + " " + round(seen[i])
	}
	return strings.Join(parts, ", ")
}

// seeTime bounds how long a document may keep us waiting, also behind what changed while Elasticsearch was away: some 140,000 rows, to one
// that has just started, took 11 s on a quiet machine.
const seeTime = time.Minute

// see waits until a document has text in it, or is gone when text is empty.
func (d *demo) see(ctx context.Context, index, id, text string) error {
	ctx, cancel := context.WithTimeout(ctx, seeTime)
	defer cancel()
	for {
		doc, found, err := d.es.Get(ctx, index, id)
		if err == nil && found == (text != "") && bytes.Contains(doc.Source, []byte(text)) {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("document %s/%s is %q after %s, want %q in it: %w", index, id, doc.Source, seeTime, text, err)
		}
	}
}

// load changes items and payments until it is told to stop.
type load struct {
	workloads []*oracle.Workload
	enough    context.CancelFunc // nil while it does not run
	done      chan error
}

func (l *load) start(ctx context.Context) {
	ctx, l.enough = context.WithCancel(ctx)
	l.done = make(chan error, 1)
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range l.workloads {
		g.Go(func() error { return w.Run(ctx) })
	}
	go func() { l.done <- g.Wait() }()
}

// stop returns after the last change. Without a start it does nothing.
func (l *load) stop() error {
	if l.enough == nil {
		return nil
	}
	l.enough()
	l.enough = nil
	return <-l.done
}

// rows counts those that were changed.
func (l *load) rows() (n int64) {
	for _, w := range l.workloads {
		n += w.Rows()
	}
	return n
}

func (d *demo) beginLoad(ctx context.Context) (string, error) {
	d.load.start(ctx)
	begin := time.Now()
	before := d.load.rows()
	if err := pause(ctx, 2*time.Second); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.0f rows/s", float64(d.load.rows()-before)/time.Since(begin).Seconds()), nil
}

// endLoad waits until everything that MySQL has is written, now that nothing writes any more, and says how long it took.
func (d *demo) endLoad(ctx context.Context) (string, error) {
	if err := d.load.stop(); err != nil {
		return "", err
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := oracle.Quiet(ctx, d.db, d.cluster); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s after the last of %d changed rows", took(begin), d.load.rows()), nil
}

func (d *demo) compare(ctx context.Context) (string, error) {
	var rows, documents int
	for _, t := range d.tables {
		result, err := oracle.Pair{SQL: t.sql, Index: t.name}.Compare(ctx, d.db, d.es)
		if err != nil {
			return "", err
		}
		if err := result.Err(); err != nil {
			return "", fmt.Errorf("%s: %w", t.name, err)
		}
		rows, documents = rows+result.Rows, documents+result.Documents
	}
	return fmt.Sprintf("%d rows, %d documents", rows, documents), nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/secret"
)

const (
	joinBuyers = 1000 // rows of the joined table
	joinTurns  = 3
	// joinSingles is how many rows are rendered one by one.
	joinSingles = 3000
	// fanChildren is how many documents a change of one row touches.
	fanChildren = 100_000
	fanIndex    = "fan"
)

// joined is user with a column of another table in its documents. The log that counts holds updates of rows that are there.
func joined(table string) workload {
	w := user(table)
	plain := w
	w.columns += ", buyer int not null, key (buyer)"
	w.sql = "select u.id as _id, u.name, u.age, u.email, u.created, u.note, b.city from " + schema + "." + table + " u left join " + schema + ".buyer b on b.id = u.buyer"
	w.values = func(b []byte, id int) []byte { return fmt.Appendf(plain.values(b, id), ",%d", id%joinBuyers) }
	w.document = func(b []byte, id int) []byte {
		own := bytes.Replace(plain.document(nil, id), fmt.Appendf(nil, `"age":%d`, id%90), fmt.Appendf(nil, `"age":%d`, id%90+100), 1)
		return fmt.Appendf(b, `%s,"city":"city-%d"}`, own[:len(own)-1], id%joinBuyers)
	}
	return w
}

// join measures updates of rows whose documents are rendered by the source, over the bare loader with the same documents, and over
// rendering each row by itself.
func (b *bench) join(ctx context.Context) error {
	log, err := b.joinBacklog(ctx)
	if err != nil {
		return err
	}
	var ceilings, joins, singles []float64
	for turn := range joinTurns {
		ceiling, err := b.ceiling(ctx, log, log.rows, bulkShape{3000, 2})
		if err != nil {
			return fmt.Errorf("bare loader: %w", err)
		}
		s, err := b.sync(ctx, log, 1)
		if err != nil {
			return err
		}
		single, err := b.renderSingly(ctx, log)
		if err != nil {
			return fmt.Errorf("one by one: %w", err)
		}
		ceilings, joins, singles = append(ceilings, ceiling), append(joins, s.rate), append(singles, single)
		b.note("turn %d: bare loader %.0f docs/s, joined %.0f docs/s (%.3f), rendered one by one %.0f docs/s (%.1f), canalgo cpu %.2fs, rss %.0f MB", turn+1, ceiling, s.rate, s.rate/ceiling,
			single, s.rate/single, s.cpu.Seconds(), float64(s.rss)/1e6)
	}
	b.ratio("join", median(quotients(joins, ceilings)))
	b.ratio("join_batch", median(quotients(joins, singles)))
	return nil
}

// joinBacklog fills the tables, and then updates each row, which is what the log begins with.
func (b *bench) joinBacklog(ctx context.Context) (backlog, error) {
	cities := make([]string, joinBuyers)
	for i := range cities {
		cities[i] = fmt.Sprintf("(%d,'city-%d')", i, i)
	}
	if err := b.db.Exec("create database if not exists "+schema, "create table "+schema+".buyer (id int primary key, city varchar(64))",
		"insert into "+schema+".buyer values "+strings.Join(cities, ",")); err != nil {
		return backlog{}, err
	}
	w := joined("joined")
	if _, err := fill(ctx, b.db, w, max(1, b.rows/5)); err != nil {
		return backlog{}, err
	}
	mark := workload{table: "joined_mark", columns: "id int primary key"}
	log, err := create(b.db, mark)
	if err != nil {
		return log, err
	}
	log.workload, log.rows = w, max(1, b.rows/5)
	for first := 1; first <= log.rows; first += transactionRows {
		if err := errors.Join(ctx.Err(), b.db.Exec(fmt.Sprintf("update %s.%s set age = age + 100 where id between %d and %d", schema, w.table, first, first+transactionRows-1))); err != nil {
			return log, err
		}
	}
	b.note("backlog: %d updates of %s.%s from %s", log.rows, schema, w.table, log.start())
	return log, nil
}

// source is the server as package lookup sees it.
type source struct{ *binlog.Source }

func (s source) Session(ctx context.Context, uuid string) (lookup.Session, error) {
	return s.Source.Session(ctx, uuid)
}

// renderSingly returns the documents per second of rendering row after row, each with a question of its own, and writing nothing.
func (b *bench) renderSingly(ctx context.Context, log backlog) (float64, error) {
	cfg := binlog.Defaults()
	cfg.Addr, cfg.User, cfg.Password = b.db.Addr(), component.CanalgoUser, secret.New(component.CanalgoPassword)
	s, err := binlog.New(cfg, "bench", "shop", hclog.NewNullLogger())
	if err != nil {
		return 0, err
	}
	m, err := mapping.Compile("single", mapping.Config{SQL: log.sql, Index: "single"}, schema)
	if err != nil {
		return 0, err
	}
	_, table, err := lookup.Define(ctx, source{s}, m)
	if err != nil {
		return 0, err
	}
	result, err := b.db.Query("select @@gtid_executed")
	if err != nil {
		return 0, err
	}
	gtids, err := result.GetString(0, 0)
	if err != nil {
		return 0, err
	}
	r := lookup.New(m.Rule(), table, nil, func(ctx context.Context) (lookup.Session, error) { return source{s}.Session(ctx, "") })
	defer r.Close()
	began, n := time.Now(), 0
	for id := 1; id <= joinSingles; id++ {
		row := make([]any, len(table.Columns))
		row[0] = int64(id)
		err := r.Render(ctx, []event.Row{{Table: table, Op: event.Insert, Version: 1, After: row}}, gtids, func(changes []mapping.Change) error {
			n += len(changes)
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if n != joinSingles {
		return 0, fmt.Errorf("%d documents of %d rows", n, joinSingles)
	}
	return joinSingles / time.Since(began).Seconds(), nil
}

// fanout changes one row that all documents of a mapping are joined with, and measures how long another mapping's rows take meanwhile.
func (b *bench) fanout(ctx context.Context) (err error) {
	parent, child, beat := schema+".fan_parent", schema+".fan_child", user("fan_beat")
	if err := b.db.Exec("create database if not exists "+schema, "create table "+parent+" (id int primary key, name varchar(64))",
		"create table "+child+" (id int primary key auto_increment, parent int not null, note text, key (parent))", "insert into "+parent+" values (1, 'before')",
		"set session cte_max_recursion_depth = 1000000", fmt.Sprintf("insert into %s (parent, note) with recursive n (i) as (select 1 union all select i + 1 from n where i < %d) select 1, '%s' from n", child, fanChildren, note)); err != nil {
		return err
	}
	log, err := create(b.db, beat)
	if err != nil {
		return err
	}
	fan := backlog{workload: workload{sql: "select c.id as _id, c.note, p.name from " + child + " c join " + parent + " p on p.id = c.parent"}}
	if err := errors.Join(b.freshIndex(ctx, fanIndex), b.freshIndex(ctx, fanIndex+"2")); err != nil {
		return err
	}
	p, err := b.run(ctx, job{from: []backlog{fan, log}, start: log.start(), sink: b.es.URL(), index: fanIndex, nodes: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := b.db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	client := &http.Client{}
	arrive := func(id int) (time.Duration, error) {
		if err := log.insert(c, id); err != nil {
			return 0, err
		}
		committed := time.Now()
		err := p.until(ctx, latencyPoll, b.readable(client, fanIndex+"2", id))
		return time.Since(committed), err
	}
	if _, err := arrive(0); err != nil { // it follows
		return err
	}
	began := time.Now()
	if err := b.db.Exec("update " + parent + " set name = 'after'"); err != nil {
		return err
	}
	done := make(chan struct{})
	var took time.Duration
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(done)
		err := p.until(gctx, 20*time.Millisecond, func(ctx context.Context) (bool, error) {
			n, err := b.indexed(ctx, fanIndex)
			return n >= fanChildren, err
		})
		took = time.Since(began)
		return err
	})
	var lag time.Duration
	arrived := 0
	for id := 1; ; id++ {
		select {
		case <-done:
			if err := g.Wait(); err != nil {
				return err
			}
			b.note("%d documents of one changed row in %.2f s; meanwhile %d rows of another mapping took %.0f ms at most", fanChildren, took.Seconds(), arrived, ms(lag))
			b.value("fanout", fanChildren/took.Seconds(), "docs/s")
			b.value("fanout_lag", lag.Seconds(), "s")
			return errors.Join(b.es.DeleteIndex(ctx, fanIndex), b.es.DeleteIndex(ctx, fanIndex+"2"))
		default:
		}
		one, err := arrive(id)
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		lag = max(lag, one)
		arrived++
	}
}

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-mysql-org/go-mysql/client"
	"golang.org/x/sync/errgroup"

	"canalgo/integration/component"
)

const (
	schema          = "shop"
	transactionRows = 500
	fillConnections = 2
)

// A workload is a table with its rows and the documents that they become.
type workload struct {
	table   string // without schema
	each    int    // rows of a transaction; 0 stands for transactionRows
	session string // statement of each connection that inserts; "" for none
	columns string // of CREATE TABLE
	sql     string // of the mapping
	// values appends a row's values as SQL, without parentheses.
	values func(b []byte, id int) []byte
	// document appends the document that canalgo has to make of the row.
	document func(b []byte, id int) []byte
}

// indexBody makes the index for documents of shop.user; the same for every writer that is compared.
const indexBody = `{"settings":{"number_of_shards":1,"number_of_replicas":0,"gc_deletes":"15m"},"mappings":{"properties":{` +
	`"name":{"type":"keyword"},"age":{"type":"integer"},"email":{"type":"keyword"},"created":{"type":"date"},"note":{"type":"text"}}}}`

// note makes a row of shop.user about 200 bytes long.
var note = strings.Repeat("lorem ipsum ", 9)[:100]

// user is the table that most figures are about; tick, of the same shape, is the one for latency.
func user(table string) workload {
	return workload{
		table:   table,
		columns: "id bigint primary key, name varchar(64), age int, email varchar(128), created datetime, note text",
		sql:     "select u.id as _id, u.name, u.age, u.email, u.created, u.note from " + table + " u",
		values: func(b []byte, id int) []byte {
			return fmt.Appendf(b, "%d,'user-%08d',%d,'user-%08d@example.com','2026-01-02 03:04:05','%s'", id, id, id%90, id, note)
		},
		document: func(b []byte, id int) []byte {
			b = append(b, `{"name":"user-`...)
			b = appendPadded(b, id)
			b = append(b, `","age":`...)
			b = strconv.AppendInt(b, int64(id%90), 10)
			b = append(b, `,"email":"user-`...)
			b = appendPadded(b, id)
			b = append(b, `@example.com","created":"2026-01-02T03:04:05","note":"`...)
			b = append(b, note...)
			return append(b, `"}`...)
		},
	}
}

// appendPadded appends id with eight digits.
func appendPadded(b []byte, id int) []byte {
	for limit := 10_000_000; limit > id && limit > 1; limit /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(id), 10)
}

// wide is a table of 30 columns of the common types.
func wide() workload {
	kinds := []struct{ column, value string }{
		{"int", "%[1]d"}, {"bigint unsigned", "%[1]d000000007"}, {"varchar(64)", "'text-%08[1]d'"}, {"datetime", "'2026-01-02 03:04:05'"},
		{"decimal(12,2)", "%[1]d.25"}, {"tinyint", "7"}, {"varchar(32)", "null"}, {"double", "%[1]d.5"}, {"date", "'2026-01-02'"},
		{"char(8)", "'abcdefgh'"},
	}
	var columns, names, values strings.Builder
	columns.WriteString("id bigint primary key")
	for i := range 29 {
		k := kinds[i%len(kinds)]
		fmt.Fprintf(&columns, ", c%02d %s", i, k.column)
		fmt.Fprintf(&names, ", w.c%02d", i)
		values.WriteString("," + k.value)
	}
	format := "%[1]d" + values.String()
	return workload{
		table:   "wide",
		columns: columns.String(),
		sql:     "select w.id as _id" + names.String() + " from wide w",
		values:  func(b []byte, id int) []byte { return fmt.Appendf(b, format, id) },
	}
}

// A backlog is a part of the binary log that holds a workload's rows.
type backlog struct {
	workload
	rows   int
	file   string
	offset uint32 // of its beginning in file
}

func (b backlog) start() string { return fmt.Sprintf("%s:%d", b.file, b.offset) }

// create makes the empty table and returns the end of the log after that.
func create(db *component.MySQL, w workload) (backlog, error) {
	table := schema + "." + w.table
	if err := db.Exec("create database if not exists "+schema, "create table "+table+" ("+w.columns+")"); err != nil {
		return backlog{}, err
	}
	r, err := db.Query("show binary log status")
	if err != nil {
		return backlog{}, err
	}
	file, err := r.GetString(0, 0)
	if err != nil {
		return backlog{}, fmt.Errorf("end of the binary log: %w", err)
	}
	offset, err := r.GetUint(0, 1)
	if err != nil {
		return backlog{}, fmt.Errorf("end of the binary log: %w", err)
	}
	return backlog{workload: w, file: file, offset: uint32(offset)}, nil
}

// insert inserts one row.
func (w workload) insert(c *client.Conn, id int) error {
	_, err := c.Execute(string(append(w.values([]byte("insert into "+schema+"."+w.table+" values ("), id), ')')))
	return err
}

// fill makes the table and inserts rows 1 to rows by two connections.
func fill(ctx context.Context, db *component.MySQL, w workload, rows int) (backlog, error) {
	log, err := create(db, w)
	if err != nil {
		return backlog{}, fmt.Errorf("fill %s: %w", w.table, err)
	}
	log.rows = rows
	each := transactionRows
	if w.each > 0 {
		each = w.each
	}
	var next atomic.Int64
	next.Store(1)
	g, ctx := errgroup.WithContext(ctx)
	for range fillConnections {
		g.Go(func() error {
			c, err := db.Connect()
			if err != nil {
				return err
			}
			defer c.Close()
			if w.session != "" {
				if _, err := c.Execute(w.session); err != nil {
					return err
				}
			}
			var b []byte
			for ctx.Err() == nil {
				first := int(next.Add(int64(each))) - each
				if first > rows {
					return nil
				}
				b = append(b[:0], "insert into "+schema+"."+w.table+" values "...)
				for id := first; id < first+each && id <= rows; id++ {
					if id > first {
						b = append(b, ',')
					}
					b = append(w.values(append(b, '('), id), ')')
				}
				if _, err := c.Execute(string(b)); err != nil {
					return fmt.Errorf("insert rows from %d: %w", first, err)
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return backlog{}, fmt.Errorf("fill %s: %w", w.table, err)
	}
	return log, nil
}

package lab

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
)

// beatPeriod is how often a beat inserts a row.
const beatPeriod = 20 * time.Millisecond

// A beat inserts a row again and again into a table of its own, by which one sees when changes arrive.
type beat struct {
	db    *component.MySQL
	es    *component.Elasticsearch
	table string // and index

	mu   sync.Mutex
	next int // id of the row that is inserted next
}

func (b *beat) sql() string { return "select id as _id, id from " + schema + "." + b.table }

func (b *beat) create() error {
	return b.db.Exec("CREATE TABLE " + schema + "." + b.table + " (id INT PRIMARY KEY)")
}

// run inserts until ctx ends.
func (b *beat) run(ctx context.Context) error {
	c, err := b.db.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	for sleep(ctx, beatPeriod) {
		b.mu.Lock()
		b.next++
		id := b.next
		b.mu.Unlock()
		if _, err := c.Execute("INSERT INTO "+schema+"."+b.table+" VALUES (?)", id); err != nil {
			return fmt.Errorf("beat %d: %w", id, err)
		}
	}
	return nil
}

// arrival returns the time from now until Elasticsearch has a row that is inserted after now.
func (b *beat) arrival(ctx context.Context) (time.Duration, error) {
	b.mu.Lock()
	id := strconv.Itoa(b.next + 2) // the next one may be under way already
	b.mu.Unlock()
	began := time.Now()
	err := harness.Poll(ctx, func() error {
		_, found, err := b.es.Get(ctx, b.table, id)
		if err == nil && !found {
			err = fmt.Errorf("row %s has not arrived", id)
		}
		return err
	})
	return time.Since(began), err
}

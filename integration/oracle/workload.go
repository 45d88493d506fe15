package oracle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/component"
)

// WorkloadConfig says what a Workload does. Only Table must be given.
type WorkloadConfig struct {
	Table     string        // "schema.table"; Create makes it
	Seed      uint64        // of everything random but the interleaving of the writers
	Writers   int           // 3 when 0
	Keys      int64         // ids lie between 1 and Keys; 20,000 when 0
	Hot       int64         // ids 1 to Hot take half of the changes; 10 when 0
	MaxRows   int           // of a transaction; 5,000 when 0
	Pace      time.Duration // between two transactions of a writer; 10 ms when 0
	Truncates bool          // now and then the table is emptied
	XA        bool          // a third of the transactions are XA transactions
	Commits   bool          // what is left prepared is committed: a MariaDB may have its XA COMMIT in the log already
}

// A Workload changes one table in every way: inserts, updates, deletes, changed keys, two keys that change places, hot keys,
// transactions of one row and of thousands, savepoints, rollbacks, XA, TRUNCATE.
//
// What a row, or a document, tells by itself:
//
//   - ver rises with each change of a key, also over a delete and a new insert: a key is inserted, deleted and moved by the one
//     writer that owns it, which takes a new range of numbers each time; any writer adds one.
//   - writer and seq name the change that made it, and txt lists the last changes before. The Ledger knows what came of each.
//   - crc is computed by the server of the whole row, so that a torn one is seen.
//   - the rows -1 to -accounts are a bank: transfers move bal between them, so that its sum is 0 in every committed state.
type Workload struct {
	cfg    WorkloadConfig
	db     *component.MySQL
	lives  atomic.Int64 // ranges of ver that were taken
	ledger *Ledger

	transactions, rows atomic.Int64
}

const (
	accounts = 10
	filler   = -1    // the number of the writer that fills
	aside    = -1000 // minus a writer's number is the key at which it puts a row while two keys change places
)

// NewWorkload returns a workload that does nothing yet.
func NewWorkload(db *component.MySQL, cfg WorkloadConfig) (*Workload, error) {
	if schema, table, ok := strings.Cut(cfg.Table, "."); !ok || schema == "" || table == "" {
		return nil, fmt.Errorf("workload: want schema.table, got %q", cfg.Table)
	}
	set := func(n *int64, value int64) {
		if *n == 0 {
			*n = value
		}
	}
	set(&cfg.Keys, 20_000)
	set(&cfg.Hot, 10)
	if cfg.Writers == 0 {
		cfg.Writers = 3
	}
	if cfg.MaxRows == 0 {
		cfg.MaxRows = 5000
	}
	if cfg.Pace == 0 {
		cfg.Pace = 10 * time.Millisecond
	}
	return &Workload{cfg: cfg, db: db, ledger: newLedger()}, nil
}

// Create makes the schema and the empty table anew.
func (w *Workload) Create() error {
	schema, _, _ := strings.Cut(w.cfg.Table, ".")
	return w.db.Exec("CREATE DATABASE IF NOT EXISTS "+schema, "DROP TABLE IF EXISTS "+w.cfg.Table, "CREATE TABLE "+w.cfg.Table+createTable)
}

// SQL is the mapping of the table to documents, and the query for a Pair.
func (w *Workload) SQL() string {
	return "select t.id as _id, t.id, t.ver, t.writer, t.seq, t.bal, t.name, t.note, t.at, t.txt, t.crc from " + w.cfg.Table + " t"
}

// HotIDs are the documents that change most.
func (w *Workload) HotIDs() []string {
	var ids []string
	for k := int64(1); k <= w.cfg.Hot; k++ {
		ids = append(ids, fmt.Sprint(k))
	}
	return ids
}

// Ledger knows what came of each change.
func (w *Workload) Ledger() *Ledger { return w.ledger }

// Transactions counts what was committed until now.
func (w *Workload) Transactions() int64 { return w.transactions.Load() }

// Rows counts the rows that committed transactions changed.
func (w *Workload) Rows() int64 { return w.rows.Load() }

// Fill inserts the rows 1 to n in large transactions.
func (w *Workload) Fill(ctx context.Context, n int64) error {
	o := &writer{w: w, number: filler, random: rand.New(rand.NewPCG(w.cfg.Seed, 0))}
	if err := o.connect(); err != nil {
		return err
	}
	defer o.drop()
	const step = 5000
	for first := int64(1); first <= n; first += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		last := min(n, first+step-1)
		err := o.transaction(false, func() (int, error) { return int(last - first + 1), o.insert(first, last, 1) })
		if err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// Run works until ctx ends, which is no error. A server that is away is waited for.
func (w *Workload) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	var truncating sync.RWMutex // an empty table is the work of one
	for i := range w.cfg.Writers {
		g.Go(func() error {
			o := &writer{w: w, number: int64(i), random: rand.New(rand.NewPCG(w.cfg.Seed, uint64(i)+1)), truncating: &truncating}
			return o.run(ctx)
		})
	}
	return g.Wait()
}

// life returns the first number of a new range of ver, above all that were taken before.
func (w *Workload) life() int64 { return w.lives.Add(1) << 20 }

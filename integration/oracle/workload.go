package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"golang.org/x/sync/errgroup"

	"canalgo/integration/component"
)

// WorkloadConfig says what a Workload does. Only Table must be given.
type WorkloadConfig struct {
	Table     string        // "schema.table"; Create makes it
	Seed      uint64        // of everything random but the interleaving of the writers
	Writers   int           // 3 when 0
	Keys      int64         // ids lie between 1 and Keys; 20,000 when 0
	Hot       int64         // ids 1 to Hot take a third of the changes; 10 when 0
	MaxRows   int           // of a transaction; 5,000 when 0
	Pace      time.Duration // between two transactions of a writer; 10 ms when 0
	Truncates bool          // now and then the table is emptied
}

// A Workload changes one table in every way: inserts, updates, deletes, changed keys, hot keys, transactions of one row and
// of thousands, savepoints, rollbacks, TRUNCATE.
//
// The column ver of a key rises with each change of it, also over a delete and a new insert: a key is inserted, deleted and
// moved by the one writer that owns it, which takes a new range of numbers each time; any writer adds one.
type Workload struct {
	cfg   WorkloadConfig
	db    *component.MySQL
	lives atomic.Int64 // ranges of ver that were taken

	transactions, rows, unknown atomic.Int64
}

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
	return &Workload{cfg: cfg, db: db}, nil
}

// Create makes the schema and the empty table anew.
func (w *Workload) Create() error {
	schema, _, _ := strings.Cut(w.cfg.Table, ".")
	return w.db.Exec("CREATE DATABASE IF NOT EXISTS "+schema, "DROP TABLE IF EXISTS "+w.cfg.Table, "CREATE TABLE "+w.cfg.Table+` (
		id BIGINT NOT NULL PRIMARY KEY,
		ver BIGINT NOT NULL,
		writer INT NOT NULL,
		bal DECIMAL(12,2) NOT NULL,
		name VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL,
		note TEXT CHARACTER SET utf8mb4,
		at DATETIME(3)
	)`)
}

// SQL is the mapping of the table to documents, and the query for a Pair.
func (w *Workload) SQL() string {
	return "select t.id as _id, t.id, t.ver, t.writer, t.bal, t.name, t.note, t.at from " + w.cfg.Table + " t"
}

// HotIDs are the documents that change most.
func (w *Workload) HotIDs() []string {
	var ids []string
	for k := int64(1); k <= w.cfg.Hot; k++ {
		ids = append(ids, fmt.Sprint(k))
	}
	return ids
}

// Transactions counts what was committed until now.
func (w *Workload) Transactions() int64 { return w.transactions.Load() }

// Rows counts the rows that committed transactions changed.
func (w *Workload) Rows() int64 { return w.rows.Load() }

// Fill inserts the rows 1 to n in large transactions.
func (w *Workload) Fill(ctx context.Context, n int64) error {
	conn, err := w.db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	random := rand.New(rand.NewPCG(w.cfg.Seed, 0))
	const step = 5000
	for first := int64(1); first <= n; first += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.insert(conn, random, 0, first, min(n, first+step-1), 1); err != nil {
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

// A writer is one connection's work.
type writer struct {
	w          *Workload
	number     int64
	random     *rand.Rand
	truncating *sync.RWMutex
	conn       *client.Conn
}

func (o *writer) run(ctx context.Context) error {
	defer func() {
		if o.conn != nil {
			o.conn.Close()
		}
	}()
	pace := time.NewTicker(o.w.cfg.Pace)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		if o.conn == nil {
			if err := o.connect(); err != nil {
				continue // the server is away
			}
		}
		rows, err := o.transaction()
		var refused *mysql.MyError
		switch {
		case err == nil:
			o.w.transactions.Add(1)
			o.w.rows.Add(int64(rows))
		case errors.As(err, &refused) && harmless[refused.Code]:
			if _, err := o.conn.Execute("ROLLBACK"); err != nil {
				o.drop()
			}
		case errors.As(err, &refused) && refused.Code != mysql.ER_SERVER_SHUTDOWN:
			return fmt.Errorf("workload: %w", err)
		default: // the connection is gone; whether the last commit was done, nobody knows
			o.w.unknown.Add(1)
			o.drop()
		}
	}
}

// harmless are the errors that several writers give each other.
var harmless = map[uint16]bool{mysql.ER_LOCK_DEADLOCK: true, mysql.ER_LOCK_WAIT_TIMEOUT: true, mysql.ER_DUP_ENTRY: true}

func (o *writer) connect() error {
	conn, err := o.w.db.Connect()
	if err != nil {
		return err
	}
	if _, err := conn.Execute("SET innodb_lock_wait_timeout = 5"); err != nil {
		conn.Close()
		return err
	}
	o.conn = conn
	return nil
}

func (o *writer) drop() {
	o.conn.Close()
	o.conn = nil
}

// transaction does one, and returns how many rows it changed.
func (o *writer) transaction() (int, error) {
	if o.w.cfg.Truncates && o.random.IntN(400) == 0 {
		o.truncating.Lock()
		defer o.truncating.Unlock()
		_, err := o.conn.Execute("TRUNCATE TABLE " + o.w.cfg.Table)
		return 0, err
	}
	o.truncating.RLock() // a metadata lock would make them wait for each other anyway, and time out
	defer o.truncating.RUnlock()
	if _, err := o.conn.Execute("BEGIN"); err != nil {
		return 0, err
	}
	rows := 0
	for budget := o.size(); budget > rows; {
		n, err := o.change(budget - rows)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	end := "COMMIT"
	if o.random.IntN(30) == 0 {
		end, rows = "ROLLBACK", 0
	}
	_, err := o.conn.Execute(end)
	return rows, err
}

// size draws how many rows a transaction changes: mostly few, rarely thousands.
func (o *writer) size() int {
	switch d := o.random.IntN(100); {
	case d < 60:
		return 1
	case d < 90:
		return min(o.w.cfg.MaxRows, 1+o.random.IntN(20))
	case d < 98:
		return min(o.w.cfg.MaxRows, 1+o.random.IntN(500))
	}
	return 1 + o.random.IntN(o.w.cfg.MaxRows)
}

// key draws an id, hot or not.
func (o *writer) key() int64 {
	if o.random.IntN(3) == 0 {
		return 1 + o.random.Int64N(o.w.cfg.Hot)
	}
	return 1 + o.random.Int64N(o.w.cfg.Keys)
}

// own draws an id that this writer inserts, deletes and moves.
func (o *writer) own() int64 {
	n := int64(o.w.cfg.Writers)
	k := o.key()
	k -= (k - o.number) % n
	if k < 1 {
		k += n
	}
	return k
}

// change does one statement, and returns how many rows it may have changed, at least 1.
func (o *writer) change(budget int) (int, error) {
	var statement string
	n, table, writers := 1, o.w.cfg.Table, int64(o.w.cfg.Writers)
	if budget > 20 {
		n = 20 + o.random.IntN(min(1000, budget)-19)
	}
	first := o.own()
	last := first + int64(n-1)*writers
	switch d := o.random.IntN(100); {
	case d < 35:
		return n, o.w.insert(o.conn, o.random, o.number, first, last, writers)
	case d < 75 && n == 1:
		statement = fmt.Sprintf("UPDATE %s SET ver = ver + 1, %s WHERE id = %d", table, o.values(), o.key())
	case d < 75:
		// The keys of one writer, in their order, so that two large ones seldom wait for each other crosswise.
		statement = fmt.Sprintf("UPDATE %s SET ver = ver + 1, %s WHERE id BETWEEN %d AND %d AND MOD(id, %d) = %d", table, o.values(), first, last, writers, first%writers)
	case d < 85:
		statement = fmt.Sprintf("DELETE FROM %s WHERE id BETWEEN %d AND %d AND MOD(id, %d) = %d", table, first, last, writers, first%writers)
	case d < 95:
		statement = fmt.Sprintf("UPDATE %s SET id = %d, ver = %d, %s WHERE id = %d", table, o.own(), o.w.life(), o.values(), first)
		n = 1
	default: // what a savepoint takes back is not in the log
		for _, s := range []string{"SAVEPOINT s", fmt.Sprintf("UPDATE %s SET ver = ver + 1 WHERE id = %d", table, o.key()), "ROLLBACK TO s"} {
			if _, err := o.conn.Execute(s); err != nil {
				return 1, err
			}
		}
		return 1, nil
	}
	_, err := o.conn.Execute(statement)
	var refused *mysql.MyError
	if errors.As(err, &refused) && refused.Code == mysql.ER_DUP_ENTRY {
		err = nil // the key to move to is taken; the transaction goes on
	}
	return n, err
}

// life returns the first number of a new range of ver, above all that were taken before.
func (w *Workload) life() int64 { return w.lives.Add(1) << 20 }

// insert inserts, or replaces by a new life, every step-th id from first to last.
func (w *Workload) insert(conn *client.Conn, random *rand.Rand, number, first, last, step int64) error {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (id, ver, writer, bal, name, note, at) VALUES ", w.cfg.Table)
	ver := w.life()
	for id := first; id <= last; id += step {
		if id > first {
			b.WriteByte(',')
		}
		at := "NULL"
		if random.IntN(5) > 0 {
			at = fmt.Sprintf("'20%02d-%02d-%02d 12:34:%02d.%03d'", random.IntN(100), 1+random.IntN(12), 1+random.IntN(28), random.IntN(60), random.IntN(1000))
		}
		fmt.Fprintf(&b, "(%d,%d,%d,%d.%02d,%s,%s,%s)", id, ver, number, random.IntN(1_000_000)-500_000, random.IntN(100), name(random), note(random), at)
	}
	b.WriteString(" ON DUPLICATE KEY UPDATE ver = ver + 1, note = VALUES(note)")
	_, err := conn.Execute(b.String())
	return err
}

// values is what an update sets beside ver.
func (o *writer) values() string {
	return fmt.Sprintf("writer = %d, bal = bal + %d.%02d, name = %s, note = %s", o.number, o.random.IntN(200)-100, o.random.IntN(100), name(o.random), note(o.random))
}

var words = []string{"ä", "it's", "中文", "\"quoted\"", "back\\slash", "😀", "tab\there", "", "line\nbreak", "plain", "%_", "\x00\x01"}

func name(random *rand.Rand) string {
	return "'" + mysql.Escape(words[random.IntN(len(words))]+fmt.Sprint(random.IntN(1000))) + "'"
}

func note(random *rand.Rand) string {
	switch random.IntN(4) {
	case 0:
		return "NULL"
	case 1:
		return "''"
	}
	return "'" + mysql.Escape(strings.Repeat(words[random.IntN(len(words))], random.IntN(20))) + "'"
}

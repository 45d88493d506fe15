package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// hotKeys is how many rows a table may have.
const hotKeys = 12

// poison in a document makes the destination refuse it for good.
const poison = "bad-"

func isPoison(body string) bool { return strings.Contains(body, poison) }

// A workload commits transactions on a few hot rows.
type workload struct {
	*ledger
	random *rand.Rand
	seq    uint64

	mu    sync.Mutex
	burst bool
}

// run commits until ctx ends: now and then some at once, and quiet between.
func (w *workload) run(ctx context.Context) {
	for ctx.Err() == nil {
		for range 1 + w.random.IntN(8) {
			w.transaction()
			if w.random.IntN(3) > 0 {
				w.sleep(ctx, time.Duration(w.random.IntN(50))*time.Millisecond)
			}
		}
		w.mu.Lock()
		burst := w.burst
		w.mu.Unlock()
		if burst {
			w.sleep(ctx, 100*time.Millisecond)
		} else {
			w.sleep(ctx, time.Duration(w.random.IntN(10_000))*time.Millisecond)
		}
	}
}

// filled is how many rows each table has before the start: more than a load's first chunk.
const filled = 700

// fill commits the rows that are there before the start. Only a TRUNCATE changes them, but for the first ones.
func (w *workload) fill() {
	for name := range w.rows {
		e := entry{table: name}
		for id := range int64(filled) {
			e.changes = append(e.changes, change{after: w.next(id + 1)})
		}
		w.commit([]entry{e}, 0)
	}
}

func (w *workload) sleep(ctx context.Context, d time.Duration) { _ = pause(ctx.Done(), nil, d) }

func (w *workload) setBurst(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.burst = on
}

// transaction commits one.
func (w *workload) transaction() {
	size := 1 + w.random.IntN(3)
	switch w.random.IntN(40) {
	case 0:
		size = 20 + w.random.IntN(60) // several pieces
	case 1:
		if w.random.IntN(4) == 0 {
			w.commit([]entry{{table: "memo"}}, w.visible()) // TRUNCATE
			return
		}
	}
	staged := make(map[string]map[int64]row) // what the transaction sees
	var entries []entry
	for range size {
		table := "acc"
		if w.random.IntN(4) == 0 {
			table = "memo"
		}
		if staged[table] == nil {
			staged[table] = w.present(table)
		}
		if e := w.statement(table, staged[table]); len(e.changes) > 0 {
			entries = append(entries, e)
		}
	}
	if len(entries) > 0 {
		w.commit(entries, w.visible())
	}
}

func (w *workload) visible() time.Duration {
	return time.Duration(w.random.IntN(60)) * time.Millisecond
}

// present returns a table's rows.
func (l *ledger) present(table string) map[int64]row {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int64]row, len(l.rows[table]))
	for id, x := range l.rows[table] {
		out[id] = x
	}
	return out
}

// statement changes one row, or several by one event.
func (w *workload) statement(table string, rows map[int64]row) entry {
	e := entry{table: table}
	if w.random.IntN(12) == 0 {
		e.changes = w.swap(rows)
		return e
	}
	for range 1 + w.random.IntN(10)/8 {
		id := int64(1 + w.random.IntN(hotKeys))
		x, there := rows[id]
		if touches(e.changes, id) {
			continue
		}
		var c change
		switch n := w.random.IntN(10); {
		case !there:
			c.after = w.next(id)
		case n < 2:
			c.before = &x
		case n < 3:
			to := int64(1 + w.random.IntN(hotKeys))
			if _, taken := rows[to]; taken || touches(e.changes, to) {
				continue
			}
			c.before, c.after = &x, w.next(to)
		default:
			c.before, c.after = &x, w.next(id)
		}
		apply(rows, c)
		e.changes = append(e.changes, c)
	}
	return e
}

// swap exchanges the keys of two rows by one event, as an UPDATE in the order of the key does by way of a third.
func (w *workload) swap(rows map[int64]row) []change {
	a, b := int64(1+w.random.IntN(hotKeys)), int64(1+w.random.IntN(hotKeys))
	x, okA := rows[a]
	y, okB := rows[b]
	if a == b || !okA || !okB {
		return nil
	}
	const aside = filled + 1
	away := w.next(aside)
	changes := []change{{&x, away}, {&y, w.next(a)}, {away, w.next(b)}}
	for _, c := range changes {
		apply(rows, c)
	}
	return changes
}

func touches(changes []change, id int64) bool {
	for _, c := range changes {
		if c.before != nil && c.before.id == id || c.after != nil && c.after.id == id {
			return true
		}
	}
	return false
}

func apply(rows map[int64]row, c change) {
	if c.before != nil {
		delete(rows, c.before.id)
	}
	if c.after != nil {
		rows[c.after.id] = *c.after
	}
}

// next returns a new state of a row.
func (w *workload) next(id int64) *row {
	w.seq++
	x := &row{id: id, seq: w.seq, note: fmt.Sprintf("n%d", w.seq), live: 1}
	switch w.random.IntN(20) {
	case 0:
		x.note = poison + x.note
	case 1, 2, 3:
		x.live = 0
	}
	return x
}

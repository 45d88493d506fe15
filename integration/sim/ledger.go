package sim

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"canalgo/event"
)

// A row is one row of either table.
type row struct {
	id   int64
	seq  uint64 // rises with each change of any row: no two states of a row are equal
	note string
	live int8
}

// A change is what an event says of one row: an insert has no before, a delete no after. Neither empties the table.
type change struct{ before, after *row }

// An entry is one rows event of the log, or a TRUNCATE.
type entry struct {
	table   string
	changes []change
	emptied []row // by a TRUNCATE
}

// A transaction is a run of entries.
type transaction struct {
	last      uint64 // its last entry
	committed time.Time
	visible   time.Time // when other connections see its rows
}

// A rule is a mapping as the ledger understands it, apart from package mapping.
type rule struct {
	name, table, sink string
	onlyLive          bool
}

// rules are the mappings of every simulation.
var rules = []rule{
	{name: "acc", table: "acc", sink: "one"},
	{name: "live", table: "acc", sink: "two", onlyLive: true},
	{name: "memo", table: "memo", sink: "one"},
}

func (r rule) sql() string {
	where := ""
	if r.onlyLive {
		where = " where live = 1"
	}
	return "select id as _id, id, seq, note from shop." + r.table + where
}

// document returns what a row becomes, "" for none.
func (r rule) document(x *row) string {
	if x == nil || r.onlyLive && x.live != 1 {
		return ""
	}
	return fmt.Sprintf(`{"id":%d,"seq":%d,"note":"%s"}`, x.id, x.seq, x.note)
}

// A state is what a document is from an entry on, "" when it is not there.
type state struct {
	entry uint64
	body  string
}

// A ledger is all that was ever committed: the log's entries, and the states that each document had. Entries and transactions are
// counted from 1.
type ledger struct {
	mu        sync.Mutex
	entries   []entry
	txs       []transaction
	rows      map[string]map[int64]row
	documents map[string]map[string][]state // by mapping and id
	grown     chan struct{}
}

func newLedger() *ledger {
	l := &ledger{rows: map[string]map[int64]row{}, documents: map[string]map[string][]state{}, grown: make(chan struct{})}
	for _, r := range rules {
		l.rows[r.table] = map[int64]row{}
		l.documents[r.name] = map[string][]state{}
	}
	return l
}

// commit appends a transaction that the other connections see after a while.
func (l *ledger) commit(entries []entry, visible time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.entries = append(l.entries, e)
		l.note(uint64(len(l.entries)), e)
	}
	now := time.Now()
	seen := now.Add(visible)
	if n := len(l.txs); n > 0 && l.txs[n-1].visible.After(seen) {
		seen = l.txs[n-1].visible
	}
	l.txs = append(l.txs, transaction{last: uint64(len(l.entries)), committed: now, visible: seen})
	close(l.grown)
	l.grown = make(chan struct{})
}

// note keeps what an entry makes of rows and documents.
func (l *ledger) note(at uint64, e entry) {
	if len(e.changes) == 0 {
		l.entries[at-1].emptied = slices.Collect(maps.Values(l.rows[e.table]))
		clear(l.rows[e.table])
		for _, r := range rules {
			if r.table != e.table {
				continue
			}
			for id, states := range l.documents[r.name] {
				if states[len(states)-1].body != "" {
					l.documents[r.name][id] = append(states, state{entry: at})
				}
			}
		}
		return
	}
	for _, c := range e.changes {
		apply(l.rows[e.table], c)
		for _, r := range rules {
			if r.table != e.table {
				continue
			}
			before, after := r.document(c.before), r.document(c.after)
			if before != "" && (after == "" || c.before.id != c.after.id) {
				l.become(r, c.before.id, state{entry: at})
			}
			if after != "" {
				l.become(r, c.after.id, state{at, after})
			}
		}
	}
}

func (l *ledger) become(r rule, id int64, s state) {
	key := fmt.Sprint(id)
	l.documents[r.name][key] = append(l.documents[r.name][key], s)
}

// end returns how many transactions there are.
func (l *ledger) end() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.txs)
}

// entriesUpTo returns how many entries the first transactions have.
func (l *ledger) entriesUpTo(txs int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.upTo(txs)
}

func (l *ledger) upTo(txs int) uint64 {
	if txs == 0 {
		return 0
	}
	return l.txs[txs-1].last
}

// table is the definition of both tables.
func table(name string) *event.Table {
	return &event.Table{Name: event.TableName{Schema: "shop", Name: name}, Key: []int{0}, Columns: []event.Column{
		{Name: "id", Type: event.BigInt}, {Name: "seq", Type: event.BigInt, Unsigned: true},
		{Name: "note", Type: event.Char, Charset: "utf8mb4", Collation: "utf8mb4_bin"}, {Name: "live", Type: event.TinyInt}}}
}

var tables = map[string]*event.Table{"acc": table("acc"), "memo": table("memo")}

// values are a row's as an event.Row has them.
func (x *row) values() []any {
	if x == nil {
		return nil
	}
	return []any{x.id, x.seq, x.note, x.live}
}

// decode returns an entry's rows as a Decoder does.
func (e entry) decode(v event.Version) []event.Row {
	t := tables[e.table]
	if len(e.changes) == 0 {
		return []event.Row{{Table: t, Op: event.DeleteAll, Version: v}}
	}
	out := make([]event.Row, 0, len(e.changes))
	for _, c := range e.changes {
		op := event.Update
		switch {
		case c.before == nil:
			op = event.Insert
		case c.after == nil:
			op = event.Delete
		}
		out = append(out, event.Row{Table: t, Op: op, Version: v, Before: c.before.values(), After: c.after.values()})
	}
	return out
}

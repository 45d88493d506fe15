package oracle

import (
	"fmt"
	"slices"
	"sort"
	"sync"
)

// An Outcome is what came of a transaction.
type Outcome int

// The outcomes.
const (
	Open       Outcome = iota // not yet over
	Committed                 // the server has said so
	RolledBack                // it was taken back, or its connection was lost before anybody asked for a commit
	Unknown                   // the connection was lost in the commit
)

func (o Outcome) String() string {
	return [...]string{"open", "committed", "rolled back", "of unknown outcome"}[o]
}

// A Ledger knows what came of each change that a Workload made. A change is a statement, named by the number of its writer and the
// writer's count, which stand in the row as writer and seq.
type Ledger struct {
	mu      sync.Mutex
	writers map[int64]*entries
}

// entries are one writer's.
type entries struct {
	next         int64
	transactions []span // in order; the last one may be open
	undone       []span // taken back to a savepoint, in order
}

// A span is the changes first to last.
type span struct {
	first, last int64
	outcome     Outcome
	gtid        string
}

func newLedger() *Ledger { return &Ledger{writers: make(map[int64]*entries)} }

// of returns a writer's entries. l.mu is held.
func (l *Ledger) of(writer int64) *entries {
	e := l.writers[writer]
	if e == nil {
		e = &entries{next: 1}
		l.writers[writer] = e
	}
	return e
}

// begin opens a transaction and returns the number that its first change will have; changes are counted into it until end.
func (l *Ledger) begin(writer int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(writer)
	e.transactions = append(e.transactions, span{first: e.next, last: e.next - 1})
	return e.next
}

// change counts a statement of the open transaction.
func (l *Ledger) change(writer int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(writer)
	seq := e.next
	e.next++
	e.transactions[len(e.transactions)-1].last = seq
	return seq
}

// undoLast says that the last change of the open transaction is taken back to a savepoint.
func (l *Ledger) undoLast(writer int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(writer)
	e.undone = append(e.undone, span{first: e.next - 1, last: e.next - 1, outcome: RolledBack})
}

// end says what came of the open transaction.
func (l *Ledger) end(writer int64, outcome Outcome, gtid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(writer)
	t := &e.transactions[len(e.transactions)-1]
	t.outcome, t.gtid = outcome, gtid
	if t.last < t.first { // it changed nothing
		e.transactions = e.transactions[:len(e.transactions)-1]
	}
}

// settle says later what came of a transaction of unknown outcome.
func (l *Ledger) settle(writer, first int64, outcome Outcome, gtid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	transactions := l.of(writer).transactions
	i := sort.Search(len(transactions), func(i int) bool { return transactions[i].first >= first })
	if i < len(transactions) && transactions[i].first == first {
		transactions[i].outcome, transactions[i].gtid = outcome, gtid
	}
}

// Find returns what came of a change, and the GTID with which it was committed, "" when the server gives none. found is false
// for a change that nobody made.
func (l *Ledger) Find(writer, seq int64) (outcome Outcome, gtid string, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.writers[writer]
	if e == nil {
		return 0, "", false
	}
	for _, spans := range [][]span{e.undone, e.transactions} {
		i := sort.Search(len(spans), func(i int) bool { return spans[i].last >= seq })
		if i < len(spans) && spans[i].first <= seq {
			return spans[i].outcome, spans[i].gtid, true
		}
	}
	return 0, "", false
}

// Counts says how many transactions had each outcome.
func (l *Ledger) Counts() map[Outcome]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[Outcome]int)
	for _, e := range l.writers {
		for _, t := range e.transactions {
			counts[t.outcome]++
		}
	}
	return counts
}

// judge returns what is wrong with changes that documents have shown, each with the id of one: nobody made them, or they were taken
// back. Of a transaction that is open nothing can be said.
func (l *Ledger) judge(seen map[change]string) []string {
	var phantoms []string
	for c, id := range seen {
		outcome, _, found := l.Find(c.writer, c.seq)
		switch {
		case !found:
			phantoms = append(phantoms, fmt.Sprintf("document %s: writer %d never made a change %d", id, c.writer, c.seq))
		case outcome == RolledBack:
			phantoms = append(phantoms, fmt.Sprintf("document %s: change %d of writer %d was rolled back", id, c.seq, c.writer))
		}
	}
	slices.Sort(phantoms)
	return phantoms
}

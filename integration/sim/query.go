package sim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A query is a SELECT of package snapshot: rows of a table by their key.
type query struct {
	table          string
	behind, up, is int64 // -1 for none
	limit          int   // -1 for none
}

var (
	queryTable  = regexp.MustCompile("FROM `shop`[.]`([a-z]+)`")
	queryBehind = regexp.MustCompile("WHERE [(][(]`id` > ([0-9]+)[)][)]")
	queryUp     = regexp.MustCompile("NOT [(][(]`id` > ([0-9]+)[)][)]")
	queryIs     = regexp.MustCompile("WHERE `id` = ([0-9]+)")
	queryLimit  = regexp.MustCompile("LIMIT ([0-9]+)")
)

func parseQuery(text string) (query, error) {
	from := queryTable.FindStringSubmatch(text)
	if from == nil {
		return query{}, fmt.Errorf("query %q: no table", text)
	}
	number := func(r *regexp.Regexp) int64 {
		found := r.FindStringSubmatch(text)
		if found == nil {
			return -1
		}
		n, _ := strconv.ParseInt(found[1], 10, 64) // digits
		return n
	}
	return query{table: from[1], behind: number(queryBehind), up: number(queryUp), is: number(queryIs), limit: int(number(queryLimit))}, nil
}

func (q query) has(id int64) bool {
	return (q.behind < 0 || id > q.behind) && (q.up < 0 || id <= q.up) && (q.is < 0 || id == q.is)
}

// visible returns a table's rows as another connection sees them now, ordered by key.
func (l *ledger) visible(name string) []row {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := maps.Clone(l.rows[name])
	// What is not visible yet is undone, from the end.
	for t := len(l.txs); t > 0 && l.txs[t-1].visible.After(time.Now()); t-- {
		for at := l.txs[t-1].last; at > l.upTo(t-1); at-- {
			l.undo(rows, name, at)
		}
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b row) int { return int(a.id - b.id) })
}

// undo takes an entry back. l.mu is held.
func (l *ledger) undo(rows map[int64]row, name string, at uint64) {
	e := l.entries[at-1]
	if e.table != name {
		return
	}
	for _, c := range slices.Backward(e.changes) {
		apply(rows, change{before: c.after, after: c.before})
	}
	for _, x := range e.emptied {
		rows[x.id] = x
	}
}

package oracle

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"canalgo/event"
	"canalgo/integration/component"
)

// Confirmations are what a destination has confirmed, and when.
type Confirmations struct {
	mu  sync.Mutex
	all map[string]map[string][]confirmation // by index and document, in their order
}

type confirmation struct {
	version uint64
	at      time.Time
}

// Note notes that a destination holds a document at a version or a later one.
func (c *Confirmations) Note(index, id string, version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[string]map[string][]confirmation)
	}
	if c.all[index] == nil {
		c.all[index] = make(map[string][]confirmation)
	}
	of := c.all[index][id]
	if n := len(of); n > 0 && of[n-1].version >= uint64(version) {
		return // confirmed before
	}
	c.all[index][id] = append(of, confirmation{uint64(version), time.Now()})
}

// before reports whether a document was confirmed at a version or a later one by that time.
func (c *Confirmations) before(index, id string, v event.Version, by time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.all[index][id]
	i := sort.Search(len(of), func(i int) bool { return of[i].version >= uint64(v) })
	return i < len(of) && !of[i].at.After(by)
}

// A save is a saved position, as it was seen first.
type save struct {
	duty string
	seen time.Time
	reached
}

// A LoggedEvent is a rows or statement event of a server's binary log.
type LoggedEvent struct {
	File string
	End  uint64   // its offset
	Tx   bool     // it is the last of its transaction
	IDs  []string // of the table's rows that it names, before and after the change
}

// before reports whether the event lies before a position.
func (e LoggedEvent) before(file string, offset uint64) bool {
	if e.File != file {
		return len(e.File) < len(file) || len(e.File) == len(file) && e.File < file
	}
	return e.End <= offset
}

// CheckPositions holds all positions that were seen against the log and what the destination had confirmed when each was seen (I4): a
// position lies at the end of a transaction, its count is that of the events before it, and each document of an event that it has
// passed was confirmed at that event's version. mapping SOURCE/NAME writes to the index NAME. It returns what is wrong.
func (s *Sampler) CheckPositions(log []LoggedEvent, confirmed *Confirmations) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wrong []string
	more := make(map[uint64]uint64)   // by epoch: what an event's count has more than its number in log
	passed := make(map[string]int)    // by duty: how many events its newest position has passed
	epochs := make(map[string]uint64) // by duty: of that position
	for _, p := range s.saves {
		file, offset, err := cutPosition(p.position)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("duty %s: %v", p.duty, err))
			continue
		}
		n := sort.Search(len(log), func(i int) bool { return !log[i].before(file, offset) })
		if n > 0 && !log[n-1].Tx {
			wrong = append(wrong, fmt.Sprintf("duty %s: position %s is within a transaction", p.duty, p.position))
		}
		known, ok := more[p.epoch]
		if !ok {
			known = p.count - uint64(n)
			more[p.epoch] = known
		}
		if p.count-uint64(n) != known {
			wrong = append(wrong, fmt.Sprintf("duty %s: position %s has the count %d, which is %d off", p.duty, p.position, p.count, int64(p.count-uint64(n)-known)))
			continue
		}
		_, index, _ := strings.Cut(p.duty, "/")
		if from, ok := passed[p.duty]; ok && epochs[p.duty] == p.epoch {
			for i := from; i < n; i++ {
				v := event.NewVersion(uint32(p.epoch), known+uint64(i)+1)
				for _, id := range log[i].IDs {
					if !confirmed.before(index, id, v, p.seen) {
						wrong = append(wrong, fmt.Sprintf("duty %s: position %s (%s) was saved before the destination had confirmed document %s at version %s", p.duty, p.position,
							p.version, id, v))
					}
				}
			}
		}
		if n >= passed[p.duty] || epochs[p.duty] != p.epoch {
			passed[p.duty], epochs[p.duty] = n, p.epoch
		}
	}
	return wrong
}

// ReadLog reads the whole binary log of a server that is at rest, from its files and apart from how canalgo reads it. The events'
// documents are those of one table, "schema.table", whose first column is the key.
func ReadLog(db *component.MySQL, table string) ([]LoggedEvent, error) {
	r, err := db.Query("SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	l := logReader{table: table}
	for i := range r.RowNumber() {
		file, err := r.GetString(i, 0)
		if err != nil {
			return nil, err
		}
		l.file = file
		l.rollBack() // its server died while it wrote
		parser := replication.NewBinlogParser()
		if err := parser.ParseFile(filepath.Join(db.Dir, "data", file), 0, l.add); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
	}
	return l.events, nil
}

// A logReader numbers events as the rules say: each rows event and each statement event is one.
type logReader struct {
	table, file string
	events      []LoggedEvent
	open        int // of events, those of the transaction that has not ended
}

func (l *logReader) rollBack() {
	l.events = l.events[:len(l.events)-l.open]
	l.open = 0
}

func (l *logReader) end() {
	if l.open > 0 {
		l.events[len(l.events)-1].Tx = true
	}
	l.open = 0
}

func (l *logReader) count(at uint32, ids []string) {
	l.events = append(l.events, LoggedEvent{File: l.file, End: uint64(at), IDs: ids})
	l.open++
}

func (l *logReader) add(e *replication.BinlogEvent) error {
	switch body := e.Event.(type) {
	case *replication.RowsEvent:
		var ids []string
		if string(body.Table.Schema)+"."+string(body.Table.Table) == l.table {
			for _, row := range body.Rows {
				if id := fmt.Sprint(row[0]); !slices.Contains(ids[max(0, len(ids)-1):], id) { // an update has the row twice
					ids = append(ids, id)
				}
			}
		}
		l.count(e.Header.LogPos, ids)
	case *replication.XIDEvent:
		l.end()
	case *replication.QueryEvent:
		first, _, _ := bytes.Cut(bytes.TrimSpace(body.Query), []byte{' '})
		switch strings.ToUpper(string(first)) {
		case "BEGIN", "SAVEPOINT":
		case "COMMIT":
			l.end()
		case "XA", "ROLLBACK": // the rows of XA transactions have other numbers, and what is rolled back is not in the log of the workload
			return fmt.Errorf("at %d: %q cannot be followed", e.Header.LogPos, body.Query)
		default:
			l.count(e.Header.LogPos, nil)
			l.end()
		}
	case *replication.TransactionPayloadEvent:
		return fmt.Errorf("at %d: a compressed transaction", e.Header.LogPos)
	}
	return nil
}

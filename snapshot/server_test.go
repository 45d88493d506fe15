package snapshot_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

var table = &event.Table{Name: event.TableName{Schema: "shop", Name: "user"}, Key: []int{0},
	Columns: []event.Column{{Name: "id", Type: event.BigInt}, {Name: "name", Type: event.Char}}}

var (
	behind = regexp.MustCompile("WHERE \\(\\(`id` > (\\d+)\\)\\)")
	upTo   = regexp.MustCompile("NOT \\(\\(`id` > (\\d+)\\)\\)")
	limit  = regexp.MustCompile(`LIMIT (\d+)`)
	exact  = regexp.MustCompile("`id` = (\\d+)")
)

// server holds rows by id and answers the queries that a Reader makes.
type server struct {
	mu      sync.Mutex
	rows    map[int64]string
	queries []string
	waited  []string
}

func number(re *regexp.Regexp, query string, otherwise int64) int64 {
	m := re.FindStringSubmatch(query)
	if m == nil {
		return otherwise
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *server) Select(_ context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, query)
	s.waited = append(s.waited, at.GTIDs)
	var ids []int64
	low, high := number(behind, query, 0), number(upTo, query, 1<<62)
	only := number(exact, query, 0)
	for id := range s.rows {
		if only == 0 && id > low && id <= high || only != 0 && id == only {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for i, id := range ids {
		if int64(i) == number(limit, query, 1<<62) {
			break
		}
		if err := row([]any{id, s.rows[id]}); err != nil {
			return err
		}
	}
	return nil
}

type mapper struct{}

func (mapper) Map(rows []event.Row) ([]mapping.Change, error) {
	var out []mapping.Change
	for i := range rows {
		out = append(out, mapping.Change{Op: mapping.Write, Index: "i", ID: fmt.Sprint(rows[i].After[0]), Version: rows[i].Version,
			Body: []byte(rows[i].After[1].(string)), Row: &rows[i]})
	}
	return out, nil
}

func (mapper) Index() string { return "i" }

// destination keeps documents with versions, as Elasticsearch does.
type destination struct {
	mu      sync.Mutex
	docs    map[string]string
	version map[string]event.Version
	fail    func() error
	cleared event.Version
}

func (d *destination) Write(_ context.Context, changes []mapping.Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return err
		}
	}
	var partial sink.PartialError
	for _, c := range changes {
		if has := d.version[c.ID]; has > c.Version {
			partial.Conflicts = append(partial.Conflicts, sink.Conflict{Change: c, Has: has})
			continue
		}
		d.version[c.ID] = c.Version
		if c.Op == mapping.Delete {
			delete(d.docs, c.ID)
		} else {
			d.docs[c.ID] = string(c.Body)
		}
	}
	if len(partial.Conflicts) > 0 {
		return &partial
	}
	return nil
}

func (d *destination) Clear(_ context.Context, _ mapping.Own, before event.Version) (sink.Cleared, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cleared = before
	var out sink.Cleared
	for id := range d.docs {
		if d.version[id] < before {
			delete(d.docs, id)
			out.Deleted++
		} else {
			out.Highest = max(out.Highest, d.version[id])
		}
	}
	return out, nil
}

func (d *destination) Close() error { return nil }

type keeper struct{ refusals []sink.Refusal }

func (k *keeper) SetAside(_ context.Context, r []sink.Refusal) error {
	k.refusals = append(k.refusals, r...)
	return nil
}

const epoch = 3

func version(n uint64) event.Version { return event.NewVersion(epoch, event.FirstCount+n) }

type bench struct {
	server *server
	dest   *destination
	keeper *keeper
	newest uint64
	reader *snapshot.Reader
}

func newBench(rows int) *bench {
	b := &bench{server: &server{rows: map[int64]string{}}, dest: &destination{docs: map[string]string{}, version: map[string]event.Version{}}, keeper: &keeper{}, newest: 10}
	for id := range rows {
		b.server.rows[int64(id+1)] = "row"
	}
	b.reader = &snapshot.Reader{Selector: b.server, Table: table, Columns: []int{0, 1}, Mapper: mapper{}, Sink: b.dest,
		Begin: func() error { return nil },
		Boundary: func() (event.Position, error) {
			return event.Position{Epoch: epoch, Count: event.FirstCount + b.newest, GTIDs: "set"}, nil
		},
		Newest: func() (event.Version, bool) { return version(b.newest), true },
		Keeper: b.keeper, Gate: sink.NewGate(), Limits: sink.Limits{BulkBytes: 1 << 20, BulkDocs: 1000, InFlight: 3}, Log: hclog.NewNullLogger()}
	return b
}

func keep(*testing.T) func(context.Context, snapshot.Progress) error {
	return func(context.Context, snapshot.Progress) error { return nil }
}

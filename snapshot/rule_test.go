package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

// ruleServer has orders by the customers that their documents are of, and orders without one, and answers what a load of a rule asks.
type ruleServer struct {
	orders  map[int32]string
	without int    // how many have no customer
	text    string // of each of those
	queries []string
}

var (
	customers  = &event.Table{Name: event.TableName{Schema: "shop", Name: "customer"}, Columns: []event.Column{{Name: "id", Type: event.Int}}, Key: []int{0}}
	behindRule = regexp.MustCompile("\\(\\(`c`.`id` > (\\d+)\\)\\)")
	upToRule   = regexp.MustCompile("NOT \\(\\(`c`.`id` > (\\d+)\\)\\)")
)

func (s *ruleServer) Select(_ context.Context, _ event.Position, query string, _ []event.Column, row func([]any) error) error {
	s.queries = append(s.queries, query)
	keys, left := strings.HasPrefix(query, "SELECT DISTINCT"), number(limit, query, 1<<40)
	give := func(values ...any) error {
		if left--; left < 0 {
			return nil
		}
		return row(values)
	}
	if strings.Contains(query, "IS NULL") && !strings.Contains(query, "NOT (`c`.`id` IS NULL)") {
		for range s.without { // NULL comes first
			if err := give(s.text, nil); err != nil {
				return err
			}
		}
		if strings.HasSuffix(query, "LIMIT 1") {
			return nil
		}
	}
	low, high := number(behindRule, strings.ReplaceAll(query, "NOT ((", ""), 0), number(upToRule, query, 1<<40)
	var ids []int32
	for id := range s.orders {
		if int64(id) > low && int64(id) <= high {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		values := []any{s.orders[id], id}
		if keys {
			values = values[1:]
		}
		if err := give(values...); err != nil {
			return err
		}
	}
	return nil
}

// ruleBench is a bench whose documents are rendered: those of customers 1 to n.
func ruleBench(t *testing.T, n int32) (*bench, *ruleServer) {
	t.Helper()
	s := &ruleServer{orders: map[int32]string{}}
	for id := range n {
		s.orders[id+1] = "old"
	}
	return renderedBench(t, s, customers, "select c.id as _id, o.body from orders o left join customer c on c.id = o.customer", "body"), s
}

// TestManyRowsWithoutAnID: of more than fit into a chunk one is read, and set aside for all; the documents are read as if there were none.
func TestManyRowsWithoutAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const documents = 700 // more than the first chunk has
		b, s := ruleBench(t, documents)
		s.without, s.text = 10_000, strings.Repeat("x", 1<<10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.reader.Load(ctx, snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		if len(b.dest.docs) != documents || b.dest.docs["1"] != `{"body":"old"}` {
			t.Errorf("%d documents, 1: %s", len(b.dest.docs), b.dest.docs["1"])
		}
		if of := b.keeper.refusals; len(of) != 1 || of[0].Document != "NULL" || !strings.Contains(of[0].Reason, "the document's id would be NULL") {
			t.Errorf("set aside: %+v", of)
		}
		rows, refused := 0, 0
		err := b.reader.Each(ctx, func(changes []mapping.Change) error {
			for _, c := range changes {
				if rows++; c.Err != nil {
					refused++
				}
			}
			return nil
		})
		if err != nil || rows != documents+1 || refused != 1 {
			t.Errorf("%d rows, %d of them refused, %v", rows, refused, err)
		}
	})
}

// TestOnlyRowsWithoutAnID reads none of the rows that come while one cannot be set aside.
func TestOnlyRowsWithoutAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := ruleBench(t, 0)
		s.without = 2
		b.reader.Keeper = &noKeeper{keeper: b.keeper, meanwhile: func() { s.orders[1] = "of the stream" }}
		if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
			t.Fatal(err)
		}
		if len(b.dest.docs) != 0 || len(b.keeper.refusals) != 1 {
			t.Errorf("documents %v, set aside %+v", b.dest.docs, b.keeper.refusals)
		}
	})
}

// noKeeper does not keep what comes first.
type noKeeper struct {
	*keeper
	meanwhile func()
}

func (k *noKeeper) SetAside(ctx context.Context, r []sink.Refusal) error {
	if k.meanwhile != nil {
		k.meanwhile()
		k.meanwhile = nil
		return errors.New("no leader")
	}
	return k.keeper.SetAside(ctx, r)
}

// TestRowsBehindTheEndAreLeftToTheStream: while the destination is away any number may come, which are not all read with those that were
// the last. What was there is read as it is now.
func TestRowsBehindTheEndAreLeftToTheStream(t *testing.T) {
	const rows = 510 // a chunk, and one at the end
	t.Run("rows", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(rows)
			awayAtTheEnd(b, func() {
				b.server.mu.Lock()
				defer b.server.mu.Unlock()
				b.server.rows[rows], b.server.rows[rows+1] = "newer", "of the stream"
			})
			leavesTheEnd(t, b, rows, "newer")
		})
	})
	t.Run("documents that the server renders", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, s := ruleBench(t, rows)
			awayAtTheEnd(b, func() { s.orders[rows], s.orders[rows+1] = "newer", "of the stream" })
			leavesTheEnd(t, b, rows, `{"body":"newer"}`)
		})
	})
}

// awayAtTheEnd lets the destination not answer for the row 510 once; the rows change meanwhile.
func awayAtTheEnd(b *bench, meanwhile func()) {
	b.reader.Sink = &notOnce{destination: b.dest, id: "510", meanwhile: func() {
		meanwhile()
		b.newest = 20
	}}
}

// notOnce is a destination that does not answer when it is first given a document.
type notOnce struct {
	*destination
	id        string
	meanwhile func()
}

func (d *notOnce) Write(ctx context.Context, changes []mapping.Change) error {
	if slices.ContainsFunc(changes, func(c mapping.Change) bool { return c.ID == d.id }) && d.meanwhile != nil {
		d.meanwhile()
		d.meanwhile = nil
		return errors.New("no answer")
	}
	return d.destination.Write(ctx, changes)
}

// leavesTheEnd loads, and wants the last row as it has become, and no further one.
func leavesTheEnd(t *testing.T, b *bench, rows int, want string) {
	t.Helper()
	if err := b.reader.Load(t.Context(), snapshot.Progress{}, keep(t)); err != nil {
		t.Fatal(err)
	}
	last := fmt.Sprint(rows)
	if len(b.dest.docs) != rows || b.dest.docs[last] != want || b.dest.version[last] != version(20) {
		t.Errorf("%d documents, the last one %q at %s", len(b.dest.docs), b.dest.docs[last], b.dest.version[last])
	}
}

package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

// fanServer has orders of customers, by id, and answers what a rule asks.
type fanServer struct {
	customers map[int32]int32
	name      string           // of each customer
	gone      map[int32]bool   // rows that are found by their key, and have gone when they are read
	asked     []event.Position // the ordinals of the queries
	during    func(query string)
}

var (
	fanOrders = &event.Table{Name: event.TableName{Schema: "shop", Name: "orders"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "customer", Type: event.Int}}, Key: []int{0}}
	behindID  = regexp.MustCompile("AND \\(\\(`o`.`id` > (\\d+)\\)\\)")
	upToID    = regexp.MustCompile("NOT \\(\\(`o`.`id` > (\\d+)\\)\\)")
)

func (s *fanServer) Select(_ context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	if s.during != nil {
		s.during(query)
	}
	in := regexp.MustCompile(`IN \(([0-9, ]*)\)`).FindStringSubmatch(query)[1]
	var listed []int32
	for _, text := range strings.Split(in, ", ") {
		var n int32
		fmt.Sscan(text, &n)
		listed = append(listed, n)
	}
	var ids []int32
	for id, customer := range s.customers {
		if slices.Contains(listed, customer) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if strings.HasPrefix(query, "SELECT COUNT") {
		return row([]any{uint64(len(ids))})
	}
	s.asked = append(s.asked, at)
	if strings.HasPrefix(query, "SELECT DISTINCT") {
		low, high, left := number(behindID, query, 0), number(upToID, query, 1<<40), number(limit, query, 0)
		for _, id := range ids {
			if int64(id) <= low || int64(id) > high || left == 0 {
				continue
			}
			left--
			if err := row([]any{id}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, id := range listed {
		if s.gone[id] {
			continue
		}
		if err := row([]any{s.name, id}); err != nil {
			return err
		}
	}
	return nil
}

// fanBench is a bench whose documents are rendered: orders 1 to n of customer 7.
func fanBench(t *testing.T, orders int32) (*bench, *fanServer) {
	t.Helper()
	s := &fanServer{customers: map[int32]int32{}, name: "new", gone: map[int32]bool{}}
	for id := range orders {
		s.customers[id+1] = 7
	}
	b := renderedBench(t, s, fanOrders, "select o.id as _id, c.name as n from orders o left join customer c on c.id = o.customer", "n")
	b.reader.Log = hclog.NewNullLogger()
	return b, s
}

// renderedBench is a bench that reads what a server renders by sql: one text field beside the id, which is the anchor's column id.
func renderedBench(t *testing.T, s snapshot.Selector, anchor *event.Table, sql, field string) *bench {
	t.Helper()
	m, err := mapping.Compile("m", mapping.Config{SQL: sql, Index: "i"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	table, err := m.Rule().Result(anchor, []event.Column{{Name: field, Type: event.Char, Charset: "utf8mb4"}, {Name: "key id", Type: event.Int}})
	if err == nil {
		err = m.Bind(table)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(0)
	b.reader.Selector, b.reader.Table, b.reader.Columns, b.reader.Rule, b.reader.Anchor, b.reader.Mapper = s, table, []int{0, 1}, m.Rule(), anchor, m
	return b
}

func fanOf(b *bench, f snapshot.Fan) snapshot.Fan {
	f.Fan = b.reader.Rule.Fan(1, [][]string{{"7"}})
	return f
}

// TestFan renders the documents of a change in chunks, all at an ordinal of their own, deletes what is no longer given, and tells its
// progress in order.
func TestFan(t *testing.T) {
	const orders = 12_000
	b, s := fanBench(t, orders)
	s.customers[5], s.gone[6] = 8, true
	b.dest.docs["5"], b.dest.docs["6"], b.dest.docs["3"] = "other", "old", "old"
	b.dest.version["9"] = version(11) // the stream has written a newer one
	b.newest = 11
	var progress []snapshot.FanProgress
	var written atomic.Int64
	b.reader.Written = func(_ context.Context, changes []mapping.Change) error {
		written.Add(int64(len(changes)))
		return nil
	}
	at := func(n uint64) func() (event.Position, error) {
		return func() (event.Position, error) {
			return event.Position{Epoch: epoch, Count: event.FirstCount + n, GTIDs: "set"}, nil
		}
	}
	b.reader.Boundary = at(10)
	err := b.reader.Fan(t.Context(), fanOf(b, snapshot.Fan{Key: []string{"2"}, Least: version(10)}), func(_ context.Context, p snapshot.FanProgress) error {
		progress = append(progress, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	last := progress[len(progress)-1]
	done := uint64(0)
	for _, p := range progress {
		if done += p.Done; p.At != version(10) || p.Total != orders-1 || p.End != (p.Done == last.Done && slices.Equal(p.Key, last.Key)) {
			t.Errorf("progress %+v", p)
		}
	}
	if len(progress) < 3 || progress[0].Key[0] != "503" || !last.End || done != orders-3 || written.Load() != orders-4 {
		t.Errorf("%d documents done, %d written, in %d parts, the first up to %v", done, written.Load(), len(progress), progress[0].Key)
	}
	if b.dest.docs["5"] != "other" || b.dest.docs["3"] != `{"n":"new"}` || b.dest.docs["2"] != "" || b.dest.docs["9"] != "" || b.dest.version["12000"] != version(10) {
		t.Errorf("documents 5: %q, 3: %q, 2: %q, 9: %q", b.dest.docs["5"], b.dest.docs["3"], b.dest.docs["2"], b.dest.docs["9"])
	}
	if _, there := b.dest.docs["6"]; there || b.dest.version["6"] != version(10) {
		t.Error("document 6 is not deleted")
	}
	for _, p := range s.asked {
		if p.GTIDs != "set" {
			t.Errorf("asked at %+v", p)
		}
	}
	if len(b.keeper.refusals) > 0 {
		t.Errorf("set aside: %+v", b.keeper.refusals)
	}
}

// TestFanUntil ends a second pass where the first one began.
func TestFanUntil(t *testing.T) {
	b, _ := fanBench(t, 100)
	var last snapshot.FanProgress
	err := b.reader.Fan(t.Context(), fanOf(b, snapshot.Fan{Until: []string{"40"}}), func(_ context.Context, p snapshot.FanProgress) error {
		last = p
		return nil
	})
	if err != nil || !last.End || last.Key[0] != "40" || len(b.dest.docs) != 40 {
		t.Errorf("%d documents, %+v, %v", len(b.dest.docs), last, err)
	}
}

// TestFanWaitsForItsChange reads nothing at an ordinal before the change: a new leader may not have come to it.
func TestFanWaitsForItsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := fanBench(t, 10)
		began := time.Now()
		b.reader.Boundary = func() (event.Position, error) {
			n := uint64(19)
			if time.Since(began) > 2*time.Second {
				n = 20
			}
			return event.Position{Epoch: epoch, Count: event.FirstCount + n, GTIDs: fmt.Sprint(n)}, nil
		}
		err := b.reader.Fan(t.Context(), fanOf(b, snapshot.Fan{Least: version(20)}), func(_ context.Context, p snapshot.FanProgress) error {
			if p.At != version(20) {
				t.Errorf("at %s", p.At)
			}
			return nil
		})
		if err != nil || len(b.dest.docs) != 10 || s.asked[0].GTIDs != "20" {
			t.Errorf("%d documents, asked first at %v, %v", len(b.dest.docs), s.asked[0].GTIDs, err)
		}
	})
}

// TestFanReadsAgain renders a chunk again that met a destination which did not answer, as it is then, and none of the documents that came
// behind it.
func TestFanReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := fanBench(t, 10)
		delete(s.customers, 5)
		b.dest.fail = func() error {
			b.dest.fail = nil
			s.name, s.customers[5], s.customers[11] = "newer", 7, 7
			b.newest = 12
			return errors.New("no answer")
		}
		err := b.reader.Fan(t.Context(), fanOf(b, snapshot.Fan{}), func(context.Context, snapshot.FanProgress) error { return nil })
		if err != nil || len(b.dest.docs) != 10 || b.dest.docs["5"] == "" || b.dest.docs["1"] != `{"n":"newer"}` || b.dest.version["1"] != version(12) {
			t.Errorf("%v, %v", b.dest.docs, err)
		}
	})
}

// TestFanOfLargeDocuments reads few of them at once.
func TestFanOfLargeDocuments(t *testing.T) {
	b, s := fanBench(t, 30)
	s.name = strings.Repeat("x", 1<<20)
	parts := 0
	err := b.reader.Fan(t.Context(), fanOf(b, snapshot.Fan{}), func(_ context.Context, p snapshot.FanProgress) error {
		if parts++; p.Done > 8 {
			t.Errorf("%d documents at once", p.Done)
		}
		return nil
	})
	if err != nil || len(b.dest.docs) != 30 || parts < 4 {
		t.Errorf("%d documents in %d parts, %v", len(b.dest.docs), parts, err)
	}
}

var _ sink.Sink = (*destination)(nil)

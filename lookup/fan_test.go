package lookup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
)

// many is a server with orders 1 to n, all of customer 7.
type many struct{ n int32 }

func (m many) Wait(context.Context, string) error { return nil }
func (m many) Close() error                       { return nil }

func (m many) Query(_ context.Context, query string, told func([]event.Column) error, row func([]any) error) error {
	if told == nil { // keys
		var behind, limit int32
		if _, err := fmt.Sscanf(query[slices.Index([]byte(query), '>')+1:], "%d", &behind); err != nil {
			behind = 0
		}
		limit = 5000
		for id := behind + 1; id <= min(m.n, behind+limit); id++ {
			if err := row([]any{id}); err != nil {
				return err
			}
		}
		return nil
	}
	return told([]event.Column{{Name: "n", Type: event.Char, Charset: "utf8mb4"}, {Name: "key id", Type: event.Int}})
}

// beside notes what it is given.
type beside struct {
	covers, takes bool
	fail          error
	put           []string
}

func (b *beside) Covers(mapping.Fan) bool { return b.covers }

func (b *beside) Put(_ context.Context, f mapping.Fan, version event.Version) (bool, error) {
	b.put = append(b.put, fmt.Sprintf("%s%v@%d", f.Element, f.Links, version.Count()))
	return b.takes, b.fail
}

// TestFanOut leaves more than ten thousand documents of a change to who renders beside the stream, at the version of that change, and
// renders none of them; without one, or when that one does not take it, it renders all.
func TestFanOut(t *testing.T) {
	full := errors.New("the leader is gone")
	for _, c := range []struct {
		name      string
		documents int32
		later     *beside
		rendered  int
		want      string
		err       error
	}{
		{"few", 9_999, &beside{takes: true}, 9_999, "[]", nil},
		{"many", 25_000, &beside{takes: true}, 0, "[c[[7]]@12]", nil},
		{"no room", 25_000, &beside{}, 25_000, "[c[[7]]@12]", nil},
		{"nobody to take it", 25_000, nil, 25_000, "[]", nil},
		{"the same again", 500, &beside{covers: true, takes: true}, 0, "[c[[7]]@12]", nil},
		{"not kept", 25_000, &beside{fail: full}, 0, "[c[[7]]@12]", full},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &server{rows: map[string][]any{}}
			if c.later != nil {
				s.later = c.later
			}
			m, err := mapping.Compile("m", mapping.Config{SQL: "select o.id as _id, c.name as n from orders o left join customer c on c.id = o.customer", Index: "m"}, "shop")
			if err != nil {
				t.Fatal(err)
			}
			r := lookup.New(m.Rule(), orders, s.later, func(context.Context) (lookup.Session, error) { return many{c.documents}, nil })
			seen := make(map[string]int)
			err = r.Render(t.Context(), []event.Row{
				{Table: customer, Op: event.Update, Version: 12, Before: []any{int32(7), "A"}, After: []any{int32(7), "Ann"}},
				{Table: orders, Op: event.Delete, Version: 20, Before: []any{int32(-1), int32(1)}}, // the group's newest
			}, "u:1", func(changes []mapping.Change) error {
				for _, change := range changes {
					if seen[change.ID]++; change.Version != 20 {
						return fmt.Errorf("document %s at %d", change.ID, change.Version)
					}
				}
				return nil
			})
			put := "[]"
			if c.later != nil {
				put = fmt.Sprint(c.later.put)
			}
			if !errors.Is(err, c.err) || put != c.want || err == nil && (len(seen) != c.rendered+1 || seen["-1"] != 1) {
				t.Errorf("%d documents, put %v, %v; want %d, %s", len(seen), put, err, c.rendered, c.want)
			}
		})
	}
}

// TestClearWaitsForNoFanOut renders what a row touches before all documents that are older go: later they would be missing meanwhile.
func TestClearWaitsForNoFanOut(t *testing.T) {
	later := &beside{takes: true}
	m, err := mapping.Compile("m", mapping.Config{SQL: "select o.id as _id, c.name as n from orders o left join customer c on c.id = o.customer", Index: "m"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	r := lookup.New(m.Rule(), orders, later, func(context.Context) (lookup.Session, error) { return many{25_000}, nil })
	var ops []mapping.Op
	err = r.Render(t.Context(), []event.Row{
		{Table: customer, Op: event.Update, Version: 12, Before: []any{int32(7), "A"}, After: []any{int32(7), "Ann"}},
		{Table: orders, Op: event.DeleteAll, Version: 13},
	}, "u:1", func(changes []mapping.Change) error {
		for _, c := range changes {
			ops = append(ops, c.Op)
		}
		return nil
	})
	if err != nil || len(later.put) > 0 || len(ops) != 25_001 || ops[25_000] != mapping.Clear {
		t.Errorf("%d changes, put %v, %v", len(ops), later.put, err)
	}
}

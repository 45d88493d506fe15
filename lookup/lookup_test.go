package lookup_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
)

// server answers a rule's queries with what it holds, once it was waited for.
type server struct {
	waited   string
	fail     error
	rows     map[string][]any // of the documents, by key
	linked   []any            // keys that a joined row leads to
	twice    string           // a key with two rows
	sessions int
	later    lookup.Later
}

func (s *server) Wait(_ context.Context, gtids string) error {
	s.waited = gtids
	return nil
}

func (s *server) Close() error { return nil }

func (s *server) Query(_ context.Context, query string, told func([]event.Column) error, row func([]any) error) error {
	if s.waited == "" {
		return errors.New("nobody has waited for the transactions")
	}
	if err := s.fail; err != nil {
		s.fail = nil
		return err
	}
	if strings.HasPrefix(query, "SELECT DISTINCT") {
		for _, key := range s.linked {
			if err := row([]any{key}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := told([]event.Column{{Name: "n", Type: event.Char, Charset: "utf8mb4"}, {Name: "key id", Type: event.Int}}); err != nil {
		return err
	}
	_, list, _ := strings.Cut(query, "IN (")
	list, _, _ = strings.Cut(list, ")")
	for _, key := range strings.Split(list, ", ") {
		for range map[bool]int{false: 1, true: 2}[key == s.twice] {
			if values, ok := s.rows[key]; ok {
				if err := row(append([]any(nil), values...)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

var (
	orders   = &event.Table{Name: event.TableName{Schema: "shop", Name: "orders"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "customer", Type: event.Int}}, Key: []int{0}}
	customer = &event.Table{Name: event.TableName{Schema: "shop", Name: "customer"}, Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "name", Type: event.Char}}, Key: []int{0}}
)

func newRenderer(t *testing.T, s *server) *lookup.Renderer {
	t.Helper()
	m, err := mapping.Compile("m", mapping.Config{SQL: "select o.id as _id, c.name as n from orders o left join customer c on c.id = o.customer", Index: "m"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return lookup.New(m.Rule(), orders, s.later, func(context.Context) (lookup.Session, error) {
		s.sessions++
		return s, nil
	})
}

// render returns what rows become, one line a change.
func render(t *testing.T, r *lookup.Renderer, gtids string, rows ...event.Row) ([]string, error) {
	t.Helper()
	var out []string
	err := r.Render(t.Context(), rows, gtids, func(changes []mapping.Change) error {
		for _, c := range changes {
			line := fmt.Sprintf("%d %s %s %d", c.Op, c.ID, c.Body, c.Version)
			if c.Err != nil {
				line += " " + c.Err.Error()
			}
			out = append(out, line)
		}
		return nil
	})
	return out, err
}

// TestRender writes the documents that the server gives with the newest ordinal of the rows, and deletes those that it does not give.
func TestRender(t *testing.T) {
	s := &server{rows: map[string][]any{"1": {"Ann", int32(1)}, "3": {nil, int32(3)}}, linked: []any{int32(3)}}
	r := newRenderer(t, s)
	got, err := render(t, r, "u:1",
		event.Row{Table: orders, Op: event.Insert, Version: 10, After: []any{int32(1), int32(7)}},
		event.Row{Table: customer, Op: event.Update, Version: 12, Before: []any{int32(7), "A"}, After: []any{int32(7), "Ann"}})
	if want := `[1 1 {"n":"Ann"} 12 1 3 {"n":null} 12]`; err != nil || s.waited != "u:1" || fmt.Sprint(got) != want && fmt.Sprint(got) != `[1 3 {"n":null} 12 1 1 {"n":"Ann"} 12]` {
		t.Errorf("got %v, %v, waited for %q, want %s", got, err, s.waited, want)
	}
	got, err = render(t, r, "u:2", event.Row{Table: orders, Op: event.Delete, Version: 13, Before: []any{int32(2), nil}})
	if want := "[2 2  13]"; err != nil || fmt.Sprint(got) != want || s.waited != "u:2" || s.sessions != 1 {
		t.Errorf("got %v, %v in %d sessions, want %s", got, err, s.sessions, want)
	}
	s.twice = "1"
	got, err = render(t, r, "u:3", event.Row{Table: orders, Op: event.Insert, Version: 14, After: []any{int32(1), nil}})
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "the SQL gives 2 rows for this document") {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestRenderClears renders what was before a TRUNCATE, clears, and renders what follows with its own ordinal.
func TestRenderClears(t *testing.T) {
	s := &server{rows: map[string][]any{"2": {"B", int32(2)}}}
	got, err := render(t, newRenderer(t, s), "u:1",
		event.Row{Table: orders, Op: event.Insert, Version: 10, After: []any{int32(1), nil}},
		event.Row{Table: orders, Op: event.DeleteAll, Version: 11},
		event.Row{Table: orders, Op: event.Insert, Version: 12, After: []any{int32(2), nil}})
	if want := `[2 1  10 3   11 1 2 {"n":"B"} 12]`; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

// TestRenderOpensAnotherSession does not go on with a session that has failed, and asks nobody before the transactions are known.
func TestRenderOpensAnotherSession(t *testing.T) {
	s := &server{fail: errors.New("connection reset"), rows: map[string][]any{"1": {"A", int32(1)}}}
	r := newRenderer(t, s)
	row := event.Row{Table: orders, Op: event.Insert, Version: 10, After: []any{int32(1), nil}}
	if _, err := render(t, r, "u:1", row); err == nil {
		t.Error("no error")
	}
	if got, err := render(t, r, "u:1", row); err != nil || len(got) != 1 || s.sessions != 2 {
		t.Errorf("got %v, %v in %d sessions", got, err, s.sessions)
	}
	var stop *event.StopError
	if _, err := render(t, r, "", row); !errors.As(err, &stop) || !strings.Contains(stop.Fix, "gtid_mode = ON") {
		t.Errorf("without GTIDs: %v", err)
	}
}

package lookup_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
)

// rows is a table of the server, by key.
type rows struct {
	table     *event.Table
	rows      map[string][]any
	queries   []string
	at        []event.Position
	described int
	fail      error
}

func (s *rows) Describe(context.Context, event.TableName) (*event.Table, error) {
	s.described++
	return s.table, nil
}

var inList = regexp.MustCompile(`IN \((.*)\)`)

func (s *rows) Select(_ context.Context, at event.Position, query string, columns []event.Column, row func([]any) error) error {
	s.queries, s.at = append(s.queries, query), append(s.at, at)
	if err := s.fail; err != nil {
		s.fail = nil
		return err
	}
	for _, key := range strings.Split(inList.FindStringSubmatch(query)[1], ", ") {
		values, ok := s.rows[key]
		if !ok {
			continue
		}
		var out []any
		for _, c := range columns {
			out = append(out, values[s.table.Column(c.Name)])
		}
		if err := row(out); err != nil {
			return err
		}
	}
	return nil
}

var note = &event.Table{Name: event.TableName{Schema: "shop", Name: "note"}, Key: []int{0},
	Columns: []event.Column{{Name: "id", Type: event.Int}, {Name: "n", Type: event.Int}, {Name: "text", Type: event.Char, Charset: "utf8mb4"}}}

func newCompleter(t *testing.T, s *rows, sql string) *lookup.Completer {
	t.Helper()
	m, err := mapping.Compile("m", mapping.Config{SQL: sql, Index: "m"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return lookup.NewCompleter("m", m, s, "server")
}

// complete returns what rows become, one line a change, and into how many parts they came.
func complete(t *testing.T, c *lookup.Completer, gtids string, rows ...event.Row) ([]string, int, error) {
	t.Helper()
	var out []string
	parts := 0
	err := c.Render(t.Context(), rows, gtids, func(changes []mapping.Change) error {
		parts++
		for _, c := range changes {
			out = append(out, fmt.Sprintf("%d %s %s %d", c.Op, c.ID, c.Body, c.Version))
		}
		return nil
	})
	return out, parts, err
}

// short is an update of which the log has the key alone.
func short(id int32, v event.Version) event.Row {
	image := []any{id, event.Absent, event.Absent}
	return event.Row{Table: note, Op: event.Update, Version: v, Partial: true, Before: image, After: image}
}

// TestComplete reads what rows lack once the server shows their transactions, and keeps the order of a document's changes.
func TestComplete(t *testing.T) {
	s := &rows{table: note, rows: map[string][]any{"1": {int32(1), int32(60), "now"}, "2": {int32(2), int32(10), "out"}}}
	c := newCompleter(t, s, "select id as _id, text from note where n > 50")
	full := event.Row{Table: note, Op: event.Update, Version: 11, Before: []any{int32(1), int32(60), "a"}, After: []any{int32(1), int32(60), "b"}}
	got, _, err := complete(t, c, "u:1-4", short(1, 10), full, short(1, 12), short(2, 13), short(3, 14))
	if want := `[1 1 {"text":"now"} 10 1 1 {"text":"b"} 11 1 1 {"text":"now"} 12 2 2  13 2 3  14]`; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	if want := "[SELECT `id`, `n`, `text` FROM `shop`.`note` WHERE `id` IN (1, 2, 3)]"; fmt.Sprint(s.queries) != want || s.at[0].GTIDs != "u:1-4" || s.at[0].ServerUUID != "server" {
		t.Errorf("asked %v at %v, want %s", s.queries, s.at, want)
	}

	if got, _, err := complete(t, c, "u:5", full); err != nil || len(got) != 1 || len(s.queries) != 1 {
		t.Errorf("a whole row: %v, %v, asked %v", got, err, s.queries)
	}
	if _, _, err := complete(t, c, "", short(1, 20)); err != nil || !strings.HasSuffix(s.queries[1], " FOR SHARE") || s.described != 1 {
		t.Errorf("without GTIDs: %v, asked %v, described %d times", err, s.queries, s.described)
	}
	s.fail = errors.New("unknown column")
	if _, _, err := complete(t, c, "u:6", short(1, 21)); err == nil {
		t.Error("no error")
	}
	if _, _, err := complete(t, c, "u:6", short(1, 21)); err != nil || s.described != 2 {
		t.Errorf("after an error: %v, described %d times", err, s.described)
	}
	changed := *note
	again := short(1, 22)
	again.Table = &changed
	if _, _, err := complete(t, c, "u:7", again); err != nil || s.described != 3 {
		t.Errorf("after a change of the table: %v, described %d times", err, s.described)
	}
}

// TestCompleteOfAnotherKey stops by name where the log does not have what the server's table has as its key.
func TestCompleteOfAnotherKey(t *testing.T) {
	for want, key := range map[string]int{"lacks column n, which gives the row": 1, "and extra, by which the rest is looked up": 3} {
		now := *note
		now.Columns = append(now.Columns[:3:3], event.Column{Name: "extra", Type: event.Int})
		now.Key = []int{key}
		c := newCompleter(t, &rows{table: &now}, "select id as _id, text from note")
		_, _, err := complete(t, c, "u:1", short(1, 10))
		var stop *event.StopError
		if !errors.As(err, &stop) || !strings.Contains(stop.Reason, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestCompleteLargeRows reads few rows at once when they are large, and all of them.
func TestCompleteLargeRows(t *testing.T) {
	s := &rows{table: note, rows: map[string][]any{}}
	large := strings.Repeat("x", 3<<20)
	var all []event.Row
	for id := range int32(20) {
		if s.rows[fmt.Sprint(id)] = []any{id, nil, large}; id == 7 {
			delete(s.rows, "7")
		}
		all = append(all, short(id, event.Version(id)+1))
	}
	got, parts, err := complete(t, newCompleter(t, s, "select id as _id, text from note"), "u:1", all...)
	if err != nil || len(got) != 20 || parts < 6 {
		t.Fatalf("%d changes in %d parts, %v", len(got), parts, err)
	}
	for id, line := range got {
		if want := fmt.Sprintf("%d %d ", map[bool]int{false: 1, true: 2}[id == 7], id); !strings.HasPrefix(line, want) {
			t.Errorf("change %d begins with %.10s, want %s", id, line, want)
		}
	}
}

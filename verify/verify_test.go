package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/verify"
)

type rows [][]mapping.Change

func (r rows) Each(_ context.Context, chunk func([]mapping.Change) error) error {
	for _, c := range r {
		if err := chunk(c); err != nil {
			return err
		}
	}
	return nil
}

type index map[string]string

func (x index) Documents(_ context.Context, _ string, of []mapping.Change, each func(int, event.Version, []byte) error) error {
	for i, c := range of {
		var source []byte
		if text, ok := x[c.ID]; ok {
			source = []byte(text)
		}
		if err := each(i, 7, source); err != nil {
			return err
		}
	}
	return nil
}

func (x index) Count(context.Context, mapping.Own) (int, error) { return len(x), nil }

func (x index) List(_ context.Context, _ mapping.Own, page func([]mapping.Change) error) error {
	for id := range x {
		if err := page([]mapping.Change{{ID: id, Version: 7}}); err != nil {
			return err
		}
	}
	return nil
}

func row(id, body string) mapping.Change {
	return mapping.Change{Op: mapping.Write, ID: id, Body: []byte(body)}
}

func check(t *testing.T, r rows, x index, values bool) (verify.Result, string) {
	t.Helper()
	c := &verify.Check{Rows: r, Documents: x, Own: mapping.Own{Index: "i"}, Key: func(c mapping.Change) string { return "id=" + c.ID }, Limit: 3, Values: values}
	calls := 0
	result, err := c.Run(t.Context(), func(verify.Result) { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	if calls != len(r) {
		t.Errorf("progress was told %d times for %d chunks", calls, len(r))
	}
	var lines []string
	for _, d := range result.Differences {
		lines = append(lines, fmt.Sprintf("%s %s %s %d %s %s %s", d.Kind, d.Document, d.Key, d.Version, d.Field, d.Row, d.Doc))
	}
	slices.Sort(lines)
	return result, strings.Join(lines, "\n")
}

func TestEveryKindIsFound(t *testing.T) {
	refused := row("4", "")
	refused.Err = errors.New("no")
	r := rows{{row("1", `{"a":1,"b":"x"}`), row("2", `{"a":2,"b":"y"}`)}, {row("3", `{"a":3}`), refused}}
	for _, c := range []struct {
		name string
		docs index
		rows rows
		want string
	}{
		{"equal", index{"1": `{"a":1,"b":"x"}`, "2": `{"b":"y","a":2.0}`, "3": `{"a":3}`}, rows{r[0], r[1][:1]}, ""},
		{"missing", index{"1": `{"a":1,"b":"x"}`, "3": `{"a":3}`}, rows{r[0], r[1][:1]}, "missing 2 id=2 7   "},
		{"extra", index{"1": `{"a":1,"b":"x"}`, "2": `{"a":2,"b":"y"}`, "9": `{}`}, rows{r[0]}, "extra 9  7   "},
		{"extra instead", index{"1": `{"a":1,"b":"x"}`, "9": `{}`}, rows{r[0]}, "extra 9  7   \nmissing 2 id=2 7   "},
		{"different", index{"1": `{"a":1,"b":"z"}`, "2": `{"a":2}`}, rows{r[0]}, "different 1 id=1 7 b \"x\" \"z\"\ndifferent 2 id=2 7 b \"y\" "},
		{"another field", index{"1": `{"a":1,"b":"x","d":0,"c":null}`, "2": `{"a":2,"b":"y"}`}, rows{r[0]}, "different 1 id=1 7 c  null"},
		{"refused", index{"3": `{"a":3}`}, rows{r[1]}, "refused 4 id=4 0   "},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, got := check(t, c.rows, c.docs, true)
			if got != c.want || result.Equal() != (c.want == "") {
				t.Errorf("%+v\ngot\n%s\nwant\n%s", result, got, c.want)
			}
			if _, silent := check(t, c.rows, c.docs, false); strings.Contains(silent, `"`) {
				t.Errorf("values that nobody asked for: %s", silent)
			}
		})
	}
}

func TestMoreThanTheLimitIsCounted(t *testing.T) {
	var many []mapping.Change
	docs := index{}
	for i := range 10 {
		many = append(many, row(fmt.Sprint(i), `{"a":1}`))
		docs[fmt.Sprint("extra-", i)] = `{}`
	}
	result, _ := check(t, rows{many}, docs, false)
	if result.Missing != 10 || result.Extra != 10 || len(result.Differences) != 3 {
		t.Errorf("%+v", result)
	}
}

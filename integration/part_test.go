//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestLoadOfAPart loads the rows of an etlCondition: of documents of other rows none is written or deleted, those of groups are whole, and
// what a load of all rows is for is refused.
func TestLoadOfAPart(t *testing.T) {
	r := newRig(t, "part", oracle.WorkloadConfig{}, "")
	r.must(r.db.Exec("CREATE TABLE part.sale (id INT PRIMARY KEY, shop INT, n INT, made DATE, KEY (shop))",
		"INSERT INTO part.sale VALUES (1, 1, 10, '2024-01-01'), (2, 1, 20, '2025-01-01'), (3, 2, 30, '2024-06-01'), (4, 3, 40, '2025-06-01'), (5, 2, 50, NULL), (6, 3, 60, '2025-07-01')"))
	const rows, groups = "select s.id as _id, s.n from part.sale s", "select shop as _id, sum(n) as total from part.sale group by shop"
	const condition = "etlCondition = \"where made >= {}\"\ncommitBatch = 2\n"
	r.must(r.node.Configure(r.endpoints() + r.mapping("part_rows", "", rows) + strings.Replace(condition, "made", "s.made", 1) + r.mapping("part_groups", "", groups) + condition +
		r.mapping("part_none", "", rows)))
	for _, index := range []string{"part_rows", "part_groups", "part_none"} {
		t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), index)) })
	}
	r.start()
	holds := func(index string, want ...string) {
		t.Helper()
		r.quiet()
		got := r.documents(t, index, "x")
		slices.Sort(got)
		for i := range want {
			id, body, _ := strings.Cut(want[i], " ")
			want[i] = fmt.Sprintf(`{"_index":"x","_id":%q,"_source":%s}`, id, body)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", index, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for id, n := range map[string]int{"1": -1, "99": -99} { // 99 is of no row
		_, err := r.es.Request(t.Context(), "PUT", "/part_rows/_doc/"+id+"?version_type=external&version=5", map[string]int{"n": n})
		r.must(err)
	}
	r.command(0, "load", "-part", "shop/part_rows", "2025-01-01")
	holds("part_rows", `1 {"n":-1}`, `2 {"n":20}`, `4 {"n":40}`, `6 {"n":60}`, `99 {"n":-99}`)
	r.command(0, "load", "-part", "shop/part_groups", "2025-02-01")
	holds("part_groups", `3 {"total":100}`)
	r.command(0, "load", "-part", "shop/part_groups", "2025-01-01")
	holds("part_groups", `1 {"total":30}`, `3 {"total":100}`)
	r.must(r.db.Exec("UPDATE part.sale SET n = 51 WHERE id = 5", "UPDATE part.sale SET n = 11 WHERE id = 1"))
	holds("part_groups", `1 {"total":31}`, `2 {"total":81}`, `3 {"total":100}`)
	r.command(0, "load", "shop/part_rows")
	holds("part_rows", `1 {"n":11}`, `2 {"n":20}`, `3 {"n":30}`, `4 {"n":40}`, `5 {"n":51}`, `6 {"n":60}`)

	refused := func(args ...string) string {
		t.Helper()
		out, err := r.on.Command(t.Context(), append([]string{"load", "-part"}, args...)...)
		r.must(err)
		if out.Code == 0 {
			t.Errorf("load -part %q was not refused", args)
		}
		return out.Stderr
	}
	for text, args := range map[string][]string{
		"one for each {}, got 0": {"shop/part_rows"}, "one for each {}, got 2": {"shop/part_rows", "1", "2"}, "the mapping has no etlCondition": {"shop/part_none"},
	} {
		if out := refused(args...); !strings.Contains(out, text) {
			t.Errorf("load -part %q: got %s, want %s", args, out, text)
		}
	}
	r.must(r.es.DeleteIndex(t.Context(), "part_rows"))
	r.awaitReport("the index to be missed", func(report status.Report) bool {
		return slices.ContainsFunc(report.Duties, func(d status.Duty) bool { return d.ID == "shop/part_rows" && d.Stage == status.NeedsLoad })
	})
	if out := refused("shop/part_rows", "2025-01-01"); !strings.Contains(out, "changes of any row may have been missed") {
		t.Errorf("a part in place of what was lost: %s", out)
	}
	r.command(0, "load", "shop/part_rows")
	r.must(r.db.Exec("TRUNCATE TABLE part.sale", "INSERT INTO part.sale VALUES (7, 1, 70, '2026-01-01')"))
	r.await("the leader to know that the stream goes on", func() error {
		out, err := r.on.Command(t.Context(), "load", "-part", "shop/part_rows", "2025-01-01")
		if err == nil && out.Code != 0 {
			err = fmt.Errorf("ended with %d: %s", out.Code, out.Stderr)
		}
		return err
	})
	holds("part_rows", `7 {"n":70}`)
	holds("part_groups", `1 {"total":70}`)
}

//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestAnyMapping draws tables, mappings and statements, kills canalgo in between, and wants each document to be the row that MySQL gives
// for its mapping's SQL. What it finds becomes a fixture, or a case of TestRendered.
func TestAnyMapping(t *testing.T) {
	r := newServers(t, "anymapping", oracle.WorkloadConfig{}, "127.0.0.1:0")
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(often(20, 200)), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	features := make(map[string]int)
	runs, rows := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		w := drawWorld(rt, runs)
		n, err := w.play(t.Context(), r)
		if err != nil {
			rt.Fatalf("%v\n%s", err, w)
		}
		rows += n
		for f, n := range w.features {
			features[f] += n
		}
	})
	var counts []string
	for _, f := range slices.Sorted(maps.Keys(features)) {
		counts = append(counts, fmt.Sprintf("%s %d", f, features[f]))
		if *soak && features[f] < 10 {
			t.Errorf("%s was drawn %d times, 10 are wanted", f, features[f])
		}
	}
	play(t, "%d runs, %d rows at rest; %s", runs, rows, strings.Join(counts, ", "))
}

// A world is what is drawn: tables, mappings over them, and statements.
type world struct {
	schema   string
	tables   []drawnTable
	mappings []drawnMapping
	before   []string
	after    [][]string // canalgo is killed between two of these
	features map[string]int
}

type drawnTable struct {
	name      string
	composite bool
	wide      bool // has the columns d, e and at
}

func (w *world) uses(feature string) { w.features[feature]++ }

func drawWorld(t *rapid.T, run int) *world {
	w := &world{schema: fmt.Sprintf("any%d", run), features: make(map[string]int)}
	for i := range rapid.IntRange(1, 4).Draw(t, "tables") {
		w.tables = append(w.tables, drawnTable{name: fmt.Sprintf("t%d", i), composite: rapid.IntRange(0, 3).Draw(t, "key") == 0, wide: rapid.Bool().Draw(t, "wide")})
	}
	for range rapid.IntRange(2, 5).Draw(t, "mappings") {
		w.mappings = append(w.mappings, w.drawMapping(t))
	}
	w.before = w.drawStatements(t, 15)
	for range rapid.IntRange(1, 2).Draw(t, "kills") {
		w.after = append(w.after, w.drawStatements(t, 30))
	}
	return w
}

// String is the world as SQL, for who reads a failure.
func (w *world) String() string {
	var b strings.Builder
	for _, t := range w.tables {
		fmt.Fprintln(&b, t.create(w.schema)+";")
	}
	for _, m := range w.mappings {
		fmt.Fprintln(&b, "-- mapping: "+m.sql+strings.ReplaceAll("\n"+strings.TrimSuffix(m.settings(), "\n"), "\n", "\n-- "))
	}
	fmt.Fprintln(&b, strings.Join(w.before, ";\n")+";\n-- canalgo starts")
	for _, part := range w.after {
		fmt.Fprintln(&b, strings.Join(part, ";\n")+";\n-- canalgo is killed")
	}
	return b.String()
}

func (t drawnTable) create(schema string) string {
	key := "id"
	if t.composite {
		key = "id, k"
	}
	columns := "id INT NOT NULL, k INT NOT NULL DEFAULT 0, up INT, alt INT, n INT, s VARCHAR(20)"
	if t.wide {
		columns += ", d DECIMAL(8,2), e ENUM('x','y','z'), at DATETIME(3)"
	}
	return fmt.Sprintf("CREATE TABLE %s.%s (%s, PRIMARY KEY (%s), KEY (up), KEY (alt))", schema, t.name, columns, key)
}

// play plays it and returns how many rows the mappings gave at the end.
func (w *world) play(ctx context.Context, r *rig) (rows int, err error) {
	statements := []string{"CREATE DATABASE " + w.schema}
	for _, t := range w.tables {
		statements = append(statements, t.create(w.schema))
	}
	if err := r.db.Exec(append(statements, w.before...)...); err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, r.db.Exec("DROP DATABASE "+w.schema))
		for i := range w.mappings {
			err = errors.Join(err, r.es.DeleteIndex(context.Background(), w.index(i)))
		}
	}()
	sections := r.endpoints()
	for i, m := range w.mappings {
		sections += r.mapping(w.index(i), "initial", m.sql) + m.settings()
	}
	for i, m := range w.mappings {
		if m.child {
			err := r.es.CreateIndex(ctx, w.index(i), json.RawMessage(`{"settings":{"number_of_shards":3,"number_of_replicas":0},"mappings":{"dynamic":false,"properties":{"kind":{"type":"join","relations":{"parent":"child"}}}}}`))
			if err != nil {
				return 0, err
			}
		}
	}
	node, err := harness.New(r.t.TempDir(), sections)
	if err != nil {
		return 0, err
	}
	defer func() {
		if node.PID() != 0 {
			err = errors.Join(err, node.Kill())
		}
	}()
	for _, part := range w.after {
		if err := node.Start(); err != nil {
			return 0, err
		}
		if err := r.db.Exec(part...); err != nil {
			return 0, err
		}
		if err := node.Kill(); err != nil {
			return 0, err
		}
	}
	if err := node.Start(); err != nil {
		return 0, err
	}
	return w.compare(ctx, r, node)
}

func (w *world) index(i int) string { return fmt.Sprintf("%s_%d", w.schema, i) }

func (w *world) compare(ctx context.Context, r *rig, node *harness.Node) (rows int, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err = node.Wait(ctx, "the loads", func(report status.Report) bool {
		loads := 0
		for _, d := range report.Duties {
			if d.Load != nil && d.Load.Phase == "done" {
				loads++
			}
		}
		return loads == len(w.mappings)
	})
	if err == nil {
		err = oracle.Quiet(ctx, r.db, node)
	}
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, node.LogTail(40))
	}
	for i, m := range w.mappings {
		pair := oracle.Pair{SQL: m.want(), Index: w.index(i), Objects: m.objects}
		if m.child {
			pair.Join.Field, pair.Join.Name, pair.Join.Parent = "kind", "child", "above"
		}
		result, err := pair.Compare(ctx, r.db, r.es)
		if err == nil {
			err = result.Err()
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", m.sql, err, node.LogTail(40))
		}
		rows += result.Rows
	}
	report, err := node.Status(ctx)
	if err == nil && report.Quarantine > 0 {
		err = fmt.Errorf("%d documents are set aside", report.Quarantine)
	}
	return rows, err
}

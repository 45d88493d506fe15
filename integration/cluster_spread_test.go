//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// newSpread is a cluster of four sources with three mappings each.
func newSpread(t *testing.T) *trio {
	t.Helper()
	c := &trio{rig: newServers(t, "spread", oracle.WorkloadConfig{}, "127.0.0.1:0")}
	_, sections, _ := strings.Cut(c.endpoints(), "[sink.es]")
	sections = "[sink.es]" + sections
	for s := range 4 {
		sections += fmt.Sprintf("\n[source.s%d]\naddr = %q\nuser = %q\npassword = %q\nschema = \"spread\"\n", s, c.mysql.Addr(), component.CanalgoUser, component.CanalgoPassword)
		for m := range 3 {
			name := fmt.Sprintf("spread_%d_%d", s, m)
			c.must(c.db.Exec("CREATE TABLE spread." + name + " (id INT PRIMARY KEY, note TEXT)"))
			c.indices = append(c.indices, name)
			sections += fmt.Sprintf("\n[mapping.%s]\nsource = \"s%d\"\nsink = \"es\"\n_index = %q\nsql = \"select t.id as _id, t.id, t.note from %s t\"\n", name, s, name, name)
		}
	}
	var err error
	c.cluster, err = harness.NewCluster(filepath.Join(t.TempDir(), "canalgo"), 3, sections)
	c.must(err)
	c.watchOver()
	return c
}

// holders is who does each duty, with the assignment's epoch.
func holders(r status.Report) map[string]string {
	out := make(map[string]string)
	for _, d := range r.Duties {
		out[d.ID] = fmt.Sprintf("%s since epoch %d", d.Node, d.Epoch)
	}
	return out
}

// spread is how many duties each node does.
func spread(r status.Report) map[string]int {
	out := make(map[string]int)
	for _, d := range r.Duties {
		out[d.Node]++
	}
	return out
}

// TestSpread gives twelve duties of four sources to three nodes, four each. Nothing moves; a fourth node gets three, and only they
// move.
func TestSpread(t *testing.T) {
	c := newSpread(t)
	c.begin()
	even := func(nodes, each int) func(status.Report) bool {
		return func(r status.Report) bool {
			for _, n := range spread(r) {
				if n != each {
					return false
				}
			}
			return len(spread(r)) == nodes && harness.Whole(r, nodes)
		}
	}
	before := holders(c.awaitReport("four duties on each node", even(3, 4)))
	c.must(c.db.Exec("INSERT INTO spread.spread_0_0 VALUES (1, 'a')"))
	calm := time.Now().Add(10 * time.Second)
	c.await("ten seconds", func() error {
		report, err := c.cluster.Status(context.Background())
		c.must(err)
		for id, now := range holders(report) {
			if now != before[id] {
				t.Fatalf("%s is on %s, was on %s: nothing had changed", id, now, before[id])
			}
		}
		if left := time.Until(calm); left > 0 {
			return fmt.Errorf("%s are left", left)
		}
		return nil
	})

	added, err := c.cluster.Add()
	c.must(err)
	c.must(added.Start())
	began := time.Now()
	report := c.awaitReport("three duties on each node", even(4, 3))
	took := time.Since(began)
	if took > 5*time.Second {
		t.Errorf("the new node had its duties after %s", took)
	}
	play(t, "twelve duties of four sources on three nodes, nothing moved by itself, a fourth node had its share after %s", took.Round(time.Millisecond))
	for id, now := range holders(report) {
		if now != before[id] && !strings.HasPrefix(now, added.Name+" ") {
			t.Errorf("%s is on %s, was on %s: only what the new node gets may move", id, now, before[id])
		}
	}
	for _, index := range c.indices {
		c.must(c.db.Exec("INSERT INTO spread." + index + " VALUES (2, 'b')"))
	}
	c.quiet()
	for _, index := range c.indices {
		sql := "select t.id as _id, t.id, t.note from spread." + index + " t"
		result, err := oracle.Pair{SQL: sql, Index: index}.Compare(t.Context(), c.db, c.es)
		c.must(err)
		if err := result.Err(); err != nil || result.Rows == 0 {
			t.Errorf("%s: %d rows, %v", index, result.Rows, err)
		}
	}
}

// TestCommandsAtAFollower gives every command to a node that does not lead and does not do the duty.
func TestCommandsAtAFollower(t *testing.T) {
	c := newTrio(t, "follower", oracle.WorkloadConfig{}, 1)
	c.must(c.work.Fill(t.Context(), 100))
	c.must(c.db.Exec("CREATE TABLE follower.item (id INT PRIMARY KEY, n INT)"))
	c.indices = append(c.indices, "follower_item")
	c.must(c.es.CreateIndex(t.Context(), "follower_item", map[string]any{"mappings": map[string]any{"properties": map[string]any{
		"id": map[string]any{"type": "long"}, "n": map[string]any{"type": "byte"}}}}))
	c.begin()
	f := c.neither(c.leader(), c.holder())
	if f == c.leader() || f == c.holder() {
		t.Fatal("there is no node without a task")
	}

	if text := c.at(f, 0, "status"); !strings.Contains(text, c.holder().Name) || !strings.Contains(text, c.leader().Name) {
		t.Errorf("status prints\n%s", text)
	}
	c.at(f, 0, "load", "shop/follower")
	c.awaitReport("the load's end", loaded)
	c.equal()

	c.at(f, 0, "pause", "source", "shop")
	c.awaitReport("a source that is paused", func(r status.Report) bool { return r.Sources[0].State == status.SourcePaused })
	c.must(c.db.Exec("UPDATE follower.acc SET ver = ver + 1, note = 'paused' WHERE id = 7"))
	c.at(f, 0, "resume", "source", "shop")
	c.equal()

	file := c.cluster.Nodes[0]
	c.must(file.Configure(fmt.Sprintf("[cluster]\ntoken = %q\n\n", harness.ClusterToken) + c.sections("") +
		c.mapping("follower_item", "", "select i.id as _id, i.id, i.n from item i")))
	c.at(f, 0, "diff", file.Config())
	if text := c.at(f, 0, "apply", file.Config()); !strings.Contains(text, "follower_item") {
		t.Errorf("apply prints\n%s", text)
	}
	c.awaitReport("the new mapping's stream", func(r status.Report) bool {
		d, ok := r.Duty("shop/follower_item")
		return ok && d.Position != "" && d.Stage != status.Waiting
	})

	c.must(c.db.Exec("INSERT INTO follower.item VALUES (1, 1), (2, 1000), (3, 3000)"))
	c.awaitReport("documents that are set aside", func(r status.Report) bool { return r.Quarantine == 2 })
	if text := c.at(f, 0, "quarantine", "ls"); !strings.Contains(text, "id=2") || !strings.Contains(text, "id=3") {
		t.Errorf("quarantine ls prints\n%s", text)
	}
	if _, err := c.es.Request(t.Context(), http.MethodPut, "/follower_item/_mapping", map[string]any{"properties": map[string]any{
		"n": map[string]any{"type": "byte", "ignore_malformed": true}}}); err != nil {
		t.Fatal(err)
	}
	c.at(f, 0, "quarantine", "retry", "all")
	c.awaitReport("nothing set aside", func(r status.Report) bool { return r.Quarantine == 0 && r.Healthy })
	result, err := oracle.Pair{SQL: "select i.id as _id, i.id, i.n from follower.item i", Index: "follower_item"}.Compare(t.Context(), c.db, c.es)
	c.must(err)
	if err := result.Err(); err != nil {
		t.Error(err)
	}
	c.at(f, 0, "rewind", "shop", "current")
	c.must(c.work.Fill(t.Context(), 50))
	c.equal()
}

//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"canalgo/integration/oracle"
)

// TestChildrenAreWhereTheirParentsAre: what is set aside, swept, verified and written again goes to the shard of its parent, and touches no
// document of another mapping of the index.
func TestChildrenAreWhereTheirParentsAre(t *testing.T) {
	r := newRig(t, "family", oracle.WorkloadConfig{}, "")
	ctx := t.Context()
	r.must(r.es.CreateIndex(ctx, "family_members", json.RawMessage(`{"settings":{"number_of_shards":4,"number_of_replicas":0},"mappings":{"dynamic":"strict",
		"properties":{"n":{"type":"byte"},"up":{"type":"integer"},"kind":{"type":"join","relations":{"parent":"child"}}}}}`)))
	t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), "family_members")) })
	r.must(r.db.Exec("CREATE TABLE family.parent (id INT PRIMARY KEY, n INT)", "CREATE TABLE family.child (id INT PRIMARY KEY, up INT, n INT)",
		"INSERT INTO family.parent VALUES (1, 1), (2, 2), (3, 3), (4, 4)", "INSERT INTO family.child VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 400), (5, NULL, 5)"))
	const parents, children = "select p.id as _id, p.n from family.parent p", "select concat('c', c.id) as _id, c.up, c.n from family.child c"
	of := func(name, sql, relation string) string {
		return strings.Replace(r.mapping(name, "initial", sql), `_index = "`+name+`"`, `_index = "family_members"`, 1) + "relations.kind = " + relation + "\n"
	}
	put := func(id, routing, kind string) {
		t.Helper()
		_, err := r.es.Request(ctx, "PUT", "/family_members/_doc/"+id+"?version_type=external&version=5&routing="+routing, json.RawMessage(`{"n":9,"kind":`+kind+`}`))
		r.must(err)
	}
	put("c77", "3", `{"name":"child","parent":"3"}`) // of no row
	put("c1", "4", `{"name":"child","parent":"4"}`)  // where its row is not
	put("99", "99", `"parent"`)
	r.must(r.node.Configure(r.endpoints() + of("family_parent", parents, `{ name = "parent" }`) + of("family_child", children, `{ name = "child", parent = "up" }`)))
	r.start()
	r.command(0, "load", "shop/family_parent")
	r.command(0, "load", "shop/family_child")
	equal := func(aside int) {
		t.Helper()
		r.quiet()
		report, err := r.on.Status(ctx)
		r.must(err)
		if report.Quarantine != aside {
			t.Errorf("%d documents are set aside, want %d: %s", report.Quarantine, aside, r.command(0, "quarantine", "ls"))
		}
		pair := oracle.Pair{SQL: parents, Index: "family_members"}
		pair.Join.Field, pair.Join.Name = "kind", "parent"
		result, err := pair.Compare(ctx, r.db, r.es)
		r.must(err)
		if err := result.Err(); err != nil {
			t.Error(err)
		}
		pair.SQL, pair.Join.Name, pair.Join.Parent = children+" where c.up is not null and c.n < 128", "child", "up"
		result, err = pair.Compare(ctx, r.db, r.es)
		r.must(err)
		if err := result.Err(); err != nil {
			t.Error(err)
		}
	}
	equal(2) // a number that is no byte, and a child without a parent

	// Set aside while they move: nothing stays where they were. Of the parents only 4 is on another shard than 1, 2 and 3.
	r.must(r.db.Exec("UPDATE family.child SET up = 4, n = 500 WHERE id = 1", "UPDATE family.child SET up = NULL WHERE id = 2", "UPDATE family.child SET up = 1 WHERE id = 4"))
	equal(4)
	r.must(r.db.Exec("UPDATE family.child SET n = 7 WHERE id IN (1, 4)", "UPDATE family.child SET up = 4 WHERE id = 2", "DELETE FROM family.child WHERE id = 5"))
	equal(0) // the row of the child without a parent is gone, too

	// Written again from the row as it is now, where the parent is now.
	r.must(r.db.Exec("UPDATE family.child SET n = 500, up = 3 WHERE id = 2"))
	equal(1)
	_, err := r.es.Request(ctx, "PUT", "/family_members/_mapping", json.RawMessage(`{"properties":{"n":{"type":"byte","ignore_malformed":true}}}`))
	r.must(err)
	r.command(0, "quarantine", "retry", "all")
	r.must(r.db.Exec("UPDATE family.child SET n = 8 WHERE id = 2"))
	equal(0)
	put("c66", "2", `{"name":"child","parent":"2"}`)
	r.command(0, "verify", "shop/family_parent")
	if out := r.command(1, "verify", "shop/family_child"); !strings.Contains(out, "c66") {
		t.Errorf("verify does not see a document of no row: %s", out)
	}
	r.command(0, "load", "shop/family_child")
	equal(0)
	r.command(0, "verify", "shop/family_child")

	r.must(r.db.Exec("TRUNCATE TABLE family.child", "INSERT INTO family.child VALUES (1, 4, 1)"))
	equal(0)
}

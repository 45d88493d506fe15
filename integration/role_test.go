//go:build integration

package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
)

// TestRoleOfTheManualIsEnough does everything that canalgo asks of Elasticsearch as a user who has the role of docs/operations.md and no other.
func TestRoleOfTheManualIsEnough(t *testing.T) {
	r := newRig(t, "role", oracle.WorkloadConfig{}, "")
	ctx := t.Context()
	manual, err := os.ReadFile("../docs/operations.md")
	r.must(err)
	found := regexp.MustCompile(`(?s)PUT _security/role/canalgo\n(\{.*?\})\n` + "```").FindSubmatch(manual)
	if found == nil {
		t.Fatal("docs/operations.md has no role")
	}
	role := strings.Replace(string(found[1]), `["users", "orders"]`, `["role", "role_there"]`, 1)
	const user = "limited"
	es, err := component.StartElasticsearch(ctx, t.TempDir(), component.ElasticsearchOptions{User: user, Password: component.ElasticPassword, Role: role, Heap: "512m"})
	r.must(err)
	t.Cleanup(func() { r.must(es.Stop()) })
	r.must(es.CreateIndex(ctx, "role_there", json.RawMessage(`{"settings":{"number_of_replicas":0},"mappings":{"dynamic":"strict",
		"properties":{"n":{"type":"byte"},"kind":{"type":"join","relations":{"parent":"child"}}}}}`)))
	r.must(r.db.Exec("CREATE TABLE role.parent (id INT PRIMARY KEY, n INT)", "INSERT INTO role.parent VALUES (1, 1), (2, 2), (3, 300)"))
	r.must(r.work.Fill(ctx, 50))
	there := strings.Replace(r.mapping("role_parent", "initial", "select p.id as _id, p.n from role.parent p"), `_index = "role_parent"`, `_index = "role_there"`, 1)
	destination := fmt.Sprintf("[sink.es]\ntype = \"elasticsearch\"\naddresses = [%q]\nuser = %q\npassword = %q\nreplicas = 0\n", es.URL(), user, component.ElasticPassword)
	r.must(r.node.Configure(r.source("shop", "role") + destination + r.mapping("role", "initial", r.work.SQL()) + there + "relations.kind = { name = \"parent\" }\n"))

	r.command(0, "check", r.node.Config())
	r.start()
	r.must(r.work.Fill(ctx, 50))
	r.quiet()
	r.command(0, "check", r.node.Config())
	r.must(r.db.Exec("DELETE FROM role.parent WHERE id = 1", "UPDATE role.parent SET n = 3 WHERE id = 2"))
	r.quiet()
	r.command(4, "quarantine", "retry", "all")
	r.must(r.db.Exec("UPDATE role.parent SET n = 4 WHERE id = 3"))
	for _, mapping := range []string{"shop/role", "shop/role_parent"} {
		r.command(0, "load", mapping)
		r.quiet()
		r.command(0, "verify", mapping)
	}
	r.must(r.db.Exec("TRUNCATE TABLE role.parent"))
	r.quiet()
	r.command(0, "verify", "shop/role_parent")
}

package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"canalgo/cluster"
	"canalgo/config"
)

const canary = "c4n4ry-hunter2"

// good is a file without mistakes.
const good = `
[node]
data = "data"

[source.shop]
addr = "127.0.0.1:3306"
server_id = 77
user = "canal"
password = "` + canary + `"

[sink.es]
type = "elasticsearch"
addresses = ["http://127.0.0.1:9200"]

[mapping.orders]
source = "shop"
sink = "es"
_index = "orders"
sql = """
select o.id as _id, o.name
from shop.orders o"""
`

func parse(t *testing.T, text string) (config.File, []string) {
	t.Helper()
	file, err := config.Parse("c.toml", []byte(text))
	if err == nil {
		return file, nil
	}
	var mistakes *config.Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("got %T: %v", err, err)
	}
	return file, strings.Split(err.Error(), "\n")
}

func TestGoodFile(t *testing.T) {
	for name, text := range map[string]string{
		"as it is": good, "CRLF": strings.ReplaceAll(good, "\n", "\r\n"), "byte order mark": "\ufeff" + good,
	} {
		file, mistakes := parse(t, text)
		if len(mistakes) > 0 {
			t.Fatalf("%s: %q", name, mistakes)
		}
		if got := file.Sources["shop"].Password.Reveal(); got != canary {
			t.Errorf("%s: password %q", name, got)
		}
		if file.Node.Data != "data" || file.Node.HTTP != config.DefaultHTTP {
			t.Errorf("%s: node %+v", name, file.Node)
		}
		if m := file.Mappings["orders"]; m.Source != "shop" || m.Sink != "es" || m.Index != "orders" || !strings.HasPrefix(m.SQL, "select o.id") {
			t.Errorf("%s: mapping %+v", name, m)
		}
		if file.Sinks["es"].Type != "elasticsearch" {
			t.Errorf("%s: sink %+v", name, file.Sinks["es"])
		}
	}
}

func TestNothingInTheFile(t *testing.T) {
	for text, want := range map[string][]string{
		"":         {"c.toml: the file is empty; config.example.toml shows what it could hold"},
		"# none\n": {"c.toml: the file is empty; config.example.toml shows what it could hold"},
		"[node]\n": {"c.toml: mapping: there is no section [mapping.NAME]; it says", "c.toml: sink: there is no section [sink.NAME]; it says",
			"c.toml: source: there is no section [source.NAME]; it says"},
		"a\xff=1": {"c.toml:1: not UTF-8 at byte 1; save the file as UTF-8"},
	} {
		_, got := parse(t, text)
		if len(got) != len(want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q: got %q, want %q", text, got[i], want[i])
			}
		}
	}
}

func TestLoadFile(t *testing.T) {
	folder := t.TempDir()
	if _, err := config.Load(folder); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := config.Load(filepath.Join(folder, "none.toml")); err == nil || !strings.Contains(err.Error(), "none.toml: no such file") {
		t.Errorf("no file: %v", err)
	}
	name := filepath.Join(folder, "c.toml")
	if err := os.WriteFile(name, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if file, err := config.Load(name); err != nil || len(file.Sources) != 1 {
		t.Errorf("a good file: %v", err)
	}
	if err := os.WriteFile(name, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(name); err == nil || !strings.Contains(err.Error(), "larger than 512 KiB") {
		t.Errorf("a large file: %v", err)
	}
}

func TestReplicatedAndBack(t *testing.T) {
	key := []byte("cluster secret")
	want, mistakes := parse(t, good)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	replicated, err := want.ToCluster(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(replicated)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(canary)) {
		t.Errorf("a secret is replicated in the clear: %s", data)
	}
	if !bytes.Contains(data, []byte(`"***"`)) {
		t.Errorf("no mask in %s", data)
	}
	got, err := config.FromCluster(key, replicated)
	if err != nil {
		t.Fatal(err)
	}
	want.Node = config.DefaultNode()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if _, err := config.FromCluster([]byte("another"), replicated); err == nil || !strings.Contains(err.Error(), "source.shop: password: ") {
		t.Errorf("another key: %v", err)
	}
}

// A file that is applied again has other sealed bytes for the same secrets; what means the same keeps its bytes.
func TestKeep(t *testing.T) {
	key := []byte("cluster secret")
	sealed := func(text string) cluster.Config {
		file, mistakes := parse(t, text)
		if len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		c, err := file.ToCluster(key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	now := sealed(good)
	again := sealed(good)
	if reflect.DeepEqual(now.Sources, again.Sources) {
		t.Fatal("sealed alike twice: the test shows nothing")
	}
	if kept, err := config.Keep(key, now, again); err != nil || !reflect.DeepEqual(kept, now) {
		t.Errorf("the same file again: %+v, %v", kept, err)
	}
	changed, err := config.Keep(key, now, sealed(strings.Replace(good, "o.name", "o.name, o.price", 1)))
	if err != nil || !reflect.DeepEqual(changed.Sources, now.Sources) || reflect.DeepEqual(changed.Mappings, now.Mappings) {
		t.Errorf("another rule: %+v, %v", changed, err)
	}
	secret, err := config.Keep(key, now, sealed(strings.Replace(good, canary, "another", 1)))
	if err != nil || reflect.DeepEqual(secret.Sources, now.Sources) || !reflect.DeepEqual(secret.Mappings, now.Mappings) {
		t.Errorf("another password: %+v, %v", secret, err)
	}
}

func TestDiff(t *testing.T) {
	key := []byte("cluster secret")
	was := func(text string) (c config.File) {
		file, mistakes := parse(t, text)
		if len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		return file
	}
	before := was(good)
	extra := "\n[source.more]\naddr=\"h:1\"\nuser=\"u\"\n"
	cases := []struct {
		name, old, new string
		want           []string
	}{
		{"nothing", "", "", nil},
		{"a comment", "[node]", "# comment\n[node]", nil},
		{"a secret", canary, "another", []string{"source.shop.password: changed"}},
		{"a number", "77", "78", []string{"source.shop.server_id: 77 becomes 78"}},
		{"a list", `["http://127.0.0.1:9200"]`, `["http://b:9200", "http://c:9200"]`,
			[]string{`sink.es.addresses: ["http://127.0.0.1:9200"] becomes ["http://b:9200", "http://c:9200"]`}},
		{"SQL", "o.name", "o.name, o.price", []string{`mapping.orders.sql: "select o.id as _id, o.name from shop.orders o" becomes "select o.id as _id, o.name, o.price from shop.orders o"`}},
		{"white space", "o.name", " o.name", []string{`mapping.orders.sql: white space changes`}},
		{"a load", `sink = "es"`, "sink = \"es\"\nload=\"initial\"", []string{`mapping.orders.load: "" becomes "initial"`}},
		{"a section more", "[sink.es]", extra + "[sink.es]", []string{"source.more: added"}},
	}
	for _, c := range cases {
		a, err := before.ToCluster(key)
		if err != nil {
			t.Fatal(err)
		}
		b, err := was(strings.Replace(good, c.old, c.new, 1)).ToCluster(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := config.Diff(key, a, b)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %q, %v\nwant %q", c.name, got, err, c.want)
		}
	}
	a, _ := before.ToCluster(key)
	b, _ := was(strings.Replace(good, "[sink.es]", extra+"[sink.es]", 1)).ToCluster(key)
	if got, err := config.Diff(key, b, a); err != nil || !reflect.DeepEqual(got, []string{"source.more: removed"}) {
		t.Errorf("removed: got %q, %v", got, err)
	}
}

// TestMappingsOfOneDocument: mappings with upsert of one place are one mapping, also when they are replicated.
func TestMappingsOfOneDocument(t *testing.T) {
	mapping := func(name, index, sql, more string) string {
		return "\n[mapping." + name + "]\nsource = \"shop\"\nsink = \"es\"\n_index = \"" + index + "\"\nsql = \"" + sql + "\"\n" + more
	}
	file, mistakes := parse(t, good+
		mapping("user", "people", "select u.id as _id, u.name from shop.user u", "upsert = true\nskips = [\"name\"]\n")+
		mapping("address", "people", "select a.user_id as _id, a.city from shop.address a", "upsert = true\nobjFields.city = \"array:,\"\n")+
		mapping("phone", "people", "select p.user_id as _id, p.number from shop.phone p", "upsert = true\ncommitBatch = 7\n")+
		mapping("alone", "alone", "select a.id as _id, a.n from shop.alone a", "upsert = true\n"))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	m := file.Mappings["address"]
	want := map[string]string{"user": "select u.id as _id, u.name from shop.user u", "phone": "select p.user_id as _id, p.number from shop.phone p"}
	if len(file.Mappings) != 3 || !reflect.DeepEqual(m.Parts, want) || !reflect.DeepEqual(m.Skips, []string{"name"}) || m.ObjFields["city"] != "array:," || m.CommitBatch != 7 {
		t.Errorf("mappings %+v", file.Mappings)
	}
	if len(file.Warnings) != 1 || !strings.HasSuffix(file.Warnings[0], "mapping.address.upsert: its documents are written whole, with those of phone, user: one mapping, which commands and status call address") {
		t.Errorf("warnings %q", file.Warnings)
	}
	key := []byte("cluster secret")
	replicated, err := file.ToCluster(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := config.FromCluster(key, replicated); err != nil || !reflect.DeepEqual(got.Mappings, file.Mappings) {
		t.Errorf("replicated %+v, %v", got.Mappings, err)
	}
	first := mapping("address", "people", "select a.user_id as _id, a.city from shop.address a", "upsert = true\non_new_column = \"pause\"\n")
	for said, wrong := range map[string]bool{"": false, "on_new_column = \"pause\"\n": false, "on_new_column = \"add\"\n": true} {
		_, mistakes := parse(t, good+first+mapping("user", "people", "select u.id as _id, u.name from shop.user u", "upsert = true\n"+said))
		if !wrong && len(mistakes) > 0 || wrong && (len(mistakes) != 1 || !strings.Contains(mistakes[0], "mapping.user.on_new_column: \"add\", which mapping.address")) {
			t.Errorf("%q: %q", said, mistakes)
		}
	}
	_, mistakes = parse(t, good+mapping("guest", "guests", "select g.id as _id, g.name from shop.guest g", "upsert = true\nparts.room = \"select b.id as _id, b.n from shop.bed b\"\n")+
		mapping("room", "guests", "select r.id as _id, r.number from shop.room r", "upsert = true\n"))
	if len(mistakes) != 1 || !strings.Contains(mistakes[0], "mapping.room: mapping.guest of the same documents (upsert) has parts.room already; give one of the two another name") {
		t.Errorf("two parts of one name: %q", mistakes)
	}
}

// TestSourcesAlone: a file whose sources only canal's clients read is whole, and so is what it becomes in the cluster, which does not know of
// [canal_server]. Without that section the file lacks two kinds.
func TestSourcesAlone(t *testing.T) {
	alone := good[:strings.Index(good, "[sink.")]
	if _, mistakes := parse(t, alone); len(mistakes) != 2 {
		t.Errorf("without [canal_server]: %q", mistakes)
	}
	file, mistakes := parse(t, alone+"[canal_server]\nlisten = \":11111\"\n")
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	key := []byte("cluster secret")
	replicated, err := file.ToCluster(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.FromCluster(key, replicated)
	if err == nil {
		err = got.Validate()
	}
	if err != nil || len(got.Sources) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	got.Sources = nil
	if err := got.Validate(); err == nil || !strings.Contains(err.Error(), "[source.NAME]") {
		t.Errorf("nothing at all: %v", err)
	}
}

// replicated returns what a file becomes in the replicated state, from which its mappings come back as they were.
func replicated(t *testing.T, key []byte, text string) cluster.Config {
	t.Helper()
	file, mistakes := parse(t, text)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	c, err := file.ToCluster(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.FromCluster(key, c)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Mappings, file.Mappings) {
		t.Errorf("replicated %+v, want %+v", got.Mappings, file.Mappings)
	}
	return c
}

// TestObjFieldsOfAMapping: texts whose names the user gives are read, replicated and compared as all keys are.
func TestObjFieldsOfAMapping(t *testing.T) {
	key := []byte("cluster secret")
	with := func(more string) cluster.Config { t.Helper(); return replicated(t, key, good+more) }
	none, one, other := with(""), with("\n[mapping.orders.objFields]\nname = \"object\"\n"), with("objFields.name = \"array:;\"\n")
	for _, key := range []string{"objFields", "relations", "parts", "upsert", "etlCondition", "commitBatch"} {
		if bytes.Contains(none.Mappings["orders"].Spec.Settings, []byte(key)) {
			t.Errorf("%s, which is not set, is replicated: %s", key, none.Mappings["orders"].Spec.Settings)
		}
	}
	for _, c := range []struct {
		a, b cluster.Config
		want []string
	}{
		{none, one, []string{`mapping.orders.objFields.name: "" becomes "object"`}},
		{one, other, []string{`mapping.orders.objFields.name: "object" becomes "array:;"`}},
		{other, other, nil},
	} {
		if got, err := config.Diff(key, c.a, c.b); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %q, %v\nwant %q", got, err, c.want)
		}
	}
}

// TestFieldsOfAMapping: groups whose names the user gives are read, replicated and compared as all keys are.
func TestFieldsOfAMapping(t *testing.T) {
	key := []byte("cluster secret")
	with := func(more string) cluster.Config { t.Helper(); return replicated(t, key, good+more) }
	none, one, two := with(""), with("\n[mapping.orders.fields.name]\non_invalid = \"clip\"\n"), with("\n[mapping.orders.fields]\nname = { on_invalid = \"null\", type = \"keyword\" }\n")
	if bytes.Contains(none.Mappings["orders"].Spec.Settings, []byte("fields")) {
		t.Errorf("settings of no fields are replicated: %s", none.Mappings["orders"].Spec.Settings)
	}
	for _, c := range []struct {
		a, b cluster.Config
		want []string
	}{
		{none, one, []string{`mapping.orders.fields.name.on_invalid: "" becomes "clip"`}},
		{one, none, []string{`mapping.orders.fields.name.on_invalid: "clip" becomes ""`}},
		{one, two, []string{`mapping.orders.fields.name.type: "" becomes "keyword"`, `mapping.orders.fields.name.on_invalid: "clip" becomes "null"`}},
		{two, two, nil},
	} {
		if got, err := config.Diff(key, c.a, c.b); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %q, %v\nwant %q", got, err, c.want)
		}
	}
	for more, want := range map[string]string{
		"\n[mapping.orders.fields.name]\nx = 1": `c.toml:24:5: mapping.orders.fields.name.x: unknown key; known are`,
	} {
		if _, mistakes := parse(t, good+more); len(mistakes) != 1 || !strings.HasPrefix(mistakes[0], want) {
			t.Errorf("%q: got %q, want %s", more, mistakes, want)
		}
	}
	if _, mistakes := parse(t, strings.Replace(good, `sink = "es"`, `sink = "es"`+"\nfields = 1", 1)); len(mistakes) != 1 ||
		!strings.Contains(mistakes[0], "mapping.orders.fields: want a group of keys for each name, for example fields.NAME.type = ") {
		t.Errorf("got %q", mistakes)
	}
}

package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// TestMistakes replaces a part of the good file and expects exactly these lines.
func TestMistakes(t *testing.T) {
	cases := []struct {
		name, old, new string
		want           []string
	}{
		{"unknown key", "user =", "usre =", []string{`c.toml:8: source.shop.usre: unknown key; did you mean "user"?`,
			`c.toml:5: source.shop.user: must be given`}},
		{"unknown section", "[node]", "[nod]", []string{`c.toml:2: nod: unknown section; did you mean "node"?`}},
		{"wrong type", "server_id = 77", `server_id = "77"`, []string{`c.toml:7: source.shop.server_id: want a number from 0 to 4294967295, got the text "77"`}},
		{"overflow", "server_id = 77", `server_id = 7000000000`, []string{`c.toml:7: source.shop.server_id: want a number from 0 to 4294967295, got 7000000000`}},
		{"secret of a wrong type", `"` + canary + `"`, "12345", []string{`c.toml:9: source.shop.password: want a text in quotes, got a number`}},
		{"list of a wrong type", `["http://127.0.0.1:9200"]`, `"x"`, []string{`c.toml:13: sink.es.addresses: want a list, for example ["a", "b"], got the text "x"`}},
		{"syntax", "server_id = 77", "server_id: 77", []string{`c.toml:7:10: expected '.' or '=', but got ':' instead`}},
		{"syntax beside a secret", `password = "` + canary + `"`, "password = 99999999999999999999", []string{`c.toml:9:12: not TOML; write the value as text in quotes`}},
		{"two sinks of one name", "[mapping.orders]", "[sink.es]\ntype=\"logger\"\n[mapping.orders]",
			[]string{`c.toml:15: sink.es: stands there twice, first in line 11; choose another name`}},
		{"unset variable", `"` + canary + `"`, `"${CANALGO_TEST_UNSET}"`, []string{`c.toml:9: source.shop.password: environment variable CANALGO_TEST_UNSET is not set`}},
		{"unknown sink", `sink = "es"`, `sink = "ess"`, []string{`c.toml:17: mapping.orders.sink: there is no section [sink.ess]; did you mean "es"?`}},
		{"unknown source", `source = "shop"`, `source = "warehouse"`, []string{`c.toml:16: mapping.orders.source: there is no section [source.warehouse]; known are shop`}},
		{"source of a wrong type", `source = "shop"`, `source = 7`, []string{`c.toml:16: mapping.orders.source: want a text in quotes, got 7`}},
		{"no source named", "source = \"shop\"\n", "", []string{`c.toml:15: mapping.orders.source: missing; known are shop`}},
		{"sink without type", "type = \"elasticsearch\"\n", "", []string{`c.toml:11: sink.es.type: missing; known are elasticsearch, logger`}},
		{"unknown type", `"elasticsearch"`, `"elastic"`, []string{`c.toml:12: sink.es.type: "elastic" is unknown; known are elasticsearch, logger`}},
		{"no name", "[source.shop]", "[source]", []string{
			`c.toml:6: source.addr: give the section a name: [source.NAME]`, `c.toml:7: source.server_id: give the section a name: [source.NAME]`,
			`c.toml:8: source.user: give the section a name: [source.NAME]`, `c.toml:9: source.password: give the section a name: [source.NAME]`,
			`c.toml:16: mapping.orders.source: there is no section [source.shop]`}},
		{"bad name", "[source.shop]", `[source."../shop"]`, []string{`c.toml:5: source."../shop": a name consists of at most 64 of the characters a-z`,
			`c.toml:16: mapping.orders.source: there is no section [source.shop]`}},
		{"index", `_index = "orders"`, `_index = "Orders"`, []string{`c.toml:18: mapping.orders._index: "Orders" has upper-case letters, which Elasticsearch refuses; write "orders"`}},
		{"load", `sink = "es"`, `sink = "es"` + "\n" + `load = "always"`,
			[]string{`c.toml:18: mapping.orders.load: want "initial", or "" to load no existing rows by itself, got "always"`}},
		{"SQL", "from shop.orders", "form shop.orders", []string{`c.toml:21:`}},
		{"SQL in one line", "\"\"\"\nselect o.id as _id, o.name\nfrom shop.orders o\"\"\"", `"select o.id as _id form shop.orders o"`,
			[]string{`c.toml:19:27: mapping.orders.sql: near `}},
		{"http", "[node]", "[node]\nhttp = \"8111\"", []string{`c.toml:3: node.http: want host:port, for example "127.0.0.1:8111", got "8111"`}},
		{"log level", "[node]", "[node]\nlog_level = \"inf\"", []string{`c.toml:3: node.log_level: "inf" is unknown; did you mean "info"?`}},
		{"the same document", "[mapping.orders]", "[mapping.other]\nsource=\"shop\"\nsink=\"es\"\n_index=\"orders\"\nsql=\"select id as _id from s.x\"\n\n[mapping.orders]",
			[]string{`c.toml:18: mapping.other._index: the mapping "orders" writes the index "orders" of the same destination too; give each its own`}},
		{"the same document by another sink", "[mapping.orders]", "[sink.again]\ntype=\"elasticsearch\"\naddresses=[\"http://127.0.0.1:9200/\"]\n" +
			"[mapping.other]\nsource=\"shop\"\nsink=\"again\"\n_index=\"orders\"\nsql=\"select id as _id from s.x\"\n\n[mapping.orders]",
			[]string{`c.toml:21: mapping.other._index: the mapping "orders" writes the index "orders" of the same destination too; give each its own`}},
	}
	for _, c := range cases {
		if strings.Count(good, c.old) < 1 {
			t.Fatalf("%s: the good file does not contain %q", c.name, c.old)
		}
		_, got := parse(t, strings.Replace(good, c.old, c.new, 1))
		for i := range max(len(got), len(c.want)) {
			switch {
			case i >= len(got):
				t.Errorf("%s: missing line\n%s", c.name, c.want[i])
			case strings.Contains(got[i], canary):
				t.Errorf("%s: a secret is shown: %s", c.name, got[i])
			case i >= len(c.want):
				t.Errorf("%s: unexpected line\n%s", c.name, got[i])
			case !contains(got, c.want[i]):
				t.Errorf("%s: got\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), c.want[i])
			}
		}
	}
}

func contains(lines []string, prefix string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, got := parse(t, `
[source.shop]
adr = "a"
server_id = -1
[sink.es]
typ = "elasticsearch"
[mapping.orders]
source = "shpo"
`)
	lines := strings.Join(got, "\n")
	for _, want := range []string{"c.toml:3: source.shop.adr", "c.toml:4: source.shop.server_id", "c.toml:5: sink.es.type",
		"c.toml:8: mapping.orders.source", "c.toml:7: mapping.orders.sql", "c.toml:7: mapping.orders.sink"} {
		if !strings.Contains(lines, want) {
			t.Errorf("missing %s in\n%s", want, lines)
		}
	}
	at := 0
	for _, line := range got {
		var n int
		if _, err := fmt.Sscanf(line, "c.toml:%d:", &n); err != nil || n < at {
			t.Errorf("out of order: %s", line)
		}
		at = n
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

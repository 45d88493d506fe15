package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"canalgo/binlog"
	"canalgo/config"
	"canalgo/mapping"
	"canalgo/sink/elastic"
	"canalgo/sink/logger"
)

// keys returns the keys of a section's struct, "tls.mode" for one of a group.
func keys(t reflect.Type, prefix string) []string {
	var list []string
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		_, text := reflect.New(f.Type).Interface().(interface{ UnmarshalText([]byte) error })
		switch {
		case f.Anonymous && key == "":
			list = append(list, keys(f.Type, prefix)...)
		case key == "":
		case f.Type.Kind() == reflect.Struct && !text:
			list = append(list, keys(f.Type, prefix+key+".")...)
		case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.String:
			list = append(list, prefix+key)
		case f.Type.Kind() == reflect.Map:
			list = append(list, keys(f.Type.Elem(), prefix+key+".")...)
		default:
			list = append(list, prefix+key)
		}
	}
	return list
}

// sections are all structs of the file, by the words that begin their part of the document and of the example.
var sections = []struct {
	document, example string
	section           reflect.Type
}{
	{"## `[node]`", "[node]", reflect.TypeFor[config.Node]()},
	{"## `[canal_server]`", "[canal_server]", reflect.TypeFor[config.Canal]()},
	{"## `[source.NAME]`", "[source.shop]", reflect.TypeFor[binlog.Config]()},
	{"### type `elasticsearch`", "[sink.search]", reflect.TypeFor[elastic.Config]()},
	{"### type `logger`", "[sink.log]", reflect.TypeFor[logger.Config]()},
	{"## `[mapping.NAME]`", "[mapping.orders]", reflect.TypeFor[config.Mapping]()},
}

// part returns what stands between a heading and the next of its kind.
func part(t *testing.T, text, heading string, next ...string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+heading)
	if !ok {
		t.Fatalf("no part %s", heading)
	}
	for _, n := range next {
		rest, _, _ = strings.Cut(rest, n)
	}
	return rest
}

func TestDocumentHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		text := part(t, string(data), s.document, "\n## ", "\n### ")
		for _, key := range keys(s.section, "") {
			if !strings.Contains(text, "\n| `"+key[strings.LastIndexByte(key, '.')+1:]+"` |") {
				t.Errorf("%s: no line for %s", s.document, key)
			}
		}
		for _, line := range strings.Split(text, "\n") {
			name, ok := strings.CutPrefix(line, "| `")
			name, _, _ = strings.Cut(name, "`")
			if ok && !slices.Contains(keys(s.section, ""), name) && !slices.Contains(keys(s.section, ""), "tls."+name) && !slices.Contains(keys(s.section, ""), "fields."+name) && !slices.Contains(keys(s.section, ""), "relations."+name) && name != "type" {
				t.Errorf("%s: %s is no key", s.document, name)
			}
		}
	}
}

// TestExamplesOfMappings: each example of docs/mapping.md is read without a mistake, and is the mapping of a fixture, which
// TestFixtures runs.
func TestExamplesOfMappings(t *testing.T) {
	data, err := os.ReadFile("../docs/mapping.md")
	if err != nil {
		t.Fatal(err)
	}
	var run []string
	files, err := filepath.Glob("../integration/fixtures/*/mapping.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, string(text))
	}
	const around = "[source.shop]\naddr = \"127.0.0.1:3306\"\nuser = \"canal\"\nschema = \"shop\"\n[sink.es]\ntype = \"elasticsearch\"\naddresses = [\"http://127.0.0.1:9200\"]\n"
	examples := strings.Split(string(data), "\n```toml\n")[1:]
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, example := range examples {
		example, _, _ = strings.Cut(example, "```")
		if _, err := config.Parse("mapping.md", []byte(around+example)); err != nil {
			t.Errorf("%v\n%s", err, example)
		}
		bare := regexp.MustCompile(`(?m)^(source|sink) = .*\n`).ReplaceAllString(example, "")
		if !slices.ContainsFunc(run, func(fixture string) bool { return strings.Contains(fixture, bare) }) {
			t.Errorf("no fixture has the example\n%s", bare)
		}
	}
}

func TestExampleShowsEveryKeyWithItsDefault(t *testing.T) {
	data, err := os.ReadFile("../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		text := part(t, string(data), s.example, "\n[sink", "\n[node", "\n[mapping.orders]")
		for _, key := range keys(s.section, "") {
			if !strings.Contains(text, "\n"+key[strings.LastIndexByte(key, '.')+1:]+" = ") {
				t.Errorf("%s: no %s", s.example, key)
			}
		}
	}
	got, err := config.Parse("config.example.toml", data)
	if err != nil {
		t.Fatal(err)
	}
	// What is required has no default.
	source := binlog.Defaults()
	source.Addr, source.User = got.Sources["shop"].Addr, got.Sources["shop"].User
	search, log := elastic.Defaults(), logger.Defaults()
	search.Addresses = []string{"http://127.0.0.1:9200"}
	orders := got.Mappings["orders"]
	want := config.File{
		Node:         config.DefaultNode(),
		Coordination: config.DefaultCoordination(),
		Canal:        config.DefaultCanal(),
		Sources:      map[string]binlog.Config{"shop": source},
		Sinks: map[string]config.Sink{
			"search": {Type: "elasticsearch", Settings: &search},
			"log":    {Type: "logger", Settings: &log},
		},
		Mappings: map[string]config.Mapping{"orders": {
			Source: orders.Source, Sink: orders.Sink,
			Config: mapping.Config{SQL: orders.SQL, Index: orders.Index, Relations: map[string]mapping.RelationConfig{"kind": {Name: "order"}}, Fields: map[string]mapping.FieldConfig{"price": {}}},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestExamplesOfMoving: the files that docs/canal.md has an operator write are read without a mistake, the second added to the first.
func TestExamplesOfMoving(t *testing.T) {
	data, err := os.ReadFile("../docs/canal.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CANALGO_TOKEN", "sixteen characters")
	t.Setenv("MYSQL_PASSWORD", "secret")
	examples := strings.Split(part(t, string(data), "## Moving from canal", "\n## "), "\n```toml\n")[1:]
	if len(examples) != 2 {
		t.Fatalf("%d examples", len(examples))
	}
	file := ""
	for _, example := range examples {
		example, _, _ = strings.Cut(example, "```")
		file += example
		if _, err := config.Parse("canal.md", []byte(file)); err != nil {
			t.Errorf("%v\n%s", err, file)
		}
	}
}

// TestDocumentOfCanalsKeys: each key of the file that docs/canal.md names beside one of canal's exists, no line is without an answer, and
// none of canal's own keys has two.
func TestDocumentOfCanalsKeys(t *testing.T) {
	data, err := os.ReadFile("../docs/canal.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{
		"node":         keys(reflect.TypeFor[config.Node](), ""),
		"cluster":      keys(reflect.TypeFor[config.Cluster](), ""),
		"coordination": keys(reflect.TypeFor[config.Coordination](), ""),
		"canal_server": keys(reflect.TypeFor[config.Canal](), ""),
		"source.NAME":  keys(reflect.TypeFor[binlog.Config](), ""),
		"sink.NAME":    append(keys(reflect.TypeFor[elastic.Config](), ""), "type"),
		"mapping.NAME": keys(reflect.TypeFor[config.Mapping](), ""),
	}
	ours := regexp.MustCompile("`(node|cluster|coordination|canal_server|source\\.NAME|sink\\.NAME|mapping\\.NAME)\\.([a-zA-Z0-9_.]+)`")
	other := regexp.MustCompile("^None: |`\\[(source|sink|mapping)\\.NAME\\]`|`-config FILE`")
	canals := regexp.MustCompile("`((?:canal|kafka|rocketmq|rabbitmq|pulsarmq|esMapping)\\.[a-zA-Z0-9_.]+)`")
	said := make(map[string]bool)
	named := 0
	for _, line := range strings.Split(part(t, string(data), "## Every canal key", "\n## "), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || cells[0] == "canal" {
			continue
		}
		if len(cells) != 2 {
			t.Errorf("%d cells in %s", len(cells), line)
			continue
		}
		found := ours.FindAllStringSubmatch(cells[1], -1)
		if len(found) == 0 && !other.MatchString(cells[1]) {
			t.Errorf("neither a key nor a reason why there is none: %s", line)
		}
		named += len(found)
		for _, key := range found {
			if !slices.Contains(known[key[1]], strings.Replace(key[2], ".FIELD", "", 1)) {
				t.Errorf("%s has no key %s: %s", key[1], key[2], line)
			}
		}
		for _, key := range canals.FindAllStringSubmatch(cells[0], -1) {
			if said[key[1]] {
				t.Errorf("%s has two answers", key[1])
			}
			said[key[1]] = true
		}
	}
	if named < 50 || len(said) < 150 {
		t.Errorf("%d keys of canalgo, %d of canal", named, len(said))
	}
}

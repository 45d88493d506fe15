//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"canalgo/cluster"
	"canalgo/config"
	"canalgo/integration/component"
	"canalgo/integration/golden"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
)

// A fixture is a folder of integration/fixtures: setup.sql is run in a schema of the folder's name before canalgo starts, change.sql while
// it follows the mappings of mapping.toml, and want.json has what their indices hold then, one line a document. What index.json has, if it is
// there, are the bodies of indices that are there before; NAME.sql is what the documents of a mapping with parts should equal.
type fixture struct {
	name           string
	setup, changes []string
	mappings       string
	indices        map[string]json.RawMessage
}

const fixtureFolder = "fixtures"

// TestFixtures wants of each fixture that load and stream give the documents of want.json; that a load of the changed tables into other
// indices gives the same bytes; and, where no option says otherwise, that each document is the row that MySQL gives.
func TestFixtures(t *testing.T) {
	playFixtures(newServers(t, "fixtures", oracle.WorkloadConfig{}, "127.0.0.1:0"), readFixtures(t, fixtureFolder, ""))
}

// TestFixturesOfMariaDB is TestFixtures on MariaDB; what it does not take stands in files with .mariadb behind their names.
func TestFixturesOfMariaDB(t *testing.T) {
	db, err := component.StartMariaDB(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Kill() })
	playFixtures(newServersOn(t, db, "fixtures", oracle.WorkloadConfig{}, "127.0.0.1:0"), readFixtures(t, fixtureFolder, ".mariadb"))
}

func playFixtures(r *rig, fixtures []fixture) {
	t := r.t
	stream, again := r.destination(), r.destination()
	for _, f := range fixtures {
		r.must(r.db.Exec("DROP DATABASE IF EXISTS "+f.name, "CREATE DATABASE "+f.name))
		t.Cleanup(func() { r.must(r.db.Exec("DROP DATABASE " + f.name)) })
		r.must(r.db.Exec(append([]string{"USE " + f.name}, f.setup...)...))
		for index, body := range f.indices {
			r.must(r.es.CreateIndex(t.Context(), index, body))
			r.must(r.es.CreateIndex(t.Context(), index+"_again", body))
		}
		stream += r.source(f.name, f.name) + f.sections("")
		again += r.source(f.name, f.name) + f.sections("_again")
	}
	streamed := r.play("stream", stream, func() {
		for _, f := range fixtures {
			r.must(r.db.Exec(append([]string{"USE " + f.name}, f.changes...)...))
		}
	})
	loaded := r.play("again", again, func() {})
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) { r.judge(t, f, streamed, loaded) })
	}
}

// readFixtures reads FILE.ending in the place of FILE where there is one.
func readFixtures(t *testing.T, folder, ending string) []fixture {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(folder, "*", "mapping.toml"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	var all []fixture
	for _, path := range folders {
		dir := filepath.Dir(path)
		read := func(file string) string {
			data, err := os.ReadFile(filepath.Join(dir, file+ending))
			if errors.Is(err, fs.ErrNotExist) {
				data, err = os.ReadFile(filepath.Join(dir, file))
			}
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		statements := func(file string) []string {
			return strings.Split(strings.TrimSuffix(read(file), ";\n"), ";\n")
		}
		one := fixture{filepath.Base(dir), statements("setup.sql"), statements("change.sql"), read("mapping.toml"), nil}
		if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
			if err := json.Unmarshal([]byte(read("index.json")), &one.indices); err != nil {
				t.Fatalf("%s: %v", dir, err)
			}
		}
		all = append(all, one)
	}
	return all
}

var (
	mappingHeader = regexp.MustCompile(`(?m)^\[mapping\.(\w+)\]$`)
	indexSetting  = regexp.MustCompile(`(?m)^_index = "(\w+)"$`)
)

// sections are the fixture's mappings between its source and the sink, with a suffix behind the names of the indices.
func (f fixture) sections(suffix string) string {
	text := mappingHeader.ReplaceAllString(f.mappings, "[mapping.${1}]\nsource = \""+f.name+"\"\nsink = \"es\"\nload = \"initial\"")
	return indexSetting.ReplaceAllString(text, `_index = "${1}`+suffix+`"`) + "\n"
}

// play runs a canalgo of these sections: it loads what there is, follows what change does, and is killed when all is written. It returns
// what was set aside.
func (r *rig) play(name, sections string, change func()) (aside []cluster.Quarantined) {
	r.t.Helper()
	r.begin(name, sections)
	change()
	return r.end()
}

// begin runs a canalgo of these sections and waits until it has loaded what there is.
func (r *rig) begin(name, sections string) {
	r.t.Helper()
	node, err := harness.New(filepath.Join(r.t.TempDir(), name), sections)
	r.must(err)
	r.node, r.on = node, node
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("the end of the log of %s:\n%s", name, node.LogTail(40))
		}
		if node.PID() != 0 {
			r.must(node.Kill())
		}
	})
	r.start()
	r.awaitReport("the loads", loaded)
}

// end waits until all is written, ends canalgo and returns what was set aside.
func (r *rig) end() (aside []cluster.Quarantined) {
	r.t.Helper()
	r.quiet()
	r.must(json.Unmarshal([]byte(r.command(0, "quarantine", "ls", "-json")), &aside))
	r.must(r.node.Kill())
	return aside
}

// judge compares a fixture's indices, and what was set aside in the stream and in the load after it.
func (r *rig) judge(t *testing.T, f fixture, streamAside, loadAside []cluster.Quarantined) {
	file, err := config.Parse("config.toml", []byte(r.destination()+r.source(f.name, f.name)+f.sections("")))
	if err != nil {
		t.Fatal(err)
	}
	var got, loaded []string
	seen := make(map[string]bool)
	for name, m := range file.Mappings {
		if !seen[m.Index] {
			seen[m.Index] = true
			for _, suffix := range []string{"", "_again"} {
				t.Cleanup(func() {
					if err := r.es.DeleteIndex(context.Background(), m.Index+suffix); err != nil {
						t.Error(err)
					}
				})
			}
			got = append(got, r.documents(t, m.Index, m.Index)...)
			loaded = append(loaded, r.documents(t, m.Index+"_again", m.Index)...)
		}
		if m.ID != "" || len(m.Fields) > 0 {
			continue // the documents are not the row
		}
		if len(m.Parts) > 0 {
			whole, err := os.ReadFile(filepath.Join(fixtureFolder, f.name, name+".sql"))
			if err != nil {
				t.Fatal(err)
			}
			m.SQL = string(whole)
		}
		if m.PK != "" {
			m.SQL = fmt.Sprintf("SELECT x.`%s` AS _id, x.* FROM (%s) x", m.PK, m.SQL)
		}
		pair := oracle.Pair{SQL: m.SQL, Index: m.Index, Schema: f.name, Skips: m.Skips, Objects: m.ObjFields}
		for field, relation := range m.Relations {
			pair.Join.Field, pair.Join.Name, pair.Join.Parent = field, relation.Name, relation.Parent
		}
		result, err := pair.Compare(t.Context(), r.db, r.es)
		if err == nil {
			err = result.Err()
		}
		if err != nil {
			t.Errorf("not what MySQL gives for %s: %v", m.Index, err)
		}
	}
	lines := func(documents []string, aside []cluster.Quarantined) string {
		documents = append(documents, asideOf(t, aside, f.name)...)
		slices.Sort(documents)
		return strings.Join(documents, "\n") + "\n"
	}
	streamed := lines(got, streamAside)
	if again := lines(loaded, loadAside); streamed != again {
		t.Errorf("the stream gives\n%s\na load gives\n%s", streamed, again)
	}
	golden.Case{Name: f.name, Dir: filepath.Join(fixtureFolder, f.name)}.CompareFile(t, "want.json", streamed)
}

// documents returns an index's documents as lines that name it as called.
func (r *rig) documents(t *testing.T, index, called string) []string {
	t.Helper()
	if err := r.es.Refresh(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	var all []string
	err := r.es.Scan(t.Context(), index, func(d component.Document) error {
		routing := ""
		if d.Routing != "" {
			routing = fmt.Sprintf(`"_routing":%q,`, d.Routing)
		}
		id, err := inJSON(d.ID)
		all = append(all, fmt.Sprintf(`{"_index":%q,"_id":%s,%s"_source":%s}`, called, id, routing, d.Source))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// asideOf returns those of a source's documents that were set aside, as lines.
func asideOf(t *testing.T, entries []cluster.Quarantined, source string) []string {
	t.Helper()
	var all []string
	for _, e := range entries {
		if e.Duty.Source != source {
			continue
		}
		id, err := inJSON(e.Document)
		reason, err2 := inJSON(e.Reason)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		all = append(all, fmt.Sprintf(`{"_index":%q,"_id":%s,"set_aside":%s}`, strings.TrimSuffix(e.Index, "_again"), id, reason))
	}
	return all
}

// inJSON is a text as a JSON string with nothing escaped that needs not be.
func inJSON(text string) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return strings.TrimSuffix(out.String(), "\n"), err
}

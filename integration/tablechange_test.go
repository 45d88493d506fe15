//go:build integration

package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"canalgo/config"
	"canalgo/integration/component"
	"canalgo/integration/golden"
	"canalgo/integration/oracle"
)

// tableChanges has a folder for each change of tables, or way of changing rows, that the project's list (D) has, in the form of fixtures.
const tableChanges = "tablechanges"

// TestTableChanges plays the folders of tablechanges on both servers, with canalgo there all the time, away from before the changes to their
// middle, and away until after them. The documents are always those of want.json, and the rows that the server gives.
func TestTableChanges(t *testing.T) {
	for _, server := range []struct {
		name string
		open func() (*component.MySQL, error)
	}{
		{"MySQL", servers.db},
		{"MariaDB", func() (*component.MySQL, error) {
			db, err := component.StartMariaDB(t.Context(), t.TempDir())
			if err == nil {
				t.Cleanup(func() { db.Kill() })
			}
			return db, err
		}},
	} {
		db, err := server.open()
		if err != nil {
			t.Fatal(err)
		}
		for _, away := range []string{"never", "to the middle", "to the end"} {
			t.Run(server.name+", away "+away, func(t *testing.T) {
				changeTables(newServersOn(t, db, "tablechanges", oracle.WorkloadConfig{}, "127.0.0.1:0"), away, server.name == "MySQL" && away == "never")
			})
		}
	}
}

// changeTables plays all folders at once; written says that want.json may be written anew by it.
func changeTables(r *rig, away string, written bool) {
	fixtures := readFixtures(r.t, tableChanges, "")
	sections := r.destination()
	for i, f := range fixtures {
		fixtures[i].name = strings.ToLower(f.name[:3]) // of the schema and the source
		f = fixtures[i]
		r.must(r.db.Exec("DROP DATABASE IF EXISTS "+f.name, "CREATE DATABASE "+f.name+" CHARACTER SET utf8mb4"))
		r.t.Cleanup(func() { r.must(r.db.Exec("DROP DATABASE IF EXISTS " + f.name)) })
		r.must(r.db.Exec(append([]string{"USE " + f.name}, f.setup...)...))
		sections += r.source(f.name, f.name) + f.sections("")
	}
	change := func(part func(statements []string) []string) {
		r.t.Helper()
		for _, f := range fixtures {
			r.must(r.db.Exec(append([]string{"USE " + f.name}, part(f.changes)...)...))
		}
	}
	r.begin("tables", sections)
	if away != "never" {
		r.must(r.node.Kill())
	}
	change(func(s []string) []string { return s[:len(s)/2] })
	if away == "to the middle" {
		r.must(r.node.Start())
	}
	change(func(s []string) []string { return s[len(s)/2:] })
	if away == "to the end" {
		r.must(r.node.Start())
	}
	r.awaitReport("the stream", following)
	aside := r.end()
	folders, err := filepath.Glob(filepath.Join(tableChanges, "*", "mapping.toml"))
	r.must(err)
	for i, f := range fixtures {
		dir := filepath.Dir(folders[i])
		r.t.Run(filepath.Base(dir), func(t *testing.T) {
			file, err := config.Parse("config.toml", []byte(r.destination()+r.source(f.name, f.name)+f.sections("")))
			if err != nil {
				t.Fatal(err)
			}
			got := asideOf(t, aside, f.name)
			for _, m := range file.Mappings {
				t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), m.Index)) })
				got = append(got, r.documents(t, m.Index, m.Index)...)
				result, err := oracle.Pair{SQL: m.SQL, Index: m.Index, Schema: f.name}.Compare(t.Context(), r.db, r.es)
				if err == nil {
					err = result.Err()
				}
				if err != nil {
					t.Errorf("not what the server gives for %s: %v", m.Index, err)
				}
			}
			slices.Sort(got)
			lines := strings.Join(got, "\n") + "\n"
			if written {
				golden.Case{Name: f.name, Dir: dir}.CompareFile(t, "want.json", lines)
				return
			}
			want, err := os.ReadFile(filepath.Join(dir, "want.json"))
			if err != nil || lines != string(want) {
				t.Errorf("got\n%s\nwant\n%s%v", lines, want, err)
			}
		})
	}
}

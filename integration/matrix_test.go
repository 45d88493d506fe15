//go:build integration

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestLoadData reads rows that LOAD DATA INFILE makes: some anew and some in the place of others (D39).
func TestLoadData(t *testing.T) {
	r := newRig(t, "loaddata", oracle.WorkloadConfig{}, "initial")
	pair := r.mapped("select id as _id, v, note from loaddata.t", "CREATE TABLE loaddata.t (id INT PRIMARY KEY, v INT, note VARCHAR(50))", "INSERT INTO loaddata.t VALUES (7, 0, 'old')")
	r.start()
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "%d,%d,\"row \\\"%d\\\", 中\"\n", i, i*2, i)
	}
	file := filepath.Join(t.TempDir(), "rows.csv")
	r.must(os.WriteFile(file, []byte(lines.String()), 0o644))
	r.must(r.db.Exec(fmt.Sprintf("LOAD DATA INFILE '%s' REPLACE INTO TABLE loaddata.t CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'", file)))
	r.quiet()
	result, err := pair.Compare(t.Context(), r.db, r.es)
	r.must(err)
	r.must(result.Err())
	if result.Rows != 5000 {
		t.Errorf("%d rows, want 5000", result.Rows)
	}
}

// TestManyColumns maps a table with more columns than Elasticsearch allows an index to have fields: the mapping stops and says why, and
// nothing is lost once the index allows more (T34).
func TestManyColumns(t *testing.T) {
	r := newRig(t, "manycolumns", oracle.WorkloadConfig{}, "initial")
	const columns = 1016 // and the key: what InnoDB allows
	var definition, values, fields []string
	for i := range columns {
		definition = append(definition, fmt.Sprintf("c%d INT", i))
		values = append(values, fmt.Sprint(i))
		fields = append(fields, fmt.Sprintf("c%d", i))
	}
	pair := r.mapped("select id as _id, "+strings.Join(fields, ", ")+" from manycolumns.t", "CREATE TABLE manycolumns.t (id INT PRIMARY KEY, "+strings.Join(definition, ", ")+")",
		"INSERT INTO manycolumns.t VALUES (1, "+strings.Join(values, ", ")+")")
	r.must(r.node.Start())
	report := r.awaitReport("a mapping that stops or fails", func(report status.Report) bool {
		d, ok := report.Duty("shop/" + pair.Index)
		return ok && d.LastError != ""
	})
	d, _ := report.Duty("shop/" + pair.Index)
	t.Logf("%s: %s", d.Stage, d.LastError)
	if !strings.Contains(d.LastError, "total fields") || !strings.Contains(d.LastError, pair.Index) {
		t.Errorf("it says %s", d.LastError)
	}
	r.must(r.es.CreateIndex(t.Context(), pair.Index, []byte(`{"settings":{"number_of_replicas":0,"mapping.total_fields.limit":2000}}`)))
	r.quiet()
	result, err := pair.Compare(t.Context(), r.db, r.es)
	r.must(err)
	r.must(result.Err())
}

// TestMappingAdded adds a mapping to a cluster that runs, and takes it away again: only its table is loaded, and the others go on (D59).
func TestMappingAdded(t *testing.T) {
	r := newRig(t, "mappingadded", oracle.WorkloadConfig{Pace: 20_000_000}, "initial")
	r.must(r.db.Exec("CREATE TABLE mappingadded.t (id INT PRIMARY KEY, v INT)", "INSERT INTO mappingadded.t VALUES (1, 10), (2, 20)"))
	r.start()
	judge := r.sample()
	stop := r.run(r.work.Run)
	r.progress(500)
	r.awaitReport("the first mapping's load", func(report status.Report) bool {
		d, ok := report.Duty("shop/" + r.name + "#load")
		return ok && d.Load != nil && d.Load.Phase == "done"
	})
	before := r.loaded(r.name)
	file, err := os.ReadFile(r.node.Config())
	r.must(err)
	pair := oracle.Pair{SQL: "select id as _id, v from mappingadded.t", Index: "mappingadded_t"}
	t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), pair.Index)) })
	r.must(os.WriteFile(r.node.Config(), []byte(string(file)+r.mapping(pair.Index, "initial", pair.SQL)), 0o600))
	r.command(0, "apply", r.node.Config())
	r.awaitReport("the new mapping's load", func(report status.Report) bool {
		d, ok := report.Duty("shop/" + pair.Index + "#load")
		return ok && d.Load != nil && d.Load.Phase == "done" && d.Load.Rows == 2
	})
	r.must(r.db.Exec("UPDATE mappingadded.t SET v = 11 WHERE id = 1", "INSERT INTO mappingadded.t VALUES (3, 30)"))
	r.progress(500)
	r.quiet()
	result, err := pair.Compare(t.Context(), r.db, r.es)
	r.must(err)
	r.must(result.Err())
	if result.Rows != 3 {
		t.Errorf("%d rows, want 3", result.Rows)
	}
	if after := r.loaded(r.name); after != before {
		t.Errorf("the other mapping's load was %s and is %s", before, after)
	}

	r.must(os.WriteFile(r.node.Config(), file, 0o600))
	r.command(0, "apply", r.node.Config())
	r.awaitReport("the mapping's end", func(report status.Report) bool {
		_, ok := report.Duty("shop/" + pair.Index)
		return !ok
	})
	r.must(r.db.Exec("INSERT INTO mappingadded.t VALUES (4, 40)"))
	r.progress(500)
	stop()
	r.equal()
	judge()
	if _, found, err := r.es.Get(t.Context(), pair.Index, "4"); err != nil || found {
		t.Errorf("a mapping that is gone has written: %v", err)
	}
	if log := r.node.LogTail(1000); strings.Contains(log, "[ERROR]") {
		t.Errorf("the log has an error:\n%s", log)
	}
}

// mapped makes a table, and gives a mapping of it to a node that has not started, beside the workload's.
func (r *rig) mapped(sql string, statements ...string) oracle.Pair {
	r.t.Helper()
	pair := oracle.Pair{SQL: sql, Index: r.name + "_t"}
	r.must(r.db.Exec(statements...))
	r.t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), pair.Index)) })
	r.must(r.node.Configure(r.sections("initial") + r.mapping(pair.Index, "initial", pair.SQL)))
	return pair
}

// loaded is what the status says of a mapping's load.
func (r *rig) loaded(mapping string) string {
	r.t.Helper()
	report, err := r.on.Status(context.Background())
	r.must(err)
	d, _ := report.Duty("shop/" + mapping + "#load")
	return fmt.Sprint(d.Load)
}

// TestEncryptedLog reads a log that is encrypted on disk, of which nobody who reads it from the server can tell anything (R12).
func TestEncryptedLog(t *testing.T) {
	db, err := component.StartMySQLWithKeyring(t.Context(), t.TempDir(), "--binlog-encryption=ON")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Kill() })
	r := newRigOn(t, db, "encrypted", oracle.WorkloadConfig{Pace: 20 * time.Millisecond}, "initial")
	r.start()
	judge := r.sample()
	stop := r.run(r.work.Run)
	r.progress(500)
	r.must(db.Exec("FLUSH BINARY LOGS"))
	r.must(r.node.Kill())
	r.start()
	r.progress(500)
	stop()
	r.equal()
	judge()
	file, err := os.ReadFile(filepath.Join(db.Dir, "data", "binlog.000001"))
	r.must(err)
	if !bytes.HasPrefix(file, []byte("\xfdbin")) || bytes.Contains(file, []byte(r.name)) {
		t.Errorf("the log is not encrypted: it begins with %x", file[:4])
	}
}

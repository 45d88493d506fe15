//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"canalgo/integration/component"
)

// TestCanalAsJava has canal's own server and canalgo read the same log, and compares every field of every entry that their clients get.
func TestCanalAsJava(t *testing.T) {
	db := ownServer(t)
	ensemble, err := component.StartZooKeeper(t.Context(), t.TempDir(), component.ZooKeeperOptions{Members: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ensemble.Kill() })
	exec(t, db, "CREATE DATABASE shop")
	end, err := db.LogEnd()
	if err != nil {
		t.Fatal(err)
	}
	server, err := component.StartCanal(t.Context(), filepath.Join(t.TempDir(), "java"), component.CanalOptions{ZooKeeper: strings.Join(ensemble.Servers(), ","),
		Destination: "shop", MySQL: db, Tables: `shop\..*`, Start: end, Unread: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the Java server's log:\n%s", server.LogTail(30))
		}
		server.Kill()
	})
	n := startCanal(t, db, "")
	n.serves(t)
	ours, theirs := startJava(t), startJava(t)
	ours.do(n.connector(), "connect", `subscribe shop\..*`)
	theirs.do(fmt.Sprintf("simple %s shop - -", server.Address()), "connect", `subscribe shop\..*`)

	statements := []string{"SET sql_mode = 'ALLOW_INVALID_DATES'", "SET time_zone = '+00:00'", "SET NAMES utf8mb4", "USE shop"}
	for i, column := range canalColumns {
		statements = append(statements, fmt.Sprintf("CREATE TABLE c%d (other INT, id INT PRIMARY KEY, v %s)", i, column.declared))
		for id, v := range append(column.values[:len(column.values):len(column.values)], canalValue{sql: "NULL"}) {
			statements = append(statements, fmt.Sprintf("INSERT INTO c%d (id, v) VALUES (%d, %s)", i, id, v.sql))
		}
		statements = append(statements, fmt.Sprintf("UPDATE c%d SET v = NULL", i), fmt.Sprintf("UPDATE c%d SET v = %s, other = 5 WHERE id = 0", i, column.values[0].sql),
			fmt.Sprintf("DELETE FROM c%d", i))
	}
	statements = append(statements, "CREATE TABLE t (id INT, v VARCHAR(10), PRIMARY KEY (v, id))", "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
		"UPDATE t SET id = id + 10", "BEGIN", "INSERT INTO t VALUES (4, 'd')", "SAVEPOINT a", "UPDATE t SET v = 'e' WHERE id = 4", "COMMIT")
	var got, want []canalEntry
	// The Java server asks MySQL what a table is like when it comes to its rows: the table must be as it was until then.
	both := func(until func(canalEntry) bool, statements ...string) {
		exec(t, db, statements...)
		there := func(all []canalEntry) bool { return slices.ContainsFunc(all, until) }
		want, got = append(want, theirs.collect(there)...), append(got, ours.collect(there)...)
	}
	rowsOf := func(table string) func(canalEntry) bool {
		return func(e canalEntry) bool { return e.Header.TableName == table && len(e.Rows) > 0 }
	}
	both(func(e canalEntry) bool {
		return e.Header.TableName == "t" && e.EventType == "UPDATE" && len(e.Rows) == 1
	}, statements...)
	both(rowsOf("t"), "USE shop", "ALTER TABLE t ADD COLUMN w INT FIRST", "INSERT INTO t VALUES (7, 5, 'x')")
	both(func(e canalEntry) bool { return e.SQL != nil && strings.Contains(*e.SQL, "ADD INDEX j") }, "USE shop", "CREATE INDEX i ON t (w)", "DROP INDEX i ON t",
		"ALTER TABLE t ADD INDEX j (w), ADD COLUMN z INT")
	both(rowsOf("mine"), "USE shop", "RENAME TABLE t TO u", "TRUNCATE TABLE u", "CREATE TABLE mine (id INT) ENGINE = MyISAM", "INSERT INTO mine VALUES (1)")
	both(rowsOf("last"), "USE shop", "CREATE TABLE copy LIKE u", "DROP TABLE u, copy",
		"CREATE USER IF NOT EXISTS someone", "GRANT SELECT ON shop.* TO someone", "DROP USER someone", "ALTER TABLE mine RENAME TO last", "INSERT INTO last VALUES (99)")
	bounds := make(map[int64]string) // of transactions, by their place
	places := make(map[int64]bool)
	lines := func(all []canalEntry, mine bool) map[int64]string {
		out := make(map[int64]string)
		for _, e := range all {
			if e.EventType == "QUERY" { // about no table, and here well understood: release 1.1.7 leaves them out, later ones do not
				continue
			}
			places[e.Header.LogfileOffset] = true
			for _, r := range e.Rows {
				sameNumbers(r.Before)
				sameNumbers(r.After)
			}
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case e.EntryType == "ROWDATA":
				out[e.Header.LogfileOffset] = string(text)
			case mine:
				bounds[e.Header.LogfileOffset] = string(text)
			case bounds[e.Header.LogfileOffset] != "" && bounds[e.Header.LogfileOffset] != string(text):
				t.Errorf("a bound of a transaction is\n%s, canal has\n%s", bounds[e.Header.LogfileOffset], text)
			}
		}
		return out
	}
	have, canal := lines(got, true), lines(want, false)
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if have[place] != canal[place] {
			t.Errorf("the entry at %d is\n%s, canal has\n%s", place, have[place], canal[place])
		}
	}
	t.Logf("%d entries with rows and statements, %d bounds of transactions", len(have), len(bounds))
}

// sameNumbers spells numbers alike in which release 1.1.7 differs from later ones (a fraction of zeros is cut short: 0.0 for 0.00), or one JDK from
// another (FLOAT has a digit too many before JDK 19).
func sameNumbers(columns []canalColumn) {
	for i := range columns {
		c := &columns[i]
		if c.Value == nil || !strings.HasPrefix(c.MySQLType, "decimal") && !strings.HasPrefix(c.MySQLType, "float") {
			continue
		}
		text := *c.Value
		if strings.HasPrefix(c.MySQLType, "float") {
			f, err := strconv.ParseFloat(text, 32)
			if err == nil {
				text = strconv.FormatFloat(f, 'g', -1, 32)
			}
		} else if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		c.Value = &text
	}
}

//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"canalgo/binlog"
	"canalgo/event"
	"canalgo/integration/component"
)

// servers are what tests of both servers start.
var servers = map[string]func(context.Context, string, ...string) (*component.MySQL, error){"mysql": component.StartMySQL, "mariadb": component.StartMariaDB}

// named wants all tables, and nothing else of the log.
func named(table event.TableName) bool { return !table.IsZero() }

// TestStatementsInACharacterSet: the log has a statement in the client's character set, but for those that the server writes anew.
func TestStatementsInACharacterSet(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			db := own(t, start)
			s := newSource(t, db, nil)
			exec(t, db, "CREATE DATABASE x")
			from := resolve(t, s, "current")
			exec(t, db, "USE x", "SET NAMES latin1", "CREATE TABLE `gr\xf6\xdfe` (id INT PRIMARY KEY)", "TRUNCATE TABLE gr\xf6\xdfe",
				"CREATE TEMPORARY TABLE `\xe0` (a INT)", "CREATE TABLE `\xe9` LIKE `\xe0`", "DROP TABLE `\xe9`, gr\xf6\xdfe")
			exec(t, db, "USE x", "SET NAMES gbk", "CREATE TABLE `\xc2\xbd` (id INT PRIMARY KEY)", "TRUNCATE TABLE `\xc2\xbd`", "DROP TABLE `\xc2\xbd`")
			exec(t, db, "USE x", "SET NAMES binary", "CREATE TABLE `größe` (id INT PRIMARY KEY)", "TRUNCATE TABLE `größe`")
			exec(t, db, "SET NAMES latin1", "CREATE DATABASE `d\xf6`", "DROP DATABASE `d\xf6`")
			want := []string{"alter[x.größe]", "truncate[x.größe]", "alter[x.é]", "drop[x.é x.größe]", "alter[x.陆]", "truncate[x.陆]", "drop[x.陆]",
				"alter[x.größe]", "truncate[x.größe]", "drop[dö.]"}
			var got []string
			for _, b := range readWith(t, s, from, resolve(t, s, "current"), named, nil) {
				for _, e := range b.Events {
					if e.Statement != nil {
						got = append(got, fmt.Sprintf("%s%v", e.Statement.Action, e.Statement.Tables))
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("statements\n%q, want\n%q", got, want)
			}
		})
	}
}

// TestRowOfDefaults: with binlog_row_image=MINIMAL such a row may have no column in the log. It is a row.
func TestRowOfDefaults(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			db := own(t, start)
			s := newSource(t, db, nil)
			exec(t, db, "SET GLOBAL binlog_row_metadata = FULL", "CREATE DATABASE x", "CREATE TABLE x.t (id INT DEFAULT 7 PRIMARY KEY, v INT DEFAULT 3)")
			from := resolve(t, s, "current")
			exec(t, db, "SET SESSION binlog_row_image = MINIMAL", "INSERT INTO x.t VALUES ()")
			var rows []event.Row
			for _, b := range readWith(t, s, from, resolve(t, s, "current"), named, nil) {
				more, err := binlog.NewDecoder().Decode(b.Events)
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, more...)
			}
			if len(rows) != 1 || rows[0].Op != event.Insert || !rows[0].Partial || !slices.Equal(rows[0].After, []any{event.Absent, event.Absent}) {
				t.Errorf("rows %+v", rows)
			}
		})
	}
}

var keyAsIndex = change{"the primary key as an index", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL)"}, []string{"INSERT INTO t VALUES (1, 2)",
	"ALTER TABLE t DROP INDEX `primary`", "INSERT INTO t VALUES (3, 4)", "ALTER TABLE t ADD PRIMARY KEY (a)", "INSERT INTO t VALUES (5, 6)",
	"DROP INDEX `PRIMARY` ON t", "INSERT INTO t VALUES (7, 8)"}}

// TestKeyDroppedAsAnIndex reads rows around statements that drop the primary key by the name that it has as an index.
func TestKeyDroppedAsAnIndex(t *testing.T) {
	t.Run("mysql", func(t *testing.T) { keyAsIndex.check(t, ownServer(t), "MINIMAL") })
	t.Run("mariadb", func(t *testing.T) { keyAsIndex.check(t, ownMariaDB(t), "NO_LOG") })
}

// TestTableThatIsHidden: rows come of a table that the source's user does not see. Who wants it is told, and the server is asked once.
func TestTableThatIsHidden(t *testing.T) {
	db := ownServer(t)
	exec(t, db, "CREATE DATABASE x", "CREATE TABLE x.t (id INT PRIMARY KEY)", "CREATE USER blind IDENTIFIED BY ''", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO blind",
		"SET GLOBAL binlog_row_metadata = MINIMAL")
	s := newSource(t, db, func(cfg *binlog.Config) { cfg.User = "blind" })
	from := resolve(t, s, "current")
	exec(t, db, "INSERT INTO x.t VALUES (1)", "INSERT INTO x.t VALUES (2)", "INSERT INTO x.t VALUES (3)")
	noted := &countedNotes{definitions: newDefinitions(t, from)}
	batches := readWith(t, s, from, resolve(t, s, "current"), named, noted)
	if noted.n != 1 {
		t.Errorf("%d definitions were noted, want 1", noted.n)
	}
	_, err := binlog.NewDecoder().Decode(noted.fill(t, batches[0].Events))
	if err == nil || !strings.Contains(err.Error(), "x.t") || !strings.Contains(err.Error(), "may not read it") {
		t.Errorf("its rows: %v", err)
	}
}

// countedNotes counts what is noted.
type countedNotes struct {
	*definitions
	n int
}

// Note implements binlog.History.
func (c *countedNotes) Note(ctx context.Context, definitions []event.Definition) error {
	c.n += len(definitions)
	return c.definitions.Note(ctx, definitions)
}

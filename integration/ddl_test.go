//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"canalgo/binlog"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/integration/component"
)

// A change is statements in an empty schema, whose first ones make tables and whose others change them, with rows in between.
type change struct {
	name  string
	setup []string
	then  []string
}

// changes are worked out from the statements alone, however far behind the reader is.
var changes = []change{
	{"add", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20))"}, []string{
		"INSERT INTO t VALUES (1, 2, 'b')", "ALTER TABLE t ADD COLUMN c VARCHAR(30) DEFAULT 'c'", "INSERT INTO t VALUES (2, 3, 'b', 'c2')",
		"ALTER TABLE t ADD d INT UNSIGNED FIRST, ADD COLUMN e DATETIME(3) AFTER a, ALGORITHM=INSTANT", "UPDATE t SET d = 4000000000, e = '2024-02-29 01:02:03.456'",
		"ALTER TABLE t ADD COLUMN (f DECIMAL(12,3), g ENUM('x','y') NOT NULL DEFAULT 'y'), ADD KEY (f), ALGORITHM=COPY", "UPDATE t SET f = 1.5, g = 'x' WHERE id = 1"}},
	{"drop", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, c INT)"}, []string{
		"INSERT INTO t VALUES (1, 10, 20, 30)", "ALTER TABLE t DROP COLUMN a", "INSERT INTO t VALUES (2, 21, 31)",
		"ALTER TABLE t DROP b, ADD b VARCHAR(5) FIRST", "INSERT INTO t VALUES ('b', 3, 32)", "DELETE FROM t WHERE id = 1"}},
	{"rename", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)"}, []string{
		"INSERT INTO t VALUES (1, 10, 20)", "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a", "INSERT INTO t VALUES (2, 11, 21)",
		"ALTER TABLE t CHANGE a c BIGINT, CHANGE b `d e` INT FIRST", "UPDATE t SET c = 7", "ALTER TABLE t RENAME COLUMN id TO key_of_it", "UPDATE t SET c = 8"}},
	{"reorder", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, c INT)"}, []string{
		"INSERT INTO t VALUES (1, 10, 20, 30)", "ALTER TABLE t MODIFY a INT AFTER c", "INSERT INTO t VALUES (2, 21, 31, 11)",
		"ALTER TABLE t MODIFY c INT FIRST, MODIFY id INT AFTER a, ADD x INT AFTER c", "INSERT INTO t VALUES (32, 0, 22, 12, 3)",
		"ALTER TABLE t CHANGE COLUMN a z INT FIRST", "UPDATE t SET z = 99 WHERE id = 1"}},
	{"retype", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20) CHARACTER SET latin1, e ENUM('one','two') CHARACTER SET utf8mb4, s SET('p','q'))"}, []string{
		"INSERT INTO t VALUES (1, 10, 'é', 'two', 'p,q')", "ALTER TABLE t MODIFY a BIGINT UNSIGNED, MODIFY b TEXT", "UPDATE t SET a = 18446744073709551615, b = '中'",
		"ALTER TABLE t MODIFY e ENUM('zero','one','two') CHARACTER SET utf8mb4", "UPDATE t SET e = 'one'", "ALTER TABLE t MODIFY s SET('q','p','r')", "UPDATE t SET s = 'p,r'",
		"ALTER TABLE t MODIFY e ENUM('中','one','it''s, \\\\') COLLATE utf8mb4_bin", "UPDATE t SET e = '中'",
		"ALTER TABLE t MODIFY a DECIMAL(30,5), MODIFY b VARBINARY(50)", "UPDATE t SET a = 1.23456, b = x'00ff'",
		"ALTER TABLE t MODIFY b BINARY(60), ADD f FLOAT, ADD g DOUBLE, ADD h BIT(9), ADD i TIME(2), ADD j JSON, ADD k YEAR, ADD l BOOL, ADD m TIMESTAMP(6) NULL, ADD n CHAR(3) CHARACTER SET binary, ADD o REAL, ADD q DATE, ADD r VECTOR(2)",
		"UPDATE t SET f = 1.5, g = 2.5, h = 257, i = '10:00:00.12', j = '{\"a\": 1}', k = 2024, l = 1, m = '2024-01-01', n = 'xyz', o = 5, q = '2024-02-29', r = STRING_TO_VECTOR('[1,2]')"}},
	{"charset", []string{"CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), e ENUM('a','b'), b BLOB) CHARACTER SET latin1"}, []string{
		"INSERT INTO t VALUES (1, 'ä', 'b', x'ff')", "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", "INSERT INTO t VALUES (2, '中', 'b', x'fe')",
		"ALTER TABLE t DEFAULT CHARACTER SET latin1", "ALTER TABLE t ADD c ENUM('e','f'), ADD d TEXT", "UPDATE t SET c = 'f', d = 'é'",
		"ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "UPDATE t SET e = 'a', c = 'f'"}},
	{"key", []string{"CREATE TABLE t (id INT, a INT NOT NULL, b VARCHAR(20), PRIMARY KEY (id))"}, []string{
		"INSERT INTO t VALUES (1, 10, 'b')", "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, id)", "INSERT INTO t VALUES (2, 11, 'c')",
		"ALTER TABLE t DROP PRIMARY KEY", "INSERT INTO t VALUES (2, 11, 'c')", "DELETE FROM t LIMIT 2", "ALTER TABLE t ADD COLUMN k INT AUTO_INCREMENT PRIMARY KEY FIRST", "UPDATE t SET b = 'd'"}},
	{"no effect", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20))"}, []string{
		"INSERT INTO t VALUES (1, 10, 'b')", "ALTER TABLE t ADD KEY k (a), ADD UNIQUE u (b), ADD CONSTRAINT c CHECK (a > 0), COMMENT 'x', ALTER a SET DEFAULT 5", "CREATE INDEX i ON t (a)",
		"ALTER TABLE t RENAME INDEX k TO l, ALTER INDEX u INVISIBLE, DROP CHECK c, ENGINE = InnoDB, ROW_FORMAT = COMPRESSED", "ANALYZE TABLE t", "OPTIMIZE TABLE t", "DROP INDEX i ON t",
		"ALTER TABLE t FORCE", "UPDATE t SET a = 11", "ALTER TABLE t DROP KEY u", "ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 3"}},
	{"partitions", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))"}, []string{
		"INSERT INTO t VALUES (1, 10), (15, 15)", "ALTER TABLE t ADD PARTITION (PARTITION p2 VALUES LESS THAN MAXVALUE)", "UPDATE t SET id = 25 WHERE id = 15",
		"ALTER TABLE t REORGANIZE PARTITION p0, p1 INTO (PARTITION q VALUES LESS THAN (20))", "UPDATE t SET a = 7", "ALTER TABLE t REMOVE PARTITIONING", "UPDATE t SET a = 8"}},
	{"tables", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)", "CREATE TABLE u (id INT PRIMARY KEY, b INT, a INT)"}, []string{
		"INSERT INTO t VALUES (1, 10, 20)", "INSERT INTO u VALUES (1, 20, 10)", "RENAME TABLE t TO x, u TO t, x TO u", "INSERT INTO t VALUES (2, 21, 11)", "INSERT INTO u VALUES (2, 11, 21)",
		"TRUNCATE TABLE t", "INSERT INTO t VALUES (3, 22, 12)", "ALTER TABLE t RENAME TO v", "ALTER TABLE v ADD c INT, RENAME t", "INSERT INTO t VALUES (4, 23, 13, 33)",
		"DROP TABLE t", "CREATE TABLE t (a INT, c VARCHAR(9), id INT, PRIMARY KEY (id))", "INSERT INTO t VALUES (14, 'c', 5)", "CREATE TABLE IF NOT EXISTS t (z INT)", "INSERT INTO t VALUES (15, 'c', 6)",
		"DROP TABLE IF EXISTS u", "CREATE TABLE u LIKE t", "INSERT INTO u VALUES (1, 'u', 2)", "CREATE TABLE IF NOT EXISTS u LIKE t", "DROP TABLE u, t",
		"CREATE TABLE t AS SELECT 1 AS id, 'a' AS a", "INSERT INTO t VALUES (2, 'b')"}},
	// gh-ost fills a copy that it made with LIKE, pt-online-schema-change one made of the table's own text; both end in a rename.
	{"gh-ost", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)"}, []string{
		"INSERT INTO t VALUES (1, 10, 20)", "CREATE TABLE _t_ghc (id BIGINT AUTO_INCREMENT PRIMARY KEY, hint VARCHAR(64))", "CREATE TABLE _t_gho LIKE t", "ALTER TABLE _t_gho ADD c INT FIRST, DROP a",
		"INSERT INTO _t_gho SELECT NULL, id, b FROM t", "INSERT INTO t VALUES (2, 11, 21)", "INSERT INTO _t_gho VALUES (NULL, 2, 21)",
		"CREATE TABLE _t_del (id INT AUTO_INCREMENT PRIMARY KEY) COMMENT 'ghost-cut-over-sentry'", "DROP TABLE IF EXISTS _t_del", "RENAME TABLE t TO _t_del, _t_gho TO t", "INSERT INTO t VALUES (32, 3, 22)",
		"DROP TABLE _t_ghc", "DROP TABLE _t_del", "UPDATE t SET c = 5"}},
	{"pt-online-schema-change", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b ENUM('x','y')) DEFAULT CHARSET=utf8mb4"}, []string{
		"INSERT INTO t VALUES (1, 10, 'x')", "CREATE TABLE `_t_new` (\n  `id` int NOT NULL,\n  `a` int DEFAULT NULL,\n  `b` enum('x','y') DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
		"ALTER TABLE `_t_new` MODIFY b ENUM('y','x'), ADD c INT", "INSERT LOW_PRIORITY IGNORE INTO `_t_new` (id, a, b) SELECT id, a, b FROM t", "RENAME TABLE t TO `_t_old`, `_t_new` TO t",
		"INSERT INTO t VALUES (2, 11, 'y', 3)", "DROP TABLE IF EXISTS `_t_old`", "UPDATE t SET c = 4"}},
	{"invisible", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{
		"INSERT INTO t VALUES (1, 2)", "ALTER TABLE t ADD b INT DEFAULT 7 INVISIBLE FIRST", "INSERT INTO t VALUES (2, 3)",
		"CREATE TABLE `_t_new` (\n  `b` int DEFAULT '7' /*!80023 INVISIBLE */,\n  `id` int NOT NULL,\n  `a` int DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB",
		"ALTER TABLE `_t_new` MODIFY a BIGINT INVISIBLE FIRST", "RENAME TABLE t TO `_t_old`, `_t_new` TO t", "INSERT INTO t (b, id, a) VALUES (6, 4, 5)", "DROP TABLE `_t_old`"}},
}

// TestDefinitions makes each change twice: with the names of columns in the log, and without. Rows, read from the log alone,
// must be the same: read while the changes happen, read after all of them, and read again from every place between.
func TestDefinitions(t *testing.T) {
	db := ownServer(t)
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) { c.check(t, db, "MINIMAL") })
	}
}

// mariadbChanges are those of changes that a MariaDB takes, and some that only it does.
var mariadbChanges = append(slices.DeleteFunc(slices.Clone(changes), func(c change) bool {
	return !slices.Contains([]string{"add", "drop", "rename", "reorder", "key", "partitions", "gh-ost", "invisible"}, c.name)
}), []change{
	{"if there", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT UNSIGNED)"}, []string{"INSERT INTO t VALUES (1, 4000000000)",
		"ALTER TABLE t ADD COLUMN IF NOT EXISTS a TEXT, DROP COLUMN IF EXISTS z, ADD COLUMN IF NOT EXISTS b INT UNSIGNED FIRST", "INSERT INTO t VALUES (4100000000, 2, 3)",
		"ALTER TABLE t MODIFY COLUMN IF EXISTS z INT, CHANGE COLUMN IF EXISTS a c BIGINT UNSIGNED", "UPDATE t SET c = 18446744073709551615"}},
	{"tables, with their character sets", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)", "CREATE TABLE u (id INT PRIMARY KEY, b INT, a INT)"}, []string{
		"INSERT INTO t VALUES (1, 10, 20)", "RENAME TABLE t TO x, u TO t, x TO u", "INSERT INTO t VALUES (2, 21, 11)", "INSERT INTO u VALUES (2, 11, 21)",
		"TRUNCATE TABLE t", "INSERT INTO t VALUES (3, 22, 12)", "ALTER TABLE t RENAME TO v", "ALTER TABLE v ADD c INT, RENAME t", "INSERT INTO t VALUES (4, 23, 13, 33)",
		"DROP TABLE t", "CREATE TABLE t (a INT, c VARCHAR(9), id INT, PRIMARY KEY (id)) COLLATE utf8mb4_general_ci", "INSERT INTO t VALUES (14, 'c', 5)",
		"CREATE TABLE IF NOT EXISTS t (z INT)", "INSERT INTO t VALUES (15, 'c', 6)", "DROP TABLE IF EXISTS u", "CREATE TABLE u LIKE t", "INSERT INTO u VALUES (1, 'u', 2)"}},
	{"or replace", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{"INSERT INTO t VALUES (1, 2)", "CREATE OR REPLACE TABLE t (a BIGINT UNSIGNED, id INT PRIMARY KEY)",
		"INSERT INTO t VALUES (18446744073709551615, 1)"}},
	{"retype", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20)) CHARACTER SET latin1"}, []string{"INSERT INTO t VALUES (1, 2, 'é')",
		"ALTER TABLE t MODIFY a INT UNSIGNED, ADD c TEXT, ADD d BLOB, ADD e ENUM('x','y') COLLATE utf8mb4_bin, ADD f TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
		"UPDATE t SET a = 4000000000, c = 'ü', d = x'ff', e = 'y', f = '中'"}},
}...)

// TestMariaDBDefinitions is TestDefinitions on a MariaDB, whose table maps have nothing but the columns' types by default: neither signs
// nor character sets.
func TestMariaDBDefinitions(t *testing.T) {
	db := ownMariaDB(t)
	for _, c := range mariadbChanges {
		t.Run(c.name, func(t *testing.T) { c.check(t, db, "NO_LOG") })
	}
}

// check reads a change with names in the log, and without.
func (c change) check(t *testing.T, db *component.MySQL, without string) {
	t.Helper()
	s := newSource(t, db, nil)
	want := c.begin(t, db, s, "FULL", "named").readAfter(t, nil)
	if len(want) == 0 {
		t.Fatal("the change has no rows")
	}
	behind := c.begin(t, db, s, without, "unnamed")
	tables := behind.seed(t)
	checkRows(t, "read after the changes", behind.readAfter(t, tables), want)
	behind.again(t, tables)

	live := c.begin(t, db, s, without, "live")
	checkRows(t, "read during the changes", live.readMeanwhile(t), want)
}

// uncertain are changes that only the server can tell the outcome of.
var uncertain = []change{
	{"visible", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT INVISIBLE)"}, []string{"INSERT INTO t VALUES (1)", "ALTER TABLE t ALTER COLUMN a SET VISIBLE", "UPDATE t SET a = 3"}},
	{"geometry", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{"INSERT INTO t VALUES (1, 2)", "ALTER TABLE t ADD g POINT SRID 4326 AFTER id, DROP a", "UPDATE t SET g = ST_GeomFromText('POINT(1 2)', 4326)"}},
	{"new geometry", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{"INSERT INTO t VALUES (1, 2)", "DROP TABLE t", "CREATE TABLE t (g GEOMETRY, id INT PRIMARY KEY)", "INSERT INTO t VALUES (NULL, 1)"}},
	{"converted labels", []string{"CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a') CHARACTER SET latin1)"}, []string{"INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, MODIFY e ENUM('a','é') CHARACTER SET utf8mb3, ADD f ENUM('g') CHARACTER SET latin1", "UPDATE t SET f = 'g'"}},
	{"the schema's collation", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{"INSERT INTO t VALUES (1, 2)", "DROP TABLE t", "CREATE TABLE t (e ENUM('a','b'), id INT PRIMARY KEY)", "INSERT INTO t VALUES ('b', 1)"}},
	{"a name in latin1", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{"INSERT INTO t VALUES (1, 2)", "SET NAMES latin1", "ALTER TABLE t ADD `\xe9` INT, ADD e ENUM('\xe9','b') CHARACTER SET utf8mb4", "UPDATE t SET e = 1"}},
	{"a label in hexadecimal", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)"}, []string{"INSERT INTO t VALUES (1, 2)", "ALTER TABLE t ADD e ENUM(x'c3a9','b') CHARACTER SET utf8mb4", "UPDATE t SET e = 1"}},
	{"a copy from elsewhere", []string{"CREATE TABLE t (id INT PRIMARY KEY, a INT)", "CREATE TABLE elsewhere (a INT, b INT, id INT PRIMARY KEY)"}, []string{"INSERT INTO t VALUES (1, 2)", "RENAME TABLE t TO away, elsewhere TO t", "INSERT INTO t VALUES (3, 4, 5)"}},
}

// TestUncertainDefinitions: the server is asked, and has to say what the definition was.
func TestUncertainDefinitions(t *testing.T) {
	db := ownServer(t)
	s := newSource(t, db, nil)
	for _, c := range uncertain {
		t.Run(c.name, func(t *testing.T) {
			want := c.begin(t, db, s, "FULL", "named").readAfter(t, nil)
			behind := c.begin(t, db, s, "MINIMAL", "unnamed")
			tables := behind.seed(t)
			checkRows(t, "read after the change", behind.readAfter(t, tables), want)
			behind.again(t, tables)

			// Now the server has a later definition: rows between cannot be told, and say so. Another table's can.
			c.setup = append(slices.Clone(c.setup), "CREATE TABLE u (id INT PRIMARY KEY)")
			c.then = append(slices.Clone(c.then), "INSERT INTO u VALUES (1)", "ALTER TABLE t RENAME COLUMN id TO renamed", "INSERT INTO u VALUES (2)")
			late := c.begin(t, db, s, "MINIMAL", "late")
			tables = late.seed(t)
			late.exec(t, c.then...)
			others := 0
			var stop *event.StopError
			for _, b := range late.batches(t, tables, late.from, resolve(t, s, "current")) {
				rows, err := binlog.NewDecoder().Decode(tables.fill(t, b.Events))
				if err != nil && !errors.As(err, &stop) {
					t.Fatal(err)
				}
				for _, r := range rows {
					if r.Table.Name.Name == "u" && r.Table.Columns[0].Name == "id" {
						others++
					}
				}
			}
			if others != 2 {
				t.Errorf("%d rows of the other table, want 2", others)
			}
			if stop == nil || !strings.Contains(stop.Error(), "late.t") || !strings.Contains(stop.Error(), "RENAME COLUMN id TO renamed") {
				t.Errorf("the rows between end in %v", stop)
			}
		})
	}
}

// TestDefinitionAtAPosition asks for definitions before, between and behind statements that concern a table.
func TestDefinitionAtAPosition(t *testing.T) {
	for _, mode := range []string{"ON", "OFF"} {
		t.Run("GTIDs "+mode, func(t *testing.T) {
			db := ownServer(t, "--gtid-mode="+mode, "--enforce-gtid-consistency="+mode)
			s := newSource(t, db, nil)
			name := event.TableName{Schema: "x", Name: "t"}
			exec(t, db, "CREATE DATABASE x", "CREATE TABLE x.t (id INT PRIMARY KEY)")
			first := resolve(t, s, "current")
			exec(t, db, "CREATE TABLE x.u (id INT)", "ALTER TABLE x.u ADD a INT", "FLUSH BINARY LOGS", "INSERT INTO x.t VALUES (1)")
			second := resolve(t, s, "current")
			for _, at := range []event.Position{first, second} {
				d, err := s.Define(t.Context(), name, at)
				if err != nil || d.Unknown != "" || len(d.Table.Columns) != 1 || d.Collation != "utf8mb4_0900_ai_ci" {
					t.Errorf("at %s: %+v, %v", at, d, err)
				}
			}
			exec(t, db, "ALTER TABLE x.t ADD a INT", "FLUSH BINARY LOGS")
			if d, err := s.Define(t.Context(), name, first); err != nil || !strings.Contains(d.Unknown, "ALTER TABLE x.t ADD a INT") {
				t.Errorf("before the statement: %+v, %v", d, err)
			}
			exec(t, db, "INSERT INTO x.t VALUES (2, 2)")
			third := resolve(t, s, "current")
			if d, err := s.Define(t.Context(), name, third); err != nil || len(d.Table.Columns) != 2 {
				t.Errorf("behind it: %+v, %v", d, err)
			}
			exec(t, db, "DROP DATABASE x")
			if d, err := s.Define(t.Context(), name, third); err != nil || !strings.Contains(d.Unknown, "DROP DATABASE x") {
				t.Errorf("before the end: %+v, %v", d, err)
			}
			if d, err := s.Define(t.Context(), name, resolve(t, s, "current")); err != nil || !d.Gone() {
				t.Errorf("in the end: %+v, %v", d, err)
			}
			if mode == "ON" { // only by GTIDs, as after a start by them
				byGTIDs := third
				byGTIDs.File, byGTIDs.Offset = "", 0
				if d, err := s.Define(t.Context(), name, byGTIDs); err != nil || !strings.Contains(d.Unknown, "DROP DATABASE x") {
					t.Errorf("by GTIDs, before the end: %+v, %v", d, err)
				}
				now := resolve(t, s, "current")
				now.File, now.Offset = "", 0
				if d, err := s.Define(t.Context(), name, now); err != nil || !d.Gone() {
					t.Errorf("by GTIDs, in the end: %+v, %v", d, err)
				}
			}
		})
	}
}

func checkRows(t *testing.T, how string, got, want []string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", how, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A changing is a change on its way in a schema.
type changing struct {
	change
	db     *component.MySQL
	s      *binlog.Source
	schema string
	from   event.Position
}

// begin makes the tables of a change in a schema of its own.
func (c change) begin(t *testing.T, db *component.MySQL, s *binlog.Source, metadata, schema string) changing {
	t.Helper()
	exec(t, db, append([]string{"SET GLOBAL binlog_row_metadata = " + metadata, "DROP DATABASE IF EXISTS " + schema, "CREATE DATABASE " + schema, "USE " + schema}, c.setup...)...)
	return changing{c, db, s, schema, resolve(t, s, "current")}
}

func (c changing) exec(t *testing.T, statements ...string) {
	t.Helper()
	exec(t, c.db, append([]string{"USE " + c.schema}, statements...)...)
}

// wanted are the tables that somebody maps.
func (c changing) wanted(n event.TableName) bool {
	return n.Schema == c.schema && (n.Name == "t" || n.Name == "u")
}

// seed begins the history of the tables that somebody maps.
func (c changing) seed(t *testing.T) *definitions {
	t.Helper()
	d := newDefinitions(t, c.from)
	for _, name := range []string{"t", "u"} {
		defined, err := c.s.Define(t.Context(), event.TableName{Schema: c.schema, Name: name}, c.from)
		if err != nil {
			t.Fatal(err)
		}
		defined.From = c.from.Version()
		if err := d.Note(t.Context(), []event.Definition{defined}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// readAfter makes the changes and reads them then.
func (c changing) readAfter(t *testing.T, tables *definitions) []string {
	t.Helper()
	c.exec(t, c.then...)
	return c.rows(t, tables, c.batches(t, tables, c.from, resolve(t, c.s, "current")))
}

func (c changing) batches(t *testing.T, tables *definitions, from, to event.Position) []event.Batch {
	t.Helper()
	var history binlog.History
	if tables != nil {
		history = tables
	}
	return readWith(t, c.s, from, to, c.wanted, history)
}

// again reads from the end of each transaction, as another leader would, with what the first one has noted.
func (c changing) again(t *testing.T, tables *definitions) {
	t.Helper()
	to := resolve(t, c.s, "current")
	all := c.batches(t, tables, c.from, to)
	executed, err := event.ParseGTIDSet(c.from.GTIDs)
	if err != nil {
		t.Fatal(err)
	}
	before := tables.text(t)
	for i, b := range all[:len(all)-1] {
		executed.Add(b.GTID.Run())
		resumed := b.End
		resumed.GTIDs = executed.String()
		got, want := c.rows(t, tables, c.batches(t, tables, resumed, to)), c.rows(t, tables, all[i+1:])
		checkRows(t, fmt.Sprintf("read again from %s", resumed), got, want)
	}
	if after := tables.text(t); after != before {
		t.Errorf("reading again changed the history to\n%s\nwas\n%s", after, before)
	}
}

// readMeanwhile reads each statement before the next one is made.
func (c changing) readMeanwhile(t *testing.T) []string {
	t.Helper()
	tables := c.seed(t)
	var batches []event.Batch
	at := c.from
	executed, err := event.ParseGTIDSet(at.GTIDs)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range c.then {
		c.exec(t, statement)
		to := resolve(t, c.s, "current")
		if to.File == at.File && to.Offset == at.Offset {
			continue // it is not logged
		}
		for _, b := range c.batches(t, tables, at, to) {
			executed.Add(b.GTID.Run())
			at = b.End
			batches = append(batches, b)
		}
		at.GTIDs = executed.String()
	}
	return c.rows(t, tables, batches)
}

// rows decodes batches and prints their rows with the names, types and labels of the columns.
func (c changing) rows(t *testing.T, tables *definitions, batches []event.Batch) []string {
	t.Helper()
	d := binlog.NewDecoder()
	var out []string
	for _, b := range batches {
		rows, err := d.Decode(tables.fill(t, b.Events))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			out = append(out, fmt.Sprintf("%s %s key %v: %s -> %s", r.Op, r.Table.Name.Name, r.Table.Key, image(r.Table, r.Before), image(r.Table, r.After)))
		}
	}
	return out
}

func image(table *event.Table, values []any) string {
	var b strings.Builder
	for i, v := range values {
		c := table.Columns[i]
		fmt.Fprintf(&b, " %s(%s %v %d %d %s %s %q)=%v", c.Name, c.Type, c.Unsigned, c.Length, c.Scale, c.Charset, c.Collation, c.Labels, v)
	}
	return b.String()
}

// definitions is a history in a replicated state of its own.
type definitions struct {
	mu    sync.Mutex
	state cluster.State
}

func newDefinitions(t *testing.T, from event.Position) *definitions {
	t.Helper()
	d := &definitions{}
	for _, cmd := range []cluster.Command{
		cluster.SetConfig{Config: cluster.Config{Sources: map[string]cluster.SourceConfig{"shop": {Spec: cluster.Spec{Settings: json.RawMessage(`{}`)}}}}},
		cluster.OpenEpoch{Source: "shop", AtLeast: from.Epoch, ServerUUID: from.ServerUUID, Start: from},
	} {
		next, err := d.state.Apply(cmd)
		if err != nil {
			t.Fatal(err)
		}
		d.state = next
	}
	return d
}

func (d *definitions) tables() cluster.Tables {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state.Sources["shop"].Tables
}

// At implements binlog.History.
func (d *definitions) At(table event.TableName, v event.Version) (event.Definition, bool) {
	return d.tables().At(table, v)
}

// Kept implements binlog.History.
func (d *definitions) Kept() []event.TableName { return d.tables().Names() }

// Note implements binlog.History.
func (d *definitions) Note(_ context.Context, definitions []event.Definition) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next, err := d.state.Apply(cluster.NoteTables{Source: "shop", Epoch: d.state.Sources["shop"].Epoch, Definitions: definitions})
	if err == nil {
		d.state = next
	}
	return err
}

func (d *definitions) text(t *testing.T) string {
	t.Helper()
	data, err := json.MarshalIndent(d.tables(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// fill puts in the definitions that a feed would tell.
func (d *definitions) fill(t *testing.T, events []event.Event) []event.Event {
	t.Helper()
	events = slices.Clone(events)
	for i := range events {
		e := &events[i]
		if e.Kind != event.Defined {
			continue
		}
		rows := slices.IndexFunc(events[i:], func(row event.Event) bool { return row.Kind == event.Rows && row.Table == e.Table })
		defined, ok := d.At(e.Table, events[i+rows].Version)
		if !ok {
			t.Fatalf("no definition of %s is kept at %s", e.Table, events[i+rows].Version)
		}
		var err error
		if e.Raw, err = event.EncodeDefinition(defined); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

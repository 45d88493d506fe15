package binlog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pingcap/tidb/pkg/parser/ast"

	"canalgo/event"
)

// printDefinition prints a definition as one would write it down.
func printDefinition(d event.Definition) string {
	switch {
	case d.Unknown != "":
		return "?"
	case d.Gone():
		return "gone"
	}
	var parts []string
	for _, c := range d.Table.Columns {
		text := c.Name + " " + c.Type.String()
		if c.Unsigned {
			text += " unsigned"
		}
		if c.Length > 0 {
			text += fmt.Sprintf("(%d,%d)", c.Length, c.Scale)
		}
		if c.Collation != "" {
			text += " " + c.Collation
		}
		if len(c.Labels) > 0 {
			text += fmt.Sprintf("%q", c.Labels)
		}
		parts = append(parts, text)
	}
	for _, k := range d.Table.Key {
		parts = append(parts, "key "+d.Table.Columns[k].Name)
	}
	return strings.Join(parts, ", ")
}

// TestRedefine works statements out on s.t (id INT PRIMARY KEY, a INT, v VARCHAR in latin1) and s.u (id INT PRIMARY KEY).
func TestRedefine(t *testing.T) {
	table := func(name string, columns ...event.Column) event.Definition {
		return event.Definition{Table: event.Table{Name: event.TableName{Schema: "s", Name: name}, Columns: columns, Key: []int{0}}, Collation: "latin1_swedish_ci"}
	}
	id, a := event.Column{Name: "id", Type: event.Int}, event.Column{Name: "a", Type: event.Int}
	v := event.Column{Name: "v", Type: event.Char, Charset: "latin1", Collation: "latin1_swedish_ci"}
	kept := []event.Definition{table("t", id, a, v), table("u", id), {Table: event.Table{Name: event.TableName{Schema: "s", Name: "lost"}}, Unknown: "lost"},
		{Table: event.Table{Name: event.TableName{Schema: "s", Name: "old"}}}}
	const rest = "v char latin1_swedish_ci, key id"
	for _, c := range []struct{ text, want string }{
		{"ALTER TABLE t ADD b INT UNSIGNED AFTER id", "t: id int, b int unsigned, a int, " + rest},
		{"ALTER TABLE t ADD b ENUM('x','y  ') FIRST", `t: b enum latin1_swedish_ci["x" "y"], id int, a int, ` + rest},
		{"ALTER TABLE t ADD b TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, ADD c CHAR(3) BINARY", "t: id int, a int, v char latin1_swedish_ci, b text utf8mb4_bin, c char latin1_bin, key id"},
		{"ALTER TABLE t MODIFY v INT, DROP a", "t: id int, v int, key id"},
		{"ALTER TABLE t RENAME COLUMN a TO v, RENAME COLUMN v TO a", "t: id int, v int, a char latin1_swedish_ci, key id"},
		{"ALTER TABLE t CHANGE ID `k 1` BIGINT AFTER v", "t: a int, v char latin1_swedish_ci, k 1 bigint, key k 1"},
		{"ALTER TABLE t ADD b INT AFTER c, ADD c INT FIRST", "t: ?"}, // refused by a server
		{"ALTER TABLE t ADD c INT FIRST, ADD b INT AFTER c", "t: c int, b int, id int, a int, " + rest},
		{"ALTER TABLE t MODIFY a DECIMAL(12,3) UNSIGNED ZEROFILL, MODIFY v DECIMAL", "t: id int, a decimal unsigned(12,3), v decimal(10,0), key id"},
		{"ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (v(3), id)", "t: id int, a int, v char latin1_swedish_ci, key v, key id"},
		{"ALTER TABLE t DROP INDEX `primary`", "t: id int, a int, v char latin1_swedish_ci"},
		{"ALTER TABLE t DROP KEY `PRIMARY`, ADD PRIMARY KEY (a)", "t: id int, a int, v char latin1_swedish_ci, key a"},
		{"ALTER TABLE t DROP INDEX k", ""},
		{"DROP INDEX `Primary` ON t", "t: id int, a int, v char latin1_swedish_ci"},
		{"DROP INDEX `PRIMARY` ON t WAIT 5", "t: ?"},
		{"DROP INDEX `PRIMARY` ON elsewhere.t", ""},
		{"DROP INDEX k ON t", ""},
		{"ALTER TABLE t DROP COLUMN id", "t: a int, v char latin1_swedish_ci"},
		{"ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", "t: id int, a int, v char utf8mb4_0900_ai_ci, key id"},
		{"ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, ADD b INT", "t: ?"},
		{"ALTER TABLE t DEFAULT CHARSET utf8mb4, ADD b TEXT", "t: id int, a int, v char latin1_swedish_ci, b text utf8mb4_0900_ai_ci, key id"},
		{"ALTER TABLE t ADD b ENUM('x') CHARACTER SET gbk", "t: ?"},
		{"ALTER TABLE t ADD b ENUM(x'c3a9')", "t: ?"},
		{"ALTER TABLE t ADD b ENUM('\xe9')", "t: ?"},
		{"ALTER TABLE t ADD b POINT", "t: ?"},
		{"ALTER TABLE t ADD b INT INVISIBLE AFTER id, ADD c INT COMMENT 'INVISIBLE' /*!80023 invisible */, ADD KEY (a) VISIBLE", "t: id int, b int, a int, v char latin1_swedish_ci, c int, key id"},
		{"ALTER TABLE t ADD invisible INT NOT NULL Invisible PRIMARY KEY", "t: ?"}, // not by another name
		{"ALTER TABLE t CHANGE a visible NATIONAL CHAR(3) VISIBLE", "t: ?"},
		{"ALTER TABLE t ADD `visible` INT VISIBLE, DROP a", "t: id int, v char latin1_swedish_ci, visible int, key id"},
		{"ALTER TABLE t ADD b INT, ALTER COLUMN a SET INVISIBLE", "t: ?"},
		{"ALTER TABLE t DROP COLUMN nobody", "t: ?"},
		{"ALTER TABLE t ADD KEY (a), ADD CHECK (a > 0), ALTER a SET DEFAULT 3, ENGINE = InnoDB, FORCE", ""},
		{"ALTER TABLE t TRUNCATE PARTITION p0", ""},
		{"ALTER TABLE elsewhere.t ADD b INT", ""},
		{"ALTER TABLE lost ADD b INT", "lost: ?"},
		{"ALTER TABLE lost ADD KEY (a)", ""},
		{"ALTER TABLE old ADD b INT", "old: ?"},
		{"ALTER TABLE u ADD b INT, RENAME TO w", "u: gone; w: id int, b int, key id"},
		{"RENAME TABLE t TO x, u TO t, x TO u", "t: id int, key id; x: gone; u: id int, a int, " + rest},
		{"RENAME TABLE nobody TO u", "u: ?"},
		{"RENAME TABLE nobody TO none", ""},
		{"RENAME TABLE lost TO found", "lost: gone; found: ?"},
		{"DROP TABLE t, nobody", "t: gone"},
		{"DROP DATABASE s", "t: gone; u: gone; lost: gone; old: gone"},
		{"DROP DATABASE other", ""},
		{"TRUNCATE TABLE t", ""},
		{"FROBNICATE", "t: ?; u: ?; lost: ?; old: ?"}, // it may be about any of them
		{"ALTER TABLE `\xe9` ADD b INT", "t: ?; u: ?; lost: ?; old: ?"},
		{"CREATE TABLE t (b INT PRIMARY KEY)", "t: b int, key b"},
		{"CREATE TABLE IF NOT EXISTS t (b INT)", ""},
		{"CREATE TABLE IF NOT EXISTS lost (b INT)", ""},
		{"CREATE TABLE IF NOT EXISTS old (b INT)", "old: b int"},
		{"CREATE TABLE old (b TEXT, c BLOB, d CHAR(3) CHARACTER SET binary, e YEAR, f BIT(3), g TIME(2), h JSON, i REAL, KEY (e))", "old: b text, c blob, d binary(3,0), e year, f bit(3,0), g time(2,0), h json, i double"},
		{"CREATE TABLE old (b ENUM('x'))", "old: ?"},
		{"CREATE TABLE old (b ENUM('x')) COLLATE utf8mb4_bin", `old: b enum utf8mb4_bin["x"]`},
		{"CREATE TABLE old LIKE t", "old: id int, a int, " + rest},
		{"CREATE TABLE old LIKE nobody", "old: ?"},
		{"CREATE TABLE nobody LIKE t", "nobody: id int, a int, " + rest},
		{"CREATE TABLE `_t_new` (b INT)", "_t_new: b int"},
		{"CREATE TABLE other._t_new (b INT)", ""},
		{"CREATE TABLE nobody (b INT)", ""},
		{"all: CREATE TABLE nobody (b INT)", "nobody: b int"},
		{"all: CREATE TABLE nobody (b ENUM('x'))", ""},
		{"all: CREATE TABLE IF NOT EXISTS nobody (b INT)", ""},
		{"CREATE TABLE old SELECT 1 AS b", "old: ?"},
		{"CREATE TABLE `old` (\n  `b` int DEFAULT NULL\n) START TRANSACTION", "old: b int"},
		{"mariadb: ALTER TABLE t ADD b INT UNSIGNED, ADD c CHAR(3)", "t: id int, a int, v char latin1_swedish_ci, b int unsigned, c char latin1_swedish_ci, key id"},
		{"mariadb: ALTER TABLE t ADD b TEXT CHARACTER SET utf8mb4", "t: ?"},
		{"mariadb: ALTER TABLE t ADD b JSON", "t: ?"},
		{"mariadb: CREATE OR REPLACE TABLE t (b BLOB)", "t: b blob"},
		{"mariadb: CREATE OR REPLACE TABLE t (b TEXT)", "t: ?"},
		{"mariadb: ALTER TABLE t DROP COLUMN IF EXISTS nobody, ADD COLUMN IF NOT EXISTS a TEXT, ADD COLUMN IF NOT EXISTS b INT", "t: id int, a int, v char latin1_swedish_ci, b int, key id"},
	} {
		text, mariadb := strings.CutPrefix(c.text, "mariadb: ")
		text, all := strings.CutPrefix(text, "all: ")
		q := query{schema: "s", text: text, set: "utf8mb4"}
		s, tree := understand(q)
		r := redefinition{query: q, mariadb: mariadb, all: all,
			name: func(n *ast.TableName) event.TableName {
				if n.Schema.O == "" {
					return event.TableName{Schema: "s", Name: n.Name.O}
				}
				return event.TableName{Schema: n.Schema.O, Name: n.Name.O}
			},
			known: func(n event.TableName) (event.Definition, bool) {
				for _, d := range kept {
					if d.Table.Name == n {
						return d, true
					}
				}
				return event.Definition{}, false
			},
			kept: func() (names []event.TableName) {
				for _, d := range kept {
					names = append(names, d.Table.Name)
				}
				return names
			}}
		var got []string
		if s != nil {
			for _, d := range r.redefine(s, tree) {
				got = append(got, d.Table.Name.Name+": "+printDefinition(d))
			}
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, text, c.want)
		}
	}
}

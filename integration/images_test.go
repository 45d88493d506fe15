//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

var imageTables = []string{
	"CREATE TABLE images.customer (id INT PRIMARY KEY, name VARCHAR(30), seen INT, about TEXT, label VARCHAR(20) AS (CONCAT('s', seen)) VIRTUAL, twice INT AS (seen * 2) STORED)",
	"CREATE TABLE images.orders (id INT PRIMARY KEY, customer_id INT NOT NULL DEFAULT 3, n INT, name VARCHAR(30) DEFAULT 'none', body TEXT, more MEDIUMTEXT, " +
		"next INT AS (n + 1) STORED, twice INT AS (n * 2) VIRTUAL, made TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, KEY (customer_id))",
	"CREATE TABLE images.auto (id INT AUTO_INCREMENT PRIMARY KEY, v INT DEFAULT 1, body TEXT)",
	"CREATE TABLE images.pair (a VARCHAR(10), b INT, v INT DEFAULT 5, body TEXT, PRIMARY KEY (a, b))",
}

var imageRules = map[string]string{
	"plain":  "select id as _id, n, name, body, more, next, twice, made from images.orders",
	"few":    "select id as _id, n from images.orders",
	"where":  "select id as _id, name, body from images.orders where n > 50 and name <> 'none'",
	"pair":   "select concat(a, '-', b) as _id, v, body from images.pair",
	"auto":   "select id as _id, v, body from images.auto",
	"star":   "select *, id as _id from images.customer",
	"joined": "select o.id as _id, o.n, o.body, c.name, c.about, c.label, c.twice from images.orders o left join images.customer c on c.id = o.customer_id",
}

// TestRowImages writes with every row image, switched in the middle, while canalgo is killed: at rest each document is the row that the
// server gives for the mapping's SQL.
func TestRowImages(t *testing.T) {
	for name, start := range map[string]func(context.Context, string, ...string) (*component.MySQL, error){"mysql": component.StartMySQL, "mariadb": component.StartMariaDB} {
		t.Run(name, func(t *testing.T) {
			db, err := start(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Kill() })
			rowImages(t, newRigOn(t, db, "images", oracle.WorkloadConfig{}, ""))
		})
	}
}

func rowImages(t *testing.T, r *rig) {
	for _, statement := range imageTables {
		r.must(r.db.Exec(statement))
	}
	random := rand.New(rand.NewPCG(*seed, 8))
	change := func(image string, statements int) error {
		all := []string{"SET SESSION binlog_row_image = " + image, "BEGIN"}
		for range statements {
			all = append(all, imageStatement(random))
		}
		return r.db.Exec(append(all, "COMMIT")...)
	}
	for range 20 { // before the load
		r.must(change("FULL", 3))
	}
	sections := r.sections("")
	for name, sql := range imageRules {
		sections += r.mapping("images_"+name, "initial", sql)
		t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), "images_"+name)) })
	}
	r.must(r.node.Configure(sections))
	r.start()
	r.awaitReport("the loads", loaded)
	r.must(r.db.Exec("SET GLOBAL binlog_row_image = MINIMAL"))
	equal := func() {
		t.Helper()
		r.quiet()
		r.awaitReport("the end of the fan-outs", func(report status.Report) bool {
			return !slices.ContainsFunc(report.Duties, func(d status.Duty) bool { return len(d.Fanouts) > 0 })
		})
		for name, sql := range imageRules {
			result, err := oracle.Pair{SQL: sql, Index: "images_" + name}.Compare(context.Background(), r.db, r.es)
			r.must(err)
			if err := result.Err(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		report, err := r.on.Status(context.Background())
		r.must(err)
		if report.Quarantine != 0 {
			t.Errorf("%d documents are set aside: %s", report.Quarantine, r.command(0, "quarantine", "ls"))
		}
	}
	if out := r.command(0, "check", r.node.Config()); !strings.Contains(out, "binlog_row_image: is MINIMAL") {
		t.Errorf("check: %s", out)
	}
	for _, image := range []string{"MINIMAL", "NOBLOB"} {
		for range 30 {
			r.must(change(image, 1+random.IntN(3)))
		}
		equal()
	}
	for range often(2, 10) {
		stop := r.run(func(ctx context.Context) error {
			for ctx.Err() == nil {
				if err := change([]string{"FULL", "MINIMAL", "NOBLOB"}[random.IntN(3)], 1+random.IntN(4)); err != nil {
					return err
				}
			}
			return nil
		})
		r.progress(200)
		r.must(r.node.Kill())
		r.must(r.node.Start())
		r.progress(200)
		stop()
		equal()
	}

	// So many documents of one row that they are rendered beside the stream.
	r.must(r.db.Exec("DELETE FROM images.orders", "REPLACE INTO images.customer (id, name) VALUES (1, 'many')", "INSERT INTO images.orders (id, customer_id, n) SELECT 1000 * a.n + 100 * b.n + 10 * c.n + d.n + 1, 1, d.n FROM "+
		strings.Join([]string{ten + " a", ten + " b", ten + " c", ten + " d"}, ", "), "INSERT INTO images.orders (id, customer_id) SELECT id + 10000, customer_id FROM images.orders WHERE id <= 2000"))
	equal()
	r.must(r.db.Exec("UPDATE images.customer SET about = 'them all' WHERE id = 1"))
	equal()
	if log := r.on.LogTail(100); !strings.Contains(log, "rendered beside the stream") || !strings.Contains(log, "the documents of a change are rendered") {
		t.Errorf("there was no fan-out:\n%s", log)
	}
}

// ten is a table of the digits.
const ten = "(SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"

// imageStatement changes some rows.
func imageStatement(random *rand.Rand) string {
	id, customer, text := random.IntN(40), random.IntN(8), fmt.Sprintf("'%s %d'", strings.Repeat("text ", random.IntN(8)), random.IntN(1000))
	pair := fmt.Sprintf("'%c', %d", 'a'+random.IntN(4), random.IntN(5))
	switch random.IntN(18) {
	case 0, 1:
		return fmt.Sprintf("INSERT IGNORE INTO images.orders (id) VALUES (%d)", id)
	case 2, 3:
		return fmt.Sprintf("REPLACE INTO images.orders (id, customer_id, n, body) VALUES (%d, %d, %d, %s), (%d, %d, %d, NULL)", id, customer, random.IntN(100), text, id+1, customer, random.IntN(100))
	case 4:
		return fmt.Sprintf("INSERT INTO images.orders (id, name, more) VALUES (%d, %s, 'more') ON DUPLICATE KEY UPDATE name = VALUES(name)", id, text[:min(len(text)-1, 20)]+"'")
	case 5, 6:
		return fmt.Sprintf("UPDATE images.orders SET n = %d WHERE id BETWEEN %d AND %d", random.IntN(100), id, id+5)
	case 7:
		return fmt.Sprintf("UPDATE images.orders SET body = %s WHERE id BETWEEN %d AND %d", text, id, id+5)
	case 8:
		return fmt.Sprintf("UPDATE IGNORE images.orders SET id = %d WHERE id = %d", random.IntN(40), id)
	case 9:
		return fmt.Sprintf("UPDATE images.orders SET customer_id = %d, name = 'other' WHERE id %% 7 = %d", customer, random.IntN(7))
	case 10:
		return fmt.Sprintf("DELETE FROM images.orders WHERE id BETWEEN %d AND %d", id, id+1)
	case 11:
		return fmt.Sprintf("REPLACE INTO images.customer (id, name) VALUES (%d, %s)", customer, "'name'")
	case 12:
		if random.IntN(2) == 0 {
			return fmt.Sprintf("UPDATE images.customer SET seen = %d WHERE id = %d", random.IntN(9), customer) // what is generated of it is read
		}
		return fmt.Sprintf("UPDATE images.customer SET about = %s WHERE id = %d", text, customer)
	case 13:
		return fmt.Sprintf("DELETE FROM images.customer WHERE id = %d", customer)
	case 14:
		return fmt.Sprintf("INSERT INTO images.auto (body) VALUES (%s), (NULL)", text)
	case 15:
		return []string{"UPDATE images.auto SET v = v + 1 ORDER BY id DESC LIMIT 3", "DELETE FROM images.auto ORDER BY id LIMIT 1"}[random.IntN(2)]
	case 16:
		return "INSERT IGNORE INTO images.pair (a, b, body) VALUES (" + pair + ", " + text + ")"
	}
	return []string{"UPDATE images.pair SET v = v + 1 WHERE (a, b) = (" + pair + ")", "UPDATE IGNORE images.pair SET b = b + 1 WHERE (a, b) = (" + pair + ")", "DELETE FROM images.pair WHERE (a, b) = (" + pair + ")"}[random.IntN(3)]
}

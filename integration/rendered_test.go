//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"canalgo/integration/oracle"
)

// renderedTables are four tables that refer to each other, with keys that may be missing, NULL, or of nobody.
var renderedTables = []string{
	"CREATE TABLE rendered.city (name VARCHAR(20) PRIMARY KEY, country VARCHAR(20), people INT)",
	"CREATE TABLE rendered.customer (id INT PRIMARY KEY, name VARCHAR(30) CHARACTER SET latin1, city VARCHAR(20), vip TINYINT NOT NULL, KEY (city))",
	"CREATE TABLE rendered.orders (id BIGINT UNSIGNED PRIMARY KEY, customer_id INT, parent BIGINT UNSIGNED, total DECIMAL(9,2), note TEXT, state ENUM('new','paid','gone') NOT NULL, made TIMESTAMP(3) NOT NULL, " +
		"KEY (customer_id), KEY (parent))",
	"CREATE TABLE rendered.item (order_id BIGINT UNSIGNED NOT NULL, sku VARCHAR(10) NOT NULL, qty INT, price DOUBLE, PRIMARY KEY (order_id, sku))",
}

// renderedRules are mappings of each kind that the server renders.
var renderedRules = map[string]string{
	"left": "select o.id as _id, o.total, o.state, o.made, c.name, c.vip from rendered.orders o left join rendered.customer c on c.id = o.customer_id",
	"inner": "SELECT o.id AS _id, `o`.`note`, c.name AS `owner.name`, c.city AS `owner.city` FROM rendered.`orders` o INNER JOIN rendered.customer AS c ON (c.id = o.customer_id AND c.vip = 1) " +
		"WHERE o.total > 10 OR o.note LIKE '%a''b%'",
	"right": "select o.id as _id, c.name from rendered.customer c right join rendered.orders o on o.customer_id = c.id and o.state <> 'gone'",
	"chain": "select concat(i.order_id, '-', i.sku) as _id, i.qty, o.state, c.name, t.country from rendered.item i join rendered.orders o on o.id = i.order_id " +
		"left join rendered.customer c on c.id = o.customer_id left join rendered.city t on t.name = c.city",
	"grouped": "select o.id as _id, o.state, x.skus, x.worth, x.many from rendered.orders o left join (select i.order_id, group_concat(i.sku order by i.sku separator ';') as skus, " +
		"sum(i.qty * i.price) as worth, count(*) as many from rendered.item i where i.qty is not null group by i.order_id) x on x.order_id = o.id",
	"functions": "select id as _id, upper(note) as note, case state when 'new' then 1 when 'paid' then 2 else 3 end as step, total * 2 as twice, 'x' as letter, cast(total as char) as text, " +
		"if(total is null, 'none', format(total, 1)) as shown, date_format(made, '%Y-%m-%d %H') as hour, length(note) as size from rendered.orders",
	"counted":    "select o.customer_id as _id, count(*) as orders, sum(o.total) as total, max(o.made) as newest from rendered.orders o where o.customer_id is not null group by o.customer_id having count(*) > 1",
	"parent":     "select o.id as _id, o.note, p.note as above, p.total as more from rendered.orders o left join rendered.orders p on p.id = o.parent",
	"plainnames": "select `orders`.`id` as `_id`, customer.name, `customer`.`vip` from `rendered`.`orders`, rendered.customer where customer.id = orders.customer_id and length(customer.name) > 3",
	"undecided":  "select o.id as _id, o.total from rendered.orders o where o.total > '12' and o.state < 'paid'",
	"sub":        "select c.id as _id, c.name, x.state from rendered.customer c join (select customer_id, max(state) as state from rendered.orders group by customer_id) x on x.customer_id = c.id",
}

// TestRendered changes the tables in every way while the source, the destination and canalgo are killed: at rest each document is the
// row that MySQL gives for the mapping's SQL.
func TestRendered(t *testing.T) {
	r := newRig(t, "rendered", oracle.WorkloadConfig{}, "")
	for _, statement := range renderedTables {
		r.must(r.db.Exec(statement))
	}
	w := &renderedWriter{rig: r, random: rand.New(rand.NewPCG(*seed, 5))}
	w.write(40) // before the load
	sections := r.sections("")
	for name, sql := range renderedRules {
		sections += r.mapping("rendered_"+name, "initial", sql)
		t.Cleanup(func() { r.must(r.es.DeleteIndex(context.Background(), "rendered_"+name)) })
	}
	r.must(r.node.Configure(sections))
	r.start()
	stop := r.run(func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := w.change(); err != nil {
				return err
			}
		}
		return nil
	})
	for range often(3, 20) {
		r.progress(300)
		r.must(r.node.Kill())
		r.must(r.node.Start())
	}
	r.progress(300)
	stop()
	r.equalRules()

	r.must(r.db.Exec("TRUNCATE TABLE rendered.item", "DELETE FROM rendered.customer WHERE id % 2 = 0", "UPDATE rendered.orders SET id = id + 1000 ORDER BY id DESC LIMIT 5"))
	r.equalRules()
	r.must(r.db.Exec("TRUNCATE TABLE rendered.orders"))
	w.write(10)
	r.equalRules()
}

func (r *rig) equalRules() {
	r.t.Helper()
	r.awaitReport("the loads", loaded)
	r.quiet()
	for name, sql := range renderedRules {
		result, err := oracle.Pair{SQL: sql, Index: "rendered_" + name}.Compare(context.Background(), r.db, r.es)
		r.must(err)
		if err := result.Err(); err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
		r.t.Logf("%s: %d rows", name, result.Rows)
	}
	report, err := r.on.Status(context.Background())
	r.must(err)
	if report.Quarantine != 0 {
		r.t.Errorf("%d documents are set aside: %s", report.Quarantine, r.command(0, "quarantine", "ls"))
	}
}

// A renderedWriter changes the tables. Most rows refer to few others, so that changes meet.
type renderedWriter struct {
	*rig
	random *rand.Rand
}

func (w *renderedWriter) write(transactions int) {
	w.t.Helper()
	for range transactions {
		w.must(w.change())
	}
}

// change commits one transaction, or rolls it back.
func (w *renderedWriter) change() error {
	statements := []string{"BEGIN"}
	for range 1 + w.random.IntN(4) {
		statements = append(statements, w.statement())
	}
	if w.random.IntN(10) == 0 {
		return w.db.Exec(append(statements, "ROLLBACK")...)
	}
	return w.db.Exec(append(statements, "COMMIT")...)
}

func (w *renderedWriter) pick(options ...string) string { return options[w.random.IntN(len(options))] }

func (w *renderedWriter) number(n int) string {
	if w.random.IntN(8) == 0 {
		return "NULL"
	}
	return fmt.Sprint(w.random.IntN(n))
}

func (w *renderedWriter) statement() string {
	order, customer, city := w.random.IntN(60), w.random.IntN(12), w.pick("Rom", "Paris", "Köln", "Oslo")
	sku := w.pick("a", "b", "c", "d")
	switch w.random.IntN(14) {
	case 0:
		return fmt.Sprintf("REPLACE INTO rendered.city VALUES ('%s', '%s', %s)", city, w.pick("IT", "FR", "DE"), w.number(100))
	case 1:
		return fmt.Sprintf("DELETE FROM rendered.city WHERE name = '%s'", city)
	case 2, 3:
		return fmt.Sprintf("REPLACE INTO rendered.customer VALUES (%d, '%s', '%s', %d)", customer, w.pick("Ann", "Bör", "Cäsar", "O''Neil"), city, w.random.IntN(2))
	case 4:
		return fmt.Sprintf("UPDATE rendered.customer SET city = '%s', vip = 1 - vip WHERE id %% 4 = %d", city, w.random.IntN(4))
	case 5:
		return fmt.Sprintf("DELETE FROM rendered.customer WHERE id = %d", customer)
	case 6, 7:
		var rows []string
		for i := range 1 + w.random.IntN(5) {
			rows = append(rows, fmt.Sprintf("(%d, %s, %s, %s, '%s', '%s', '2026-01-0%d 12:00:00.5')", (order+i)%60, w.number(12), w.number(60), w.number(50), w.pick("", "a'b", "long note", "é€"),
				w.pick("new", "paid", "gone"), 1+w.random.IntN(9)))
		}
		return "REPLACE INTO rendered.orders VALUES " + strings.ReplaceAll(strings.Join(rows, ", "), "a'b", "a''b")
	case 8:
		return fmt.Sprintf("UPDATE rendered.orders SET customer_id = %s, total = total + 1 WHERE id BETWEEN %d AND %d", w.number(12), order, order+5)
	case 9:
		return fmt.Sprintf("UPDATE IGNORE rendered.orders SET id = %d WHERE id = %d", w.random.IntN(60), order)
	case 10:
		return fmt.Sprintf("DELETE FROM rendered.orders WHERE id = %d", order)
	case 11, 12:
		return fmt.Sprintf("REPLACE INTO rendered.item VALUES (%d, '%s', %s, %d.5), (%d, 'z', 1, 2)", order, sku, w.number(9), w.random.IntN(9), (order+1)%60)
	}
	return fmt.Sprintf("DELETE FROM rendered.item WHERE order_id = %d", order)
}

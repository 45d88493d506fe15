//go:build integration

package integration

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
)

var canalSeed = flag.Uint64("canal-seed", 1, "of the kills and rollbacks of TestCanalRows")

// TestCanalRows has a client read rows that are written meanwhile, kills it at random moments, rolls back at others, and acknowledges some batches
// late. No row may be lost, and what comes again must be what was not acknowledged, in order.
func TestCanalRows(t *testing.T) {
	rows := 30_000
	if flag.Lookup("soak").Value.String() == "true" {
		rows = 300_000
	}
	db := ownServer(t)
	exec(t, db, "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(100))", "CREATE TABLE shop.other (id INT PRIMARY KEY)")
	n := startCanal(t, db, "")
	n.serves(t)
	c := startJava(t)
	c.do(n.connector(), "connect", "subscribe shop\\.t")

	written := make(chan error, 1)
	go func() { written <- writeRows(db, rows) }()
	random := rand.New(rand.NewPCG(*canalSeed, 0))
	acked, kills, rollbacks, again := 0, 0, 0, 0
	var out []canalBatch // handed out and not acknowledged
	next := 1            // the row that has to come next
	deadline := time.Now().Add(time.Duration(60+rows/300) * time.Second)
	for acked < rows {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d rows were acknowledged in time", acked, rows)
		}
		b := c.do(fmt.Sprintf("keys %d 50", 1+random.IntN(6)))
		for _, key := range b.Keys {
			if id, err := strconv.Atoi(key); err != nil || id != next {
				t.Fatalf("row %s comes, want %d; %d are acknowledged (seed %d)", key, next, acked, *canalSeed)
			}
			next++
		}
		if b.ID != -1 {
			out = append(out, b)
		}
		for len(out) > 0 && random.IntN(3) > 0 {
			c.do(fmt.Sprintf("ack %d", out[0].ID))
			acked += len(out[0].Keys)
			out = out[1:]
		}
		switch what := random.IntN(60); {
		case what < 6:
			c.do("rollback")
			rollbacks++
		case what == 6: // the last acknowledgements may not have arrived
			c.Kill()
			kills++
			c = startJava(t)
			c.do(n.connector(), "connect", "subscribe -")
			b := c.do("keys 1 2000")
			if len(b.Keys) == 0 && b.ID != -1 { // a BEGIN
				b = join(b, c.do("keys 1 2000"))
			}
			first := next
			if len(b.Keys) > 0 {
				first, _ = strconv.Atoi(b.Keys[0])
			}
			if first > acked+1 || first < acked+1-5000 {
				t.Fatalf("after a kill row %d comes, and %d were acknowledged (seed %d)", first, acked, *canalSeed)
			}
			c.do("rollback")
			acked = first - 1
		default:
			continue
		}
		again += next - 1 - acked
		out, next = nil, acked+1
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if kills == 0 || rollbacks == 0 {
		t.Errorf("%d kills and %d rollbacks: the test says nothing", kills, rollbacks)
	}
	t.Logf("%d rows, %d kills of the client, %d rollbacks, %d rows again", acked, kills, rollbacks, again)
}

func join(a, b canalBatch) canalBatch {
	b.Keys = append(a.Keys, b.Keys...)
	return b
}

// writeRows writes rows in order, in transactions of all sizes, some of them with rows of another table.
func writeRows(db *component.MySQL, rows int) error {
	conn, err := db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	random := rand.New(rand.NewPCG(7, 7))
	for id, tx := 1, 0; id <= rows; tx++ {
		size := min(rows-id+1, 1+random.IntN([]int{3, 40, 400, 3000}[tx%4]))
		if _, err := conn.Execute("BEGIN"); err != nil {
			return err
		}
		for end := id + size; id < end; {
			statement := "INSERT INTO shop.t VALUES "
			for n := min(end-id, 200); n > 0; n-- {
				statement += fmt.Sprintf("(%d, 'row %d'),", id, id)
				id++
			}
			if _, err := conn.Execute(statement[:len(statement)-1]); err != nil {
				return err
			}
		}
		if tx%3 == 0 {
			if _, err := conn.Execute(fmt.Sprintf("INSERT INTO shop.other VALUES (%d)", tx)); err != nil {
				return err
			}
		}
		if _, err := conn.Execute("COMMIT"); err != nil {
			return err
		}
	}
	return nil
}

// TestCanalCluster has a client with the addresses of three nodes follow the leader when that is killed and when it is stopped: no row is lost.
func TestCanalCluster(t *testing.T) {
	db := ownServer(t)
	exec(t, db, "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(100))", "CREATE TABLE shop.other (id INT PRIMARY KEY)")
	section := func(address string) string {
		return fmt.Sprintf("[canal_server]\nlisten = %q\nuser = \"canal\"\npasswd = %q\n", address, canalPassword)
	}
	const token = "a token for the nodes of this test"
	var nodes []*harness.Node
	var addresses string
	for i := range 3 {
		address := freeAddress(t)
		text := section(address) + "[cluster]\ntoken = \"" + token + "\"\n"
		if i == 0 {
			text += fmt.Sprintf("[source.shop]\naddr = %q\nuser = \"root\"\n", db.Addr())
		} else {
			text += fmt.Sprintf("join = [%q]\n", nodes[0].Address)
			addresses += ","
		}
		addresses += address
		node, err := harness.New(filepath.Join(t.TempDir(), fmt.Sprint("n", i+1)), "")
		if err != nil {
			t.Fatal(err)
		}
		node.Name = fmt.Sprint("n", i+1)
		if err := node.Configure(text); err != nil {
			t.Fatal(err)
		}
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the end of %s's log:\n%s", node.Name, node.LogTail(20))
			}
			node.Kill()
		})
		nodes = append(nodes, node)
		awaits(t, "the nodes vote", func() error {
			r, err := nodes[0].Status(t.Context())
			if err != nil {
				return err
			}
			if len(r.Nodes) != i+1 || r.Leader == "" {
				return fmt.Errorf("%d nodes, leader %q", len(r.Nodes), r.Leader)
			}
			for _, n := range r.Nodes {
				if !n.Votes {
					return fmt.Errorf("%s has no vote", n.Name)
				}
			}
			return nil
		})
	}
	c := startJava(t)
	c.do(fmt.Sprintf("cluster %s shop canal %s", addresses, canalPassword), "retry 30 200", "connect", "subscribe shop\\.t")
	written := make(chan error, 1)
	const rows = 6000
	go func() { written <- writeRows(db, rows) }()
	next, highest, switches, again := 1, 0, 0, 0
	deadline := time.Now().Add(2 * time.Minute)
	for highest < rows {
		if time.Now().After(deadline) {
			t.Fatalf("only %d rows come in two minutes", highest)
		}
		answer, err := c.Do("keys 16 100")
		var thrown *component.CanalError
		if errors.As(err, &thrown) { // the connector has given up; the application begins anew
			t.Logf("%.200s", err)
			c.Do("disconnect")
			c.Do("connect")
			c.Do("subscribe shop\\.t")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var b canalBatch
		if err := json.Unmarshal(answer, &b); err != nil {
			t.Fatal(err)
		}
		for _, key := range b.Keys {
			id, _ := strconv.Atoi(key)
			if id > next {
				t.Fatalf("row %d comes, want at most %d", id, next)
			}
			if id <= highest {
				again++
			}
			next, highest = id+1, max(highest, id)
		}
		if b.ID != -1 {
			if _, err := c.Do(fmt.Sprintf("ack %d", b.ID)); err != nil {
				continue
			}
		}
		if highest > rows*(switches+1)/3 && switches < 2 {
			leader := leaderOf(t, nodes)
			end := leader.Kill
			if switches == 1 {
				end = leader.Stop
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if err := leader.Start(); err != nil {
				t.Fatal(err)
			}
			switches++
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if switches < 2 {
		t.Errorf("%d switches of the leader, want 2", switches)
	}
	t.Logf("%d rows over %d switches of the leader, %d of them again", highest, switches, again)
}

// leaderOf returns the node that leads, as soon as one does.
func leaderOf(t *testing.T, nodes []*harness.Node) (leader *harness.Node) {
	t.Helper()
	awaits(t, "a leader", func() error {
		for _, n := range nodes {
			if r, err := n.Status(t.Context()); err == nil && r.Leader == r.Node && r.Node != "" {
				leader = n
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

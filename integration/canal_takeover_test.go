//go:build integration

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestCanalTakeovers has a Java canal server and three nodes hand a destination over in both directions, under load, while one Java client
// that finds servers in the ensemble reads and acknowledges. It misses no row, whoever serves it.
func TestCanalTakeovers(t *testing.T) {
	const name, filter = "ztakeover", `ztakeover\.t`
	// The Java programs ask for sessions of 90 s.
	own, err := component.StartZooKeeper(t.Context(), filepath.Join(t.TempDir(), "zookeeper"),
		component.ZooKeeperOptions{Members: 1, Settings: map[string]string{"maxSessionTimeout": "6000"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Kill() })
	k := newKeeperOn(t, own, name, oracle.WorkloadConfig{}, 4*time.Second, nil, func(k *keeper) string {
		addresses, err := harness.FreeAddresses(3)
		k.must(err)
		k.each = func(number int) string { return fmt.Sprintf("[canal_server]\nlisten = %q\n\n", addresses[number-1]) }
		// The same address as the Java servers are given, as in TestBesideCanal.
		return fmt.Sprintf("[source.shop]\naddr = %q\nuser = %q\npassword = %q\nschema = %q\n\n", k.db.Addr(), component.CanalgoUser, component.CanalgoPassword, name)
	})
	k.must(k.db.Exec("CREATE TABLE ztakeover.t (id INT PRIMARY KEY, note VARCHAR(20))"))
	end, err := k.db.LogEnd()
	k.must(err)
	ensemble := strings.Join(k.ensemble.Servers(), ",") + k.chroot
	options := component.CanalOptions{ZooKeeper: ensemble, Destination: "shop", MySQL: k.db, Tables: filter, Start: end, Unread: true}
	k.makeChroot()
	java := k.startCanal(options)
	reader := k.startReader(ensemble, filter)
	rows := &numbered{db: k.db, table: name + ".t"}
	stop := k.run(rows.insert)
	reader.follows("the first Java server", rows)

	again := 0
	took := func(round int, who string, ended time.Time, mark int) {
		t.Helper()
		reader.follows(who, rows)
		repeats := reader.repeats(mark)
		again += repeats
		t.Logf("round %d: %s serves %s after the other one ended, %d rows again", round+1, who, time.Since(ended).Round(time.Millisecond), repeats)
	}
	const reads = 3 * time.Second // how long a server reads at least; both kinds write the cursor each second
	rounds := often(1, 10)
	for round := range rounds {
		k.startAll()
		k.awaitReport("a source that the Java server has", func(r status.Report) bool {
			return len(r.Nodes) == 3 && len(r.Sources) == 1 && r.Sources[0].State == status.SourceElsewhere && r.Sources[0].HeldBy == java.Address()
		})
		k.last("what canalgo must not disturb", reads)
		k.noErrors(java)

		mark := reader.mark()
		reader.follows("the Java server", rows)
		k.last("reading by the Java server", reads)
		k.must(java.Kill())
		at := time.Now()
		k.awaitReport("a source that canalgo has", func(r status.Report) bool { return len(r.Sources) == 1 && r.Sources[0].State == status.SourceStreaming })
		took(round, "canalgo", at, mark)

		java = k.startCanal(options)
		mark = reader.mark()
		reader.follows("canalgo", rows)
		k.last("reading by canalgo", reads)
		for _, n := range k.cluster.Nodes { // all die in one round and stop in order in the next
			ends := n.Kill
			if round%2 == 1 {
				ends = n.Stop
			}
			k.must(ends())
		}
		at = time.Now()
		took(round, "the Java server", at, mark)
		k.noErrors(java)
	}
	stop()
	reader.await("the last row", rows.count())
	k.noErrors(java)
	t.Logf("%d rows, none lost, %d of them again, the client began anew %d times", rows.count(), again, reader.restarts())
	play(t, "%d takeovers of a destination from Java and as many by Java, %d rows, none lost, %d again", rounds, rows.count(), again)
}

// A numbered table gets rows with rising numbers from 1.
type numbered struct {
	db    *component.MySQL
	table string

	mu   sync.Mutex
	last int
}

// insert inserts one to four rows at a time until ctx ends.
func (n *numbered) insert(ctx context.Context) error {
	conn, err := n.db.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for last := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		var values []string
		for range 1 + last%4 {
			last++
			values = append(values, fmt.Sprintf("(%d, 'row')", last))
		}
		if _, err := conn.Execute("INSERT INTO " + n.table + " VALUES " + strings.Join(values, ", ")); err != nil {
			return err
		}
		n.mu.Lock()
		n.last = last
		n.mu.Unlock()
	}
}

// count is the number of the last row that was inserted.
func (n *numbered) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// A numberReader is a Java client that reads the numbers, and wants each one in its turn or again.
type numberReader struct {
	k *keeper

	mu      sync.Mutex
	highest int // that has come
	acked   int // the highest one of a batch that was acknowledged
	next    int // that has to come now, at most
	lowest  int // that came again since the mark; 0 is none
	again   int // rows since the mark
	anew    int
	over    bool // it has ended, for an error
}

// startReader starts a client that finds the server of destination shop in the ensemble. A gap in the numbers fails the test.
func (k *keeper) startReader(ensemble, filter string) *numberReader {
	k.t.Helper()
	client, err := component.StartCanalClient(k.starting(), filepath.Join(k.t.TempDir(), "java.log"))
	k.must(err)
	r := &numberReader{k: k, next: 1}
	begin := []string{"connect", "subscribe " + filter}
	for _, line := range append([]string{fmt.Sprintf("zookeeper %s shop - -", ensemble), "retry 100 200"}, begin...) {
		_, err := client.Do(line)
		k.must(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.read(ctx, client, begin); err != nil && ctx.Err() == nil {
			k.t.Errorf("the Java client: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.over = true
	}()
	k.t.Cleanup(func() {
		cancel()
		client.Kill()
		<-done
	})
	return r
}

func (r *numberReader) read(ctx context.Context, client *component.CanalClient, begin []string) error {
	for ctx.Err() == nil {
		err := r.batch(client)
		var thrown *component.CanalError
		if !errors.As(err, &thrown) {
			if err != nil {
				return err
			}
			continue
		}
		r.mu.Lock() // the connector has given up; the application begins anew
		r.anew++
		r.mu.Unlock()
		for _, line := range append([]string{"disconnect"}, begin...) {
			if _, err := client.Do(line); err != nil && !errors.As(err, &thrown) {
				return err
			}
		}
	}
	return nil
}

// batch gets a batch and acknowledges it.
func (r *numberReader) batch(client *component.CanalClient) error {
	answer, err := client.Do("keys 100 100")
	if err != nil {
		return err
	}
	var b struct {
		ID   int64    `json:"id"`
		Keys []string `json:"keys"`
	}
	if err := json.Unmarshal(answer, &b); err != nil {
		return err
	}
	if err := r.note(b.Keys); err != nil || b.ID == -1 {
		return err
	}
	if _, err := client.Do(fmt.Sprintf("ack %d", b.ID)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = max(r.acked, r.next-1)
	return nil
}

func (r *numberReader) note(keys []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		id, err := strconv.Atoi(key)
		if err != nil {
			return err
		}
		if id > r.next {
			return fmt.Errorf("row %d comes, want at most %d: rows are lost", id, r.next)
		}
		if id <= r.highest {
			r.again++
			if r.lowest == 0 || id < r.lowest {
				r.lowest = id
			}
		}
		r.next, r.highest = id+1, max(r.highest, id)
	}
	return nil
}

// await waits until a row has come.
func (r *numberReader) await(what string, id int) {
	r.k.t.Helper()
	over := false
	r.k.await(what, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if over = r.over; !over && r.highest < id {
			return fmt.Errorf("%d rows have come, want %d", r.highest, id)
		}
		return nil
	})
	if over {
		r.k.t.FailNow() // the reader has said why
	}
}

// follows waits until a row has come that was not there yet when it was called.
func (r *numberReader) follows(whom string, rows *numbered) {
	r.k.t.Helper()
	r.await("new rows by "+whom, rows.count()+1)
}

// mark begins to count what comes again, and returns the last row that was acknowledged.
func (r *numberReader) mark() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lowest, r.again = 0, 0
	return r.acked
}

// repeats is how many rows have come again since the mark. None of them may lie before it: the cursor has moved on since.
func (r *numberReader) repeats(mark int) int {
	r.k.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lowest != 0 && r.lowest < mark {
		r.k.t.Errorf("row %d has come again, %d was acknowledged some seconds before the takeover", r.lowest, mark)
	}
	return r.again
}

func (r *numberReader) restarts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.anew
}

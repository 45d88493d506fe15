//go:build integration

package integration_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"canalgo/integration/component"
	"canalgo/integration/oracle"
	"canalgo/status"
)

// TestBesideCanal has a Java canal server and a cluster share a destination. Canalgo waits while the Java server reads; that is killed,
// and canalgo goes on at its cursor; canalgo stops, and another Java server goes on at canalgo's. Each row comes to one or the other.
func TestBesideCanal(t *testing.T) {
	const name = "zbeside"
	k := newKeeperOf(t, name, oracle.WorkloadConfig{}, 4*time.Second, nil, func(k *keeper) string {
		// The same address as the Java servers are given, without a proxy: else a cursor is one of another server.
		source := fmt.Sprintf("[source.shop]\naddr = %q\nuser = %q\npassword = %q\nschema = %q\n\n", k.db.Addr(), component.CanalgoUser, component.CanalgoPassword, name)
		return source + k.destination() + k.mapping(name, "", "select id as _id, note from beside")
	})
	k.must(k.db.Exec("CREATE TABLE zbeside.beside (id INT PRIMARY KEY, note VARCHAR(20))"))
	end, err := k.db.LogEnd()
	k.must(err)
	options := component.CanalOptions{ZooKeeper: strings.Join(k.ensemble.Servers(), ",") + k.chroot, Destination: "shop", MySQL: k.db,
		Tables: `zbeside\.beside`, Start: end}
	rows := 0
	insert := func() (from, to int) {
		t.Helper()
		from = rows
		for range 50 {
			k.must(k.db.Exec(fmt.Sprintf("INSERT INTO zbeside.beside VALUES (%d, 'row')", rows)))
			rows++
		}
		return from, rows
	}
	indexed := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			k.document(strconv.Itoa(i), func(_ component.Document, there bool) bool { return there })
		}
	}

	k.makeChroot()
	java := k.startCanal(options)
	k.got(java, insert)
	k.startAll()
	k.awaitReport("a source that the Java server has", func(r status.Report) bool {
		return len(r.Nodes) == 3 && len(r.Sources) == 1 && r.Sources[0].State == status.SourceElsewhere && r.Sources[0].HeldBy == java.Address()
	})
	beside := time.Duration(often(8, 600)) * time.Second // longer than anything may be stuck
	for end := time.Now().Add(beside); time.Now().Before(end); {
		k.got(java, insert)
	}
	report, err := k.cluster.Status(context.Background())
	k.must(err)
	if !report.Healthy {
		t.Errorf("a source that another one reads is a problem: %v", report.Problems)
	}
	k.noErrors(java)
	play(t, "%s beside a Java server that reads, %d rows, no error of it", beside, rows)

	k.must(java.Kill())
	from, to := insert()
	indexed(from, to)
	if k.has("10") {
		t.Error("canalgo has read before the Java server's cursor")
	}

	second := k.startCanal(options)
	from, to = insert()
	indexed(from, to)
	k.last("the last write of the cursor", 2*time.Second)
	for _, n := range k.cluster.Nodes {
		k.must(n.Stop())
	}
	k.got(second, insert)
	for _, row := range second.Rows() {
		if id, err := strconv.Atoi(row); err != nil || id < to-1 {
			t.Errorf("the second Java server got row %s, canalgo had acknowledged %d", row, to-1)
		}
	}
	k.noErrors(second)
}

// startAll starts the nodes, which need not have a source that they can read. The first one, whose file has the sections, makes the cluster.
func (k *keeper) startAll() {
	k.t.Helper()
	for _, n := range k.cluster.Nodes {
		k.must(n.Start())
		k.await("the cluster", func() error {
			report, err := n.Status(context.Background())
			if err == nil && report.Leader == "" {
				err = fmt.Errorf("%s knows no leader", n.Name)
			}
			return err
		})
	}
}

// makeChroot makes the znode that a Java server expects to be there.
func (k *keeper) makeChroot() {
	k.t.Helper()
	conn, _, err := zk.Connect(k.ensemble.Servers(), 10*time.Second, zk.WithLogInfo(false))
	k.must(err)
	defer conn.Close()
	_, err = conn.Create(k.chroot, nil, 0, zk.WorldACL(zk.PermAll))
	k.must(err)
}

// has reports whether there is a document.
func (k *keeper) has(id string) bool {
	k.t.Helper()
	_, found, err := k.es.Get(context.Background(), k.name, id)
	k.must(err)
	return found
}

// got inserts rows and waits until a Java server's client has all of them.
func (k *keeper) got(server *component.CanalServer, insert func() (from, to int)) {
	k.t.Helper()
	from, to := insert()
	k.await("rows at the Java client", func() error {
		rows := server.Rows()
		for i := from; i < to; i++ {
			if !slices.Contains(rows, strconv.Itoa(i)) {
				return fmt.Errorf("row %d of %d to %d is missing, there are %d", i, from, to, len(rows))
			}
		}
		return nil
	})
}

func (k *keeper) noErrors(server *component.CanalServer) {
	k.t.Helper()
	if errs := server.Errors(); len(errs) > 0 {
		k.t.Errorf("the Java server says\n%s", strings.Join(errs, "\n"))
	}
}

func (k *keeper) startCanal(o component.CanalOptions) *component.CanalServer {
	k.t.Helper()
	server, err := component.StartCanal(k.starting(), filepath.Join(k.t.TempDir(), "canal"), o)
	k.must(err)
	k.t.Cleanup(func() {
		if k.t.Failed() {
			k.t.Logf("the end of a Java server's log:\n%s", server.LogTail(40))
		}
		_ = server.Kill()
	})
	return server
}

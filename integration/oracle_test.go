//go:build integration

package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
	"canalgo/status"
)

var seed = flag.Uint64("seed", 0, "of the random workloads; 0 draws one")

// servers are the MySQL, the Elasticsearch and the ZooKeeper that the tests of one run share, each test with a schema and an index of its
// own. The tests run one after the other.
var servers struct {
	db func() (*component.MySQL, error)
	es func() (*component.Elasticsearch, error)
	zk func() (*component.ZooKeeper, error)
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "canalgo-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		var ends []func() error
		servers.db = sync.OnceValues(func() (*component.MySQL, error) {
			db, err := component.StartMySQL(context.Background(), filepath.Join(dir, "mysql"))
			if err == nil {
				ends = append(ends, db.Kill)
			}
			return db, err
		})
		servers.es = sync.OnceValues(func() (*component.Elasticsearch, error) {
			es, err := component.StartElasticsearch(context.Background(), filepath.Join(dir, "elasticsearch"), component.ElasticsearchOptions{})
			if err == nil {
				ends = append(ends, es.Kill)
			}
			return es, err
		})
		servers.zk = sync.OnceValues(func() (*component.ZooKeeper, error) {
			zk, err := component.StartZooKeeper(context.Background(), filepath.Join(dir, "zookeeper"),
				component.ZooKeeperOptions{Settings: map[string]string{"maxSessionTimeout": "15000"}})
			if err == nil {
				ends = append(ends, zk.Kill)
			}
			return zk, err
		})
		defer func() {
			for _, end := range ends {
				if err := end(); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}()
		defer printPlayed()
		return m.Run()
	}())
}

// A rig is canalgo between the shared servers, with one mapping: of a workload's table, unless sections says otherwise.
type rig struct {
	t     *testing.T
	name  string // of the schema and the index
	db    *component.MySQL
	es    *component.Elasticsearch
	proxy *proxy.Elastic // in front of Elasticsearch
	mysql *proxy.TCP     // in front of MySQL
	work  *oracle.Workload
	node  *harness.Node // not started; nil in a cluster
	on    system        // the node, or the cluster
}

// A system is one canalgo, or a cluster of them.
type system interface {
	oracle.Reporter
	Wait(ctx context.Context, what string, is func(status.Report) bool) (status.Report, error)
	Command(ctx context.Context, args ...string) (harness.Output, error)
	LogTail(lines int) string
}

// within bounds what a test waits for. It is long, because nothing takes it when all is well.
const within = 2 * time.Minute

func newRig(t *testing.T, name string, options oracle.WorkloadConfig, load string) *rig {
	t.Helper()
	db, err := servers.db()
	if err != nil {
		t.Fatal(err)
	}
	return newRigOn(t, db, name, options, load)
}

// newRigOn is a rig with a database server of its own.
func newRigOn(t *testing.T, db *component.MySQL, name string, options oracle.WorkloadConfig, load string) *rig {
	t.Helper()
	r := newServersOn(t, db, name, options, "127.0.0.1:0")
	var err error
	if r.node, err = harness.New(filepath.Join(t.TempDir(), "canalgo"), r.sections(load)); err != nil {
		t.Fatal(err)
	}
	r.on = r.node
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of canalgo's log:\n%s", r.node.LogTail(60))
		}
		if r.node.PID() != 0 {
			r.must(r.node.Kill())
		}
	})
	return r
}

// newServers is a rig without a canalgo; the proxies listen where listen says.
func newServers(t *testing.T, name string, options oracle.WorkloadConfig, listen string) *rig {
	t.Helper()
	db, err := servers.db()
	if err != nil {
		t.Fatal(err)
	}
	return newServersOn(t, db, name, options, listen)
}

func newServersOn(t *testing.T, db *component.MySQL, name string, options oracle.WorkloadConfig, listen string) *rig {
	t.Helper()
	r := &rig{t: t, name: name, db: db}
	t.TempDir() // whatever folder comes below it is there until all that follows is cleaned up
	t.Cleanup(func() { r.must(harness.AllLeaks()) })
	var err error
	if r.es, err = servers.es(); err != nil {
		t.Fatal(err)
	}
	if r.proxy, err = proxy.NewElasticOn(listen, r.es.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.proxy.Close() })
	if r.mysql, err = proxy.NewTCPOn(listen, r.db.Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.mysql.Close() })
	options.Table = name + ".acc"
	options.Seed = *seed
	t.Logf("seed %d", options.Seed)
	if r.work, err = oracle.NewWorkload(r.db, options); err != nil {
		t.Fatal(err)
	}
	r.must(r.work.Create())
	t.Cleanup(func() {
		r.must(r.db.Exec("DROP DATABASE " + name))
		r.must(r.es.DeleteIndex(context.Background(), name))
	})
	return r
}

// sections is the file; the bulks of the sink are small, so that there are many.
func (r *rig) sections(load string) string {
	return r.endpoints() + r.mapping(r.name, load, r.work.SQL())
}

func (r *rig) endpoints() string { return r.source("shop", r.name) + r.destination() }

func (r *rig) source(name, schema string) string {
	return fmt.Sprintf("[source.%s]\naddr = %q\nuser = %q\npassword = %q\nschema = %q\n\n", name, r.mysql.Addr(), component.CanalgoUser, component.CanalgoPassword, schema)
}

func (r *rig) destination() string {
	return fmt.Sprintf(`[sink.es]
type = "elasticsearch"
addresses = [%q]
user = %q
password = %q
bulk_docs = 500
replicas = 0
`, r.proxy.URL(), component.CanalgoUser, component.ElasticPassword)
}

func (r *rig) mapping(name, load, sql string) string {
	return fmt.Sprintf("\n[mapping.%s]\nsource = \"shop\"\nsink = \"es\"\nload = %q\n_index = %q\nsql = %q\n", name, load, name, sql)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// await polls until check returns nil.
func (r *rig) await(what string, check func() error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := harness.Poll(ctx, check); err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

// awaitReport polls the status until ok says so.
func (r *rig) awaitReport(what string, ok func(status.Report) bool) status.Report {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	report, err := r.on.Wait(ctx, what, ok)
	r.must(err)
	return report
}

// start starts canalgo and waits until it follows the source.
func (r *rig) start() {
	r.t.Helper()
	r.must(r.node.Start())
	r.awaitReport("the stream", following)
}

// following reports whether all sources are read and all streams have a position.
func following(report status.Report) bool {
	for _, d := range report.Duties {
		if d.Kind == "stream" && (d.Position == "" || d.Stage == status.Waiting) {
			return false
		}
	}
	return report.Connected() && len(report.Duties) > 0
}

// run runs a function in the background until the returned function is called; its error fails the test.
func (r *rig) run(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		r.t.Helper()
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// sample watches the hot keys and the positions until the returned function is called, which judges.
func (r *rig) sample() (judge func()) {
	_, judge = r.sampler()
	return judge
}

// sampler is sample, with who looks: at the saved positions of the cluster that is there now.
func (r *rig) sampler() (s *oracle.Sampler, judge func()) {
	s = &oracle.Sampler{Elasticsearch: r.es, Index: r.name, IDs: r.work.HotIDs(), Node: r.on, Ledger: r.work.Ledger()}
	stop := r.run(s.Run)
	return s, func() {
		r.t.Helper()
		stop()
		if err := s.Err(); err != nil {
			r.t.Error(err)
		}
	}
}

// quiet waits until everything is written; all writers have been stopped.
func (r *rig) quiet() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r.must(oracle.Quiet(ctx, r.db, r.on))
}

func (r *rig) compare() oracle.Result {
	r.t.Helper()
	result, err := oracle.Pair{SQL: r.work.SQL(), Index: r.name}.Compare(context.Background(), r.db, r.es)
	r.must(err)
	return result
}

// equal waits for quiet and then wants every row equal to its document.
func (r *rig) equal() {
	r.t.Helper()
	r.quiet()
	result := r.compare()
	if err := result.Err(); err != nil {
		r.t.Error(err)
	}
	report, err := r.on.Status(context.Background())
	r.must(err)
	if report.Quarantine != 0 {
		r.t.Errorf("%d documents are set aside: %s", report.Quarantine, r.command(0, "quarantine", "ls"))
	}
	if r.node != nil {
		r.must(r.node.Leaks(context.Background()))
	}
	r.t.Logf("%d rows, %d documents; %d transactions, %d rows changed; proxy: %+v", result.Rows, result.Documents, r.work.Transactions(), r.work.Rows(), r.proxy.Stats())
}

// progress waits until Elasticsearch has acknowledged n more items.
func (r *rig) progress(n int) {
	r.t.Helper()
	goal := r.proxy.Stats().Acknowledged + n
	r.await("progress", func() error {
		if now := r.proxy.Stats().Acknowledged; now < goal {
			return fmt.Errorf("%d of %d items are written; the end of the log:\n%s", now, goal, r.on.LogTail(5))
		}
		return nil
	})
}

// caught waits until the proxy holds a request.
func (r *rig) caught(h *proxy.Hold) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r.must(h.Wait(ctx))
}

// document waits until a document is as ok says.
func (r *rig) document(id string, ok func(doc component.Document, found bool) bool) component.Document {
	r.t.Helper()
	var last component.Document
	r.await("document "+id, func() error {
		doc, found, err := r.es.Get(context.Background(), r.name, id)
		if err != nil {
			return err
		}
		if !ok(doc, found) {
			return fmt.Errorf("found %v: version %d %s", found, doc.Version, doc.Source)
		}
		last = doc
		return nil
	})
	return last
}

// command runs a command of canalgo, which must end with the code.
func (r *rig) command(code int, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	out, err := r.on.Command(ctx, args...)
	r.must(err)
	if out.Code != code {
		r.t.Fatalf("canalgo %s ended with %d, want %d:\n%s%s", strings.Join(args, " "), out.Code, code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// TestLateWrite holds a write back until a newer one of the same document is there. The version of the late one refuses
// it; without versions the oracle sees what it has done.
func TestLateWrite(t *testing.T) {
	for _, c := range []struct {
		name  string
		strip bool
	}{{"late_versions", false}, {"late_stripped", true}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.name, oracle.WorkloadConfig{}, "")
			r.proxy.StripVersions(c.strip)
			r.start()
			r.must(r.work.Fill(t.Context(), 10))
			r.equal()

			hold := r.proxy.HoldBefore()
			r.must(r.db.Exec("UPDATE " + r.name + ".acc SET ver = ver + 1, note = 'late' WHERE id = 7"))
			r.caught(hold)
			r.must(r.node.Kill())
			r.must(r.db.Exec("UPDATE " + r.name + ".acc SET ver = ver + 1, note = 'newest' WHERE id = 7"))
			r.start()
			r.document("7", func(doc component.Document, _ bool) bool { return strings.Contains(string(doc.Source), "newest") })
			r.quiet()
			hold.Release()
			r.await("the late write", func() error {
				if s := r.proxy.Stats(); s.InFlight > 0 {
					return fmt.Errorf("%d requests are under way", s.InFlight)
				}
				return nil
			})

			err := r.compare().Err()
			switch {
			case !c.strip && err != nil:
				t.Errorf("with versions: %v", err)
			case c.strip && err == nil:
				t.Error("without versions the late write did no harm, or the oracle did not see it")
			case c.strip && !strings.Contains(err.Error(), "document 7 ") || c.strip && !strings.Contains(err.Error(), "ver is"):
				t.Errorf("the oracle does not name document and field: %v", err)
			}
		})
	}
}

// TestOracleSees plants each kind of difference into an index that is equal.
func TestOracleSees(t *testing.T) {
	r := newRig(t, "sees", oracle.WorkloadConfig{}, "initial")
	r.must(r.work.Fill(t.Context(), 100))
	r.start()
	r.equal()
	for _, c := range []struct {
		method, path, body string
		want               string
	}{
		{http.MethodPut, "/sees/_doc/999", `{"id":999}`, "document 999 (version 1) belongs to no row"},
		{http.MethodDelete, "/sees/_doc/999", "", ""},
		{http.MethodDelete, "/sees/_doc/42", "", "document 42 is missing"},
		{http.MethodPost, "/sees/_update/43", `{"doc":{"bal":0.001}}`, "document 43"},
		{http.MethodPost, "/sees/_update/44", `{"doc":{"more":null}}`, "more is null, the row has no such column"},
		{http.MethodPut, "/sees/_doc/45", `{"id":45}`, "ver is not there"},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		if _, err := r.es.Request(t.Context(), c.method, c.path, body); err != nil {
			t.Fatal(err)
		}
		err := r.compare().Err()
		if c.want == "" {
			r.must(err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s %s: %v, want %q", c.method, c.path, err, c.want)
		}
	}
	if _, err := (oracle.Pair{SQL: r.work.SQL(), Index: "no-such-index"}).Compare(t.Context(), r.db, r.es); err == nil {
		t.Error("an index that is not there is equal")
	}
	var refused *component.StatusError
	if err := r.es.Refresh(t.Context(), "no-such-index"); !errors.As(err, &refused) {
		t.Errorf("refresh of no index: %v", err)
	}
}

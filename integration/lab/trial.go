package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/harness"
	"canalgo/integration/oracle"
	"canalgo/integration/proxy"
	"canalgo/status"
)

// A trial is what is new for each schedule: a cluster, its table, its indices, and the proxies before the servers.
type trial struct {
	lab     *Lab
	name    string // of the table and the first index
	dir     string
	indices []string
	cluster *harness.Cluster
	nodes   []*harness.Node // of the start; one may join
	mysql   *proxy.TCP
	elastic *proxy.Elastic
	ports   []*proxy.TCP            // before each host's node port
	ways    []*proxy.TCP            // to the ensemble
	wayOf   [nodes + 1][]*proxy.TCP // of them, each node's, by its number
	work    *oracle.Workload
	beat    *beat // when asked for
	visits  oracle.Visits
	holds   oracle.Confirmations // what Elasticsearch has
	late    int                  // requests begun after a lease

	mu       sync.Mutex
	random   *rand.Rand
	mode     Mode
	tls      bool            // between the nodes and MySQL
	strip    bool            // no version reaches Elasticsearch
	taken    map[string]bool // what a fault has in its hands
	touched  map[string]bool // nodes whose requests may arrive late
	excused  map[*harness.Node]bool
	report   status.Report // the newest
	request  func(*http.Request) int
	straggle map[string]time.Duration // how long a host's bulks are held back
	sampler  *oracle.Sampler
	outcome  Outcome
}

const schema = "lab"

// trialOptions are what a kind of trial needs otherwise.
type trialOptions struct {
	mode   Mode // Raft when it is empty
	direct bool // the nodes reach each other without proxies
	load   bool // there are rows before the start
	strip  bool // no version reaches Elasticsearch
	tls    bool // to MySQL
	beat   bool
	work   oracle.WorkloadConfig
}

// newTrial starts a cluster that follows a table of its own, which is mapped three times, so that each node has a duty.
func (l *Lab) newTrial(ctx context.Context, seed uint64, o trialOptions) (_ *trial, err error) {
	l.trials++
	t := &trial{lab: l, name: fmt.Sprintf("t%d", l.trials), random: rand.New(rand.NewPCG(seed, 2)),
		taken: make(map[string]bool), excused: make(map[*harness.Node]bool), straggle: make(map[string]time.Duration)}
	t.mode, t.tls, t.strip, t.touched = o.mode, o.tls, o.strip, make(map[string]bool)
	t.outcome.Faults = make(map[string]int)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("begin a trial: %w", err), t.end(true))
		}
	}()
	if t.dir, err = os.MkdirTemp(l.dir, fmt.Sprintf("seed-%d-", seed)); err != nil {
		return nil, err
	}
	if t.mysql, err = proxy.NewTCPOn(l.net.Server(0)+":0", l.db.Addr()); err != nil {
		return nil, err
	}
	if t.elastic, err = proxy.NewElasticOn(l.net.Server(1)+":0", l.es.URL()); err != nil {
		return nil, err
	}
	t.elastic.StripVersions(o.strip)
	t.elastic.FailRequests(t.answerRequest)
	t.elastic.DelayBulks(t.delay)
	t.elastic.WatchConfirmed(func(i proxy.Item) { t.holds.Note(i.Index, i.ID, i.Version) })
	for host := 1; host <= hosts && !o.direct; host++ {
		p, err := proxy.NewTCPOn(l.net.Between()+":0", nodePort(l.net, host))
		if err != nil {
			return nil, err
		}
		t.ports = append(t.ports, p)
	}
	o.work.Table, o.work.Seed = schema+"."+t.name, seed
	if t.work, err = oracle.NewWorkload(l.db, o.work); err != nil {
		return nil, err
	}
	if err := t.work.Create(); err != nil {
		return nil, err
	}
	if o.beat {
		t.beat = &beat{db: l.db, es: l.es, table: t.name + "_beat"}
		if err := t.beat.create(); err != nil {
			return nil, err
		}
	}
	if o.load {
		if err := t.work.Fill(ctx, 2000); err != nil {
			return nil, err
		}
	}
	if o.mode == ZooKeeper {
		if err := l.ensemble(ctx); err != nil {
			return nil, err
		}
		t.cluster, err = harness.NewZooKeeper(t.dir, nodes, t.sections(o), t.coordinate, t.place)
	} else {
		t.cluster, err = harness.NewClusterAt(t.dir, nodes, t.sections(o), t.place)
	}
	if err != nil {
		return nil, err
	}
	t.nodes = t.cluster.Nodes
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := t.cluster.Start(starting); err != nil {
		return nil, err
	}
	_, err = t.cluster.Wait(starting, "the streams", func(r status.Report) bool {
		for _, d := range r.Duties {
			if d.Kind == "stream" && d.Position == "" {
				return false
			}
		}
		return r.Connected()
	})
	return t, err
}

// patience bounds what is waited for. Nothing takes it when all is well.
const patience = 2 * time.Minute

func nodePort(n *component.Network, host int) string { return n.Inner(host) + ":8112" }

// place says where a cluster's node of some number runs: those that join later take the last host in turn.
func (t *trial) place(number int) *harness.Place {
	host := min(number, hosts)
	p := &harness.Place{HTTP: t.lab.net.Outer(host) + ":8111", Port: nodePort(t.lab.net, host), Within: t.lab.net.Within(host)}
	if t.ports != nil {
		p.Advertise = t.ports[host-1].Addr()
	}
	return p
}

func (t *trial) sections(o trialOptions) string {
	load, tls := "", "off"
	if o.load {
		load = "initial"
	}
	if o.tls {
		tls = "required"
	}
	text := fmt.Sprintf(`[source.shop]
addr = %q
user = %q
password = %q
tls = { mode = %q }

[sink.es]
type = "elasticsearch"
addresses = [%q]
bulk_docs = 200
timeout = "3s"
replicas = 0
`, t.mysql.Addr(), component.CanalgoUser, component.CanalgoPassword, tls, t.elastic.URL())
	mapping := func(index, sql string) {
		text += fmt.Sprintf("\n[mapping.%s]\nsource = \"shop\"\nsink = \"es\"\nload = %q\n_index = %q\nsql = %q\n", index, load, index, sql)
	}
	for _, index := range []string{t.name, t.name + "_2", t.name + "_3"} {
		t.indices = append(t.indices, index)
		mapping(index, t.work.SQL())
	}
	if t.beat != nil {
		mapping(t.beat.table, t.beat.sql())
	}
	return text
}

// Status asks the cluster, and keeps the answer for a while: the nodes ask each other for it, which is dear many times a second.
func (t *trial) Status(ctx context.Context) (status.Report, error) {
	t.mu.Lock()
	last := t.report
	t.mu.Unlock()
	if time.Since(last.Time) < statusTime {
		return last, nil
	}
	report, err := t.cluster.Status(ctx)
	if err == nil {
		t.mu.Lock()
		t.report = report
		t.mu.Unlock()
	}
	return report, err
}

// statusTime is how long an answer is new enough.
const statusTime = 80 * time.Millisecond

// answerRequest sees every request to Elasticsearch first.
func (t *trial) answerRequest(r *http.Request) int {
	t.visits.Note(r)
	t.mu.Lock()
	fault := t.request
	t.mu.Unlock()
	if fault != nil {
		return fault(r)
	}
	return 0
}

// delay says how long a bulk request is kept back.
func (t *trial) delay(r *http.Request) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.straggle[hostOf(r.RemoteAddr)]
}

// end removes everything; the folder stays when keep says so.
func (t *trial) end(keep bool) error {
	var errs []error
	if t.cluster != nil {
		for _, n := range t.cluster.Nodes {
			_ = n.Kill() // one that ended by itself was judged before
		}
	}
	for _, p := range slices.Concat(t.ports, t.ways, []*proxy.TCP{t.mysql}) {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if t.elastic != nil {
		errs = append(errs, t.elastic.Close())
	}
	ctx := context.Background()
	tables := schema + "." + t.name
	indices := t.indices
	if t.beat != nil {
		tables += ", " + schema + "." + t.beat.table
		indices = append(indices, t.beat.table)
	}
	for _, index := range indices {
		errs = append(errs, t.lab.es.DeleteIndex(ctx, index))
	}
	errs = append(errs, t.lab.db.Exec("DROP TABLE IF EXISTS "+tables, "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"))
	if !keep {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}

// Command bench measures canalgo against what the machine can do, on a real MySQL and a real Elasticsearch.
//
// A ratio is the median over pairs: what canalgo does over what a bare program does with the same rows, both measured in turn in
// this run, because machines differ and change. Every single measurement is printed; the last lines are for programs:
//
//	bench NAME ratio VALUE
//	bench NAME value NUMBER UNIT
//
// The names:
//
//	es_ceiling      docs/s that a bare _bulk loader writes: same documents, ids and index settings, also external versions
//	es_sync         docs/s of three nodes following a backlog, from apply to the last document acknowledged, over es_ceiling
//	rss_max         most memory of a node in any of those runs
//	*_1             the same of one node, which leads and works, from its start
//	load            docs/s of canalgo loading existing rows, from its start to the last document acknowledged, over es_ceiling
//	load_swept      the same to the end of the load's sweep, which looks for documents without a row
//	decode_ceiling  rows per CPU second that go-mysql alone decodes of the same log
//	hole_sync       rows per CPU second of three nodes together into a server that keeps nothing, over decode_ceiling
//	leader_cpu      the leader's CPU per row while another node does the work, over go-mysql's, in transactions of 1,000 rows
//	leader_cpu_*    the same of transactions of one row (small), and of compressed ones
//	scale_N         rows/s into the hole of N mappings of a table each, on as many nodes besides the leader's
//	failover_*      from a kill -9 of the leader to the first readable row that was inserted after it, one each 20 ms
//	worker_failover the same for the node that does the work and does not lead
//	handover        the same for a SIGTERM of either
//	*_wide          the same two on a table of 30 columns, with a third of the rows
//	latency_p50/p99 from a commit's acknowledgement to the document read by its id, 50 rows a second
//	frozen_source   from a SIGSTOP of mysqld to a status that names the source as silent, the longest of 20; _p50 is their median
//	faulty_sink     items/s with 20 % of the items and of the requests failing at random, over the same without faults
//	join            docs/s of updates whose documents the source renders, of a joined mapping, over a bare loader of the same documents
//	join_batch      the same over rendering each row with a question of its own, and writing nothing
//	fanout          docs/s from a change of one row that 100,000 documents are joined with to the last of them
//	fanout_lag      the longest that a row of another mapping took meanwhile, from its commit to the document read by its id
//	canal_protocol  rows per CPU second of a leader that serves canal's Java client, which only acknowledges, over decode_ceiling
//	canal_protocol_rss  the leader's most memory meanwhile
//	ready           from the start to the first event read
//	binary_size     of the program
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"canalgo/integration/bench/hole"
	"canalgo/integration/component"
)

// names are what -only takes; each stands for the lines that are measured together with it.
var (
	elasticNames = []string{"es_ceiling", "es_sync", "es_sync_1", "load", "rss_max", "rss_max_1"}
	holeNames    = []string{"decode_ceiling", "hole_sync", "hole_sync_1"}
	names        = slices.Concat(elasticNames, holeNames, []string{"leader_cpu", "wide", "scale", "latency", "ready", "failover", "worker_failover", "handover", "frozen_source", "faulty_sink", "join", "fanout", "canal_protocol", "binary_size"})
)

// A bench is one run with its servers.
type bench struct {
	binary string
	rows   int
	pairs  int
	only   []string // empty: everything
	dir    string   // for everything that is written
	db     *component.MySQL
	es     *component.Elasticsearch // nil when nothing wanted needs it
	peak   map[int]int              // by nodes: most memory of a node that follows a backlog, in bytes
	report
}

func main() {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == decodeCommand:
		err = decodeMain(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == holeCommand:
		err = holeMain(new(hole.Server))
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = benchMain(ctx, os.Args[1:])
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func benchMain(ctx context.Context, args []string) error {
	b := bench{peak: make(map[int]int)}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&b.binary, "binary", "./canalgo", "the `program` to measure, as make build makes it")
	flags.IntVar(&b.rows, "rows", 600_000, "rows of the backlog and of the load; fewer make a quick run whose figures suffer from the start")
	flags.IntVar(&b.pairs, "pairs", 5, "pairs of measurements for each ratio, of which the median counts")
	only := flags.String("only", "", "measure only these `names`, joined by commas: "+strings.Join(names, ", "))
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: go run ./integration/bench [flags]\n\nMeasures canalgo on real servers; needs about 25 minutes and a quiet machine.\n\nflags:")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	for _, name := range b.only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only: %q is not one of %s", name, strings.Join(names, ", "))
		}
	}
	if b.rows < 1 || b.pairs < 1 || flags.NArg() > 0 {
		return errors.New("-rows and -pairs must be positive, and there are no other arguments")
	}
	err := b.measure(ctx)
	b.report.print() // also when something could not be measured
	return err
}

// wants reports whether one of the names is to be measured.
func (b *bench) wants(any ...string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(any, func(name string) bool { return slices.Contains(b.only, name) })
}

// measure starts the servers and takes every measurement that is wanted.
func (b *bench) measure(ctx context.Context) (err error) {
	size, err := os.Stat(b.binary)
	if err != nil {
		return fmt.Errorf("the program to measure: %w; make build makes it", err)
	}
	path, err := filepath.Abs(b.binary)
	if err != nil {
		return err
	}
	if err := os.Setenv("CANALGO_BINARY", path); err != nil { // what the harness runs
		return err
	}
	b.machine()
	if b.wants("binary_size") {
		b.value("binary_size", float64(size.Size())/1e6, "MB")
	}
	if b.dir, err = os.MkdirTemp("", "canalgo-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.startServers(ctx); err != nil {
		return err
	}
	defer b.stopServers()

	// Elasticsearch is busy with itself for minutes after it was filled, so what does without it comes first.
	err = errors.Join(b.step(ctx, b.leader, "leader_cpu"), b.step(ctx, b.canalProtocol, "canal_protocol"), b.step(ctx, b.frozen, "frozen_source"), b.backlog(ctx), b.step(ctx, b.latency, "latency"), b.step(ctx, b.wide, "wide"),
		b.step(ctx, b.scale, "scale"), b.step(ctx, b.faulty, "faulty_sink"), b.step(ctx, b.join, "join"), b.step(ctx, b.fanout, "fanout"), b.step(ctx, b.failovers, "failover", "worker_failover", "handover"))
	for _, nodes := range []int{3, 1} {
		if name := numbered("rss_max", nodes); b.peak[nodes] > 0 && b.wants(name) {
			b.value(name, float64(b.peak[nodes])/1e6, "MB")
		}
	}
	b.loadAverage()
	return err
}

// step takes the measurements of some names if one of them is wanted. What fails does not keep others from being measured.
func (b *bench) step(ctx context.Context, measure func(context.Context) error, names ...string) error {
	if !b.wants(names...) || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := measure(ctx); err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(names, ", "), err)
		b.note("could not be measured: %s", err)
		return err
	}
	return nil
}

// backlog makes the large table and takes all measurements that are about it.
func (b *bench) backlog(ctx context.Context) error {
	if !b.wants(slices.Concat(elasticNames, holeNames, []string{"ready"})...) {
		return nil
	}
	log, err := fill(ctx, b.db, user("user"), b.rows)
	if err != nil {
		return err
	}
	b.note("backlog: %d rows of %s.%s from %s", log.rows, schema, log.table, log.start())
	return errors.Join(
		b.step(ctx, func(ctx context.Context) error { return b.ready(ctx, log) }, "ready"),
		b.step(ctx, func(ctx context.Context) error { return b.hole(ctx, log, "", 3, 1) }, holeNames...),
		b.step(ctx, func(ctx context.Context) error { return b.elastic(ctx, log) }, elasticNames...))
}

// wide makes the table of 30 columns, last, so that no other backlog has it behind it.
func (b *bench) wide(ctx context.Context) error {
	log, err := fill(ctx, b.db, wide(), max(1, b.rows/3))
	if err != nil {
		return err
	}
	b.note("backlog: %d rows of %s.%s from %s", log.rows, schema, log.table, log.start())
	return b.hole(ctx, log, "_wide", 1)
}

func (b *bench) startServers(ctx context.Context) (err error) {
	if b.db, err = component.StartMySQL(ctx, b.dir+"/mysql"); err != nil {
		return err
	}
	if b.wants(slices.Concat(elasticNames, []string{"latency", "failover", "worker_failover", "handover", "faulty_sink", "join", "fanout"})...) {
		b.es, err = component.StartElasticsearch(ctx, b.dir+"/elasticsearch", component.ElasticsearchOptions{})
	}
	if err != nil {
		b.stopServers()
	}
	return err
}

// stopServers ends them at once: their data is thrown away.
func (b *bench) stopServers() {
	b.db.Kill()
	if b.es != nil {
		b.es.Kill()
	}
}

// machine prints what the figures belong to.
func (b *bench) machine() {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte(err.Error())
	}
	b.note("machine: %d cores, %s %s, kernel %s", runtime.NumCPU(), runtime.Version(), runtime.GOARCH, strings.TrimSpace(string(release)))
	b.loadAverage()
}

func (b *bench) loadAverage() {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte(err.Error())
	}
	b.note("load average: %s", strings.TrimSpace(string(load)))
}

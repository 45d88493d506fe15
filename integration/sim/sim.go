// Package sim runs whole clusters in virtual time: the real nodes with Raft, relay and workers, on a network, disks, a source and
// destinations in memory that do what a schedule of faults says. An oracle that knows the log watches, and says which invariant of
// docs/reliability.md does not hold.
//
// Run is to be called inside a testing/synctest bubble. Goroutines do not run in the same order each time, so a seed gives the same
// faults and much the same story, not the same instructions; what happened is in the trace.
package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"canalgo/cluster"
)

// A Plan is one simulation.
type Plan struct {
	Seed   uint64
	Nodes  int
	Length time.Duration // of the faults
	Load   bool          // there are rows before the start, whose transactions the source does not have any more
	Faults []Fault       // nil for random ones
	Folder string        // where the nodes' folders are made; best in memory
}

// A Report is what came of a simulation.
type Report struct {
	Plan         Plan
	Violations   []string
	Trace        string
	Took         time.Duration // simulated
	Transactions int
	Writes       int // documents
	Loaded       int // of them, by loads
	Repeats      int // of them, at a version that was there
	Terms        int
}

func (r Report) String() string {
	return fmt.Sprintf("seed %d: %d nodes, %s, %d faults, %d terms, %d transactions, %d documents written, %d of them again, %d by loads", r.Plan.Seed, r.Plan.Nodes,
		r.Took.Round(time.Second), len(r.Plan.Faults), r.Terms, r.Transactions, r.Writes, r.Repeats, r.Loaded)
}

// Schedule prints the faults, one a line, as ParseSchedule reads them.
func (p Plan) Schedule() string {
	var b strings.Builder
	for _, f := range p.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// Run simulates, and returns when everything has ended.
func Run(p Plan) Report {
	random := rand.New(rand.NewPCG(p.Seed, 1))
	began := time.Now()
	t, l, n := newTrace(), newLedger(), newNetwork(rand.New(rand.NewPCG(p.Seed, 2)))
	o := newOracle(l, t)
	m := newMySQL(l, n, o)
	o.source = m
	f := &fleet{net: n, oracle: o, trace: t, mysql: m, base: p.Folder, machines: make(map[string]*machine), output: map[string]*destination{
		"one": newDestination("one", n, o), "two": newDestination("two", n, o)}}
	for i := range p.Nodes {
		name := fmt.Sprintf("n%d", i+1)
		f.names = append(f.names, name)
		f.machines[name] = &machine{}
	}
	if p.Faults == nil {
		p.Faults = Random(random, f.names, p.Length)
	}
	work := &workload{ledger: l, random: rand.New(rand.NewPCG(p.Seed, 3))}
	if p.Load {
		work.fill()
		m.fromNow, f.load = true, "initial"
	}
	c := &chaos{fleet: f, work: work}
	for _, name := range f.names {
		c.again(name)()
	}
	working, stopWork := context.WithCancel(context.Background())
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		work.run(working)
	}()
	c.run(p.Faults)
	if left := p.Length - time.Since(began); left > 0 && len(o.failed()) == 0 {
		time.Sleep(left)
	}
	stopWork()
	<-worked
	if len(o.failed()) == 0 {
		c.heal()
	}
	c.end()
	return Report{Plan: p, Violations: o.failed(), Trace: t.String(), Took: time.Since(began), Transactions: l.end(), Writes: o.writes, Loaded: o.loaded, Repeats: o.repeats, Terms: len(o.terms)}
}

// patience is how long a cluster may take to have everything written when nothing is wrong any more.
const patience = 3 * time.Minute

// heal waits until everything is as it should be (I1, I9).
func (c *chaos) heal() {
	for _, name := range c.names {
		c.again(name)()
	}
	c.trace.add("healed")
	healed := time.Now()
	for {
		what := c.unfinished()
		if what == "" {
			break
		}
		if time.Since(healed) > patience {
			c.oracle.violate("I9", "%s after everything was healed: %s", patience, what)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.trace.add("quiet")
	for _, r := range rules {
		if what := c.oracle.wrong(r, c.output[r.sink].documents(r.name)); what != "" {
			c.oracle.violate("I1", "%s", what)
		}
	}
	for _, h := range c.up() {
		v, _ := h.raft.View()
		c.oracle.hashed(h, v)
		c.oracle.setAside(h, v)
	}
	time.Sleep(lateMost) // what is late still must not change anything
	for _, r := range rules {
		if what := c.oracle.wrong(r, c.output[r.sink].documents(r.name)); what != "" {
			c.oracle.violate("I2", "later, by what was late: %s", what)
		}
	}
}

// unfinished says what is not done yet, "" when nothing is left.
func (c *chaos) unfinished() string {
	up := c.up()
	if len(up) < len(c.names) {
		return fmt.Sprintf("%d of %d nodes run", len(up), len(c.names))
	}
	end := c.oracle.source.end()
	for _, h := range up {
		v, _ := h.raft.View()
		if len(v.Duties) < len(rules) {
			return fmt.Sprintf("%s knows %d duties", h.id(), len(v.Duties))
		}
		for id, d := range v.Duties {
			if id.Kind == cluster.Load {
				if d.Load != nil && d.Load.Phase != cluster.LoadDone {
					return fmt.Sprintf("%s has %s at %s after %d rows", h.id(), id, d.Load.Phase, d.Load.Rows)
				}
				continue
			}
			txs, err := c.mysql.place(d.Position)
			if err != nil || txs < end {
				return fmt.Sprintf("%s has %s at transaction %d of %d", h.id(), id, txs, end)
			}
		}
	}
	return ""
}

// end stops everything.
func (c *chaos) end() {
	for _, h := range c.up() {
		c.faults.Go(func() { c.stop(h.name) })
	}
	c.faults.Wait()
	close(c.oracle.over)
	c.running.Wait()
}

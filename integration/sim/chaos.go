package sim

import (
	"context"
	"slices"
	"sync"
	"time"

	"canalgo/node"
)

// chaos makes faults happen.
type chaos struct {
	*fleet
	work   *workload
	faults sync.WaitGroup
	wiping sync.Mutex // one node at a time loses what it knows
}

func init() {
	kinds = map[string]kind{
		"kill":     {ofNode, 6, 20 * time.Second, (*chaos).kills},
		"vanish":   {ofNode, 3, 30 * time.Second, (*chaos).vanishes},
		"stop":     {ofNode, 4, 10 * time.Second, (*chaos).stops},
		"pause":    {ofNode, 5, 60 * time.Second, (*chaos).pauses},
		"isolate":  {ofNode, 6, 30 * time.Second, (*chaos).isolates},
		"deaf":     {ofNode, 3, 20 * time.Second, (*chaos).deafens},
		"mute":     {ofNode, 3, 20 * time.Second, (*chaos).mutes},
		"pair":     {ofNode, 3, 30 * time.Second, (*chaos).parts},
		"slow":     {ofNode, 3, 60 * time.Second, (*chaos).slows},
		"feeds":    {ofNode, 3, 0, (*chaos).breaks},
		"nosource": {ofNode, 2, 40 * time.Second, (*chaos).losesSource},
		"nosink":   {ofNode, 2, 40 * time.Second, (*chaos).losesSink},
		"wipe":     {ofNode, 2, 10 * time.Second, (*chaos).wipes},
		"remove":   {ofNode, 2, 10 * time.Second, (*chaos).removes},
		"reset":    {ofNothing, 4, 0, (*chaos).resets},
		"stall":    {ofNothing, 2, 30 * time.Second, (*chaos).stalls},
		"replace":  {ofNothing, 1, 0, (*chaos).replaces},
		"burst":    {ofNothing, 3, 30 * time.Second, (*chaos).bursts},
		"down":     {ofSink, 3, 60 * time.Second, mood{fails: 1}.during},
		"fails":    {ofSink, 3, 60 * time.Second, mood{fails: 0.3}.during},
		"busy":     {ofSink, 4, 60 * time.Second, mood{items: 0.3, high: 50 * time.Millisecond}.during},
		"forgets":  {ofSink, 3, 60 * time.Second, mood{lost: 0.3}.during},
		"late":     {ofSink, 4, 60 * time.Second, mood{late: 0.2, lost: 0.1}.during},
		"crawls":   {ofSink, 3, 60 * time.Second, mood{low: 100 * time.Millisecond, high: 8 * time.Second}.during},
		"load":     {ofMapping, 2, 0, (*chaos).loads},
		"hold":     {ofMapping, 2, 30 * time.Second, (*chaos).holds},
	}
}

// run has the faults happen, and returns when all are over.
func (c *chaos) run(faults []Fault) {
	began := time.Now()
	for _, f := range faults {
		time.Sleep(time.Until(began.Add(f.At)))
		if len(c.oracle.failed()) > 0 {
			break
		}
		if f.Target == "leader" {
			h := c.leader()
			if h == nil {
				continue
			}
			f.Target = h.name
		}
		c.trace.add("fault: %s", f)
		c.faults.Go(func() {
			end := kinds[f.Kind].begin(c, f)
			if end == nil {
				return
			}
			time.Sleep(f.For)
			end()
			c.trace.add("over: %s", f)
		})
	}
	c.faults.Wait()
}

// again starts what was stopped.
func (c *chaos) again(name string) func() {
	return func() {
		if err := c.start(name); err != nil {
			c.oracle.violate("I7", "%v", err)
		}
	}
}

func (c *chaos) kills(f Fault) func() {
	c.kill(f.Target, false)
	return c.again(f.Target)
}

func (c *chaos) vanishes(f Fault) func() {
	c.kill(f.Target, true)
	return c.again(f.Target)
}

func (c *chaos) stops(f Fault) func() {
	c.stop(f.Target)
	return c.again(f.Target)
}

// others returns the links of a node to and from everything that the names say.
func (c *chaos) links(node string, others []string, out, in bool) []*link {
	var all []*link
	for _, o := range others {
		if o == node {
			continue
		}
		if out {
			all = append(all, c.net.link(node, o))
		}
		if in {
			all = append(all, c.net.link(o, node))
		}
	}
	return all
}

func (c *chaos) cut(links []*link) func() {
	for _, l := range links {
		l.cut(1)
	}
	return func() {
		for _, l := range links {
			l.cut(-1)
		}
	}
}

// everything is what a node has connections to.
func (c *chaos) everything() []string { return append(slices.Clone(c.names), toSource, "one", "two") }

// pauses freezes a node for the others: what it was about to send comes late.
func (c *chaos) pauses(f Fault) func() {
	return c.cut(c.links(f.Target, c.everything(), true, true))
}

func (c *chaos) isolates(f Fault) func() { return c.cut(c.links(f.Target, c.names, true, true)) }
func (c *chaos) deafens(f Fault) func()  { return c.cut(c.links(f.Target, c.names, false, true)) }
func (c *chaos) mutes(f Fault) func()    { return c.cut(c.links(f.Target, c.names, true, false)) }

// parts cuts a node from the next one only.
func (c *chaos) parts(f Fault) func() {
	next := c.names[(slices.Index(c.names, f.Target)+1)%len(c.names)]
	return c.cut(c.links(f.Target, []string{next}, true, true))
}

func (c *chaos) losesSource(f Fault) func() {
	return c.cut(c.links(f.Target, []string{toSource}, true, true))
}

func (c *chaos) losesSink(f Fault) func() {
	return c.cut(c.links(f.Target, []string{"one", "two"}, true, true))
}

func (c *chaos) slows(f Fault) func() {
	links := c.links(f.Target, c.names, true, true)
	high := c.net.between(time.Millisecond, 400*time.Millisecond)
	for _, l := range links {
		l.slow(high/4, high)
	}
	return func() {
		for _, l := range links {
			l.slow(0, 0)
		}
	}
}

func (c *chaos) breaks(f Fault) func() {
	if h := c.host(f.Target); h != nil {
		h.breakFeeds()
	}
	return nil
}

func (c *chaos) resets(Fault) func() {
	c.mysql.reset()
	return nil
}

func (c *chaos) replaces(Fault) func() {
	c.mysql.replace()
	return nil
}

func (c *chaos) stalls(Fault) func() {
	c.mysql.stall(1)
	return func() { c.mysql.stall(-1) }
}

func (c *chaos) bursts(Fault) func() {
	c.work.setBurst(true)
	return func() { c.work.setBurst(false) }
}

// during has a destination behave so for a while.
func (m mood) during(c *chaos, f Fault) func() {
	d := c.output[f.Target]
	d.set(m)
	return func() { d.set(mood{}) }
}

// whole reports whether every machine runs and has its vote, so that one may lose what it knows.
func (c *chaos) whole() bool {
	l := c.leader()
	if l == nil || len(c.up()) < len(c.names) || len(c.names) < 3 {
		return false
	}
	voters := 0
	for _, s := range l.raft.Servers() {
		if s.Voter {
			voters++
		}
	}
	v, _ := l.raft.View()
	for _, h := range c.up() {
		if seen, _ := h.raft.View(); seen.Applied != v.Applied {
			return false
		}
	}
	return voters == len(c.names)
}

// wipes loses a node with its folder, which joins again as another one of its name.
func (c *chaos) wipes(f Fault) func() {
	if !c.wiping.TryLock() {
		return nil
	}
	if !c.whole() {
		c.wiping.Unlock()
		return nil
	}
	c.kill(f.Target, false)
	c.wipe(f.Target)
	return func() {
		c.again(f.Target)()
		c.unlockWhenWhole()
	}
}

// removes takes a node out of the cluster, which joins again.
func (c *chaos) removes(f Fault) func() {
	if !c.wiping.TryLock() {
		return nil
	}
	l := c.leader()
	if !c.whole() || l == nil {
		c.wiping.Unlock()
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	removed := c.host(f.Target)
	err := l.node.Remove(ctx, f.Target)
	if err != nil {
		c.trace.add("remove %s: %v", f.Target, err)
	}
	return func() {
		if err == nil && c.host(f.Target) == removed { // it has not heard; an operator ends it and wipes its folder
			c.kill(f.Target, false)
			c.wipe(f.Target)
		}
		c.again(f.Target)()
		c.unlockWhenWhole()
	}
}

// unlockWhenWhole lets the next node lose what it knows once this one votes again.
func (c *chaos) unlockWhenWhole() {
	c.faults.Go(func() {
		defer c.wiping.Unlock()
		for range 600 {
			if c.whole() {
				return
			}
			time.Sleep(time.Second / 10)
		}
	})
}

// holds pauses a mapping, as an operator does.
func (c *chaos) holds(f Fault) func() {
	pause := func(paused bool) {
		c.operate(func(ctx context.Context, n *node.Node) error { return n.SetPaused(ctx, "mapping/"+f.Target, paused) })
	}
	pause(true)
	return func() { pause(false) }
}

// loads has a mapping loaded again, as an operator does.
func (c *chaos) loads(f Fault) func() {
	c.operate(func(ctx context.Context, n *node.Node) error {
		_, err := n.StartLoad(ctx, sourceName, f.Target, "")
		return err
	})
	return nil
}

// operate has whatever node takes it do something.
func (c *chaos) operate(do func(context.Context, *node.Node) error) {
	for range 100 {
		for _, h := range c.up() {
			ctx, cancel := context.WithTimeout(h.ctx, 3*time.Second)
			err := do(ctx, h.node)
			cancel()
			if err == nil {
				return
			}
		}
		time.Sleep(time.Second)
	}
}

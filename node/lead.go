package node

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/cluster"
	"canalgo/event"
)

// A reign is this node's leadership in one term.
type reign struct {
	term    cluster.Term
	members *members
	saving  saving
	began   time.Time

	clientMu sync.Mutex
	clients  map[cluster.ClientID]*Client
	over     bool // no client is served any more
}

// lead does what only the leader does, until its term ends.
func (n *Node) lead(ctx context.Context, term cluster.Term) error {
	n.log.Info("leading", "term", term)
	x := &reign{term: term, members: newMembers(n.cfg.Clock()), began: time.Now()}
	n.reign.Store(x)
	defer x.closeClients()
	defer n.reign.Store(nil)
	if err := n.seed(ctx, term); err != nil {
		return err
	}
	// Each term has a command at least, by which a node sees that what it had and nobody else was replaced.
	if err := n.coord.Propose(ctx, term, cluster.SetNode{Name: n.cfg.ID, Node: n.cfg.Self}); err != nil {
		return fmt.Errorf("note node %s: %w", n.cfg.ID, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.assign(ctx, x) })
	g.Go(func() error { return n.watchPorts(ctx, x.members) })
	g.Go(func() error { return n.probe(ctx, x) })
	g.Go(func() error { return n.runSources(ctx, term) })
	g.Go(func() error { return n.serveAsked(ctx) })
	g.Go(func() error { return n.keepPositions(ctx, term) })
	return g.Wait()
}

// seed proposes the file's configuration when there is none yet.
func (n *Node) seed(ctx context.Context, term cluster.Term) error {
	if n.View().Config.Version > 0 {
		return nil
	}
	if err := n.coord.Propose(ctx, term, cluster.SetConfig{Base: 0, Config: n.cfg.Seed}); err != nil {
		return fmt.Errorf("seed configuration: %w", err)
	}
	n.log.Info("a new cluster; run on each further host: ./canalgo -join " + n.cfg.Self.Address + " -token ... (canalgo token prints the token)")
	return nil
}

// compareFile says in the log when the file differs from the configuration in use, as on the one host of several whose file has the
// sources when another one has made the cluster. It reports false while there is no configuration.
func (n *Node) compareFile() bool {
	v := n.View()
	if v.Config.Version == 0 {
		return false
	}
	for _, d := range n.differs(v) {
		n.log.Warn("the file differs from the configuration in use; canalgo apply would change", "what", d)
	}
	return true
}

// differs says what the file given at the start would change in the configuration that was in use then.
func (n *Node) differs(v cluster.View) []string {
	n.compared.CompareAndSwap(0, v.Config.Version)
	if n.cfg.Differs == nil || n.compared.Load() != v.Config.Version { // applied since, perhaps from a newer file
		return nil
	}
	return n.cfg.Differs(v.Config)
}

// runSources keeps one sourceRun for each source of the configuration.
func (n *Node) runSources(ctx context.Context, term cluster.Term) error {
	type running struct {
		spec   string
		cancel context.CancelFunc
		done   chan struct{}
	}
	runs := make(map[string]running)
	stop := func(name string) {
		runs[name].cancel()
		<-runs[name].done
		delete(runs, name)
	}
	defer func() {
		for name := range maps.Clone(runs) {
			stop(name)
		}
	}()
	for {
		v, changed := n.coord.View()
		for name, r := range maps.Clone(runs) {
			if c, ok := v.Config.Sources[name]; !ok || fingerprint(c) != r.spec {
				if err := n.savePositions(ctx, term); err != nil { // what is acknowledged is not written again
					return err
				}
				stop(name)
			}
		}
		for name, c := range v.Config.Sources {
			if _, ok := runs[name]; ok {
				continue
			}
			sctx, cancel := context.WithCancel(ctx)
			r := running{spec: fingerprint(c), cancel: cancel, done: make(chan struct{})}
			runs[name] = r
			s := newSourceRun(n, name, c, term)
			go func() {
				defer close(r.done)
				s.run(sctx)
			}()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// keepPositions saves the positions of the open feeds a few times a second, whatever the row rate.
func (n *Node) keepPositions(ctx context.Context, term cluster.Term) error {
	tick := time.NewTicker(n.cfg.SaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := n.savePositions(ctx, term); err != nil {
				return err
			}
		}
	}
}

// savePositions saves the positions that have moved, those of duties as one command and those of clients as another.
func (n *Node) savePositions(ctx context.Context, term cluster.Term) error {
	v, _ := n.coord.View()
	saves := make(map[cluster.DutyID]cluster.Save)
	n.mu.Lock()
	for _, s := range n.sources {
		for id, p := range s.reached() {
			d, ok := v.Duties[id]
			if ok && p.Epoch == d.Position.Epoch && d.Position.Before(p) {
				saves[id] = cluster.Save{Epoch: d.Assignment.Epoch, Position: p}
			}
		}
	}
	n.mu.Unlock()
	x := n.reign.Load()
	var clients map[cluster.ClientID]event.Position
	if x != nil {
		clients = x.reachedClients(v)
	}
	if len(saves) == 0 && len(clients) == 0 {
		return nil
	}
	if x != nil {
		x.saving.set(time.Now())
		defer x.saving.set(time.Time{})
	}
	if len(saves) > 0 {
		//failpoint leader.before_save
		if err := n.coord.Propose(ctx, term, cluster.SavePositions{Saves: saves}); err != nil {
			return fmt.Errorf("save positions: %w", err)
		}
	}
	if len(clients) > 0 {
		if err := n.coord.Propose(ctx, term, cluster.SaveClients{Positions: clients}); err != nil {
			return fmt.Errorf("save positions of clients: %w", err)
		}
	}
	return nil
}

// later returns the later of two positions of one source.
func later(a, b event.Position) event.Position {
	if a.Before(b) {
		return b
	}
	return a
}

package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"canalgo/cluster"
	"canalgo/event"
)

const (
	clients = 4
	// between is how many operations there are between two disturbances.
	between = 80
)

var contested = []cluster.DutyID{
	{Source: "shop", Mapping: "a", Kind: cluster.Stream}, {Source: "shop", Mapping: "b", Kind: cluster.Stream}, {Source: "shop", Mapping: "c", Kind: cluster.Stream},
}

// testLinear has clients assign duties, save positions and read both, at whoever says that it leads, while terms end and the leader
// is cut off. There is one order of all that in which each duty is a register that works.
func testLinear(t *testing.T, c Cluster) {
	h := contest(t, c)
	if err := h.check(); err != nil {
		t.Error(err)
	}
	if c.Cut != nil && h.unknown == 0 {
		t.Error("no outcome was unknown: this run shows little")
	}
}

// contest returns what the clients saw.
func contest(t *testing.T, c Cluster) *history {
	t.Helper()
	s := start(t, c)
	first := s.next()
	cfg := config()
	cfg.Mappings = map[string]cluster.MappingConfig{}
	for _, id := range contested {
		cfg.Mappings[id.Mapping] = cluster.MappingConfig{Source: "shop", Sink: "es"}
	}
	propose(t, first, cluster.SetConfig{Config: cfg})
	propose(t, first, cluster.OpenEpoch{Source: "shop", ServerUUID: "u", Start: event.Position{File: "binlog.000001", Offset: 4}})
	epoch := viewOf(first.node).Sources["shop"].Epoch

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working sync.WaitGroup
	obey := func(l led) { working.Go(func() { <-l.ctx.Done(); close(l.done) }) }
	obey(first)
	h := &history{began: time.Now()}
	for i := range clients {
		working.Go(func() {
			o := &client{nodes: c.Nodes, history: h, number: i, random: rand.New(rand.NewPCG(uint64(i), 1)), epoch: epoch, known: make(map[cluster.DutyID]register)}
			o.run(ctx)
		})
	}
	disturbances := []func() error{c.EndTerm, c.EndTerm}
	if c.Cut != nil {
		disturbances = append(disturbances, func() error { return cutLeader(c, func() { h.await(t, s, obey, h.len()+between) }) }, c.EndTerm)
	}
	for _, disturb := range disturbances {
		h.await(t, s, obey, h.len()+between)
		if err := disturb(); err != nil {
			t.Fatal(err)
		}
	}
	h.await(t, s, obey, h.len()+between)
	cancel()
	s.stop()
	for len(s.calls) > 0 {
		obey(<-s.calls)
	}
	working.Wait()
	return h
}

// cutLeader cuts the leader off until meanwhile returns.
func cutLeader(c Cluster, meanwhile func()) error {
	node, _, ok := leader(c.Nodes)
	if !ok {
		return fmt.Errorf("nobody leads")
	}
	i := slices.Index(c.Nodes, node)
	c.Cut(i, true)
	meanwhile()
	c.Cut(i, false)
	return nil
}

// await waits until the history has that many operations; whoever is elected meanwhile leads.
func (h *history) await(t *testing.T, s *session, obey func(led), operations int) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for h.len() < operations {
		select {
		case l := <-s.calls:
			obey(l)
		case <-tick.C:
		case <-deadline:
			t.Fatalf("only %d of %d operations", h.len(), operations)
		}
	}
}

// A client asks for random things.
type client struct {
	nodes   []Coordinator
	history *history
	number  int
	random  *rand.Rand
	epoch   uint32 // of the source
	known   map[cluster.DutyID]register
}

func (o *client) run(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		node, term, ok := leader(o.nodes)
		if !ok {
			<-tick.C
			continue
		}
		if o.ask(ctx, recorder{Coordinator: node, history: o.history, client: o.number}, term) != nil {
			<-tick.C // its term is over; it will notice
		}
	}
}

// ask does one thing with one duty.
func (o *client) ask(ctx context.Context, node recorder, term cluster.Term) error {
	duty := contested[o.random.IntN(len(contested))]
	known := o.known[duty]
	if o.random.IntN(30) == 0 { // one that does not wait for the answer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(o.random.IntN(1000))*time.Microsecond)
		defer cancel()
	}
	switch d := o.random.IntN(10); {
	case d < 4:
		found, err := node.read(ctx, term, duty)
		if err == nil {
			o.known[duty] = found
		}
		return err
	case d < 8: // by who does the duty, or did it before; sometimes behind what is saved
		epoch := known.Epoch - cluster.Epoch(min(o.random.IntN(2), int(known.Epoch)))
		count := max(event.FirstCount, known.Count+uint64(o.random.IntN(8))) - uint64(o.random.IntN(3))
		return node.Propose(ctx, term, cluster.SavePositions{Saves: map[cluster.DutyID]cluster.Save{duty: {Epoch: epoch,
			Position: event.Position{ServerUUID: "u", Epoch: o.epoch, Count: count, File: "binlog.000001", Offset: count}}}})
	}
	return node.Propose(ctx, term, cluster.Assign{Assignments: map[cluster.DutyID]cluster.Assignment{duty: {Node: fmt.Sprint("client-", o.number),
		Epoch: known.Epoch + cluster.Epoch(o.random.IntN(3)), ConfigVersion: 1}}})
}

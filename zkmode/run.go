package zkmode

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"canalgo/cluster"
)

// Lead is what a node does as leader.
type Lead = func(ctx context.Context, term cluster.Term) error

// A leadError is one with which lead has returned while its term lasted.
type leadError struct{ error }

func (e leadError) Unwrap() error { return e.error }

// session takes part in one session with the ensemble.
func (n *Node) session(ctx context.Context, lead Lead) error {
	s, err := connect(ctx, n.cfg)
	if err != nil {
		return err
	}
	defer func() {
		s.close()
		n.show(nil)
	}()
	n.log.Debug("a session with zookeeper", "timeout", s.timeout)
	if err := n.sameCluster(ctx, s); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watch(ctx) })
	g.Go(func() error { return n.follow(ctx, s) })
	g.Go(func() error { return n.campaign(ctx, s, lead) })
	if n.cfg.Canal != (Canal{}) {
		g.Go(func() error { return n.register(ctx, s) })
	}
	return g.Wait()
}

// sameCluster waits until the ensemble has this node's cluster. It is not made again where it was.
func (n *Node) sameCluster(ctx context.Context, s *session) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := false; ; {
		found, err := s.get(ctx, n.path(s, "cluster"), false)
		if err == nil {
			id, err := n.cfg.known(found)
			if err == nil && id != n.meta.ClusterID {
				err = fmt.Errorf("zookeeper has cluster %s, the data folder %s belongs to %s; give another folder, or wipe this one to join: %w", id, n.folder.Path, n.meta.ClusterID, errForgotten)
			}
			return err
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		if !said {
			said = true
			n.log.Error("zookeeper no longer has this cluster; nothing is done until it is put back", "path", n.path(s, "cluster"), "cluster", n.meta.ClusterID,
				"fix", "put back the ensemble's data, or canalgo state import")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return errOver
		case <-tick.C:
		}
	}
}

// follow applies what the leader writes.
func (n *Node) follow(ctx context.Context, s *session) error {
	for {
		if err := n.replica.hold(ctx, s.over); err != nil {
			return err
		}
		changed, err := n.catchUp(ctx, s)
		n.replica.free()
		if err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return errOver
		}
	}
}

// A candidate is one node that would lead: the znode "election/ID-NUMBER".
type candidate struct {
	znode    string // without the path
	serverID string
	number   uint64
	address  string
}

func (c candidate) name() string { return cluster.ServerName(c.serverID) }

func (c candidate) term() cluster.Term { return cluster.Term(c.number + 1) }

// A bid is what a candidate's znode says.
type bid struct {
	Address string `json:"address"`
}

// numberLen is how many digits the ensemble puts behind the name of a sequential znode.
const numberLen = 10

// parseCandidate takes a candidate's znode apart; false for what is none.
func parseCandidate(znode string) (candidate, bool) {
	i := len(znode) - numberLen - 1
	if i < 1 || znode[i] != '-' {
		return candidate{}, false
	}
	number, err := strconv.ParseUint(znode[i+1:], 10, 64)
	return candidate{znode: znode, serverID: znode[:i], number: number}, err == nil
}

// campaign stands for election, and leads whenever it is this node's turn.
func (n *Node) campaign(ctx context.Context, s *session, lead Lead) error {
	g, ctx := errgroup.WithContext(ctx)
	turns := make(chan candidate)   // this node's, each time it has the lowest number
	gone := make(chan candidate, 1) // one that has led
	g.Go(func() error { return n.elections(ctx, s, turns, gone) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.over:
				return errOver
			case turn := <-turns:
				if err := n.leadTerm(ctx, s, turn, lead); err != nil {
					return err
				}
				gone <- turn
			}
		}
	})
	return g.Wait()
}

// probeEvery is how often a candidate tries the port of the one before it.
const probeEvery = 400 * time.Millisecond

// elections keeps this node among the candidates, shows who leads, and tells when it is this node's turn. One whose term is over
// stands again when it has stopped leading.
func (n *Node) elections(ctx context.Context, s *session, turns chan<- candidate, gone <-chan candidate) error {
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	var mine, turn candidate
	leads, refused := false, ""
	known := make(map[string]candidate)
	for {
		all, changed, err := n.look(ctx, s, known)
		if err != nil {
			return err
		}
		own := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.serverID != n.meta.ServerID })
		there := slices.Contains(own, mine)
		if leads && !there {
			n.endTerm(mine.term())
		}
		for _, c := range own {
			if c != mine { // of an earlier session, or its answer was lost
				if err := s.remove(ctx, n.path(s, "election", c.znode)); err != nil {
					return err
				}
			}
		}
		if !there && !leads {
			if mine, err = n.stand(ctx, s); err != nil {
				return err
			}
			continue
		}
		n.show(all)
		var out chan<- candidate
		if !leads && all[0] == mine {
			turn, out = mine, turns
		}
		select {
		case <-changed:
		case out <- turn:
			leads = true
		case ended := <-gone:
			if leads = false; there {
				if err := s.remove(ctx, n.path(s, "election", ended.znode)); err != nil {
					return err
				}
			}
			mine = candidate{}
		case <-probe.C:
			if before, ok := ahead(all, mine); ok && n.cfg.Refuses != nil && before.serverID != n.meta.ServerID {
				refused, err = n.probe(ctx, s, before, refused)
				if err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return errOver
		}
	}
}

// look lists the candidates, the one who leads first. known are those whose address was read.
func (n *Node) look(ctx context.Context, s *session, known map[string]candidate) ([]candidate, <-chan zk.Event, error) {
	names, changed, err := s.children(ctx, n.path(s, "election"))
	if err != nil {
		return nil, nil, err
	}
	var all []candidate
	for _, name := range names {
		c, ok := parseCandidate(name)
		if !ok {
			continue
		}
		if have, ok := known[name]; ok {
			all = append(all, have)
			continue
		}
		found, err := s.get(ctx, n.path(s, "election", name), false)
		if errors.Is(err, zk.ErrNoNode) {
			continue // and changed tells of it
		}
		if err != nil {
			return nil, nil, err
		}
		var b bid
		if err := json.Unmarshal(found.data, &b); err != nil {
			n.log.Warn("a candidate that nobody reads", "znode", name, "error", err)
			continue
		}
		c.address = b.Address
		known[name] = c
		all = append(all, c)
	}
	for name := range known {
		if !slices.Contains(names, name) {
			delete(known, name)
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.number, b.number) })
	return all, changed, nil
}

// stand makes this node a candidate. When its answer is lost there may be two, of which elections removes one.
func (n *Node) stand(ctx context.Context, s *session) (candidate, error) {
	path, err := call(ctx, s, func(z *zk.Conn) (string, error) {
		return z.Create(n.path(s, "election", n.meta.ServerID+"-"), marshal(bid{Address: n.cfg.Address}), zk.FlagEphemeral|zk.FlagSequence, s.acl)
	})
	if err != nil {
		if !answered(err) && ctx.Err() == nil && !errors.Is(err, errOver) {
			return candidate{}, nil // look again
		}
		return candidate{}, fmt.Errorf("stand for election: %w", err)
	}
	c, ok := parseCandidate(path[strings.LastIndexByte(path, '/')+1:])
	if !ok {
		return candidate{}, fmt.Errorf("stand for election: zookeeper made %q", path)
	}
	c.address = n.cfg.Address
	return c, nil
}

// ahead returns the candidate before this one.
func ahead(all []candidate, mine candidate) (candidate, bool) {
	if i := slices.Index(all, mine); i > 0 {
		return all[i-1], true
	}
	return candidate{}, false
}

// probe tries the port of the candidate before this one. When it refuses twice, its process has ended, and its turn with it: what it
// still might write is refused with its znode.
func (n *Node) probe(ctx context.Context, s *session, before candidate, refused string) (string, error) {
	if !n.cfg.Refuses(ctx, before.address) {
		return "", nil
	}
	if refused != before.znode {
		return before.znode, nil
	}
	n.log.Warn("a candidate is gone: its port refuses connections", "node", before.name())
	return "", s.remove(ctx, n.path(s, "election", before.znode))
}

// show shows who leads when that is not this node, which shows itself once it has caught up; and keeps who would lead.
func (n *Node) show(all []candidate) {
	n.mu.Lock()
	n.candidates = all
	n.mu.Unlock()
	var first candidate
	if len(all) > 0 {
		first = all[0]
	}
	if first.serverID == n.meta.ServerID {
		return
	}
	v, _ := n.board.View()
	if !v.Leading && v.Leader == first.name() && v.LeaderAddress == first.address && (first.serverID == "" || v.Term >= first.term()) {
		return
	}
	n.board.Update(func(v *cluster.View) {
		v.Leader, v.LeaderAddress, v.Leading = first.name(), first.address, false
		if first.serverID != "" {
			v.Term = max(v.Term, first.term())
		}
	})
}

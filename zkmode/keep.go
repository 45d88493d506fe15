package zkmode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/go-zookeeper/zk"

	"canalgo/canal/cursor"
	"canalgo/cluster"
	"canalgo/event"
)

// A runningNode is what the znode "running" says.
type runningNode struct {
	Active  bool   `json:"active"`
	Address string `json:"address"`
	Cluster string `json:"canalgo,omitempty"` // of canalgo; canal's readers ignore it
}

// A mark is what canalgo keeps beside canal's cursor: by it a leader sees whether somebody else has moved that.
type mark struct {
	Cluster   string                            `json:"cluster"`
	Cursors   map[string]string                 `json:"cursors"` // by client, as they were written last
	Positions map[cluster.DutyID]event.Position `json:"positions,omitempty"`
}

const (
	// politeness is how long who did not have a source waits when nobody has it: who had it, and was away for a moment, goes first.
	politeness = 5 * time.Second
	flushEvery = time.Second // cursors
	// farewell bounds what is done when a source is given back.
	farewell = time.Second
)

// A keeping is the leader's part in who reads one source.
type keeping struct {
	n      *Node
	t      *reign
	source string
	server func() (address string, id uint32)
	tell   func(cluster.Custody)

	ours    bool
	version int32             // of running, while it is ours
	epoch   uint32            // of the source when it became ours
	foreign bool              // and somebody else had read since: the source gets a new epoch
	written map[string]string // the cursors that were written last, by client; nil until those that are there were looked at
	filters map[string]string // and the filters
	clients map[string]bool   // of canal's protocol, when all was written last
}

// Keep has the leader take a source whenever no other server has it, tells each change, and keeps canal's cursor, until ctx or the
// term ends. Then it gives the source back. server says which server is followed, as the Java servers are told it, and its id; ""
// while it is not known.
func (n *Node) Keep(ctx context.Context, term cluster.Term, source string, server func() (address string, id uint32), tell func(cluster.Custody)) error {
	t := n.leads(term)
	if t == nil {
		return cluster.ErrNotLeader
	}
	if n.cfg.Canal == (Canal{}) {
		tell(cluster.Custody{Ours: true})
		<-ctx.Done()
		return ctx.Err()
	}
	k := &keeping{n: n, t: t, source: source, server: server, tell: tell}
	bounded, cancel := t.within(ctx)
	defer cancel()
	err := k.run(bounded)
	k.giveBack(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("destination %s in zookeeper: %w", source, notLeader(err))
	}
	return nil
}

func (k *keeping) path(parts ...string) string {
	return k.n.destination(k.t.session, k.source, parts...)
}

func (k *keeping) run(ctx context.Context) error {
	s := k.t.session
	if err := s.create(ctx, k.path("cluster"), openToAll); err != nil {
		return err
	}
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	polite, due := false, false // this node did not have the source last, and waits before it tries; it has waited
	var waited <-chan time.Time
	for {
		running, there, changed, err := s.look(ctx, k.path("running"))
		if err != nil {
			return err
		}
		var says runningNode
		if there {
			_ = json.Unmarshal(running.data, &says) // who does not write JSON has it all the same
		}
		switch {
		case there && running.owner == s.id && says.Active:
			polite, waited = false, nil
			if err := k.taken(ctx, running.version); err != nil {
				return err
			}
		case there && running.owner == s.id: // an operator wants another server to read
			k.n.log.Info("the source is released: running says that it is not active", "source", k.source)
			k.version = running.version
			k.giveBack(ctx)
			if err := k.write(ctx, &zk.DeleteRequest{Path: k.path("running"), Version: running.version}); err != nil {
				return err
			}
			polite = true
			continue
		case there && says.Cluster == k.n.meta.ClusterID: // of a leader before this one
			if err := k.write(ctx, &zk.DeleteRequest{Path: k.path("running"), Version: running.version}); err != nil {
				return err
			}
			polite = false
			continue
		case there:
			k.lost(says.Address)
			polite, waited = true, nil
		default:
			k.lost("")
			if polite && waited == nil && !due {
				waited = time.After(politeness)
			}
			if waited == nil {
				due = false
				me := runningNode{Active: true, Address: k.n.cfg.Canal.Address, Cluster: k.n.meta.ClusterID}
				if err := k.write(ctx, &zk.CreateRequest{Path: k.path("running"), Data: marshal(me), Acl: openToAll, Flags: zk.FlagEphemeral}); err != nil {
					return err
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-waited:
			waited, due = nil, true
		case <-tick.C:
			if k.ours {
				if err := k.flush(ctx); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write does an operation that another server may have been faster with; whoever looks again sees what is so.
func (k *keeping) write(ctx context.Context, op any) error {
	err := k.t.write(ctx, op)
	switch {
	case errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrNoNode) && !errors.Is(err, cluster.ErrNotLeader), errors.Is(err, zk.ErrBadVersion):
		return nil
	case err != nil && !answered(err) && !errors.Is(err, cluster.ErrNotLeader) && ctx.Err() == nil:
		return nil
	}
	return err
}

// lost tells that the source is not ours.
func (k *keeping) lost(holder string) {
	k.ours = false
	k.tell(cluster.Custody{Holder: holder})
}

// taken begins when the source is ours: it finds out whether somebody else has read meanwhile.
func (k *keeping) taken(ctx context.Context, version int32) error {
	k.version = version
	if k.ours {
		return nil
	}
	v, _ := k.n.View()
	k.ours, k.foreign, k.epoch = true, false, v.Sources[k.source].Epoch
	k.written, k.filters = nil, make(map[string]string) // nothing is written before it is known what is there
	found, err := k.cursors(ctx)
	if err != nil {
		return err
	}
	known, err := k.t.session.get(ctx, k.path("canalgo"), false)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	var m mark
	if len(known.data) > 0 {
		_ = json.Unmarshal(known.data, &m) // what nobody can read marks nothing
	}
	var oldest cursor.Cursor
	for _, client := range slices.Sorted(maps.Keys(found)) {
		if m.Cluster != k.n.meta.ClusterID || m.Cursors[client] != found[client] {
			k.foreign = true
		}
		c, err := cursor.Parse([]byte(found[client]))
		if err != nil {
			return fmt.Errorf("%s: %w; put it right, or delete it to go on from canalgo's own position", k.path(client, "cursor"), err)
		}
		if oldest == (cursor.Cursor{}) || before(c, oldest) {
			oldest = c
		}
	}
	if !k.foreign {
		k.written = found
		k.tell(cluster.Custody{Ours: true})
		return nil
	}
	k.written = make(map[string]string)
	if err := k.takeClients(ctx, found); err != nil {
		return err
	}
	k.n.log.Info("another server has read the source meanwhile: go on at the oldest cursor", "source", k.source, "file", oldest.File, "offset", oldest.Offset)
	k.tell(cluster.Custody{Ours: true, From: &cluster.Elsewhere{Address: net.JoinHostPort(oldest.Host, strconv.Itoa(oldest.Port)),
		File: oldest.File, Offset: oldest.Offset, GTIDs: oldest.GTIDs, Time: oldest.Time}})
	return nil
}

// giveBack writes the cursor a last time and lets others read. The election node is there until lead has returned.
func (k *keeping) giveBack(ctx context.Context) {
	if !k.ours {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	_ = k.flush(ctx) // else the last second comes again
	_ = k.t.write(ctx, &zk.DeleteRequest{Path: k.path("running"), Version: k.version})
	k.lost("")
}

// look reads a znode that may be there or not, and watches it.
func (s *session) look(ctx context.Context, path string) (found node, there bool, changed <-chan zk.Event, err error) {
	for {
		err = s.retry(ctx, func() (err error) {
			there, changed, err = s.exists(ctx, path)
			return err
		})
		if err != nil || !there {
			return node{}, false, changed, err
		}
		found, err = s.get(ctx, path, false)
		if !errors.Is(err, zk.ErrNoNode) {
			return found, err == nil, changed, err
		}
	}
}

func (s *session) exists(ctx context.Context, path string) (bool, <-chan zk.Event, error) {
	type answer struct {
		there   bool
		changed <-chan zk.Event
	}
	a, err := call(ctx, s, func(z *zk.Conn) (answer, error) {
		there, _, changed, err := z.ExistsW(path)
		return answer{there, changed}, err
	})
	return a.there, a.changed, err
}

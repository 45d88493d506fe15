package zkmode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"canalgo/canal/cursor"
	"canalgo/cluster"
	"canalgo/event"
)

// What canal's servers, clients and adapters have in the ensemble, below otter/canal:
//
//	cluster/ADDRESS                        a server, ephemeral
//	destinations/D/cluster/ADDRESS         a server that has destination D, ephemeral
//	destinations/D/running                 the one that reads it, ephemeral, as runningNode
//	destinations/D/CLIENT/cursor           how far a client has come, see canal/cursor
//	destinations/D/canalgo                 canalgo's own beside them, as mark; canal skips what is no number
//
// A destination is a source of that name. All of it is open to everybody: canal's programs have no login.

// Canal is what a node is among canal's servers.
type Canal struct {
	Address string // host:port that it registers
	Client  uint16 // whose cursor is that of the source's duties
}

func (n *Node) canal(s *session, parts ...string) string {
	return s.path(append([]string{"otter", "canal"}, parts...)...)
}

func (n *Node) destination(s *session, source string, parts ...string) string {
	return n.canal(s, append([]string{"destinations", source}, parts...)...)
}

var openToAll = zk.WorldACL(zk.PermAll)

// registerEvery is how often what is registered is looked after: a server that was started again within its former session loses its
// znodes with that.
const registerEvery = 2 * time.Second

// register shows this node among canal's servers, for each source.
func (n *Node) register(ctx context.Context, s *session) error {
	tick := time.NewTicker(registerEvery)
	defer tick.Stop()
	var was []string
	for {
		v, _ := n.View()
		wanted := slices.Sorted(maps.Keys(v.Config.Sources))
		paths := []string{n.canal(s, "cluster", n.cfg.Canal.Address)}
		for _, source := range wanted {
			paths = append(paths, n.destination(s, source, "cluster", n.cfg.Canal.Address))
		}
		for _, path := range paths {
			if err := n.beThere(ctx, s, path); err != nil {
				return err
			}
		}
		for _, source := range was {
			if !slices.Contains(wanted, source) {
				if err := s.remove(ctx, n.destination(s, source, "cluster", n.cfg.Canal.Address)); err != nil {
					return err
				}
			}
		}
		was = wanted
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.over:
			return errOver
		}
	}
}

// beThere makes an ephemeral znode of this session, in place of one of another.
func (n *Node) beThere(ctx context.Context, s *session, path string) error {
	for {
		found, err := s.get(ctx, path, false)
		switch {
		case err == nil && found.owner == s.id:
			return nil
		case err == nil:
			if err := s.remove(ctx, path); err != nil {
				return err
			}
		case !errors.Is(err, zk.ErrNoNode):
			return err
		}
		if err := s.create(ctx, path[:strings.LastIndexByte(path, '/')], openToAll); err != nil {
			return err
		}
		_, err = s.multi(ctx, &zk.CreateRequest{Path: path, Acl: openToAll, Flags: zk.FlagEphemeral})
		if err != nil && answered(err) && !errors.Is(err, zk.ErrNodeExists) && !errors.Is(err, zk.ErrNoNode) {
			return fmt.Errorf("register %s: %w", path, err)
		}
		if errors.Is(err, errOver) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// A runningNode is what the znode "running" says.
type runningNode struct {
	Active  bool   `json:"active"`
	Address string `json:"address"`
	Cluster string `json:"canalgo,omitempty"` // of canalgo; canal's readers ignore it
}

// A mark is what canalgo keeps beside canal's cursor: by it a leader sees whether somebody else has moved that.
type mark struct {
	Cluster   string                            `json:"cluster"`
	Cursor    string                            `json:"cursor"` // as it was written last
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
	version int32  // of running, while it is ours
	epoch   uint32 // of the source when it became ours
	foreign bool   // and somebody else had read since: the source gets a new epoch
	written []byte // the cursor that was written last
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
	s := k.t.session
	v, _ := k.n.View()
	k.ours, k.foreign, k.epoch, k.written = true, false, v.Sources[k.source].Epoch, nil
	found, err := s.get(ctx, k.cursorPath(), false)
	if errors.Is(err, zk.ErrNoNode) || err == nil && len(found.data) == 0 {
		k.tell(cluster.Custody{Ours: true})
		return nil
	}
	if err != nil {
		return err
	}
	known, err := s.get(ctx, k.path("canalgo"), false)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	var m mark
	if len(known.data) > 0 {
		_ = json.Unmarshal(known.data, &m) // what nobody can read marks nothing
	}
	if m.Cluster == k.n.meta.ClusterID && m.Cursor == string(found.data) {
		k.written = found.data
		k.tell(cluster.Custody{Ours: true})
		return nil
	}
	c, err := cursor.Parse(found.data)
	if err != nil {
		return fmt.Errorf("%s: %w; put it right, or delete it to go on from canalgo's own position", k.cursorPath(), err)
	}
	k.foreign = true
	k.n.log.Info("another server has read the source meanwhile: go on at its cursor", "source", k.source, "file", c.File, "offset", c.Offset)
	k.tell(cluster.Custody{Ours: true, From: &cluster.Elsewhere{Address: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), File: c.File, Offset: c.Offset, GTIDs: c.GTIDs, Time: c.Time}})
	return nil
}

func (k *keeping) cursorPath() string {
	return k.path(strconv.Itoa(int(k.n.cfg.Canal.Client)), "cursor")
}

// flush writes the oldest position of the source's duties as canal's cursor, when it has changed, and beside it what each duty has.
func (k *keeping) flush(ctx context.Context) error {
	v, _ := k.n.View()
	if k.foreign && v.Sources[k.source].Epoch == k.epoch {
		return nil // what another server wrote is still needed
	}
	m := mark{Cluster: k.n.meta.ClusterID, Positions: make(map[cluster.DutyID]event.Position)}
	var oldest event.Position
	for id, d := range v.Duties {
		if id.Source != k.source || id.Kind != cluster.Stream || d.Position.IsZero() {
			continue
		}
		m.Positions[id] = d.Position
		if oldest.IsZero() || d.Position.Before(oldest) {
			oldest = d.Position
		}
	}
	address, serverID := k.server()
	host, port, err := net.SplitHostPort(address)
	if err != nil || oldest.File == "" {
		return nil // nobody can say yet where that is
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil
	}
	data := cursor.Cursor{Host: host, Port: number, File: oldest.File, Offset: oldest.Offset, Time: oldest.Time, ServerID: serverID, GTIDs: oldest.GTIDs}.Encode()
	if bytes.Equal(data, k.written) {
		return nil
	}
	if k.written == nil {
		for _, path := range []string{k.cursorPath(), k.path("canalgo")} {
			if err := k.t.session.create(ctx, path, openToAll); err != nil {
				return err
			}
		}
	}
	m.Cursor = string(data)
	err = k.t.write(ctx, &zk.CheckVersionRequest{Path: k.path("running"), Version: k.version},
		&zk.SetDataRequest{Path: k.cursorPath(), Data: data, Version: -1},
		&zk.SetDataRequest{Path: k.path("canalgo"), Data: marshal(m), Version: -1})
	switch {
	case err == nil:
		k.written = data
	case errors.Is(err, cluster.ErrNotLeader):
		return err
	case answered(err): // running is gone, and its watch tells; or a client was deleted, and is made again
		k.written = nil
	}
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

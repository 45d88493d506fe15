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
//	destinations/D/CLIENT/cursor, filter   how far a client has come, see canal/cursor, and which tables it wants
//	destinations/D/canalgo                 canalgo's own beside them, as mark; canal skips what is no number
//
// A destination is a source of that name. All of it is open to everybody: canal's programs have no login.

// Canal is what a node is among canal's servers.
type Canal struct {
	Address string // host:port that it registers
	Client  int16  // whose cursor is that of the source's duties
	Serves  bool   // it answers canal's clients: those that have a cursor are taken over with the source
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
	written map[string]string // the cursors that were written last, by client
	filters map[string]string // and the filters
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
	k.written, k.filters = make(map[string]string), make(map[string]string)
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
	if err := k.takeClients(ctx, found); err != nil {
		return err
	}
	k.n.log.Info("another server has read the source meanwhile: go on at the oldest cursor", "source", k.source, "file", oldest.File, "offset", oldest.Offset)
	k.tell(cluster.Custody{Ours: true, From: &cluster.Elsewhere{Address: net.JoinHostPort(oldest.Host, strconv.Itoa(oldest.Port)),
		File: oldest.File, Offset: oldest.Offset, GTIDs: oldest.GTIDs, Time: oldest.Time}})
	return nil
}

// before reports whether one cursor lies before another, as canal finds the oldest when an instance starts.
func before(a, b cursor.Cursor) bool {
	if a.Host != b.Host || a.Port != b.Port || a.File == "" || b.File == "" {
		return a.Time.Before(b.Time)
	}
	return event.Position{File: a.File, Offset: a.Offset}.FileBefore(event.Position{File: b.File, Offset: b.Offset})
}

// cursors reads what canal has of the destination's clients.
func (k *keeping) cursors(ctx context.Context) (map[string]string, error) {
	names, _, err := k.t.session.children(ctx, k.path())
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for _, name := range names {
		if _, err := strconv.ParseInt(name, 10, 16); err != nil {
			continue
		}
		node, err := k.t.session.get(ctx, k.path(name, "cursor"), false)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return nil, err
		}
		if len(node.data) > 0 {
			found[name] = string(node.data)
		}
	}
	return found, nil
}

// takeClients notes the clients of another server, with their filters, if this one answers clients. They stand at the new epoch's start.
func (k *keeping) takeClients(ctx context.Context, found map[string]string) error {
	if !k.n.cfg.Canal.Serves {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		number, err := strconv.ParseInt(name, 10, 16)
		if err != nil {
			return err
		}
		filter, err := k.t.session.get(ctx, k.path(name, "filter"), false)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		set := cluster.SetClient{ID: cluster.ClientID{Source: k.source, Number: int16(number)}, Filter: string(filter.data)}
		err = k.n.propose(ctx, k.t.term, set)
		if errors.Is(err, cluster.ErrRefused) || errors.Is(err, cluster.ErrTooNew) {
			k.n.log.Warn("a client of another server is not taken over", "source", k.source, "client", name, "error", err)
		} else if err != nil {
			return fmt.Errorf("take over client %s: %w", name, err)
		}
	}
	return nil
}

// positions returns how far the source's clients are: those of canal's protocol, and the oldest of its duties as one of them.
func (k *keeping) positions(v cluster.View) (byClient map[string]event.Position, duties map[cluster.DutyID]event.Position) {
	byClient, duties = make(map[string]event.Position), make(map[cluster.DutyID]event.Position)
	note := func(client int16, p event.Position) {
		name := strconv.Itoa(int(client))
		if have, ok := byClient[name]; !p.IsZero() && (!ok || p.Before(have)) {
			byClient[name] = p
		}
	}
	for id, d := range v.Duties {
		if id.Source == k.source && id.Kind == cluster.Stream && !d.Position.IsZero() {
			duties[id] = d.Position
			note(k.n.cfg.Canal.Client, d.Position)
		}
	}
	for id, c := range v.Clients {
		if id.Source == k.source {
			note(id.Number, c.Position)
		}
	}
	return byClient, duties
}

// flush writes the cursors and filters that have changed, and beside them what each duty has.
func (k *keeping) flush(ctx context.Context) error {
	v, _ := k.n.View()
	if k.foreign && v.Sources[k.source].Epoch == k.epoch {
		return nil // what another server wrote is still needed
	}
	address, serverID := k.server()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil // nobody can say yet where that is
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil
	}
	s := k.t.session
	byClient, duties := k.positions(v)
	written, filters := maps.Clone(k.written), maps.Clone(k.filters)
	ops := []any{&zk.CheckVersionRequest{Path: k.path("running"), Version: k.version}}
	set := func(path, data string, have map[string]string, client string) error {
		if old, ok := have[client]; ok && old == data {
			return nil
		}
		if err := s.create(ctx, path, openToAll); err != nil {
			return err
		}
		have[client] = data
		ops = append(ops, &zk.SetDataRequest{Path: path, Data: []byte(data), Version: -1})
		return nil
	}
	for _, client := range slices.Sorted(maps.Keys(byClient)) {
		p := byClient[client]
		if p.File == "" {
			continue // known by its GTIDs alone
		}
		c := cursor.Cursor{Host: host, Port: number, File: p.File, Offset: p.Offset, Time: p.Time, ServerID: serverID, GTIDs: p.GTIDs}
		if err := set(k.path(client, "cursor"), string(c.Encode()), written, client); err != nil {
			return err
		}
	}
	for id, c := range v.Clients {
		client := strconv.Itoa(int(id.Number))
		if id.Source == k.source && c.Filter != "" {
			if err := set(k.path(client, "filter"), c.Filter, filters, client); err != nil {
				return err
			}
		}
	}
	for client := range k.written {
		if _, ok := byClient[client]; !ok { // it has unsubscribed
			delete(written, client)
			delete(filters, client)
			for _, path := range []string{k.path(client, "cursor"), k.path(client, "filter"), k.path(client)} {
				if err := k.write(ctx, &zk.DeleteRequest{Path: path, Version: -1}); err != nil && !errors.Is(err, zk.ErrNotEmpty) {
					return err
				}
			}
		}
	}
	if len(ops) == 1 && len(written) == len(k.written) {
		return nil
	}
	if err := s.create(ctx, k.path("canalgo"), openToAll); err != nil {
		return err
	}
	m := mark{Cluster: k.n.meta.ClusterID, Cursors: written, Positions: duties}
	err = k.t.write(ctx, append(ops, &zk.SetDataRequest{Path: k.path("canalgo"), Data: marshal(m), Version: -1})...)
	switch {
	case err == nil:
		k.written, k.filters = written, filters
	case errors.Is(err, cluster.ErrNotLeader):
		return err
	case answered(err): // running is gone, and its watch tells; or a client was deleted, and is made again
		k.written, k.filters = make(map[string]string), make(map[string]string)
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

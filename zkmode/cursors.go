package zkmode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/go-zookeeper/zk"

	"canalgo/canal/cursor"
	"canalgo/cluster"
	"canalgo/event"
)

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
	if k.written == nil || k.foreign && v.Sources[k.source].Epoch == k.epoch {
		return nil // what another server wrote is still needed
	}
	if _, ok := v.Config.Sources[k.source]; !ok {
		return nil // it was taken out: the cursors stay for the Java servers
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
	clients := make(map[string]bool)
	for id, c := range v.Clients {
		if id.Source != k.source {
			continue
		}
		client := strconv.Itoa(int(id.Number))
		clients[client] = true
		if c.Filter != "" {
			if err := set(k.path(client, "filter"), c.Filter, filters, client); err != nil {
				return err
			}
		}
	}
	for client := range k.clients {
		// It has unsubscribed. The cursor of mappings that were taken out stays: without one a Java server would begin elsewhere.
		if _, ok := byClient[client]; !ok && !clients[client] {
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
		k.clients = clients
		return nil
	}
	if err := s.create(ctx, k.path("canalgo"), openToAll); err != nil {
		return err
	}
	m := mark{Cluster: k.n.meta.ClusterID, Cursors: written, Positions: duties}
	err = k.t.write(ctx, append(ops, &zk.SetDataRequest{Path: k.path("canalgo"), Data: marshal(m), Version: -1})...)
	switch {
	case err == nil:
		k.written, k.filters, k.clients = written, filters, clients
	case errors.Is(err, cluster.ErrNotLeader):
		return err
	case answered(err): // running is gone, and its watch tells; or a client was deleted, and is made again
		k.written, k.filters = make(map[string]string), make(map[string]string)
	}
	return nil
}

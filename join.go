package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"canalgo/api"
	"canalgo/cli"
	"canalgo/config"
	"canalgo/node"
	"canalgo/peer"
	"canalgo/zkmode"
)

// Refuses implements node.Peers.
func (l links) Refuses(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// stream carries Raft over the node port.
type stream struct {
	net.Listener
	identity *peer.Identity
	ctx      context.Context // of everything that dials; Raft gives none
	cancel   context.CancelFunc
}

func newStream(l net.Listener, identity *peer.Identity) stream {
	ctx, cancel := context.WithCancel(context.Background())
	return stream{l, identity, ctx, cancel}
}

var _ raft.StreamLayer = stream{}

// Dial implements raft.StreamLayer. It tries a port that refuses again until the time is over: to Raft that is one failure, and a
// node that comes back is heard at once. Each failure that it counts doubles the time until it tries again, up to 10 s.
func (s stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := s.identity.Dial(ctx, string(address), peer.Raft)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// Close implements net.Listener. It ends what dials, too.
func (s stream) Close() error {
	s.cancel()
	return s.Listener.Close()
}

// advertised returns where other nodes reach the node port.
func advertised(n config.Node, listening net.Addr, join []string) (string, error) {
	if n.Advertise != "" {
		return n.Advertise, nil
	}
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return listening.String(), nil
	}
	host = outward(join)
	if host == "" {
		return "", errors.New("node.advertise: this host has several addresses or none; say -advertise HOST:PORT, at which the other nodes reach it")
	}
	return net.JoinHostPort(host, port), nil
}

// outward returns the address that this host shows to the nodes that it joins, or else its first one that is not loopback, or
// loopback when there is no other.
func outward(join []string) string {
	for _, address := range join {
		// Connecting a datagram socket sends nothing; it asks the routes.
		conn, err := net.Dial("udp", address)
		if err != nil {
			continue
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).IP.String()
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}

// join waits for a cluster and opens the data folder as that of a node which joins it.
func (p *process) join(ctx context.Context) error {
	p.answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(node.Hello{Node: p.file.Node.Name, Address: p.self.Address, Bootstraps: p.bootstrap}) // the other node is gone
	}))
	find, waits := p.findCluster, "this node waits for a cluster to join; its log says for whom"
	if p.file.Coordination.ZooKeeper() {
		find, waits = p.findInZooKeeper, "this node waits for ZooKeeper; its log says where"
	}
	stop := api.ServeWaiting(p.http, waits)
	id, err := find(ctx)
	stop()
	if err == nil {
		err = p.assemble(id)
	}
	if err != nil && ctx.Err() == nil {
		return &cli.PreconditionError{Err: err}
	}
	return err
}

// findInZooKeeper returns the id of the cluster that the ensemble has, which is made when there is none.
func (p *process) findInZooKeeper(ctx context.Context) (string, error) {
	c, err := p.zooKeeper()
	if err != nil {
		return "", err
	}
	p.log.Info("looking for the cluster in zookeeper", "servers", c.Servers, "chroot", c.Chroot, "root", c.Root)
	id, err := zkmode.Join(ctx, c)
	if errors.Is(err, zkmode.ErrToken) {
		err = fmt.Errorf("cluster.token: %w", err)
	}
	return id, err
}

// findCluster asks the nodes to join for their cluster until one has one, and returns its id. With -bootstrap it returns "", for a
// cluster of its own, when none that answers has one.
func (p *process) findCluster(ctx context.Context) (string, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said, rounds := "", 0
	for {
		id, first, why := p.askAll(ctx)
		if first {
			rounds++
		} else {
			rounds = 0
		}
		switch {
		case id != "":
			return id, nil
		case errors.Is(why, peer.ErrToken):
			return "", fmt.Errorf("cluster.token: %w", why)
		case p.bootstrap && rounds == 2: // another one that was started at the same time was not there in the first
			return "", nil
		}
		if text := fmt.Sprint(why); text != said && ctx.Err() == nil {
			said = text
			p.log.Info("waiting for a cluster to join; one host makes it, started once with -bootstrap", "join", p.file.Cluster.Join, "last", why)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick.C:
		}
	}
}

// askAll asks each of the nodes to join. first reports that this node may make the cluster: no other that answers has one, and
// none with a smaller address is about to make one.
func (p *process) askAll(ctx context.Context) (id string, first bool, why error) {
	first = true
	for _, address := range p.file.Cluster.Join {
		if address == p.self.Address {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, 3*time.Second)
		h, err := node.SayHello(asking, p.links, address)
		cancel()
		switch {
		case err != nil:
			why = err
		case h.ClusterID != "":
			return h.ClusterID, false, nil
		case h.Bootstraps && h.Address < p.self.Address:
			first, why = false, fmt.Errorf("%s is about to make the cluster", address)
		default:
			why = fmt.Errorf("%s has no cluster yet", address)
		}
	}
	return "", first, why
}

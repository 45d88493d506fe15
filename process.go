package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"canalgo/api"
	canalserver "canalgo/canal/server"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/folder"
	"canalgo/node"
	"canalgo/peer"
	"canalgo/raftfsm"
	"canalgo/relay"
	"canalgo/zkmode"
)

// A process is one node with its ports and its data folder.
type process struct {
	file      config.File
	bootstrap bool
	log       hclog.Logger
	found     folder.Found
	secret    []byte
	self      cluster.Node
	links     links

	http  net.Listener
	port  *peer.Port
	feeds map[uint8]net.Listener // by the version of their frames
	calls net.Listener
	raft  net.Listener                 // nil in ZooKeeper mode
	call  atomic.Pointer[http.Handler] // what answers calls now

	canal       net.Listener // for canal's clients; nil when they are not answered
	coordinator coordinator  // nil until there is a cluster
	node        *node.Node
	server      *api.Server
}

// A coordinator elects the leader, and keeps the cluster's state and this node's identity in it.
type coordinator interface {
	node.Coordinator
	node.Membership
	ClusterID() string
	ServerID() string
	Secret() []byte // not to be shown
	Close() error
}

// open opens the ports, and the data folder unless the node must find a cluster first. Nothing runs yet.
func open(file config.File, bootstrap bool, log hclog.Logger) (_ *process, err error) {
	p := &process{file: file, bootstrap: bootstrap, log: log}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.http, err = api.Listen(file.Node.HTTP); err != nil {
		return nil, fmt.Errorf("%w%s", err, portHolder(file.Node.HTTP))
	}
	if p.found, err = folder.Look(file.Node.Data); err != nil {
		return nil, fmt.Errorf("node.data: %w", err)
	}
	if p.secret, err = secretOf(p.found, file); err != nil {
		return nil, err
	}
	identity, err := peer.NewIdentity(p.secret)
	if err != nil {
		return nil, fmt.Errorf("cluster.token: %w", err)
	}
	p.links = links{identity: identity, calls: identity.Client().Transport}
	if p.port, err = peer.Listen(file.Node.Listen, identity, log.Named("peer")); err != nil {
		return nil, fmt.Errorf("node.%w%s", err, portHolder(file.Node.Listen))
	}
	p.calls, p.feeds = p.port.Listener(peer.Call), map[uint8]net.Listener{}
	if !file.Coordination.ZooKeeper() {
		p.raft = p.port.Listener(peer.Raft)
	}
	for version := uint8(relay.MaxVersion); version >= 1; version-- { // the port prefers the newest
		p.feeds[version] = p.port.Listener(peer.Feed(version))
	}
	if file.Canal.Listen != "" {
		if p.canal, err = canalserver.Listen(file.Canal.Listen); err != nil {
			return nil, fmt.Errorf("canal_server.%w%s", err, portHolder(file.Canal.Listen))
		}
	}
	if p.self.Address, err = advertised(file.Node, p.port.Addr(), file.Cluster.Join); err != nil {
		return nil, err
	}
	if p.found.IsZero() && (len(file.Cluster.Join) > 0 || file.Coordination.ZooKeeper()) {
		return p, nil // the cluster has to be found first
	}
	return p, p.assemble("")
}

// assemble opens the data folder and puts the node together. With a cluster's id a new folder is one of a node that joins it.
func (p *process) assemble(join string) (err error) {
	file := p.file
	if p.coordinator, err = p.openFolder(join); err != nil {
		return fmt.Errorf("node.data: %w", err)
	}
	p.self.ServerID, p.self.HTTP, p.self.Version = p.coordinator.ServerID(), p.http.Addr().String(), version
	p.self = p.self.ThisBuild()
	key := p.coordinator.Secret()
	seed, err := file.ToCluster(key)
	if err != nil {
		return err
	}
	cfg := node.Config{ID: file.Node.Name, Version: version, ClusterID: p.coordinator.ClusterID(), Self: p.self, Join: file.Cluster.Join, Peers: p.links,
		Seed: seed, Log: p.log}
	if len(seed.Sources) > 0 {
		cfg.Differs = func(replicated cluster.Config) []string {
			changes, err := config.Diff(key, replicated, seed)
			if err != nil {
				return []string{err.Error()}
			}
			return changes
		}
	}
	if p.node, err = node.New(cfg, p.coordinator, &parts{key: key, clusterID: cfg.ClusterID, log: p.log}); err != nil {
		return err
	}
	p.server = api.New(p.http, &control{Node: p.node, key: key}, p.links, p.log.Named("http"))
	mux := http.NewServeMux()
	mux.Handle("/", p.node.Calls())
	mux.Handle("/v1/", p.server.Commands())
	p.answer(mux)
	return nil
}

// openFolder opens the data folder as the mode of coordination wants it.
func (p *process) openFolder(join string) (coordinator, error) {
	if p.file.Coordination.ZooKeeper() {
		c, err := p.zooKeeper()
		if err != nil {
			return nil, err
		}
		c.ClusterID = join
		n, err := zkmode.New(c)
		if err != nil {
			return nil, err // and no coordinator that is a nil *Node
		}
		return n, nil
	}
	n, err := raftfsm.New(raftfsm.Config{Dir: p.file.Node.Data, NodeID: p.file.Node.Name, Address: p.self.Address, Secret: p.secret,
		ClusterID: join, Join: join != "", Stream: newStream(p.raft, p.links.identity), Logger: p.log.Named("raft")})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// canalPort is where canal's servers are reached, if nothing else is said.
const canalPort = "11111"

// zooKeeper is what ZooKeeper mode needs.
func (p *process) zooKeeper() (zkmode.Config, error) {
	c, err := ensemble(p.file.Coordination)
	c.Dir, c.NodeID, c.Address, c.Secret = p.file.Node.Data, p.file.Node.Name, p.self.Address, p.secret
	c.Canal = zkmode.Canal{Address: p.file.Coordination.Register, Client: p.file.Coordination.ClientID, Serves: p.canal != nil}
	if c.Canal.Address == "" {
		host, _, splitErr := net.SplitHostPort(p.self.Address)
		port := canalPort
		if p.canal != nil {
			port = strconv.Itoa(p.canal.Addr().(*net.TCPAddr).Port)
		}
		err = errors.Join(err, splitErr)
		c.Canal.Address = net.JoinHostPort(host, port)
	}
	c.Refuses, c.Logger = p.links.Refuses, p.log.Named("zookeeper")
	return c, err
}

// ensemble is how an ensemble is reached.
func ensemble(c config.Coordination) (zkmode.Config, error) {
	t, err := c.TLSConfig()
	if err != nil {
		return zkmode.Config{}, fmt.Errorf("coordination.%w", err)
	}
	return zkmode.Config{Servers: c.Servers, Chroot: c.Chroot, Root: c.Root, User: c.User, Password: c.Password.Reveal(), TLS: t, SessionTimeout: c.SessionTimeout}, nil
}

// answer sets what answers other nodes' calls.
func (p *process) answer(h http.Handler) { p.call.Store(&h) }

// close gives free what open took, when it could not finish.
func (p *process) close() {
	if p.http != nil {
		p.http.Close()
	}
	if p.port != nil {
		p.port.Close()
	}
	if p.canal != nil {
		p.canal.Close()
	}
	if p.coordinator != nil {
		_ = p.coordinator.Close()
	}
}

// run runs the node until ctx ends. Its ports answer until the node has stopped.
func (p *process) run(ctx context.Context) error {
	began := time.Now()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, gctx := errgroup.WithContext(ctx)
	serve := func(run func(context.Context) error) {
		g.Go(func() error {
			if err := run(serving); err != nil && serving.Err() == nil {
				return err
			}
			return nil
		})
	}
	g.Go(func() error {
		defer stop()
		if p.node == nil {
			if err := p.join(gctx); err != nil {
				return err
			}
		}
		serve(p.server.Run)
		if p.canal != nil {
			clients, err := newCanalServer(p.canal, p.file.Canal, p.node, p.log.Named("canal"))
			if err != nil {
				return err
			}
			// It ends when the node is told to: clients go on at whoever leads then.
			g.Go(func() error {
				if err := clients.Run(gctx); gctx.Err() == nil {
					return err
				}
				return nil
			})
		}
		for version, listener := range p.feeds {
			g.Go(func() error { return p.node.ServeFeeds(listener, version) })
		}
		return p.node.Run(gctx)
	})
	serve(p.port.Run)
	serve(p.serveCalls)
	err := g.Wait()
	switch {
	case p.node == nil:
		p.close()
	case errors.Is(err, cluster.ErrRemoved) && p.node.Leaving():
		err = nil
	}
	if err == nil {
		p.log.Info("stopped", "after", time.Since(began).Round(time.Second))
	}
	return err
}

// serveCalls answers other nodes until ctx ends.
func (p *process) serveCalls(ctx context.Context) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*p.call.Load()).ServeHTTP(w, r) }),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog:    p.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(p.calls); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve calls: %w", err)
	}
	return ctx.Err()
}

// secretOf returns the cluster's secret: what the data folder has, what the file gives, or a new one.
func secretOf(found folder.Found, file config.File) ([]byte, error) {
	given := file.Cluster.Token.Reveal()
	switch {
	case len(found.Secret) > 0 && given != "" && given != string(found.Secret):
		return nil, errors.New("cluster.token: another one than the data folder's; take it out, or give the token of the cluster that the folder belongs to")
	case len(found.Secret) > 0:
		return found.Secret, nil
	case given != "":
		return []byte(given), nil
	case file.Coordination.ZooKeeper():
		return nil, errors.New("cluster.token: missing; in ZooKeeper mode all nodes are given the same one, by -token, $CANALGO_TOKEN or the file")
	case len(file.Cluster.Join) > 0:
		return nil, errors.New("cluster.token: missing; canalgo token prints it on a node of the cluster, and -token, $CANALGO_TOKEN or the file gives it here")
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return []byte(base64.RawURLEncoding.EncodeToString(random)), nil
}

// links reaches other nodes over the node port.
type links struct {
	identity *peer.Identity
	calls    http.RoundTripper
}

var _ node.Peers = links{}

// RoundTrip implements node.Peers.
func (l links) RoundTrip(r *http.Request) (*http.Response, error) { return l.calls.RoundTrip(r) }

// Feed implements node.Peers.
func (l links) Feed(ctx context.Context, address string) (conn net.Conn, version uint8, err error) {
	var known []string
	for version := uint8(1); version <= relay.MaxVersion; version++ {
		known = append(known, peer.Feed(version))
	}
	if conn, err = l.identity.Dial(ctx, address, known...); err != nil {
		return nil, 0, err
	}
	return conn, uint8(slices.Index(known, peer.Protocol(conn)) + 1), nil
}

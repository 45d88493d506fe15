package main

import (
	"net"

	"github.com/hashicorp/go-hclog"

	"canalgo/canal/entry"
	canalserver "canalgo/canal/server"
	"canalgo/canal/wire"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/event"
	"canalgo/node"
)

var (
	_ canalserver.Leader = clients{}
	_ canalserver.Client = client{}
)

// newCanalServer makes what answers canal's clients.
func newCanalServer(listener net.Listener, c config.Canal, n *node.Node, log hclog.Logger) (*canalserver.Server, error) {
	zone, err := c.Zone()
	if err != nil {
		return nil, err
	}
	cfg := canalserver.Config{User: c.User, MaxConnections: c.MaxConnections, Buffer: c.Buffer, Items: c.BatchMode == config.BatchItemSize,
		DDLAlone: c.DDLIsolation, Entries: entry.Options{Zone: zone, GTIDs: c.GTID}}
	if !c.Passwd.IsZero() {
		password := wire.ParsePassword(c.Passwd.Reveal())
		cfg.Password = &password
	}
	return canalserver.New(listener, cfg, clients{n}, log), nil
}

// clients gives a node the words of package canal/server.
type clients struct{ *node.Node }

// Client implements canalserver.Leader.
func (c clients) Client(id cluster.ClientID) (canalserver.Client, error) {
	known, err := c.Node.Client(id)
	if err != nil {
		return nil, err
	}
	return client{known}, nil
}

// client gives a node's client the words of package canal/server.
type client struct{ *node.Client }

// Open implements canalserver.Client.
func (c client) Open(from event.Position) (canalserver.Feed, error) {
	feed, err := c.Client.Open(from)
	if err != nil {
		return nil, err // not a nil *node.ClientFeed
	}
	return feed, nil
}

// Note implements canalserver.Client.
func (c client) Note(p canalserver.Progress) { c.Client.Note(node.ClientProgress(p)) }

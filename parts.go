package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/binlog"
	"canalgo/cluster"
	"canalgo/config"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/raftfsm"
	"canalgo/sink"
	"canalgo/sink/elastic"
	"canalgo/sink/logger"
	"canalgo/zkmode"
)

var (
	_ node.Coordinator = (*raftfsm.Node)(nil)
	_ node.Membership  = (*raftfsm.Node)(nil)
	_ node.Coordinator = (*zkmode.Node)(nil)
	_ node.Membership  = (*zkmode.Node)(nil)
	_ node.Custodian   = (*zkmode.Node)(nil)
	_ node.Parts       = (*parts)(nil)
	_ node.Source      = source{}
	_ node.Placer      = source{}
	_ node.Mapping     = (*mapping.Mapping)(nil)
	_ node.Indexer     = (*elastic.Sink)(nil)
)

// parts makes the real things of a replicated configuration.
type parts struct {
	key       []byte // of the cluster's secrets
	clusterID string
	log       hclog.Logger
}

// Source implements node.Parts.
func (p *parts) Source(name string, c cluster.SourceConfig) (node.Source, error) {
	cfg, err := config.DecodeSource(p.key, c)
	if err != nil {
		return nil, err
	}
	s, err := binlog.New(cfg, p.clusterID, name, p.log.Named("binlog").With("source", name))
	if err != nil {
		return nil, err
	}
	return source{s}, nil
}

// Sink implements node.Parts.
func (p *parts) Sink(_ string, c cluster.SinkConfig) (node.Sink, error) {
	decoded, err := config.DecodeSink(p.key, c)
	if err != nil {
		return nil, err
	}
	return openSink(decoded)
}

// openSink is the one place that knows every type of sink.
func openSink(c config.Sink) (node.Sink, error) {
	switch settings := c.Settings.(type) {
	case *elastic.Config:
		return elastic.New(*settings)
	case *logger.Config:
		return logger.New(*settings)
	}
	return nil, fmt.Errorf("type %q is unknown to this version", c.Type)
}

// Mapping implements node.Parts.
func (p *parts) Mapping(name string, c cluster.MappingConfig, s cluster.SourceConfig) (node.Mapping, error) {
	m, err := config.DecodeMapping(p.key, c)
	if err != nil {
		return nil, err
	}
	from, err := config.DecodeSource(p.key, s)
	if err != nil {
		return nil, err
	}
	return mapping.Compile(name, m.Config, from.Schema)
}

// Decoder implements node.Parts.
func (p *parts) Decoder() sink.Decoder { return binlog.NewDecoder() }

// source gives a binlog.Source the words of package node.
type source struct{ *binlog.Source }

// Session implements lookup.Source.
func (s source) Session(ctx context.Context, serverUUID string) (lookup.Session, error) {
	return s.Source.Session(ctx, serverUUID)
}

// Server implements node.Source.
func (s source) Server(ctx context.Context, uuid string) (node.Server, error) {
	id, err := s.Identify(ctx, uuid)
	if err != nil {
		return node.Server{}, err
	}
	return node.Server{Address: s.Address(), UUID: id.ServerUUID, ID: id.ServerID, Version: id.Version, GTIDs: id.GTIDs(), Names: id.NamesColumns()}, nil
}

// Stream implements node.Source.
func (s source) Stream(ctx context.Context, stream string, from event.Position, want func(event.TableName) bool, history node.History,
	emit func(context.Context, event.Batch) error) error {
	return s.Source.Stream(ctx, stream, from, want, history, emit)
}

// Logs implements node.Source.
func (s source) Logs(ctx context.Context) ([]node.LogFile, time.Duration, error) {
	files, keeps, err := s.Source.Logs(ctx)
	out := make([]node.LogFile, len(files))
	for i, f := range files {
		out[i] = node.LogFile{Name: f.Name, Size: f.Size}
	}
	return out, keeps, err
}

// Progress implements node.Source.
func (s source) Progress(stream string) node.SourceProgress {
	p := s.Status(stream)
	return node.SourceProgress{Connected: p.Connected, Since: p.Since, LastError: p.LastError, ErrorTime: p.ErrorTime, Settled: p.Settled,
		CaughtUp: p.CaughtUp, XA: p.XA.Open, XASince: p.XA.Since, XAAt: p.XA.At, Events: p.Events, Bytes: p.Bytes, Filtered: p.Filtered, Reconnects: p.Reconnects, Received: p.Received}
}

// Lost implements node.Source.
func (s source) Lost(err error) bool { return binlog.Lost(err) }

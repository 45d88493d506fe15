// Package lab is a laboratory: three canalgo processes on hosts of their own, between a real MySQL and a real Elasticsearch, and
// faults for all of them and for whatever lies between.
//
// A scenario reads like a sentence:
//
//	lab.Schedule{Load: 8 * time.Second, Events: []lab.Event{
//		lab.At(2*time.Second, lab.Kill(lab.Leader).For(time.Second)),
//		lab.At(3*time.Second, lab.MakeAt("elastic-late", lab.Worker).For(2*time.Second)),
//	}}
//
// Random draws one from a seed, Parse reads one from the trace of another. Play plays it under load, heals everything and judges
// with integration/oracle. The servers and hosts serve one schedule after the other; tables, indices, folders and proxies are new
// for each.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"canalgo/integration/component"
)

// hosts are one more than a cluster's nodes, for one that joins.
const (
	nodes = 3
	hosts = nodes + 1
)

// A Lab is the servers and the hosts. Its methods are for one goroutine.
type Lab struct {
	dir    string
	db     *component.MySQL
	es     *component.Elasticsearch
	zk     *component.ZooKeeper // nil until a trial wants it
	net    *component.Network
	trials int
}

// New starts servers with their data below dir. The caller closes the lab.
func New(ctx context.Context, dir string) (*Lab, error) {
	l := &Lab{dir: dir}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var started sync.WaitGroup
	var dbErr, esErr error
	started.Go(func() {
		l.db, dbErr = component.StartMySQL(ctx, filepath.Join(dir, "mysql"), "--max-binlog-size=16M")
	})
	started.Go(func() {
		l.es, esErr = component.StartElasticsearch(ctx, filepath.Join(dir, "elasticsearch"), component.ElasticsearchOptions{Heap: "768m"})
	})
	var netErr error
	l.net, netErr = component.NewNetwork(ctx, hosts)
	started.Wait()
	if err := errors.Join(dbErr, esErr, netErr); err != nil {
		return nil, errors.Join(fmt.Errorf("start the laboratory: %w", err), l.Close())
	}
	return l, nil
}

// ensemble starts the ZooKeeper, unless it runs.
func (l *Lab) ensemble(ctx context.Context) (err error) {
	if l.zk == nil {
		l.zk, err = component.StartZooKeeper(ctx, filepath.Join(l.dir, "zookeeper"), component.ZooKeeperOptions{})
	}
	return err
}

// Close ends everything and removes the servers' data.
func (l *Lab) Close() error {
	var errs []error
	if l.es != nil {
		errs = append(errs, l.es.Kill())
	}
	if l.db != nil {
		errs = append(errs, l.db.Kill())
	}
	if l.zk != nil {
		errs = append(errs, l.zk.Kill())
	}
	if l.net != nil {
		errs = append(errs, l.net.Close())
	}
	for _, server := range []string{"mysql", "elasticsearch", "zookeeper"} {
		errs = append(errs, os.RemoveAll(filepath.Join(l.dir, server)))
	}
	return errors.Join(errs...)
}

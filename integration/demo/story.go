package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"canalgo/integration/component"
)

const away = 20 * time.Second // how long Elasticsearch is gone

// story is what is played, from top to bottom. The steps of rows are in rows.go, those of nodes in nodes.go.
func (d *demo) story() []step {
	return []step{
		{"MySQL and Elasticsearch are in the cache", d.install},
		{"MySQL answers", d.startMySQL},
		{"Elasticsearch answers", d.startElasticsearch},
		{"MySQL has four tables with rows, Elasticsearch nothing", d.fill},

		{"the first node starts from a file and follows MySQL", d.startFirst},
		{"two more nodes join, told an address and the token only", d.joinTwo},
		{"the existing rows are loaded", d.loaded},
		{"an inserted row is seen in Elasticsearch", d.insert},
		{"an updated row is seen", d.update},
		{"a row with a new key has moved", d.move},
		{"a deleted row is gone", d.remove},

		{"load begins: items and payments change all the time", d.beginLoad},
		{"kill -9 of the leader: rows of all tables are seen", d.killLeader},
		{"it is back, and all three work", d.startKilled},
		{"kill -9 of a node that writes: its table's row is seen", d.killHolder},
		{"it is back, and all three work", d.startKilled},
		{"SIGTERM to each node in turn, and started again", d.restartEach},
		{"a fourth node joins with nothing but -join, gets duties", d.joinFourth},
		{fmt.Sprintf("Elasticsearch is away for %.0f s, canalgo says so", away.Seconds()), d.outage},
		{"load ends, everything is written", d.endLoad},

		{"all rows of all tables equal all documents", d.compare},
		{"no password is in logs, status or stored data", d.secrets},
	}
}

func (d *demo) install(ctx context.Context) (string, error) {
	begin := time.Now()
	err := component.Install(ctx)
	return took(begin), err
}

func (d *demo) startMySQL(ctx context.Context) (_ string, err error) {
	begin := time.Now()
	if d.db, err = component.StartMySQL(ctx, d.path("mysql")); err != nil {
		return "", err
	}
	return took(begin) + ", " + d.db.Addr(), nil
}

func (d *demo) startElasticsearch(ctx context.Context) (_ string, err error) {
	begin := time.Now()
	d.es, err = component.StartElasticsearch(ctx, d.path("elasticsearch"),
		component.ElasticsearchOptions{User: "canalgo", Password: component.ElasticPassword})
	if err != nil {
		return "", err
	}
	return took(begin) + ", " + d.es.URL(), nil
}

// sections is the first node's file, without [node].
func (d *demo) sections() string {
	var b strings.Builder
	fmt.Fprintf(&b, `
[source.shop]
addr = %q
user = %q
password = %q

[sink.search]
type = "elasticsearch"
addresses = [%q]
user = "canalgo"
password = %q
replicas = 0
`, d.db.Addr(), component.CanalgoUser, component.CanalgoPassword, d.es.URL(), component.ElasticPassword)
	for _, t := range d.tables {
		fmt.Fprintf(&b, `
[mapping.%s]
source = "shop"
sink = "search"
load = "initial"
_index = %q
sql = %q
`, t.name, t.name, t.sql)
	}
	return b.String()
}

// secrets looks for the passwords everywhere, and for the token everywhere but in the data folder, which must have it.
func (d *demo) secrets(ctx context.Context) (string, error) {
	for _, n := range d.cluster.Nodes {
		if err := n.Leaks(ctx); err != nil {
			return "", err
		}
		log, err := os.ReadFile(n.LogFile())
		if err != nil {
			return "", err
		}
		report, err := n.Get(ctx, "/status")
		if err != nil {
			return "", err
		}
		if strings.Contains(string(log)+string(report), d.token) {
			return "", fmt.Errorf("the token is in %s or in the status of %s", n.LogFile(), n.Name)
		}
	}
	return fmt.Sprintf("%d nodes", len(d.cluster.Nodes)), nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"canalgo/integration/harness"
	"canalgo/status"
)

const (
	wholeTime = 30 * time.Second // bounds how long the cluster may take until all its nodes work
	stopTime  = 5 * time.Second  // how long a node may take to stop
	joinTime  = 5 * time.Second  // until a new node has something to do
	workTime  = 2 * time.Second  // how long all work under load before the next one goes
)

func (d *demo) startFirst(ctx context.Context) (string, error) {
	n, err := harness.New(d.path("n1"), d.sections())
	if err != nil {
		return "", err
	}
	d.cluster.Nodes = []*harness.Node{n}
	begin := time.Now()
	if err := n.Start(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		return "", err
	}
	ready := took(begin)
	got, err := n.Command(ctx, "token", "-data", n.Data())
	if err != nil {
		return "", err
	}
	if d.token = strings.TrimSpace(got.Stdout); d.token == "" || got.Code != 0 {
		return "", fmt.Errorf("canalgo token ended with %d: %s", got.Code, got.Stderr)
	}
	return fmt.Sprintf("%s\n$ ./canalgo -config %s\n$ ./canalgo token -data %s\n********", ready, n.Config(), n.Data()), nil
}

// join starts a further node, which is told the node port of one that runs.
func (d *demo) join(name string, at *harness.Node) (*harness.Node, string, error) {
	n, err := harness.Joining(d.path(name), name, d.token, at.Port)
	if err != nil {
		return nil, "", err
	}
	d.cluster.Nodes = append(d.cluster.Nodes, n)
	return n, fmt.Sprintf("\n$ CANALGO_TOKEN=******** ./canalgo -join %s", at.Port), n.Start()
}

func (d *demo) joinTwo(ctx context.Context) (string, error) {
	begin, typed := time.Now(), ""
	for _, name := range []string{"n2", "n3"} {
		_, line, err := d.join(name, d.cluster.Nodes[0])
		if err != nil {
			return "", err
		}
		typed += line
	}
	spread, err := d.whole(ctx)
	return took(begin) + ", " + spread + typed + "\n(and -id, -data, -listen, -http, because all share this host)", err
}

// whole waits until every node works and every duty is done, spread evenly, and says who does how many.
func (d *demo) whole(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	var counts []int
	_, err := d.cluster.Wait(ctx, "a cluster in which all work", func(r status.Report) bool {
		counts = make([]int, len(d.cluster.Nodes))
		for i, n := range d.cluster.Nodes {
			for _, duty := range r.Duties {
				if duty.Kind == "stream" && duty.Node == n.Name {
					counts[i]++
				}
			}
		}
		return harness.Whole(r, len(d.cluster.Nodes)) && slices.Max(counts)-slices.Min(counts) < 2
	})
	spread := "duties:"
	for i, n := range d.cluster.Nodes {
		spread += fmt.Sprintf(" %s has %d,", n.Name, counts[i])
	}
	return strings.TrimSuffix(spread, ","), err
}

// killLeader is what canal's users know as a wait of about 50 s (measured elsewhere).
func (d *demo) killLeader(ctx context.Context) (string, error) {
	leader, err := d.cluster.Leader(ctx)
	if err != nil {
		return "", err
	}
	killed := time.Now()
	if err := leader.Kill(); err != nil {
		return "", err
	}
	seen, err := d.probe(ctx, killed, d.tables...)
	if err != nil {
		return "", err
	}
	next, err := d.cluster.Leader(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s died, %s leads\n%s after the kill\n(users of Java canal know this as a wait of about 50 s, measured elsewhere)",
		leader.Name, next.Name, each(d.tables, seen)), nil
}

// killHolder kills a node that holds a duty and does not lead, one of a table under load if there is such a node.
func (d *demo) killHolder(ctx context.Context) (string, error) {
	report, err := d.cluster.Status(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range slices.Backward(d.tables) {
		duty, _ := report.Duty(t.duty())
		holder := d.cluster.Node(duty.Node)
		if holder == nil || duty.Node == report.Leader {
			continue
		}
		killed := time.Now()
		if err := holder.Kill(); err != nil {
			return "", err
		}
		seen, err := d.probe(ctx, killed, t)
		if err != nil {
			return "", err
		}
		next, err := d.cluster.Holder(ctx, t.duty())
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s died, %s does %s\n%s %s after the kill", holder.Name, next.Name, t.duty(), t.name, round(seen[0])), nil
	}
	return "", errors.New("the leader holds every duty")
}

func (d *demo) startKilled(ctx context.Context) (string, error) {
	begin, name := time.Now(), ""
	for _, n := range d.cluster.Nodes {
		if n.PID() != 0 {
			continue
		}
		if err := n.Start(); err != nil {
			return "", err
		}
		name = n.Name
	}
	spread, err := d.whole(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s after %s, %s", name, took(begin), spread), pause(ctx, workTime)
}

// restartEach stops each node in order, while rows are inserted into all tables, and starts it again.
func (d *demo) restartEach(ctx context.Context) (string, error) {
	measured := fmt.Sprintf("%d nodes", len(d.cluster.Nodes))
	for _, n := range d.cluster.Nodes {
		line, err := d.restart(ctx, n)
		if err != nil {
			return "", err
		}
		measured += "\n" + line
		if err := pause(ctx, workTime); err != nil {
			return "", err
		}
	}
	return measured, nil
}

func (d *demo) restart(ctx context.Context, n *harness.Node) (string, error) {
	report, err := d.cluster.Status(ctx)
	if err != nil {
		return "", err
	}
	name := n.Name
	if report.Leader == n.Name {
		name += ", the leader,"
	}
	begin := time.Now()
	var stopped time.Duration
	var seen []time.Duration
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := stopInOrder(n)
		stopped = time.Since(begin)
		return err
	})
	g.Go(func() (err error) {
		seen, err = d.probe(gctx, begin, d.tables...)
		return err
	})
	if err := g.Wait(); err != nil {
		return "", err
	}
	if stopped > stopTime {
		return "", fmt.Errorf("%s took %s to stop", n.Name, stopped)
	}
	begin = time.Now()
	if err := n.Start(); err != nil {
		return "", err
	}
	_, err = d.whole(ctx)
	return fmt.Sprintf("%s stopped after %s, exit code 0; rows of all tables seen within %s; back after %s",
		name, round(stopped), round(slices.Max(seen)), took(begin)), err
}

func (d *demo) joinFourth(ctx context.Context) (string, error) {
	begin := time.Now()
	n, typed, err := d.join("n4", d.cluster.Nodes[1])
	if err != nil {
		return "", err
	}
	joining, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	var got []string
	if _, err := d.cluster.Wait(joining, "duties of "+n.Name, func(r status.Report) bool {
		got = nil
		for _, duty := range r.Duties {
			if duty.Node == n.Name && duty.Kind == "stream" && duty.Stage != status.Waiting {
				got = append(got, duty.ID)
			}
		}
		return len(got) > 0
	}); err != nil {
		return "", err
	}
	measured := fmt.Sprintf("%s after %s", strings.Join(got, ", "), took(begin))
	spread, err := d.whole(ctx)
	return measured + typed + "\n" + spread, err
}

func (d *demo) outage(ctx context.Context) (string, error) {
	before := d.load.rows()
	if err := d.es.Kill(); err != nil {
		return "", err
	}
	gone := time.Now()
	waiting, cancel := context.WithTimeout(ctx, away)
	defer cancel()
	report, err := d.cluster.Wait(waiting, "the outage in the status", func(r status.Report) bool { return outage(r, gone) != "" })
	if err != nil {
		return "", err
	}
	noticed := took(gone)
	if err := pause(ctx, away-time.Since(gone)); err != nil {
		return "", err
	}
	if err := d.es.Start(ctx); err != nil {
		return "", err
	}
	back := time.Now()
	seen, err := d.probe(ctx, back, d.tables...)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q after %s, %d rows changed\n%s after it answers again", outage(report, gone), noticed, d.load.rows()-before, each(d.tables, seen)), nil
}

// outage is the stage of a duty that does not get on and says why, since a moment.
func outage(r status.Report, since time.Time) string {
	for _, duty := range r.Duties {
		waits := duty.Stage == status.Waiting || duty.Stage == status.Stuck
		if duty.Kind == "stream" && waits && duty.LastError != "" && duty.ErrorTime.After(since) {
			return string(duty.Stage)
		}
	}
	return ""
}

package lab

import (
	"context"
	"time"

	"canalgo/integration/proxy"
)

// cut pulls the cable to the other nodes. The node still reaches the servers, and must begin no request after its lease; who leads in
// ZooKeeper mode leads on, and has one.
func cut(ctx context.Context, f *fault) error {
	n, host, err := f.host("cable")
	if err != nil {
		return err
	}
	if err := f.lab.net.Cut(ctx, host); err != nil {
		return err
	}
	from := time.Now()
	f.heal(func() error {
		if late, _ := f.visits.AfterLease(hostOf(n.HTTP), from, time.Now()); len(late) > 0 && f.mode != ZooKeeper && f.untouched(n.Name) {
			f.violate("%s began %d requests after its lease, the first %s", n.Name, len(late), late[0])
		}
		return f.lab.net.Heal(context.Background(), host)
	})
	return nil
}

// untouched reports whether no other fault has made the node or its way to Elasticsearch slow, so that what it began in time can
// arrive late.
func (f *fault) untouched(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.touched[name]
}

func cutAll(ctx context.Context, f *fault) error {
	for i, n := range f.nodes {
		if err := f.take("cable " + n.Name); err != nil {
			continue
		}
		host := i + 1
		f.heal(func() error { return f.lab.net.Heal(context.Background(), host) })
		if err := f.lab.net.Cut(ctx, host); err != nil {
			return err
		}
	}
	if f.heals == nil {
		return errTaken
	}
	return nil
}

// flap pulls the cable and puts it in again, every half second.
func flap(ctx context.Context, f *fault) error {
	_, host, err := f.host("cable")
	if err != nil {
		return err
	}
	in := true
	f.heal(func() error { return f.lab.net.Heal(context.Background(), host) })
	f.repeat(ctx, 500*ms, func() error {
		in = !in
		if in {
			return f.lab.net.Heal(context.Background(), host)
		}
		return f.lab.net.Cut(context.Background(), host)
	})
	return nil
}

// stalls has what goes one way between nodes wait until the fault is over, which is what a network that loses it does: it is sent
// again.
var stalls = proxy.Spoil{Stall: true}

// deaf lets a node be heard but hear nothing.
func deaf(_ context.Context, f *fault) error { return f.oneWay(proxy.ToTarget, proxy.FromTarget) }

// mute lets a node hear but not be heard.
func mute(_ context.Context, f *fault) error { return f.oneWay(proxy.FromTarget, proxy.ToTarget) }

// oneWay stalls a direction of the connections to a node, and one of those that the node has made to others.
func (f *fault) oneWay(taken, made proxy.Direction) error {
	_, host, err := f.host("ears")
	if err != nil {
		return err
	}
	for i, p := range f.ports {
		if i == host-1 {
			p.Spoil(taken, stalls)
		} else {
			p.SpoilFrom(f.lab.net.Inner(host), made, stalls)
		}
	}
	f.heal(f.healPorts)
	return nil
}

// pairCut lets two nodes reach the third one only.
func pairCut(_ context.Context, f *fault) error {
	first := f.draw(nodes)
	second := (first + 1) % nodes
	for _, pair := range [][2]int{{first, second}, {second, first}} {
		for _, way := range []proxy.Direction{proxy.ToTarget, proxy.FromTarget} {
			f.ports[pair[0]].SpoilFrom(f.lab.net.Inner(pair[1]+1), way, stalls)
		}
	}
	f.heal(f.healPorts)
	return nil
}

func (f *fault) healPorts() error {
	for _, p := range f.ports {
		p.Heal()
	}
	return nil
}

// spoilPorts does something to everything between the nodes.
func (f *fault) spoilPorts(what proxy.Spoil) error {
	for _, p := range f.ports {
		p.Spoil(proxy.ToTarget, what)
		p.Spoil(proxy.FromTarget, what)
	}
	f.heal(f.healPorts)
	return nil
}

func peerFlips(_ context.Context, f *fault) error { return f.spoilPorts(proxy.Spoil{Flip: 20_000}) }

func peerTruncates(_ context.Context, f *fault) error {
	return f.spoilPorts(proxy.Spoil{Budget: 30_000, Reset: f.chance(50)})
}

func peerDelay(_ context.Context, f *fault) error {
	return f.spoilPorts(proxy.Spoil{Delay: 50 * ms, Jitter: 200 * ms})
}

func peerSlow(_ context.Context, f *fault) error { return f.spoilPorts(proxy.Spoil{Rate: 64_000 / 8}) }

// peerResets resets all connections between the nodes, ten times a second.
func peerResets(ctx context.Context, f *fault) error {
	f.repeat(ctx, 100*ms, func() error {
		for _, p := range f.ports {
			p.Break()
		}
		return nil
	})
	return nil
}

// lose has everything lost that a host sends to an address.
func (f *fault) lose(ctx context.Context, way, address string) error {
	n, host, err := f.host(way)
	if err != nil {
		return err
	}
	f.touch(n.Name)
	f.heal(func() error { return f.lab.net.Find(context.Background(), host, address) })
	return f.lab.net.Lose(ctx, host, address)
}

// halfOpen lets a node's packets to the others vanish: it hears what they send, and they never hear that it is gone.
func halfOpen(ctx context.Context, f *fault) error {
	return f.lose(ctx, "inner way", f.lab.net.Between())
}

func mysqlCut(ctx context.Context, f *fault) error {
	return f.lose(ctx, "mysql way", f.lab.net.Server(0))
}

func elasticCut(ctx context.Context, f *fault) error {
	return f.lose(ctx, "elastic way", f.lab.net.Server(1))
}

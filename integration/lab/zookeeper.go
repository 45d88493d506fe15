package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"canalgo/integration/component"
	"canalgo/integration/proxy"
)

// sessionTime is that of the nodes with the ensemble. A leader that has lost it without a word leads on for a third of it.
const sessionTime = 4 * sec

// coordinate makes a node's ways to the ensemble, and returns its section of the file.
func (t *trial) coordinate(number int) (string, error) {
	var servers []string
	ways := make([]*proxy.TCP, 0, len(t.lab.zk.Members))
	for _, address := range t.lab.zk.Servers() {
		p, err := proxy.NewTCPOn(t.lab.net.Outside()+":0", address)
		if err != nil {
			return "", err
		}
		ways = append(ways, p)
		servers = append(servers, fmt.Sprintf("%q", p.Addr()))
	}
	t.mu.Lock()
	t.ways = append(t.ways, ways...)
	if number <= nodes {
		t.wayOf[number] = ways
	}
	t.mu.Unlock()
	return fmt.Sprintf("[coordination]\nmode = \"zookeeper\"\nservers = [%s]\nchroot = \"/%s\"\nsession_timeout = %q\n\n", strings.Join(servers, ", "), t.name, sessionTime), nil
}

// keeper draws a member of the ensemble.
func (f *fault) keeper() *component.ZooKeeperMember {
	return f.lab.zk.Members[f.draw(len(f.lab.zk.Members))]
}

// keeperKill ends a member of the ensemble and starts it again: the others serve on.
func keeperKill(_ context.Context, f *fault) error {
	m := f.keeper()
	f.healWithin(patience, m.Start)
	return m.Kill()
}

// keeperFreeze stops a member's clock, for less or more than a session.
func keeperFreeze(_ context.Context, f *fault) error {
	m := f.keeper()
	f.heal(m.Continue)
	return m.Pause()
}

// keeperOutage ends a majority, or all: nobody can write there.
func keeperOutage(_ context.Context, f *fault) error {
	f.healWithin(patience, f.lab.zk.Start)
	all := f.lab.zk.Members
	first := f.draw(len(all))
	for i := range 2 + f.draw(len(all)-1) {
		if err := all[(first+i)%len(all)].Kill(); err != nil {
			return err
		}
	}
	return nil
}

// keeperCut lets a node reach everything but the ensemble. One that led must begin no request after its lease; that of another one is renewed
// by whoever leads, whom it still reaches.
func keeperCut(ctx context.Context, f *fault) error {
	n, host, err := f.host("keeper way")
	if err != nil {
		return err
	}
	f.mu.Lock()
	ways := f.wayOf[host]
	f.mu.Unlock()
	report, err := n.Status(ctx)
	led := err == nil && report.Leader == n.Name
	for _, p := range ways {
		p.Cut()
	}
	from := time.Now()
	f.heal(func() error {
		if late, _ := f.visits.AfterLease(hostOf(n.HTTP), from, time.Now()); len(late) > 0 && led && f.untouched(n.Name) {
			f.violate("%s led, was cut off from the ensemble and began %d requests after its lease, the first %s", n.Name, len(late), late[0])
		}
		for _, p := range ways {
			p.Heal()
		}
		return nil
	})
	return nil
}

// spoilKeepers does something to everything that goes to or comes from the ensemble.
func (f *fault) spoilKeepers(what proxy.Spoil) error {
	f.mu.Lock()
	ways := f.ways
	f.mu.Unlock()
	for _, p := range ways {
		p.Spoil(proxy.ToTarget, what)
		p.Spoil(proxy.FromTarget, what)
	}
	f.heal(func() error {
		for _, p := range ways {
			p.Heal()
		}
		return nil
	})
	return nil
}

// keeperSilent has everything wait: what accepts a connection and never answers.
func keeperSilent(_ context.Context, f *fault) error { return f.spoilKeepers(stalls) }

func keeperDelay(_ context.Context, f *fault) error {
	return f.spoilKeepers(proxy.Spoil{Delay: 50 * ms, Jitter: 200 * ms})
}

func keeperTruncates(_ context.Context, f *fault) error {
	return f.spoilKeepers(proxy.Spoil{Budget: 10_000, Reset: f.chance(50)})
}

// keeperResets resets all connections to the ensemble, three times a second.
func keeperResets(ctx context.Context, f *fault) error {
	f.mu.Lock()
	ways := f.ways
	f.mu.Unlock()
	f.repeat(ctx, 300*ms, func() error {
		for _, p := range ways {
			p.Break()
		}
		return nil
	})
	return nil
}

package node_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/node"
	"canalgo/status"
)

// set changes the world.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// A coordinator is one whose log or election can be held up.
type coordinator struct {
	*memory.Member
	mu     sync.Mutex
	full   chan struct{} // positions wait for it when not nil
	absent bool          // nobody is known to lead
}

func (c *coordinator) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	c.mu.Lock()
	full := c.full
	c.mu.Unlock()
	if _, ok := cmd.(cluster.SavePositions); ok && full != nil {
		select {
		case <-full:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.Member.Propose(ctx, term, cmd)
}

func (c *coordinator) View() (cluster.View, <-chan struct{}) {
	v, changed := c.Member.View()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.absent {
		v.Leader, v.LeaderAddress, v.Leading = "", "", false
	}
	return v, changed
}

func (c *coordinator) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// withoutBatches passes on what comes from a leader but for the batches, as long as drop reports true.
func withoutBatches(conn net.Conn, drop func() bool) net.Conn {
	const prefix, batch, part = 6, 5, 6 // relay/wire.go
	here, there := net.Pipe()
	go func() {
		_, _ = io.Copy(conn, there)
		conn.Close()
	}()
	go func() {
		defer there.Close()
		for {
			frame := make([]byte, prefix)
			if _, err := io.ReadFull(conn, frame); err != nil {
				return
			}
			frame = append(frame, make([]byte, int(binary.BigEndian.Uint32(frame))-2)...)
			if _, err := io.ReadFull(conn, frame[prefix:]); err != nil {
				return
			}
			if kind := frame[5]; drop() && (kind == batch || kind == part) {
				continue
			}
			if _, err := there.Write(frame); err != nil {
				return
			}
		}
	}()
	return here
}

// A stalling is a node, or two, of which one step can be held up.
type stalling struct {
	*world
	coordinator *coordinator
	nodes       []*node.Node
	mu          sync.Mutex
	deaf        bool // no batch arrives at the node that does not lead
}

func (s *stalling) drops() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deaf
}

// A quiet life is healthy all the time; a step that does not get on is named within 10 s, and forgotten when it does.
func TestStallIsNamed(t *testing.T) {
	var release chan struct{}
	hold := func(at *chan struct{}) { release = make(chan struct{}); *at = release }
	for _, c := range []struct {
		step, says  string
		nodes       int
		hold, loose func(s *stalling)
	}{
		{"the source is silent", "source shop is connecting: silent for 3 s", 1,
			func(s *stalling) { s.set(func() { s.silent = true }) }, func(s *stalling) { s.set(func() { s.silent = false }) }},
		{"read", "source shop does not get on: read, the server has more", 1,
			func(s *stalling) { s.set(func() { s.mute = true }) }, func(s *stalling) { s.set(func() { s.mute = false }); s.commit("on") }},
		{"read, because the connection breaks", "source shop does not get on: read, the server has more", 1,
			func(s *stalling) { s.set(func() { s.mute, s.breaks = true, true }) },
			func(s *stalling) { s.set(func() { s.mute, s.breaks = false, false }); s.commit("on") }},
		{"feed", "FAR does not get on: feed, what was read does not get to the node", 2,
			func(s *stalling) { s.mu.Lock(); defer s.mu.Unlock(); s.deaf = true }, func(s *stalling) {
				s.mu.Lock()
				s.deaf = false
				s.mu.Unlock()
				for _, paused := range []bool{true, false} { // what was dropped comes again
					if err := s.nodes[0].SetPaused(context.Background(), "source/shop", paused); err != nil {
						panic(err)
					}
					time.Sleep(time.Second)
				}
			}},
		{"map", "shop/user does not get on: map, a batch is still decoded", 1,
			func(s *stalling) { s.set(func() { hold(&s.mapping) }) }, func(s *stalling) { s.set(func() { s.mapping = nil }); close(release) }},
		{"write", "shop/user does not get on: write, the destination has not answered", 1,
			func(s *stalling) { s.set(func() { hold(&s.blocked) }) }, func(s *stalling) { s.set(func() { s.blocked = nil }); close(release) }},
		{"acknowledge", "shop/user does not get on: acknowledge, what was written is not acknowledged", 1,
			func(s *stalling) {
				at := s.nodes[0].View().Duties[stream].Position.Version()
				s.set(func() { s.foreign, s.unsettled = at+4, true })
			},
			func(s *stalling) { s.commit("1", "2", "3", "4"); s.set(func() { s.foreign, s.unsettled = 0, false }) }},
		{"save position", "leader n1 does not get on: save position, the disk of this node", 1,
			func(s *stalling) { s.coordinator.set(func() { hold(&s.coordinator.full) }) },
			func(s *stalling) { s.coordinator.set(func() { s.coordinator.full = nil }); close(release) }},
		{"no leader", "there is no leader: nothing is read or written", 1,
			func(s *stalling) { s.coordinator.set(func() { s.coordinator.absent = true }) },
			func(s *stalling) { s.coordinator.set(func() { s.coordinator.absent = false }) }},
	} {
		t.Run(c.step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				members := memory.New([]string{"n1", "n2"}[:c.nodes]...)
				s := &stalling{world: newWorld(), coordinator: &coordinator{Member: members.Member(0)}}
				network := newNetwork()
				network.feeds = func(conn net.Conn) net.Conn { return withoutBatches(conn, s.drops) }
				config := seed("")
				if c.nodes == 2 { // two streams, so that the second node gets one
					config.Mappings["second"] = config.Mappings["user"]
				}
				one, _ := network.start(t, s.world, s.coordinator, "n1", config)
				s.nodes = append(s.nodes, one)
				if c.nodes == 2 {
					two, _ := network.start(t, s.world, members.Member(1), "n2", config)
					s.nodes = append(s.nodes, two)
					eventually(t, "the one that does not lead streams", func() bool {
						r := one.Report(t.Context())
						for _, d := range r.Duties {
							if d.Node != r.Leader && d.Stage == status.Idle {
								c.says = strings.Replace(c.says, "FAR", d.ID, 1)
								return true
							}
						}
						return false
					})
				}
				eventually(t, "health", func() bool { return one.Report(t.Context()).Healthy })
				for i := range 30 {
					s.commit(fmt.Sprint("calm ", i))
					time.Sleep(2 * time.Second)
					if r := one.Report(t.Context()); !r.Healthy {
						t.Fatalf("after %d s of low load: %q", 2*i+2, r.Problems)
					}
				}
				c.hold(s)
				s.commit("held up")
				began := time.Now()
				var problems []string
				defer func() {
					if t.Failed() {
						t.Logf("the last problems: %q", problems)
					}
				}()
				eventually(t, "a problem that says "+c.says, func() bool {
					problems = one.Report(t.Context()).Problems
					return slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, c.says) })
				})
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("named after %s, want 10 s at most", took)
				}
				c.loose(s)
				eventually(t, "health", func() bool { return one.Report(t.Context()).Healthy })
			})
		})
	}
}

// A load does not get on when its rows do not come, or are not taken.
func TestStallOfALoadIsNamed(t *testing.T) {
	for _, c := range []struct {
		step, says  string
		hold, loose func(w *world)
	}{
		{"read rows", "shop/user#load does not get on: read rows, the server has not given them for",
			func(w *world) { w.set(func() { w.selects = make(chan struct{}) }) }, func(w *world) { close(w.selects) }},
		{"refused", "shop/user#load does not get on: write, the destination has not answered for",
			func(w *world) { w.set(func() { w.cut["n1"] = true }) }, func(w *world) { w.set(func() { w.cut["n1"] = false }) }},
		{"not answered", "shop/user#load does not get on: write, the destination has not answered for",
			func(w *world) { w.set(func() { w.blocked = make(chan struct{}) }) }, func(w *world) { close(w.blocked) }},
	} {
		t.Run(c.step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.rows["a"], w.cut = "", map[string]bool{}
				n, _ := start(t, w, memory.New("n1"), "")
				eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
				c.hold(w)
				began := time.Now()
				if _, err := n.StartLoad(t.Context(), "shop", "user", ""); err != nil {
					t.Fatal(err)
				}
				eventually(t, c.says, func() bool { return strings.Contains(strings.Join(n.Report(t.Context()).Problems, "\n"), c.says) })
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("named after %s, want 10 s at most", took)
				}
				c.loose(w)
				eventually(t, "the load", has(w, "a"))
				eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
			})
		})
	}
}

func TestWaitingForLongIsAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.indices = make(chan struct{})
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "a problem", func() bool {
			return strings.Contains(fmt.Sprint(n.Report(t.Context()).Problems), "shop/user does not get on: index i, it waits for that for 6")
		})
		close(w.indices)
		eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
	})
}

// A transaction of gigabytes moves no position until its end.
func TestLongTransactionIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
		w.set(func() { w.mute, w.arrives = true, true })
		w.commit("at its end")
		for range 60 {
			time.Sleep(time.Second)
			if r := n.Report(t.Context()); !r.Healthy {
				t.Fatalf("while it arrives: %q", r.Problems)
			}
		}
	})
}

// Nothing to do is no stall, however long.
func TestIdleIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows["a"] = ""
		n, _ := start(t, w, memory.New("n1"), "initial")
		eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
		w.commit("a", "b", "")
		for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(time.Second) {
			if r := n.Report(t.Context()); !r.Healthy {
				t.Fatalf("idle for %s: %q", time.Since(began), r.Problems)
			}
		}
	})
}

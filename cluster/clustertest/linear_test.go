package clustertest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"canalgo/cluster"
	"canalgo/cluster/memory"
)

// broken is a coordinator in memory that keeps registers of its own, with a bug.
type broken struct {
	Coordinator
	bug string

	mu        sync.Mutex
	asked     int
	saves     int
	registers map[cluster.DutyID]register
	earlier   map[cluster.DutyID]register // before the last change
}

func (b *broken) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	if err := b.Coordinator.Propose(ctx, term, cmd); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	switch c := cmd.(type) {
	case cluster.Assign:
		for id, a := range c.Assignments {
			now := b.of(id)
			if a.Epoch == now.Epoch+1 || b.bug == "any epoch is the next" {
				b.set(id, register{Node: a.Node, Epoch: a.Epoch, Count: now.Count})
			}
		}
	case cluster.SavePositions:
		for id, s := range c.Saves {
			now := b.of(id)
			right := s.Epoch == now.Epoch || b.bug == "epoch not checked"
			ahead := s.Position.Count >= now.Count || b.bug == "position back"
			b.saves++
			if lost := b.bug == "lost" && b.saves%3 == 0; right && ahead && !lost {
				b.set(id, register{Node: now.Node, Epoch: now.Epoch, Count: s.Position.Count})
			}
		}
	}
	return nil
}

func (b *broken) of(id cluster.DutyID) register {
	if now, ok := b.registers[id]; ok {
		return now
	}
	return model.Init().(register)
}

func (b *broken) set(id cluster.DutyID, r register) { b.earlier[id], b.registers[id] = b.of(id), r }

// View is memory's, with the registers in it.
func (b *broken) View() (cluster.View, <-chan struct{}) {
	v, changed := b.Coordinator.View()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	duties := make(map[cluster.DutyID]cluster.Duty, len(v.Duties))
	for id, d := range v.Duties {
		now := b.of(id)
		if before, ok := b.earlier[id]; ok && b.bug == "stale" && b.asked%3 == 0 {
			now = before
		}
		d.Assignment.Node, d.Assignment.Epoch, d.Position.Count = now.Node, now.Epoch, now.Count
		duties[id] = d
	}
	v.Duties = duties
	return v, changed
}

// The checker finds each bug, and none where there is none.
func TestTheCheckerFindsWhatIsBroken(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // for the drawings
	for _, bug := range []string{"", "epoch not checked", "any epoch is the next", "position back", "lost", "stale"} {
		t.Run(bug, func(t *testing.T) {
			c := memory.New("a")
			b := &broken{Coordinator: c.Member(0), bug: bug, registers: make(map[cluster.DutyID]register), earlier: make(map[cluster.DutyID]register)}
			h := contest(t, Cluster{Nodes: []Coordinator{b}, EndTerm: func() error { c.MoveLeader(0); return nil }})
			err := h.check()
			if bug == "" && err != nil {
				t.Error(err)
			}
			if bug != "" && (err == nil || !strings.Contains(err.Error(), "not linearizable")) {
				t.Errorf("%v", err)
			}
		})
	}
}

package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"canalgo/cluster"
	"canalgo/event"
)

// A register is what is replicated of one duty: who does it, in which epoch, and its position, here only the count.
type register struct {
	Node  string
	Epoch cluster.Epoch
	Count uint64
}

func registerOf(d cluster.Duty) register {
	return register{Node: d.Assignment.Node, Epoch: d.Assignment.Epoch, Count: d.Position.Count}
}

// An operation is something that a client asked of one duty's register.
type operation struct {
	Duty   cluster.DutyID
	Verb   string   // assign, save, read
	Wanted register // what is written
}

// model says what a register may do. An assignment holds when its epoch is the next one, a position when its epoch is the present one
// and it does not lie before the saved one; what does not hold changes nothing, and nobody is told. A read returns the register.
var model = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		duties := make(map[cluster.DutyID][]porcupine.Operation)
		for _, o := range all {
			duty := o.Input.(operation).Duty
			duties[duty] = append(duties[duty], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range duties {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return register{Count: event.FirstCount} },
	Step: func(state, input, output any) (bool, any) {
		now, in := state.(register), input.(operation)
		switch in.Verb {
		case "read":
			return output.(register) == now, now
		case "assign":
			if in.Wanted.Epoch == now.Epoch+1 {
				now.Node, now.Epoch = in.Wanted.Node, in.Wanted.Epoch
			}
		case "save":
			if in.Wanted.Epoch == now.Epoch && in.Wanted.Count >= now.Count {
				now.Count = in.Wanted.Count
			}
		}
		return true, now
	},
	DescribeOperation: func(input, output any) string {
		in := input.(operation)
		if in.Verb == "read" {
			return fmt.Sprintf("read %+v", output)
		}
		return fmt.Sprintf("%s %+v %v", in.Verb, in.Wanted, output)
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
}

// A history is what clients asked and were answered. Its methods may be called from several goroutines.
type history struct {
	began time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
	unknown    int // of them have no known outcome
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(o porcupine.Operation) {
	o.Return = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.Output == "unknown" {
		o.Return = math.MaxInt64 // it may still be done, at any time
		h.unknown++
	}
	h.operations = append(h.operations, o)
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.operations)
}

// check returns nil when some order of the operations, each within its time, is what one register a duty would do. It fails, too,
// when that is not found out in time.
func (h *history) check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	result, info := porcupine.CheckOperationsVerbose(model, h.operations, time.Minute)
	if result == porcupine.Ok {
		return nil
	}
	what := "the history is not linearizable"
	if result == porcupine.Unknown {
		what = "a minute was too short to say whether the history is linearizable"
	}
	f, err := os.CreateTemp("", "canalgo-history-*.html")
	if err == nil {
		err = errors.Join(porcupine.Visualize(model, info, f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("%s; draw it: %w", what, err)
	}
	return fmt.Errorf("%s; %d operations are drawn in %s", what, len(h.operations), f.Name())
}

// A recorder is a coordinator as one client sees it: what is asked of it goes into a history.
type recorder struct {
	Coordinator
	history *history
	client  int
}

// Propose implements Coordinator. Assignments and positions are recorded; after an error nobody knows whether they were applied.
func (r recorder) Propose(ctx context.Context, term cluster.Term, cmd cluster.Command) error {
	var asked []operation
	switch c := cmd.(type) {
	case cluster.Assign:
		for id, a := range c.Assignments {
			asked = append(asked, operation{id, "assign", register{Node: a.Node, Epoch: a.Epoch}})
		}
	case cluster.SavePositions:
		for id, s := range c.Saves {
			asked = append(asked, operation{id, "save", register{Epoch: s.Epoch, Count: s.Position.Count}})
		}
	}
	call := r.history.now()
	err := r.Coordinator.Propose(ctx, term, cmd)
	output := "done"
	if err != nil {
		output = "unknown"
	}
	for _, o := range asked {
		r.history.add(porcupine.Operation{ClientId: r.client, Input: o, Call: call, Output: output})
	}
	return err
}

// read returns a duty's register as this node has it, if it leads in term.
func (r recorder) read(ctx context.Context, term cluster.Term, duty cluster.DutyID) (register, error) {
	call := r.history.now()
	if err := r.Verify(ctx, term); err != nil {
		return register{}, err
	}
	v, _ := r.View()
	found := registerOf(v.Duties[duty])
	r.history.add(porcupine.Operation{ClientId: r.client, Input: operation{Duty: duty, Verb: "read"}, Call: call, Output: found})
	return found, nil
}

// leader returns a node that says that it leads, other than those.
func leader(nodes []Coordinator, except ...Coordinator) (Coordinator, cluster.Term, bool) {
	for _, node := range nodes {
		if v := viewOf(node); v.Leading && !slices.Contains(except, node) {
			return node, v.Term, true
		}
	}
	return nil, 0, false
}

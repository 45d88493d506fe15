package node_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/event"
	"canalgo/node"
	"canalgo/status"
)

// EndBefore implements node.Placer: each offset is the end of a transaction.
func (s source) EndBefore(_ context.Context, file string, offset uint64) (event.Position, error) {
	return event.Position{ServerUUID: s.uuid, File: file, Offset: offset}, nil
}

// A custodian is a coordinator that says who has the source as the test wants it.
type custodian struct {
	*memory.Member
	says chan cluster.Custody
}

// Keep implements node.Custodian.
func (c custodian) Keep(ctx context.Context, _ cluster.Term, _ string, _ func() (string, uint32), tell func(cluster.Custody)) error {
	for {
		select {
		case now := <-c.says:
			tell(now)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var _ node.Custodian = custodian{}

// TestSourceThatAnotherReads has another program read the source first. The node waits, which is no problem; it goes on where that one
// stopped, in a new epoch, and stops again when the source is no longer the cluster's.
func TestSourceThatAnotherReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), custodian{memory.New("n1").Member(0), make(chan cluster.Custody)}
		w.commit("a", "b", "c")
		n, _ := newNetwork().start(t, w, c, "n1", seed(""))
		c.says <- cluster.Custody{Holder: "10.0.0.5:11111"}
		reports := func(is func(status.Source) bool) func() bool {
			return func() bool {
				r := n.Report(t.Context())
				return len(r.Sources) == 1 && is(r.Sources[0])
			}
		}
		eventually(t, "a source that another one has", reports(func(s status.Source) bool {
			return s.State == status.SourceElsewhere && s.HeldBy == "10.0.0.5:11111"
		}))
		time.Sleep(20 * time.Second)
		if r := n.Report(t.Context()); !r.Healthy || len(w.starts) > 0 {
			t.Errorf("problems %v, %d streams", r.Problems, len(w.starts))
		}

		c.says <- cluster.Custody{Ours: true, From: &cluster.Elsewhere{File: "binlog.000001", Offset: 1}}
		eventually(t, "b and c", has(w, "b", "c"))
		if _, ok := w.document("a"); ok {
			t.Error("what the other one had read was written")
		}
		first := n.View().Sources["shop"].Epoch

		c.says <- cluster.Custody{}
		eventually(t, "a source that nobody has", reports(func(s status.Source) bool { return s.State == status.SourceConnecting && s.HeldBy == "" }))
		w.commit("d", "e")
		time.Sleep(10 * time.Second)
		if has(w, "d")() {
			t.Error("it reads what is not its own")
		}
		c.says <- cluster.Custody{Ours: true}
		eventually(t, "d and e", has(w, "d", "e"))
		if epoch := n.View().Sources["shop"].Epoch; epoch != first {
			t.Errorf("epoch %d although nobody else has read, before %d", epoch, first)
		}
		c.says <- cluster.Custody{Ours: true, From: &cluster.Elsewhere{File: "binlog.000001", Offset: 4}}
		eventually(t, "a new epoch", func() bool { return n.View().Sources["shop"].Epoch > first })
	})
}

// TestSourceThatIsNotNeeded has another program read a source that nobody needs here yet, as when only clients of canal's protocol are to
// read it. The report says who has it.
func TestSourceThatIsNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), custodian{memory.New("n1").Member(0), make(chan cluster.Custody)}
		config := seed("")
		config.Sinks, config.Mappings = nil, nil
		n, _ := newNetwork().start(t, w, c, "n1", config)
		for _, step := range []struct {
			says   cluster.Custody
			state  status.SourceState
			holder string
		}{
			{cluster.Custody{Holder: "10.0.0.5:11111"}, status.SourceElsewhere, "10.0.0.5:11111"},
			{cluster.Custody{}, status.SourceIdle, ""},
			{cluster.Custody{Holder: "10.0.0.6:11111"}, status.SourceElsewhere, "10.0.0.6:11111"},
			{cluster.Custody{Ours: true}, status.SourceIdle, ""},
		} {
			c.says <- step.says
			eventually(t, string(step.state), func() bool {
				r := n.Report(t.Context())
				return len(r.Sources) == 1 && r.Sources[0].State == step.state && r.Sources[0].HeldBy == step.holder
			})
		}
		if len(w.starts) > 0 {
			t.Errorf("%d streams, want none", len(w.starts))
		}
	})
}

package node_test

import (
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster"
	"canalgo/cluster/memory"
	"canalgo/event"
	"canalgo/status"
)

// TestPlainMappingForgetsFanouts: a mapping whose documents the server no longer renders has nothing to render beside its stream. Until then
// its duty is not idle, and says why.
func TestPlainMappingForgetsFanouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, members := newWorld(), memory.New("n1")
		n, _ := start(t, w, members, "")
		eventually(t, "the stream", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		duty := func() status.Duty {
			d, _ := n.Report(t.Context()).Duty(stream.String())
			return d
		}
		if err := n.SetPaused(t.Context(), "mapping/user", true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the pause", func() bool { return duty().Stage == status.Paused })
		v := n.View()
		at := event.NewVersion(1, event.FirstCount)
		put := cluster.PutFanout{Duty: stream, Epoch: v.Duties[stream].Assignment.Epoch, Fan: cluster.Fan{Element: "c"}, Version: at, Since: time.Now().UTC()}
		again := put
		again.Version++
		for _, cmd := range []cluster.Command{put, cluster.SaveFanout{Duty: stream, Epoch: put.Epoch, ID: 1, At: at, Key: []string{"5"}, Done: 7}, again} {
			if err := members.Member(0).Propose(t.Context(), v.Term, cmd); err != nil {
				t.Fatal(err)
			}
		}
		if f := duty().Fanouts; len(f) != 1 || f[0].Rows != "c" || f[0].Done != 7 || !f[0].Again {
			t.Errorf("reported %+v", f)
		}
		if err := n.SetPaused(t.Context(), "mapping/user", false); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing to render", func() bool { return len(n.View().Duties[stream].Fanouts) == 0 })
		eventually(t, "an idle duty", func() bool { d := duty(); return d.Stage == status.Idle && len(d.Fanouts) == 0 })
	})
}

package oracle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/status"
)

// reporter says what it holds.
type reporter struct{ status.Report }

func (r *reporter) Status(context.Context) (status.Report, error) { return r.Report, nil }

// TestDocumentsAreAheadUntilTheStreamHasPassedALoad: seed 11127 of the laboratory was judged 5 s after its load, while the stream was
// 8 s behind.
func TestDocumentsAreAheadUntilTheStreamHasPassedALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lag := 0.0
		r := &reporter{status.Report{Leader: "n1", Nodes: []status.Node{{Name: "n1", Leads: true}},
			Duties: []status.Duty{{ID: "shop/t", Kind: "stream", LagSeconds: &lag}, {ID: "shop/t#load", Kind: "load", Load: &status.Load{Phase: "done"}}}}}
		s := &Sampler{Node: r}
		back := func() bool {
			t.Helper()
			if err := s.lookAtPositions(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s.goesBack(seen{version: 2, ver: 1}, seen{version: 1, ver: 2})
		}
		if !back() {
			t.Error("without a load it does not go back")
		}
		r.Duties[1].Load.Phase = "copying"
		if back() {
			t.Error("goes back while a load is under way")
		}
		r.Duties[1].Load.Phase, lag = "done", 8
		time.Sleep(loadTime + 3*time.Second)
		if back() {
			t.Error("goes back while the stream has not passed the load")
		}
		r.Duties[0].LagSeconds = nil
		time.Sleep(time.Minute)
		if back() {
			t.Error("goes back while nobody knows where the stream is")
		}
		if r.Duties[0].LagSeconds = &lag; !back() {
			t.Error("does not go back long after the load")
		}
		if !s.goesBack(seen{version: 1, ver: 2}, seen{version: 2, ver: 2}) {
			t.Error("a lower version does not go back")
		}
	})
}

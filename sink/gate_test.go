package sink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// TestClearThatWaitsForALoadEnds ends a worker that waits for its mapping's load, which may be told to end only after the worker: a
// node that ended one duty after the other never got so far, kept a duty that was not its own, and got no lease.
func TestClearThatWaitsForALoadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, script{1: {{Op: mapping.Clear, Index: "i", Version: 5, Row: &event.Row{Table: &event.Table{}}}}}, small)
		release, err := b.worker.Gate.Share(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.worker.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

// TestGate lets loads in together, and a Clear alone, which comes before loads that ask later.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := sink.NewGate()
		var log []string
		take := func(name string, take func(context.Context) (func(), error)) func() {
			var release func()
			go func() {
				done, err := take(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				log = append(log, name)
				release = done
			}()
			synctest.Wait()
			return func() { release(); synctest.Wait() }
		}
		first, second := take("load", g.Share), take("load", g.Share)
		clear := take("clear", g.Close)
		last := take("later", g.Share)
		first()
		if len(log) != 2 {
			t.Errorf("let in too early: %q", log)
		}
		second()
		clear()
		last()
		if want := []string{"load", "load", "clear", "later"}; len(log) != 4 || log[2] != want[2] || log[3] != want[3] {
			t.Errorf("got %q, want %q", log, want)
		}
	})
}

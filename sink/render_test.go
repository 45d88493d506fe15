package sink_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// lacking decodes the row of batch seq, which lacks columns for some.
type lacking []uint64

func (l lacking) Decode(events []event.Event) ([]event.Row, error) {
	v := events[0].Version
	return []event.Row{{Version: v, Partial: slices.Contains(l, uint64(v))}}, nil
}

// completer notes what it renders, with the script.
type completer struct {
	script
	rendered []event.Version
	gtids    []string
}

func (c *completer) Render(_ context.Context, rows []event.Row, gtids string, add func([]mapping.Change) error) error {
	c.gtids = append(c.gtids, gtids)
	for _, row := range rows {
		c.rendered = append(c.rendered, row.Version)
		changes, err := c.Map([]event.Row{row})
		if err == nil {
			err = add(changes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestWorkerAsksForWhatRowsLack asks the source for nothing before the first row that lacks columns.
func TestWorkerAsksForWhatRowsLack(t *testing.T) {
	for _, c := range []struct {
		lacking lacking
		want    string
	}{{nil, "[]"}, {lacking{3}, "[0.3 0.4]"}} {
		synctest.Test(t, func(t *testing.T) {
			s := script{1: {write("a")}, 2: {write("b")}, 3: {write("a")}, 4: {write("a")}}
			b, r := newBench(t, s, small), &completer{script: s}
			b.worker.Decoder, b.worker.Renderer = c.lacking, r
			if err := b.worker.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(r.rendered) != c.want || b.dest.written["a"] != 4 || b.dest.written["b"] != 2 || b.feed.lastAck() != 4 {
				t.Errorf("rendered %v, want %s; written %v, acknowledged %d", r.rendered, c.want, b.dest.written, b.feed.lastAck())
			}
			if slices.ContainsFunc(r.gtids, func(g string) bool { return g != "" }) {
				t.Errorf("waited for %q, and the transactions have no GTIDs", r.gtids)
			}
		})
	}
}

var _ sink.Renderer = (*completer)(nil)

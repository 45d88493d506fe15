package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"canalgo/backoff"
	"canalgo/cluster"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/snapshot"
)

// beside puts what a stream's worker does not render at once into the replicated state, before the worker acknowledges it (rule 1).
type beside struct {
	n *Node
	r *dutyRun
}

var _ lookup.Later = beside{}

// maxLinkBytes bounds what one change brings into the replicated state.
const maxLinkBytes = 64 << 10

// Covers implements lookup.Later.
func (b beside) Covers(f mapping.Fan) bool {
	return slices.ContainsFunc(b.n.View().Duties[b.r.id].Fanouts, func(o cluster.Fanout) bool { return o.Fan.Covers(cluster.Fan(f)) })
}

// Put implements lookup.Later. While a node of the cluster is too old to know of fan-outs, there are none.
func (b beside) Put(ctx context.Context, f mapping.Fan, version event.Version) (bool, error) {
	put := cluster.PutFanout{Duty: b.r.id, Epoch: b.r.assignment.Epoch, Fan: cluster.Fan(f), Version: version, Since: time.Now().UTC()}
	v := b.n.View()
	bytes := 0
	for _, link := range f.Links {
		for _, literal := range link {
			bytes += len(literal)
		}
	}
	_, err := v.WriteVersion(cluster.CommandVersion(put))
	if err != nil || bytes > maxLinkBytes || len(v.Duties[b.r.id].Fanouts) >= cluster.MaxFanouts && !b.Covers(f) {
		return false, nil
	}
	if err := b.n.propose(ctx, put); err != nil {
		return false, err
	}
	b.r.log.Info("a change touches many documents: they are rendered beside the stream", "rows of", f.Element, "version", version.String())
	return true, nil
}

// fanOut renders what was put beside a stream, one change after the other, until ctx ends. A mapping whose documents the server no longer
// renders has nothing to render: its documents are those of another SQL until a load.
func (n *Node) fanOut(ctx context.Context, r *dutyRun, rendered bool) error {
	wait := backoff.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for {
		v, changed := n.coord.View()
		todo := v.Duties[r.id].Fanouts
		if len(todo) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			}
			continue
		}
		var err error
		if rendered {
			err = n.fan(ctx, r, v, todo[0])
		} else {
			err = n.saveFan(ctx, r, todo[0], snapshot.FanProgress{At: todo[0].Version, End: true})
		}
		var stop *event.StopError
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			wait.Reset()
			continue
		case errors.As(err, &stop):
			return err
		case errors.Is(err, cluster.ErrStale): // another change came to it
			r.log.Info("what is rendered beside the stream begins again where it was", "reason", err)
		default:
			r.log.Warn("render beside the stream again", "error", err)
		}
		if wait.Wait(ctx) != nil {
			return nil
		}
	}
}

// fan renders the documents of one pass, from where the last run of it came to.
func (n *Node) fan(ctx context.Context, r *dutyRun, v cluster.View, f cluster.Fanout) error {
	reader, _, err := n.reader(ctx, r, v)
	if err != nil {
		return err
	}
	reader.Written = n.quarantine(r.id).Written
	r.reads(reader)
	defer r.reads(nil)
	pass := snapshot.Fan{Fan: mapping.Fan(f.Fan), Least: f.Version, Key: f.Key, Total: f.Total}
	if f.Second {
		pass.Until = f.Until
	}
	err = reader.Fan(ctx, pass, func(ctx context.Context, p snapshot.FanProgress) error { return n.saveFan(ctx, r, f, p) })
	if err != nil {
		n.cutShort(r.id)
	}
	var higher *snapshot.HigherError
	if errors.As(err, &higher) {
		return n.raiseEpoch(ctx, r, v, higher)
	}
	return err
}

// saveFan says how far a pass has come.
func (n *Node) saveFan(ctx context.Context, r *dutyRun, f cluster.Fanout, p snapshot.FanProgress) error {
	err := n.propose(ctx, cluster.SaveFanout{Duty: r.id, Epoch: r.assignment.Epoch, ID: f.ID, Second: f.Second, At: p.At, Key: p.Key, End: p.End, Done: p.Done, Total: p.Total})
	if err != nil {
		return fmt.Errorf("save what is rendered beside the stream: %w", err)
	}
	if p.End {
		if v := n.View(); !slices.ContainsFunc(v.Duties[r.id].Fanouts, func(o cluster.Fanout) bool { return o.ID == f.ID }) {
			r.log.Info("the documents of a change are rendered", "rows of", f.Fan.Element, "version", f.Version.String(), "took", time.Since(f.Since).Round(time.Millisecond).String())
		}
	}
	return nil
}

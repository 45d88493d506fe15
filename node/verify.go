package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/mapping"
	"canalgo/verify"
)

const (
	differencesTold = 100
	catchUpTime     = time.Minute // how long Verify waits until the duty has written what was read
)

// Verify compares all rows of a mapping with all documents of its index. This node does it, whoever does the duty; it asks for no
// lease, because it writes nothing.
func (n *Node) Verify(ctx context.Context, source, name string, values bool, progress func(verify.Result)) (verify.Result, error) {
	if !n.verifying.TryLock() {
		return verify.Result{}, errors.New("this node verifies a mapping already; try again when that is done, or ask another node")
	}
	defer n.verifying.Unlock()
	v := n.View()
	id := cluster.DutyID{Source: source, Mapping: name, Kind: cluster.Stream}
	if _, ok := v.Duties[id]; !ok {
		return verify.Result{}, fmt.Errorf("mapping %s of source %s: %w", name, source, ErrNotFound)
	}
	load := cluster.DutyID{Source: source, Mapping: name, Kind: cluster.Load}
	if l := v.Duties[load].Load; l != nil && l.Phase != cluster.LoadDone {
		return verify.Result{}, fmt.Errorf("%s is %s; verify it when that is done", load, l.Phase)
	}
	if left := len(v.Duties[id].Fanouts); left > 0 {
		return verify.Result{}, fmt.Errorf("%s still renders the documents of %d changes (canalgo status); verify it when that is done", id, left)
	}
	begin, err := n.caughtUp(ctx, id)
	if err != nil {
		return verify.Result{}, err
	}
	reader, _, err := n.reader(ctx, &dutyRun{id: id, log: n.log.With("duty", id.String())}, v)
	if err != nil {
		return verify.Result{}, err
	}
	documents, ok := reader.Sink.(verify.Documents)
	if !ok {
		return verify.Result{}, fmt.Errorf("the documents of sink %s cannot be read back", v.Config.Mappings[name].Sink)
	}
	n.log.Info("verify begins", "duty", id.String(), "at", begin.Version().String())
	check := &verify.Check{Rows: reader, Documents: documents, Own: reader.Own, Key: keyOf, Limit: differencesTold, Values: values}
	result, err := check.Run(ctx, progress)
	if err != nil {
		return result, err
	}
	end, err := n.boundary(ctx, source, v.Sources[source].Epoch)
	if err != nil {
		return result, err
	}
	result.Moved = end.End.Version() != begin.Version()
	n.log.Info("verify ends", "duty", id.String(), "rows", result.Rows, "documents", result.Documents, "equal", result.Equal(), "moved", result.Moved)
	return result, nil
}

// caughtUp waits until the destination has what the leader has read of the source by now, and returns the end of that.
func (n *Node) caughtUp(ctx context.Context, id cluster.DutyID) (event.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	b, err := n.boundary(ctx, id.Source, n.View().Sources[id.Source].Epoch)
	if err != nil {
		return event.Position{}, err
	}
	for {
		v, changed := n.coord.View()
		at := v.Duties[id].Position
		if !at.Before(b.End) {
			return b.End, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return event.Position{}, fmt.Errorf("%s has come to %s, the source to %s: verify it when it has caught up", id, at, b.End)
		}
	}
}

// keyOf names a row by its primary key.
func keyOf(c mapping.Change) string {
	if c.Row == nil {
		return ""
	}
	key, err := namedKey(c.Row.Table, c.Row.After)
	if err != nil {
		return ""
	}
	return strings.Join(key, " ")
}

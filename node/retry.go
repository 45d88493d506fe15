package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/sink"
	"canalgo/snapshot"
)

// Quarantine returns what is set aside, ordered by id.
func (n *Node) Quarantine() []cluster.Quarantined {
	v := n.View()
	out := make([]cluster.Quarantined, 0, len(v.Quarantine))
	for _, q := range v.Quarantine {
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b cluster.Quarantined) int { return int(a.ID) - int(b.ID) })
	return out
}

// RetryQuarantine writes documents again from their rows as they are now. It returns how many are no longer set aside, and
// why the others are.
func (n *Node) RetryQuarantine(ctx context.Context, ids []uint64) (int, error) {
	v := n.View()
	done := 0
	var errs []error
	for _, id := range ids {
		q, ok := v.Quarantine[id]
		if !ok {
			errs = append(errs, fmt.Errorf("quarantine entry %d: %w", id, ErrNotFound))
			continue
		}
		if err := n.retry(ctx, v, q); err != nil {
			errs = append(errs, err)
			continue
		}
		done++
	}
	return done, errors.Join(errs...)
}

// DropQuarantine forgets entries and returns how many there were.
func (n *Node) DropQuarantine(ctx context.Context, ids []uint64) (int, error) {
	v := n.View()
	there := 0
	for _, id := range ids {
		if _, ok := v.Quarantine[id]; ok {
			there++
		}
	}
	return there, n.propose(ctx, cluster.Release{IDs: ids})
}

// retry has the node that does the entry's duty write the document again.
func (n *Node) retry(ctx context.Context, v cluster.View, q cluster.Quarantined) error {
	node := v.Duties[q.Duty].Assignment.Node
	switch {
	case node == n.cfg.ID:
		return n.retryHere(ctx, q.ID)
	case v.Nodes[node].Address == "":
		return fmt.Errorf("duty %s is not done by any node now, try again", q.Duty)
	}
	return Call(ctx, n.cfg.Peers, v.Nodes[node].Address, callRetry, retryRequest{ID: q.ID, Applied: v.Applied}, &none{})
}

// retryHere reads the row of a document that was set aside and writes what it is now. This node does the duty.
func (n *Node) retryHere(ctx context.Context, id uint64) error {
	v, _ := n.coord.View()
	q, ok := v.Quarantine[id]
	if !ok {
		return fmt.Errorf("quarantine entry %d: %w", id, ErrNotFound)
	}
	n.mu.Lock()
	r := n.duties[q.Duty]
	n.mu.Unlock()
	if r == nil {
		return fmt.Errorf("duty %s is not done by this node, try again", q.Duty)
	}
	if len(q.Key) == 0 {
		return fmt.Errorf("document %s: its row is not known; canalgo load renders it anew", q.Document)
	}
	if q.Foreign > 0 {
		if s := v.Sources[q.Duty.Source]; s.Epoch <= q.Foreign.Epoch() && q.Foreign.Epoch() < event.MaxEpoch {
			if err := n.raiseEpoch(ctx, r, v, &snapshot.HigherError{Document: q.Document, Version: q.Foreign}); err != nil {
				return err
			}
			if err := n.awaitStream(ctx, q.Duty.Source); err != nil {
				return err
			}
			v, _ = n.coord.View()
		}
	}
	reader, _, err := n.reader(ctx, r, v)
	if err != nil {
		return err
	}
	again := &refusedAgain{}
	reader.Keeper = again
	key, err := keyNow(reader.Table, q.Key)
	if err != nil {
		return fmt.Errorf("document %s: %w", q.Document, err)
	}
	if err := reader.Render(ctx, q.Index, q.Document, q.Routings, key); err != nil {
		return err
	}
	if again.reason != "" {
		return fmt.Errorf("document %s is refused again: %s", q.Document, again.reason)
	}
	return n.quarantine(q.Duty).retried(ctx, q)
}

// keyNow returns the literals of an entry's COLUMN=LITERAL in the order of the table's key, which may be another one by now. A rendered row's
// columns of the key have names of their own, "key COLUMN".
func keyNow(t *event.Table, named []string) ([]string, error) {
	literals := make(map[string]string)
	for _, part := range named {
		name, literal, _ := strings.Cut(strings.TrimPrefix(part, "key "), "=")
		literals[strings.ToLower(name)] = literal
	}
	key := make([]string, len(t.Key))
	for i, k := range t.Key {
		literal, ok := literals[strings.ToLower(strings.TrimPrefix(t.Columns[k].Name, "key "))]
		if !ok || len(t.Key) != len(literals) {
			return nil, fmt.Errorf("its row is known by %s, which is not the key that rows are found by now; canalgo load writes it anew", strings.Join(named, ", "))
		}
		key[i] = literal
	}
	return key, nil
}

// retried takes out an entry whose document was written, unless a later change of it was refused meanwhile.
func (q *quarantine) retried(ctx context.Context, was cluster.Quarantined) error {
	replaced := false
	err := q.release(ctx, func(known map[document]cluster.Quarantined) []uint64 {
		e, ok := known[document{was.Index, was.Document}]
		replaced = ok && e.Version != was.Version
		if !ok || replaced {
			return nil
		}
		return []uint64{e.ID}
	})
	if err == nil && replaced {
		return fmt.Errorf("document %s: a later change of it was refused meanwhile, try again", was.Document)
	}
	return err
}

// refusedAgain is the Keeper of a retry: what is refused stays where it is.
type refusedAgain struct{ reason string }

// SetAside implements sink.Keeper.
func (k *refusedAgain) SetAside(_ context.Context, refusals []sink.Refusal) error {
	k.reason = refusals[0].Reason
	return nil
}

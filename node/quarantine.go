package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

// maxAside is how many documents may be set aside in the whole cluster, whatever its mappings allow: all of them are in the
// replicated state.
const maxAside = 50_000

// A quarantine changes the entries of one mapping, one change at a time: its stream, its load and a retry do, all on one node. What
// is taken out is what was looked at, then.
type quarantine struct {
	n      *Node
	stream cluster.DutyID

	turn    chan struct{} // holds an element while somebody has their turn, which may wait for the leader: whoever waits gives up with ctx
	applied uint64        // the state that entries is of
	entries map[document]cluster.Quarantined
}

// A document is what an entry stands for.
type document struct{ index, id string }

// quarantine returns what changes the entries of a stream's mapping.
func (n *Node) quarantine(stream cluster.DutyID) *quarantine {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.asides[stream]
	if q == nil {
		q = &quarantine{n: n, stream: stream, turn: make(chan struct{}, 1)}
		n.asides[stream] = q
	}
	return q
}

// take waits for the caller's turn, which ends with give.
func (q *quarantine) take(ctx context.Context) error {
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *quarantine) give() { <-q.turn }

// known returns the mapping's entries. It looks through all only when the state has changed. It is the caller's turn.
func (q *quarantine) known(v cluster.View) map[document]cluster.Quarantined {
	if q.applied == v.Applied && q.entries != nil {
		return q.entries
	}
	q.applied, q.entries = v.Applied, make(map[document]cluster.Quarantined)
	for _, e := range v.Quarantine {
		if e.Duty == q.stream {
			q.entries[document{e.Index, e.Document}] = e
		}
	}
	return q.entries
}

// add puts entries in, each in the place of an older one of its document. The whole stops by name where there is no room for all.
func (q *quarantine) add(ctx context.Context, epoch cluster.Epoch, entries []cluster.Quarantined, limit int) error {
	if err := q.take(ctx); err != nil {
		return err
	}
	defer q.give()
	v := q.n.View()
	known := q.known(v)
	fresh := make(map[document]bool)
	for _, e := range entries {
		if d := (document{e.Index, e.Document}); known[d].ID == 0 {
			fresh[d] = true
		}
	}
	was, is := len(known), len(known)+len(fresh)
	switch {
	case len(fresh) == 0:
	case is > limit:
		return full(fmt.Sprintf("%d documents of mapping %s are set aside, at most %d may be", was, q.stream.Mapping, limit), len(fresh), entries[0])
	case len(v.Quarantine)+len(fresh) > maxAside:
		return full(fmt.Sprintf("%d documents are set aside in all, at most %d may be", len(v.Quarantine), maxAside), len(fresh), entries[0])
	}
	for part := range parts(entries) {
		if err := q.n.propose(ctx, cluster.SetAside{Epoch: epoch, Entries: part}); err != nil {
			return err
		}
	}
	if was < limit/2 && is >= limit/2 {
		q.n.log.Warn("half of what may be set aside is; at the limit the mapping stops", "duty", q.stream.String(), "documents", is, "limit", limit)
	}
	return nil
}

func full(reason string, more int, first cluster.Quarantined) error {
	return &event.StopError{Reason: fmt.Sprintf("%s, and %d more are refused, the first %s: %s", reason, more, first.Document, first.Reason),
		Fix: "mend the cause, then canalgo quarantine retry all; this goes on by itself when there is room"}
}

// parts divides entries so that each part fits into a command.
func parts(entries []cluster.Quarantined) func(yield func([]cluster.Quarantined) bool) {
	const room = cluster.MaxCommand / 4 // JSON may need more
	return func(yield func([]cluster.Quarantined) bool) {
		start, size := 0, 0
		for i, e := range entries {
			size += 512 + len(e.Document) + len(e.Reason) + len(strings.Join(e.Key, "")) + len(strings.Join(e.Routings, "")) + len(e.Position.GTIDs)
			if size > room && i > start {
				if !yield(entries[start:i]) {
					return
				}
				start, size = i, 0
			}
		}
		yield(entries[start:])
	}
}

// Written implements sink.Quarantine: what the destination has in a version that is not older than the refused one is no longer set
// aside.
func (q *quarantine) Written(ctx context.Context, changes []mapping.Change) error {
	if len(q.n.View().Quarantine) == 0 { // so it is nearly always
		return nil
	}
	return q.release(ctx, func(known map[document]cluster.Quarantined) []uint64 {
		var ids []uint64
		for _, c := range changes {
			if e, ok := known[document{c.Index, c.ID}]; ok && e.Version <= c.Version {
				ids = append(ids, e.ID)
			}
		}
		return ids
	})
}

// Cleared implements sink.Quarantine. A load that has ended has done the same: each older document was deleted or written anew.
func (q *quarantine) Cleared(ctx context.Context, before event.Version) error {
	return q.release(ctx, func(known map[document]cluster.Quarantined) []uint64 {
		var ids []uint64
		for _, e := range known {
			if e.Version < before {
				ids = append(ids, e.ID)
			}
		}
		slices.Sort(ids)
		return ids
	})
}

// release takes out what choose returns.
func (q *quarantine) release(ctx context.Context, choose func(known map[document]cluster.Quarantined) []uint64) error {
	if err := q.take(ctx); err != nil {
		return err
	}
	defer q.give()
	ids := choose(q.known(q.n.View()))
	if len(ids) == 0 {
		return nil
	}
	if err := q.n.propose(ctx, cluster.Release{IDs: ids}); err != nil {
		return fmt.Errorf("take %d documents out of the quarantine: %w", len(ids), err)
	}
	q.n.log.Info("documents are no longer set aside: they were written since", "duty", q.stream.String(), "documents", len(ids))
	return nil
}

// A keeper keeps the quarantine for a run of a duty.
type keeper struct {
	*quarantine
	r     *dutyRun
	limit int
}

var _ sink.Quarantine = (*keeper)(nil)

func (n *Node) keeper(r *dutyRun, m Mapping) *keeper {
	return &keeper{quarantine: n.quarantine(streamOf(r.id)), r: r, limit: m.MaxQuarantine()}
}

// Cleared implements sink.Quarantine. What an earlier process of the mapping's load has sent and has not arrived yet may be of rows
// that are gone now: the sweep at the load's end must delete it.
func (k *keeper) Cleared(ctx context.Context, before event.Version) error {
	if err := k.n.raiseSweep(ctx, k.stream, before); err != nil {
		return err
	}
	return k.quarantine.Cleared(ctx, before)
}

// SetAside implements sink.Keeper.
func (k *keeper) SetAside(ctx context.Context, refusals []sink.Refusal) error {
	entries := make([]cluster.Quarantined, len(refusals))
	for i, f := range refusals {
		entries[i] = cluster.Quarantined{Duty: k.stream, Index: f.Index, Document: f.Document, Routings: f.Routings, Version: f.Version, Foreign: f.Foreign,
			Delete: f.Delete, Reason: shorten(f.Reason), Time: time.Now().UTC()}
		k.describe(&entries[i], f.Row)
	}
	var epoch cluster.Epoch
	if k.r.id == k.stream { // a load has an epoch of its own
		epoch = k.r.assignment.Epoch
	}
	return k.add(ctx, epoch, entries, k.limit)
}

// maxReason bounds what the replicated state keeps of a destination's answer.
const maxReason = 1000

func shorten(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end] + "…"
}

// describe adds the row that a person needs to find and that a retry reads again.
func (k *keeper) describe(e *cluster.Quarantined, row *event.Row) {
	if row == nil || row.Table == nil {
		return
	}
	e.Table = row.Table.Name.String()
	image := row.After
	if image == nil || e.Delete {
		image = row.Before
	}
	if image == nil {
		image = row.After
	}
	if image == nil {
		return
	}
	key, err := namedKey(row.Table, image)
	if err != nil {
		return
	}
	e.Key = key
	if at, ok := k.n.reached(e.Duty); ok {
		if e.Position = at; at.File != "" {
			e.Position.GTIDs = "" // file and offset are enough to look there, and a set can have many kilobytes
		}
	}
}

// namedKey returns the primary key of a row as COLUMN=LITERAL, column by column.
func namedKey(t *event.Table, values []any) ([]string, error) {
	key, err := snapshot.Key(t, values)
	for i, lit := range key {
		key[i] = t.Columns[t.Key[i]].Name + "=" + lit
	}
	return key, err
}

package sink_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
)

// feed gives batches whose changes the mapper finds by the batch's seq, then ends.
type feed struct {
	mu      sync.Mutex
	batches []uint64
	acked   []uint64
	newest  event.Version
	settled bool
	hold    chan struct{} // when set, the end comes only after it is closed
}

func (f *feed) Next(ctx context.Context) (event.Batch, error) {
	f.mu.Lock()
	if len(f.batches) > 0 {
		seq := f.batches[0]
		f.batches = f.batches[1:]
		f.mu.Unlock()
		return event.Batch{Seq: seq, Events: []event.Event{{Version: event.Version(seq)}}}, nil
	}
	f.mu.Unlock()
	if f.hold != nil {
		select {
		case <-ctx.Done():
			return event.Batch{}, ctx.Err()
		case <-f.hold:
		}
	}
	return event.Batch{}, io.EOF
}

func (f *feed) Ack(_ context.Context, seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = append(f.acked, seq)
	return nil
}

func (f *feed) Newest() (event.Version, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest, f.settled
}

func (f *feed) Close() error { return nil }

func (f *feed) lastAck() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.acked) == 0 {
		return 0
	}
	return f.acked[len(f.acked)-1]
}

type decoder struct{}

func (decoder) Decode(events []event.Event) ([]event.Row, error) {
	return []event.Row{{Version: events[0].Version}}, nil
}

// script maps batch seq to its changes.
type script map[uint64][]mapping.Change

func (s script) Map(rows []event.Row) ([]mapping.Change, error) {
	changes := slices.Clone(s[uint64(rows[0].Version)])
	for i := range changes {
		changes[i].Version = rows[0].Version
		changes[i].Row = &event.Row{Table: &event.Table{}}
	}
	return changes, nil
}

func write(id string) mapping.Change {
	return mapping.Change{Op: mapping.Write, Index: "i", ID: id, Body: []byte("{}")}
}

// destination records writes and answers as told.
type destination struct {
	t        *testing.T
	mu       sync.Mutex
	inFlight map[string]bool
	written  map[string]event.Version
	order    []string
	cleared  []event.Version
	takes    time.Duration
	answer   func(changes []mapping.Change) error
}

func (d *destination) Write(ctx context.Context, changes []mapping.Change) error {
	d.mu.Lock()
	for _, c := range changes {
		if d.inFlight[c.ID] {
			d.t.Errorf("two writes of document %s in flight", c.ID)
		}
		d.inFlight[c.ID] = true
	}
	d.mu.Unlock()
	time.Sleep(d.takes) // virtual
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changes {
		delete(d.inFlight, c.ID)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.answer != nil {
		if err := d.answer(changes); err != nil {
			return err
		}
	}
	for _, c := range changes {
		d.written[c.ID] = c.Version
		d.order = append(d.order, fmt.Sprintf("%s@%d", c.ID, c.Version))
	}
	return nil
}

func (d *destination) Clear(_ context.Context, _ mapping.Own, before event.Version) (sink.Cleared, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.inFlight) > 0 {
		d.t.Error("clear while writes are in flight")
	}
	d.cleared = append(d.cleared, before)
	d.order = append(d.order, fmt.Sprintf("clear@%d", before))
	return sink.Cleared{}, nil
}

func (d *destination) Close() error { return nil }

type keeper struct {
	mu       sync.Mutex
	refusals []sink.Refusal
	written  []string
}

func (k *keeper) SetAside(_ context.Context, r []sink.Refusal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refusals = append(k.refusals, r...)
	return nil
}

func (k *keeper) Written(_ context.Context, changes []mapping.Change) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range changes {
		k.written = append(k.written, fmt.Sprintf("%s@%d", c.ID, c.Version))
	}
	return nil
}

func (k *keeper) Cleared(_ context.Context, before event.Version) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written = append(k.written, fmt.Sprintf("clear@%d", before))
	return nil
}

func (k *keeper) all() []sink.Refusal {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.refusals)
}

type bench struct {
	feed   *feed
	dest   *destination
	keeper *keeper
	worker *sink.Worker
}

func newBench(t *testing.T, s script, limits sink.Limits) *bench {
	b := &bench{feed: &feed{newest: 1000, settled: true}, keeper: &keeper{},
		dest: &destination{t: t, inFlight: map[string]bool{}, written: map[string]event.Version{}, takes: time.Second}}
	for seq := uint64(1); seq <= uint64(len(s)); seq++ {
		b.feed.batches = append(b.feed.batches, seq)
	}
	b.worker = sink.NewWorker(sink.Parts{Feed: b.feed, Decoder: decoder{}, Mapper: s, Sink: b.dest, Keeper: b.keeper, Own: mapping.Own{Index: "i"},
		Gate: sink.NewGate(), Begin: func() error { return nil }, Log: hclog.NewNullLogger()}, limits)
	return b
}

var small = sink.Limits{BulkBytes: 1 << 20, BulkDocs: 2, InFlight: 4, Linger: 10 * time.Millisecond}

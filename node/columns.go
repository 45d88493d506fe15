package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"canalgo/cluster"
	"canalgo/event"
	"canalgo/mapping"
)

// A FieldAdder is a Sink whose indices can get fields while they are written to.
type FieldAdder interface {
	// AddFields adds those of the fields that the index lacks, and returns their names; asked says that the mapping wants it, and not
	// only that a field does not get the type that the destination would make up.
	AddFields(ctx context.Context, index string, fields []mapping.Field, asked bool) (added []string, err error)
}

// A preparer gives an index the fields of documents before the first of them is written.
type preparer struct {
	out FieldAdder
	m   Mapping
	log hclog.Logger

	mu   sync.Mutex    // held while the index gets them: nobody writes meanwhile
	done atomic.Uint64 // what Met was then
}

// ready returns once the index has all fields of the documents that were made until now.
func (p *preparer) ready(ctx context.Context) error {
	if p.done.Load() == p.m.Met() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fields, met := p.m.Fields()
	if p.done.Load() == met {
		return nil
	}
	added, err := p.out.AddFields(ctx, p.m.Index(), fields, p.m.ExtendsIndex())
	if err != nil {
		return err
	}
	if len(added) > 0 {
		p.log.Info("index got fields", "index", p.m.Index(), "fields", strings.Join(added, ", "))
	}
	p.done.Store(met)
	return nil
}

// prepared is n.begin for who writes a mapping's documents: the index then has their fields.
func (n *Node) prepared(ctx context.Context, out Sink, m Mapping, log hclog.Logger) func() error {
	adder, ok := out.(FieldAdder)
	if !ok {
		return n.begin
	}
	p := &preparer{out: adder, m: m, log: log}
	return func() error {
		if err := p.ready(ctx); err != nil {
			return err
		}
		return n.begin() // last: it is what must hold when the write begins
	}
}

// rememberColumns tells a stream's mapping which columns of its tables are not new: those that were noted when it began, or when a person
// said that it shall go on. Where it does not need to know, what was noted is forgotten.
func (n *Node) rememberColumns(ctx context.Context, r *dutyRun, source Source, m Mapping) error {
	v, _ := n.coord.View()
	columns := v.Duties[r.id].Columns
	note := func(columns cluster.Columns) error {
		return n.propose(ctx, cluster.NoteColumns{Duty: r.id, Epoch: r.assignment.Epoch, Columns: columns})
	}
	if !m.RemembersColumns() {
		if columns == nil {
			return nil
		}
		return note(nil)
	}
	if columns == nil {
		columns = make(cluster.Columns)
		for _, name := range m.Tables() {
			t, err := source.Describe(ctx, name)
			if err != nil {
				return err
			}
			for _, c := range t.Columns {
				columns[name.String()] = append(columns[name.String()], c.Name)
			}
		}
		if err := note(columns); err != nil {
			return fmt.Errorf("note columns of mapping %s: %w", r.id.Mapping, err)
		}
	}
	know(m, columns)
	return nil
}

// know tells a mapping what was noted.
func know(m Mapping, columns cluster.Columns) {
	known := make(map[event.TableName][]string)
	for _, t := range m.Tables() {
		if names, ok := columns[t.String()]; ok {
			known[t] = names
		}
	}
	m.Know(known)
}

// acceptColumns has a mapping go on that stopped at new columns.
func (n *Node) acceptColumns(ctx context.Context, name string) error {
	v := n.View()
	id := cluster.DutyID{Source: v.Config.Mappings[name].Source, Mapping: name, Kind: cluster.Stream}
	if v.Duties[id].Columns == nil {
		return nil
	}
	return n.propose(ctx, cluster.NoteColumns{Duty: id})
}

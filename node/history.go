package node

import (
	"context"
	"fmt"
	"slices"

	"canalgo/cluster"
	"canalgo/event"
)

// A history is what the replicated state keeps of the definitions of a source's tables in one epoch. Only the leader adds to it.
type history struct {
	s     *sourceRun
	epoch uint32
}

func (s *sourceRun) history(epoch uint32) History { return history{s, epoch} }

func (h history) tables() cluster.Tables {
	v, _ := h.s.n.coord.View()
	if source := v.Sources[h.s.name]; source.Epoch == h.epoch {
		return source.Tables
	}
	return nil
}

// At implements History.
func (h history) At(table event.TableName, v event.Version) (event.Definition, bool) {
	return h.tables().At(table, v)
}

// Kept implements History.
func (h history) Kept() []event.TableName { return h.tables().Names() }

// Note implements History.
func (h history) Note(ctx context.Context, definitions []event.Definition) error {
	for _, d := range definitions {
		switch {
		case d.Unknown != "":
			h.s.log.Warn("nobody can tell a table's definition", "table", d.Table.Name.String(), "from", d.From.String(), "why", d.Unknown)
		case d.Gone():
			h.s.log.Info("table is gone", "table", d.Table.Name.String(), "from", d.From.String())
		default:
			h.s.log.Info("table is defined", "table", d.Table.Name.String(), "from", d.From.String(), "columns", len(d.Table.Columns))
		}
	}
	return h.s.n.coord.Propose(ctx, h.s.term, cluster.NoteTables{Source: h.s.name, Epoch: h.epoch, Forget: h.left(), Definitions: definitions})
}

// left lists tables that nobody maps and that are gone for every duty: copies that were made to change another one.
func (h history) left() []event.TableName {
	v, _ := h.s.n.coord.View()
	mapped := make(map[event.TableName]bool)
	for _, tables := range h.s.mapped(v) {
		for _, table := range tables {
			mapped[table] = true
		}
	}
	tables, oldest := h.tables(), v.Oldest(h.s.name)
	return slices.DeleteFunc(tables.Names(), func(table event.TableName) bool {
		d, _ := tables.Newest(table)
		return mapped[table] || !d.Gone() || d.From > oldest
	})
}

// describe begins the history of tables whose rows come without the names of their columns, at the positions from which they are
// followed.
func (s *sourceRun) describe(ctx context.Context, server Server, duties map[cluster.DutyID][]event.TableName, starts map[cluster.DutyID]event.Position) error {
	if server.Names {
		return nil
	}
	for id, tables := range duties {
		start := starts[id]
		for _, table := range tables {
			if _, ok := s.history(start.Epoch).At(table, start.Version()); ok {
				continue
			}
			if err := s.define(ctx, table, start); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeAgain asks for definitions that nobody could tell, once rows up to a position are left to a load.
func (s *sourceRun) describeAgain(ctx context.Context, tables []event.TableName, at event.Position) error {
	for _, table := range tables {
		if d, ok := s.history(at.Epoch).At(table, at.Version()); !ok || d.Unknown == "" {
			continue
		}
		if err := s.define(ctx, table, at); err != nil {
			return err
		}
	}
	return nil
}

// define notes the definition that a table has behind a position.
func (s *sourceRun) define(ctx context.Context, table event.TableName, at event.Position) error {
	d, err := s.source.Define(ctx, table, at)
	if err != nil {
		return err
	}
	d.From = at.Version()
	return s.history(at.Epoch).Note(ctx, []event.Definition{d})
}

// forget drops what an earlier life of a mapping has left of the tables that some duties follow from now on: nobody has read since
// what became of them. Tables that another duty follows, or, when some duty does, all others that are kept, have been watched.
func (s *sourceRun) forget(ctx context.Context, v cluster.View, duties map[cluster.DutyID][]event.TableName) error {
	source := v.Sources[s.name]
	if len(source.Tables) == 0 || len(s.clients(v)) > 0 { // for clients all tables are watched
		return nil
	}
	mapped := s.mapped(v)
	followed := make(map[event.TableName]bool)
	for id, d := range v.Duties {
		if id.Source == s.name && !d.Position.IsZero() {
			for _, table := range mapped[id.Mapping] {
				followed[table] = true
			}
		}
	}
	wanted := wanted(duties, false)
	var stale []event.TableName
	for _, table := range source.Tables.Names() {
		if !followed[table] && (wanted(table) || len(followed) == 0) {
			stale = append(stale, table)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return s.n.coord.Propose(ctx, s.term, cluster.NoteTables{Source: s.name, Epoch: source.Epoch, Forget: stale})
}

// A told holds the definitions that a feed has told last, as they travel.
type told map[event.TableName]toldDefinition

type toldDefinition struct {
	event.Definition
	raw []byte
}

// fill returns events with the definitions of the tables whose rows follow in them. The events themselves belong to all feeds.
func (t told) fill(events []event.Event, at func(event.TableName, event.Version) (event.Definition, bool)) ([]event.Event, error) {
	if !slices.ContainsFunc(events, func(e event.Event) bool { return e.Kind == event.Defined }) {
		return events, nil
	}
	filled := make([]event.Event, 0, len(events))
	for i, e := range events {
		if e.Kind == event.Defined {
			rows := slices.IndexFunc(events[i:], func(row event.Event) bool { return row.Kind == event.Rows && row.Table == e.Table })
			if rows < 0 {
				continue // they were left out
			}
			var err error
			if e.Raw, err = t.tell(e.Table, events[i+rows].Version, at); err != nil {
				return nil, err
			}
		}
		filled = append(filled, e)
	}
	return filled, nil
}

// tell returns the definition of a table's rows of a version.
func (t told) tell(table event.TableName, v event.Version, at func(event.TableName, event.Version) (event.Definition, bool)) ([]byte, error) {
	d, ok := at(table, v)
	if !ok {
		d = event.Definition{Table: event.Table{Name: table}, Unknown: "its definitions are not kept"}
	}
	if last, ok := t[table]; ok && last.From == d.From && last.Equal(d) {
		return last.raw, nil
	}
	raw, err := event.EncodeDefinition(d)
	if err != nil {
		return nil, fmt.Errorf("tell a feed: %w", err)
	}
	t[table] = toldDefinition{d, raw}
	return raw, nil
}

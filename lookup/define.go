package lookup

import (
	"context"
	"errors"
	"fmt"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/snapshot"
)

// A Source describes tables and opens sessions.
type Source interface {
	Describe(ctx context.Context, table event.TableName) (*event.Table, error)
	Session(ctx context.Context, serverUUID string) (Session, error)
}

// A Mapping is what Define needs of a mapping.
type Mapping interface {
	Table() event.TableName
	Rule() *mapping.Rule
	Bind(*event.Table) error
	Render(error) bool
}

// Define returns the definition that a mapping's documents are made by, as the server has it now, and binds the mapping to it: that
// of its table, or of what the server answers to its SQL; anchor is the table whose columns make the id.
func Define(ctx context.Context, s Source, m Mapping) (table, anchor *event.Table, err error) {
	if anchor, err = s.Describe(ctx, m.Table()); err != nil {
		return nil, nil, err
	}
	if m.Rule() == nil {
		if err = snapshot.RequireKey(anchor); err == nil {
			err = m.Bind(anchor)
		}
		if !m.Render(err) {
			return anchor, anchor, err
		}
	}
	if table, err = shape(ctx, s, m.Rule(), anchor); err == nil {
		err = m.Bind(table)
	}
	return table, anchor, err
}

// shape asks the server what the columns of a rule's documents are.
func shape(ctx context.Context, source Source, r *mapping.Rule, anchor *event.Table) (*event.Table, error) {
	for _, name := range r.Tables() { // views have no row events
		if name == anchor.Name {
			continue
		}
		table, err := source.Describe(ctx, name)
		if err == nil {
			err = r.CheckKeys(anchor, table)
		}
		if err != nil {
			return nil, err
		}
	}
	s, err := source.Session(ctx, "")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var result *event.Table
	err = s.Query(ctx, r.Shape(), func(columns []event.Column) (err error) {
		result, err = r.Result(anchor, columns)
		return err
	}, func([]any) error { return nil })
	if err == nil && result == nil {
		err = errors.New("the server told no columns")
	}
	if err != nil {
		return nil, fmt.Errorf("the SQL's columns: %w", err)
	}
	return result, nil
}

// First renders the document of the first key, as a row of table, for a look at it; there may be none.
func First(ctx context.Context, s Session, r *mapping.Rule, table *event.Table) ([]event.Row, error) {
	var key []string
	err := s.Query(ctx, r.Keys(nil, 1, ""), nil, func(values []any) (err error) {
		key, err = snapshot.Key(snapshot.KeyTable(table), values)
		return err
	})
	if err != nil || key == nil {
		return nil, err
	}
	var rows []event.Row
	err = s.Query(ctx, r.Documents([][]string{key}), nil, func(values []any) error {
		rows = append(rows, event.Row{Table: table, Op: event.Insert, Version: 1, After: values})
		return nil
	})
	return rows, err
}

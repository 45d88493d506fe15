package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"canalgo/event"
)

// Tables is the history of the definitions of a source's tables, for logs whose rows come without the names of their columns:
// of each table its definitions, the oldest first. The key is tableKey's.
type Tables map[string][]event.Definition

// tableKey has a sign between schema and name that neither can hold.
func tableKey(t event.TableName) string { return t.Schema + "\x00" + t.Name }

// At returns what is known of a table behind the event of a version; false when its definitions are not kept from there on.
func (t Tables) At(table event.TableName, v event.Version) (event.Definition, bool) {
	for _, d := range slices.Backward(t[tableKey(table)]) {
		if d.From <= v {
			return d, true
		}
	}
	return event.Definition{}, false
}

// Newest returns what is known of a table behind everything that was read.
func (t Tables) Newest(table event.TableName) (event.Definition, bool) {
	return t.At(table, event.NewVersion(event.MaxEpoch, event.MaxCount))
}

// Names lists the tables whose definitions are kept.
func (t Tables) Names() []event.TableName {
	var names []event.TableName
	for _, key := range slices.Sorted(maps.Keys(t)) {
		schema, name, _ := strings.Cut(key, "\x00")
		names = append(names, event.TableName{Schema: schema, Name: name})
	}
	return names
}

func (s State) noteTables(c NoteTables) (State, error) {
	present := s.Sources[c.Source]
	switch {
	case !s.Config.has("source", c.Source):
		return s, fmt.Errorf("note tables of source %q: %w", c.Source, ErrUnknown)
	case c.Epoch != present.Epoch:
		return s, fmt.Errorf("note tables of source %s in epoch %d, now %d: %w", c.Source, c.Epoch, present.Epoch, ErrStale)
	}
	for _, d := range c.Definitions {
		if d.From.Epoch() != c.Epoch || d.Table.Name.IsZero() {
			return s, fmt.Errorf("note table %s of source %s from %s on, in epoch %d: %w", d.Table.Name, c.Source, d.From, c.Epoch, ErrInvalid)
		}
	}
	tables := maps.Clone(present.Tables)
	if tables == nil {
		tables = make(Tables)
	}
	for _, name := range c.Forget {
		delete(tables, tableKey(name))
	}
	oldest := s.Oldest(c.Source)
	for _, d := range c.Definitions {
		key := tableKey(d.Table.Name)
		tables[key] = since(oldest, noted(tables[key], d))
	}
	if len(tables) == 0 {
		tables = nil
	}
	present.Tables = tables
	s.Sources = with(s.Sources, c.Source, present)
	return s, nil
}

// noted returns definitions with one more.
func noted(definitions []event.Definition, d event.Definition) []event.Definition {
	i, there := slices.BinarySearchFunc(definitions, d.From, func(e event.Definition, v event.Version) int {
		switch {
		case e.From < v:
			return -1
		case e.From > v:
			return 1
		}
		return 0
	})
	definitions = slices.Clone(definitions)
	switch {
	case !there:
		return slices.Insert(definitions, i, d)
	case d.Unknown == "" || definitions[i].Unknown != "":
		definitions[i] = d
	}
	return definitions
}

// since leaves out the definitions that ended at or before a version.
func since(oldest event.Version, definitions []event.Definition) []event.Definition {
	first := 0
	for first+1 < len(definitions) && definitions[first+1].From <= oldest {
		first++
	}
	return definitions[first:]
}

// Oldest returns the version of the oldest position of a source's duties and clients, 0 without one.
func (s State) Oldest(source string) event.Version {
	var oldest event.Version
	for p := range s.Positions(source) {
		if v := p.Version(); oldest == 0 || v < oldest {
			oldest = v
		}
	}
	return oldest
}

// renumber returns the history in the numbering in which what was from is to. What is older begins there.
func (t Tables) renumber(from, to event.Version) Tables {
	if len(t) == 0 {
		return nil
	}
	out := make(Tables, len(t))
	for key, definitions := range t {
		definitions = slices.Clone(since(from, definitions))
		for i, d := range definitions {
			definitions[i].From = to + max(d.From, from) - from
		}
		out[key] = definitions
	}
	return out
}

package lookup

import (
	"context"
	"fmt"
	"strings"

	"canalgo/event"
	"canalgo/mapping"
	"canalgo/sink"
	"canalgo/snapshot"
)

var _ sink.Renderer = (*Completer)(nil)

// A Table is what a Completer needs of a source: a table's rows and its definition.
type Table interface {
	snapshot.Selector
	Describe(ctx context.Context, table event.TableName) (*event.Table, error)
}

// A Plain mapping makes documents of single rows.
type Plain interface {
	sink.Mapper
	Table() event.TableName
	Columns(*event.Table) ([]int, error)
}

// A Completer maps rows of which some lack columns (binlog_row_image). What a row does not say it reads by the primary key, as a load
// does, once the server shows the row's transaction; the document is written with the row's ordinal. Rows that say enough are mapped
// without a question. It is for one goroutine.
type Completer struct {
	name    string
	mapping Plain
	source  Table
	server  string // its UUID

	event   *event.Table // by which the row was written for which the table was described last
	table   *event.Table // as the server has it
	columns []int        // of table, that are read
	page    int          // how many rows are read by one query
}

// NewCompleter returns a Completer of the mapping of that name, which reads rows of the server with that UUID.
func NewCompleter(name string, m Plain, source Table, serverUUID string) *Completer {
	return &Completer{name: name, mapping: m, source: source, server: serverUUID, page: pageDocuments}
}

// Render implements sink.Renderer. Without GTIDs the rows that are read are locked, which waits for who writes them.
func (c *Completer) Render(ctx context.Context, rows []event.Row, gtids string, add func([]mapping.Change) error) error {
	changes, err := c.mapping.Map(rows)
	for err == nil && len(changes) > 0 {
		var known int
		if known, err = c.complete(ctx, changes, gtids); err == nil {
			err = add(changes[:known])
			changes = changes[known:]
		}
	}
	if err != nil {
		c.event = nil // the definition may be what was wrong
	}
	return err
}

// complete puts what documents have become in the place of the first look-ups, and returns how many changes from the front are known then.
func (c *Completer) complete(ctx context.Context, changes []mapping.Change, gtids string) (int, error) {
	var keys [][]string
	asked := make(map[string]bool)
	of := make([]string, len(changes)) // the key by which a change is looked up
	end := 0
	for ; end < len(changes); end++ {
		if changes[end].Op != mapping.LookUp {
			continue
		}
		if err := c.describe(ctx, changes[end].Row.Table); err != nil {
			return 0, err
		}
		key, err := c.key(changes[end].Row)
		if err != nil {
			return 0, err
		}
		of[end] = strings.Join(key, ",")
		if asked[of[end]] {
			continue
		}
		if len(keys) == c.page {
			break
		}
		asked[of[end]] = true
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return end, nil
	}
	found, cut, err := c.read(ctx, keys, gtids)
	if err != nil {
		return 0, err
	}
	if cut {
		c.page = max(1, len(found)/2) // rows are larger than they were
	} else {
		c.page = min(pageDocuments, 2*c.page)
	}
	for i := range changes[:end] {
		if of[i] == "" {
			continue
		}
		now, ok := found[of[i]]
		if !ok && cut && len(keys) > 1 {
			return i, nil
		}
		changes[i] = become(changes[i], now)
	}
	return end, nil
}

// become returns what a look-up comes to whose row is now as a change says, if it is there and in the WHERE.
func become(asked mapping.Change, now *mapping.Change) mapping.Change {
	if now != nil && now.ID == asked.ID && now.Routing == asked.Routing {
		asked.Op, asked.Body, asked.Row, asked.Err = mapping.Write, now.Body, now.Row, now.Err
		return asked
	}
	asked.Op = mapping.Delete // what has become of it since then, a later event says
	return asked
}

// describe asks what the table is now, for each definition of the log anew.
func (c *Completer) describe(ctx context.Context, log *event.Table) (err error) {
	if c.event == log {
		return nil
	}
	if c.table, err = c.source.Describe(ctx, c.mapping.Table()); err != nil {
		return err
	}
	if err = snapshot.RequireKey(c.table); err != nil {
		return err
	}
	if c.columns, err = snapshot.WithKey(c.mapping, c.table); err != nil {
		return err
	}
	c.event = log
	return nil
}

// key returns the primary key of the row that an image of the log is of.
func (c *Completer) key(row *event.Row) ([]string, error) {
	image := make([]any, len(c.table.Columns))
	for _, k := range c.table.Key {
		name := c.table.Columns[k].Name
		i := row.Table.Column(name)
		if i < 0 {
			return nil, &event.StopError{Reason: fmt.Sprintf("mapping %s: the %s %s of %s lacks columns, and %s, by which the rest is looked up, is of the primary key since then only",
				c.name, row.Op, row.Version, row.Table.Name, name), Fix: "canalgo load writes the rows as they are"}
		}
		if row.After[i] == event.Absent {
			return nil, mapping.LacksColumn(c.name, row, i, "the row")
		}
		image[k] = row.After[i]
	}
	return snapshot.Key(c.table, image)
}

// read returns what the mapping makes of the rows with some keys, by key; nil for one that is not in its WHERE. Cut says that there may be more.
func (c *Completer) read(ctx context.Context, keys [][]string, gtids string) (found map[string]*mapping.Change, cut bool, err error) {
	var rows []event.Row
	at := event.Position{ServerUUID: c.server, GTIDs: gtids}
	cut, err = snapshot.Among(ctx, c.source, at, c.table, c.columns, keys, gtids == "", func(values []any) {
		rows = append(rows, event.Row{Table: c.table, Op: event.Insert, After: values})
	})
	if err != nil {
		return nil, false, err
	}
	changes, err := c.mapping.Map(rows)
	if err != nil {
		return nil, false, err
	}
	of := make(map[*event.Row]*mapping.Change, len(changes))
	for i := range changes {
		of[changes[i].Row] = &changes[i]
	}
	found = make(map[string]*mapping.Change, len(rows))
	for i := range rows {
		key, err := snapshot.Key(c.table, rows[i].After)
		if err != nil {
			return nil, false, err
		}
		found[strings.Join(key, ",")] = of[&rows[i]]
	}
	return found, cut, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"canalgo/binlog"
	"canalgo/cli"
	"canalgo/config"
	"canalgo/event"
	"canalgo/lookup"
	"canalgo/mapping"
	"canalgo/node"
	"canalgo/snapshot"
	"canalgo/zkmode"
)

// checkTime bounds each thing that check tries.
const checkTime = 10 * time.Second

// check tries everything that a file names.
func check(ctx context.Context, file config.File) (cli.Checked, error) {
	c := checker{file: file, sources: map[string]*binlog.Source{}, sinks: map[string]node.Sink{}}
	if file.Coordination.ZooKeeper() {
		c.coordination(ctx)
	}
	for _, name := range slices.Sorted(maps.Keys(file.Sources)) {
		c.source(ctx, name)
	}
	for _, name := range slices.Sorted(maps.Keys(file.Sinks)) {
		c.sink(ctx, name)
	}
	for _, name := range slices.Sorted(maps.Keys(file.Mappings)) {
		c.mapping(ctx, name)
	}
	for _, s := range c.sinks {
		_ = s.Close() // nothing was written
	}
	return c.out, ctx.Err()
}

type checker struct {
	file    config.File
	sources map[string]*binlog.Source // that answer
	sinks   map[string]node.Sink      // that answer
	out     cli.Checked
}

func (c *checker) ok(what, detail string) {
	c.out.Lines = append(c.out.Lines, cli.CheckLine{What: what, OK: true, Detail: detail})
}

func (c *checker) wrong(what string, err error) {
	line := cli.CheckLine{What: what, Detail: err.Error()}
	var stop *event.StopError
	if errors.As(err, &stop) {
		line.Detail, line.Fix = stop.Reason, stop.Fix
	}
	if name, ok := strings.CutPrefix(what, "mapping."); ok {
		line.Detail = strings.TrimPrefix(line.Detail, "mapping "+name+": ")
	}
	c.out.Lines = append(c.out.Lines, line)
}

func (c *checker) coordination(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	const what = "coordination"
	cfg, err := ensemble(c.file.Coordination)
	if err != nil {
		c.wrong(what, err)
		return
	}
	if token := c.file.Cluster.Token.Reveal(); token != "" {
		cfg.Secret = []byte(token)
	}
	session, id, err := zkmode.Look(ctx, cfg)
	if err != nil {
		c.wrong(what, err)
		return
	}
	line := cli.CheckLine{What: what, OK: true, Detail: fmt.Sprintf("zookeeper, sessions of %s, cluster %s", session, id)}
	if id == "" {
		line.Detail = fmt.Sprintf("zookeeper, sessions of %s, no cluster at %s yet", session, c.file.Coordination.Root)
	}
	if session != c.file.Coordination.SessionTimeout {
		line.Warn, line.Fix = true, fmt.Sprintf("session_timeout = %q, or other bounds in the ensemble (minSessionTimeout, maxSessionTimeout)", session)
	}
	c.out.Lines = append(c.out.Lines, line)
}

func (c *checker) source(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	what := "source." + name
	s, err := binlog.New(c.file.Sources[name], "check", name, hclog.NewNullLogger())
	if err != nil {
		c.wrong(what, err)
		return
	}
	findings, err := s.Check(ctx)
	if err != nil {
		c.wrong(what, err)
		return
	}
	c.sources[name] = s
	for _, f := range findings {
		c.out.Lines = append(c.out.Lines, cli.CheckLine{What: what + ": " + f.What, OK: f.OK, Warn: f.Warn, Detail: f.Detail, Fix: f.Fix})
	}
}

func (c *checker) sink(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	what := "sink." + name
	s, err := openSink(c.file.Sinks[name])
	if err != nil {
		c.wrong(what, err)
		return
	}
	pinger, ok := s.(interface {
		Ping(context.Context) (string, error)
	})
	if !ok {
		c.ok(what, c.file.Sinks[name].Type)
		c.sinks[name] = s
		return
	}
	version, err := pinger.Ping(ctx)
	if err != nil {
		c.wrong(what, err)
		return
	}
	c.ok(what, c.file.Sinks[name].Type+" "+version)
	c.sinks[name] = s
}

func (c *checker) mapping(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	what := "mapping." + name
	section := c.file.Mappings[name]
	m, err := mapping.Compile(name, section.Config, c.file.Sources[section.Source].Schema)
	if err != nil {
		c.wrong(what, err)
		return
	}
	s := c.sources[section.Source]
	if s == nil {
		c.wrong(what, fmt.Errorf("source %s does not answer: table %s was not looked at", section.Source, m.Table()))
		return
	}
	table, _, err := lookup.Define(ctx, source{s}, m)
	if err != nil {
		c.wrong(what, err)
		return
	}
	detail := fmt.Sprintf("table %s, %d columns", table.Name, len(table.Columns))
	if r := m.Rule(); r != nil {
		detail = fmt.Sprintf("the server renders its documents from %s", tableNames(r.Tables()))
	}
	if m.Filters() {
		detail += "; a row that leaves the WHERE has its document deleted"
	}
	c.ok(what, detail)
	if r := m.Rule(); r != nil {
		c.indexes(ctx, what, s, r)
	}
	if err := c.images(ctx, what, s, m); err != nil {
		c.wrong(what, err)
	}
	if err := c.sample(ctx, name, s, m, table); err != nil {
		c.wrong(what+": sample", err)
	}
	c.index(ctx, name, m, table)
}

// sample adds the document that the first row would become.
func (c *checker) sample(ctx context.Context, name string, s *binlog.Source, m *mapping.Mapping, table *event.Table) error {
	rows, err := c.first(ctx, s, m, table)
	if err != nil {
		return err
	}
	changes, err := m.Map(rows)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil // no row, or the first one is not in the WHERE
	}
	if changes[0].Err != nil {
		return changes[0].Err
	}
	c.out.Samples = append(c.out.Samples, cli.Sample{Mapping: name, Index: changes[0].Index, ID: changes[0].ID, Document: changes[0].Body})
	return nil
}

// indexes warns of tables that would be scanned.
func (c *checker) indexes(ctx context.Context, what string, s *binlog.Source, r *mapping.Rule) {
	said := make(map[string]bool)
	for _, l := range r.Lookups() {
		columns := strings.Join(l.Columns, ", ")
		place := fmt.Sprintf("%s (%s)", l.Table, columns)
		if said[place] {
			continue
		}
		said[place] = true
		indexed, rows, err := s.Indexed(ctx, l.Table, l.Columns)
		switch {
		case err != nil:
			c.wrong(what, err)
		case !indexed:
			c.out.Lines = append(c.out.Lines, cli.CheckLine{What: what, OK: true, Warn: true,
				Detail: fmt.Sprintf("each change of %s would scan %s, about %d rows", l.Changed, l.Table, rows), Fix: "add an index on " + place})
		}
	}
}

// images says which rows would not say which documents they are about, as the server writes them now.
func (c *checker) images(ctx context.Context, what string, s *binlog.Source, m *mapping.Mapping) error {
	server, err := s.Identify(ctx, "")
	if err != nil {
		return err
	}
	image := strings.ToUpper(server.RowImage)
	for _, f := range m.Finds() {
		table, err := s.Describe(ctx, f.Table)
		if err != nil {
			return err
		}
		for _, name := range f.Columns {
			if i := table.Column(name); leftOut(image, table, i) {
				c.wrong(what, &event.StopError{Reason: fmt.Sprintf("with binlog_row_image = %s rows of %s lack %s, which gives %s", image, f.Table, name, f.Gives),
					Fix: "binlog_row_image = FULL, or use columns of the primary key there"})
			}
		}
	}
	return nil
}

// leftOut reports whether rows may come without a column. Without a primary key they have all.
func leftOut(image string, t *event.Table, column int) bool {
	if len(t.Key) == 0 || slices.Contains(t.Key, column) {
		return false
	}
	switch image {
	case "MINIMAL":
		return true
	case "NOBLOB":
		return slices.Contains([]event.Type{event.Text, event.Blob, event.JSON, event.Geometry, event.Vector}, t.Columns[column].Type)
	}
	return false
}

// first reads the first row that a mapping makes a document of, if there is one.
func (c *checker) first(ctx context.Context, s *binlog.Source, m *mapping.Mapping, table *event.Table) ([]event.Row, error) {
	if m.Rule() == nil {
		return snapshot.First(ctx, s, table)
	}
	session, err := source{s}.Session(ctx, "")
	if err != nil {
		return nil, err
	}
	defer session.Close()
	return lookup.First(ctx, session, m.Rule(), table)
}

func tableNames(tables []event.TableName) string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}

// index says what a first start would find.
func (c *checker) index(ctx context.Context, name string, m *mapping.Mapping, table *event.Table) {
	section := c.file.Mappings[name]
	what := "mapping." + name + ": index " + m.Index()
	indexer, ok := c.sinks[section.Sink].(interface {
		node.Indexer
		CountBefore(context.Context, mapping.Own, event.Version) (int, error)
	})
	if !ok {
		return
	}
	uuid, err := indexer.IndexUUID(ctx, m.Index())
	if err == nil && uuid != "" {
		var mappings []byte
		if mappings, err = indexer.Mappings(ctx, m.Index()); err == nil {
			err = errors.Join(c.misfits(what, m, table, mappings), m.CheckRelation(mappings))
		}
	}
	switch {
	case err != nil:
		c.wrong(what, err)
	case uuid == "":
		if _, err := m.IndexBody(table); err != nil {
			c.wrong(what, err)
			return
		}
		c.ok(what, "will be created")
	case section.Load == "":
		c.ok(what, "is there")
	default:
		n, err := indexer.CountBefore(ctx, m.Own(), event.NewVersion(event.EpochAt(time.Now()), event.FirstCount))
		if err != nil {
			c.wrong(what, err)
			return
		}
		c.out.Lines = append(c.out.Lines, cli.CheckLine{What: what, OK: true, Warn: n > 0,
			Detail: fmt.Sprintf("is there; a first load's sweep deletes those of its %d older documents that belong to no row", n)})
	}
}

// misfits says which fields of an index that exists do not take what the mapping writes.
func (c *checker) misfits(what string, m *mapping.Mapping, table *event.Table, mappings []byte) error {
	misfits, err := m.Misfits(table, mappings)
	for _, misfit := range misfits {
		fix := "leave the column out, or make the index anew: canalgo gives one that it creates types which refuse nothing"
		if misfit.Settings != "" {
			fix = fmt.Sprintf("say with %s, in the mapping's fields.%s, what is written instead; or %s", misfit.Settings, misfit.Field, fix)
		}
		c.out.Lines = append(c.out.Lines, cli.CheckLine{What: what + ": field " + misfit.Field, OK: !misfit.Always, Warn: !misfit.Always, Detail: misfit.Reason, Fix: fix})
	}
	return err
}

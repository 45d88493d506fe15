package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"canalgo/event"
	"canalgo/mapping"
)

// Validate says what is wrong with a File that came from FromCluster: the sections by themselves and against each other. Whether a node serves
// canal's clients is not replicated, so sources may be all that there is. The error is *Mistakes without lines.
func (f File) Validate() error {
	mistakes := &Mistakes{File: "configuration"}
	c := checker{file: &f, served: true, has: func(...string) bool { return false }, report: func(found finding) {
		mistakes.List = append(mistakes.List, Mistake{Key: path(found.key...) + found.entry, Text: found.text})
	}}
	c.check()
	if len(mistakes.List) == 0 {
		return nil
	}
	return mistakes
}

// A finding is one thing that is wrong.
type finding struct {
	key                []string
	entry              string // "[2]" of a list's entry, or ""
	text               string
	sqlLine, sqlColumn int // in the text of the key, or 0
}

// A checker checks a File's sections, however they were read.
type checker struct {
	compiled map[string]*mapping.Mapping // those whose SQL can be read
	file     *File
	served   bool                         // canal's clients may be all that reads the sources
	has      func(section ...string) bool // whether a section is there that could not be read
	report   func(finding)
}

func (c *checker) wrong(key []string, format string, args ...any) {
	c.report(finding{key: key, text: fmt.Sprintf(format, args...)})
}

func (c *checker) check() {
	c.itself(c.file.Node, "node")
	c.itself(c.file.Cluster, "cluster")
	c.itself(c.file.Coordination, "coordination")
	c.itself(c.file.Canal, "canal_server")
	for _, name := range slices.Sorted(maps.Keys(c.file.Sources)) {
		c.itself(c.file.Sources[name], "source", name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.file.Sinks)) {
		c.itself(c.file.Sinks[name].Settings, "sink", name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.file.Mappings)) {
		c.itself(c.file.Mappings[name], "mapping", name)
		c.sql(name, c.file.Mappings[name])
	}
	c.missing()
	c.references()
	c.sameDocuments()
	c.sameServerID()
	c.reachable()
	if c.file.Coordination.ZooKeeper() && len(c.file.Cluster.Join) > 0 {
		c.wrong([]string{"cluster", "join"}, "nodes find each other in ZooKeeper; take it out, or coordination.mode")
	}
}

// itself reports what a section says of itself: each error begins with its key.
func (c *checker) itself(section Section, at ...string) {
	for _, err := range section.Validate() {
		key, entry, text := cutKey(err.Error())
		c.report(finding{key: slices.Concat(at, key), entry: entry, text: text})
	}
}

const keyPart = `(?:[\w-]+|"(?:[^"\\]|\\.)*")`

var (
	keyAtStart = regexp.MustCompile(`^(` + keyPart + `(?:\.` + keyPart + `)*)(\[\d+\])?: `)
	onePart    = regexp.MustCompile(keyPart)
)

// cutKey takes the key off the start of a message, fields."a.b".type or tables[2], and its entry. Without one, all is text.
func cutKey(message string) (key []string, entry, text string) {
	found := keyAtStart.FindStringSubmatch(message)
	if found == nil {
		return nil, "", message
	}
	for _, part := range onePart.FindAllString(found[1], -1) {
		if unquoted, err := strconv.Unquote(part); err == nil {
			part = unquoted
		}
		key = append(key, part)
	}
	return key, found[2], message[len(found[0]):]
}

// sql checks that the SQL of a mapping can be read; whether its tables are there is the server's to say.
func (c *checker) sql(name string, m Mapping) {
	source, known := c.file.Sources[m.Source]
	if len(m.Config.Validate()) > 0 || !known {
		return
	}
	compiled, err := mapping.Compile(name, m.Config, source.Schema)
	if err == nil {
		if c.compiled == nil {
			c.compiled = make(map[string]*mapping.Mapping)
		}
		c.compiled[name] = compiled
		c.captured(name, m.Source, compiled.Tables())
		return
	}
	found := finding{key: []string{"mapping", name, "sql"}, text: strings.TrimPrefix(err.Error(), "mapping "+name+": ")}
	var place *mapping.SQLError
	if !errors.As(err, &place) {
		key, _, text := cutKey(found.text)
		found.key, found.text = slices.Concat(found.key[:2], key), text
	} else {
		found.sqlLine, found.sqlColumn, found.text = place.Line, place.Column, place.Reason
		if place.Near != "" {
			found.text = fmt.Sprintf("near %q: %s", place.Near, place.Reason)
		}
	}
	c.report(found)
}

// captured checks that the source lets all tables of a mapping through.
func (c *checker) captured(name, source string, tables []event.TableName) {
	captures, err := c.file.Sources[source].Filter()
	if err != nil {
		return // said at the source
	}
	for _, t := range tables {
		if !captures(t) {
			c.wrong([]string{"mapping", name, "sql"}, "reads %s, which source.%s.tables leaves out, so that its changes would be missed; add %q to them", t, source, regexp.QuoteMeta(t.String()))
		}
	}
}

// missing reports kinds of sections of which there is none. A node that joins needs none of them, and one that serves canal's clients need not
// write anywhere.
func (c *checker) missing() {
	if (len(c.file.Cluster.Join) > 0 || c.file.Coordination.ZooKeeper()) && len(c.file.Sources)+len(c.file.Sinks)+len(c.file.Mappings) == 0 {
		return
	}
	for _, kind := range []struct {
		name, what string
		count      int
	}{
		{"source", "it says which MySQL server to follow", len(c.file.Sources)},
		{"sink", "it says where to write", len(c.file.Sinks)},
		{"mapping", "it says which rows become which documents", len(c.file.Mappings)},
	} {
		served := c.served && kind.name != "source" && len(c.file.Sinks)+len(c.file.Mappings) == 0
		if kind.count == 0 && !served && !c.has(kind.name) {
			c.wrong([]string{kind.name}, "there is no section [%s.NAME]; %s", kind.name, kind.what)
		}
	}
}

// references checks that mappings name sections that are there.
func (c *checker) references() {
	sources, sinks := slices.Sorted(maps.Keys(c.file.Sources)), slices.Sorted(maps.Keys(c.file.Sinks))
	for _, name := range slices.Sorted(maps.Keys(c.file.Mappings)) {
		m := c.file.Mappings[name]
		c.reference([]string{"mapping", name, "source"}, m.Source, sources)
		c.reference([]string{"mapping", name, "sink"}, m.Sink, sinks)
	}
}

func (c *checker) reference(key []string, name string, known []string) {
	kind := key[2]
	switch {
	case slices.Contains(known, name):
	case name == "" && len(known) == 0:
		c.wrong(key, "missing; it names a section [%s.NAME]", kind)
	case name == "":
		c.wrong(key, "missing; known are %s", strings.Join(known, ", "))
	case c.has(kind, name): // it is there, with mistakes of its own
	case len(known) == 0:
		c.wrong(key, "there is no section [%s.%s]", kind, name)
	default:
		c.wrong(key, "there is no section [%s.%s]; %s", kind, name, didYouMean(name, known))
	}
}

// sameDocuments refuses two mappings that can write the same document: each one's load would sweep away what the other wrote. Those whose
// documents have different relations in a join field know their own.
func (c *checker) sameDocuments() {
	names := slices.Sorted(maps.Keys(c.file.Mappings))
	for i, name := range names {
		for _, other := range names[:i] {
			a, b := c.file.Mappings[other], c.file.Mappings[name]
			if b.Index == "" || a.Index != b.Index || !c.samePlace(a.Sink, b.Sink) {
				continue
			}
			key, why := c.mixed(name, other)
			if why != "" {
				c.wrong(append([]string{"mapping", name}, key...), "%s", why)
				break
			}
		}
	}
}

// mixed says why two mappings that write one index could take each other's documents for their own, and which key of the first is wrong; "" when
// they cannot.
func (c *checker) mixed(name, other string) (key []string, why string) {
	a, b := c.compiled[name], c.compiled[other]
	if len(c.file.Mappings[name].Relations) == 0 || len(c.file.Mappings[other].Relations) == 0 {
		return []string{"_index"}, fmt.Sprintf("the mapping %q writes the index %q of the same destination too; give each its own, or both upsert = true when they make parts of the same documents", other, c.file.Mappings[name].Index)
	}
	if a == nil || b == nil {
		return nil, "" // said already
	}
	mine, its := a.Own(), b.Own()
	switch {
	case mine.Field != its.Field:
		return []string{"relations"}, fmt.Sprintf("the mapping %q of the same index has the join field %q, this one %q; an index has one", other, its.Field, mine.Field)
	case mine.Value == its.Value:
		return []string{"relations", mine.Field, "name"}, fmt.Sprintf("the mapping %q of the same index writes documents of the relation %q too; give each its own", other, its.Value)
	case strings.HasPrefix(a.IDText(), b.IDText()) && b.IDText() != "", strings.HasPrefix(b.IDText(), a.IDText()) && a.IDText() != "", a.IDText() == b.IDText():
		return []string{"sql"}, fmt.Sprintf("its ids begin with %q, those of the mapping %q of the same index with %q: two of them could be one document; begin each with a word of its own, as in concat('%s-', ...)",
			a.IDText(), other, b.IDText(), mine.Value)
	}
	return nil, ""
}

// sameServerID refuses two sources that would be one and the same replica of one server.
func (c *checker) sameServerID() {
	names := slices.Sorted(maps.Keys(c.file.Sources))
	for i, name := range names {
		for _, other := range names[:i] {
			a, b := c.file.Sources[other], c.file.Sources[name]
			if b.ServerID != 0 && a.ServerID == b.ServerID && a.SameAddress(b) {
				c.wrong([]string{"source", name, "server_id"}, "%d is the id of the source %q of the same server, too; give each its own, or 0", b.ServerID, other)
			}
		}
	}
}

// reachable refuses an address that only this host can reach, when there are nodes elsewhere to join.
func (c *checker) reachable() {
	host, _, err := net.SplitHostPort(c.file.Node.Advertise)
	if err != nil || !isLoopback(host) {
		return
	}
	for _, address := range c.file.Cluster.Join {
		if other, _, err := net.SplitHostPort(address); err == nil && !isLoopback(other) {
			c.wrong([]string{"node", "advertise"}, "%s cannot be reached from %s; name the address at which the other nodes reach this one", c.file.Node.Advertise, address)
			return
		}
	}
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// samePlace reports whether two sinks keep documents and can be the same destination.
func (c *checker) samePlace(a, b string) bool {
	left, right := c.file.Sinks[a].places(), c.file.Sinks[b].places()
	return slices.ContainsFunc(left, func(place string) bool { return slices.Contains(right, place) })
}

// Package config reads the one file that a cluster is seeded by, and turns it into the replicated configuration and back.
//
// A file is TOML with the sections [node], [cluster], [coordination], [canal_server], [source.NAME], [sink.NAME] and [mapping.NAME]. The structs of the sections
// belong to the packages that use them; here they are filled strictly, checked together and compared. All that is wrong with a
// file is found in one go, with its line. docs/configuration.md lists every key.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"canalgo/binlog"
	"canalgo/cluster"
	"canalgo/mapping"
	"canalgo/secret"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 512 << 10

// A File is what a configuration file says, defaults filled in, secrets resolved.
type File struct {
	Node         Node
	Cluster      Cluster
	Coordination Coordination
	Canal        Canal
	Sources      map[string]binlog.Config
	Sinks        map[string]Sink
	Mappings     map[string]Mapping
	Warnings     []string // what works but ought to be looked at, each with its place
}

// Node is the section [node]: what concerns this host alone. It is not replicated.
type Node struct {
	Name      string `toml:"name"`       // "" is the host's name
	Data      string `toml:"data"`       // folder
	HTTP      string `toml:"http"`       // host:port to listen on
	Listen    string `toml:"listen"`     // host:port of the node port; without a host on all interfaces
	Advertise string `toml:"advertise"`  // host:port at which other nodes reach the node port; "" is worked out
	LogLevel  string `toml:"log_level"`  // "trace", "debug", "info", "warn", "error"
	LogFormat string `toml:"log_format"` // "text", "json"
}

// DefaultListen is where a node listens for other nodes.
const DefaultListen = ":8112"

// Cluster is the section [cluster]: how a node finds the others. It is not replicated.
type Cluster struct {
	Join  []string     `toml:"join"`  // node ports of other nodes; none makes a cluster of its own
	Token secret.Value `toml:"token"` // proves that nodes belong together; "" has the first node make one
}

// Validate says what is wrong with the settings by themselves, each error beginning with its key.
func (c Cluster) Validate() []error {
	var errs []error
	for i, address := range c.Join {
		if err := validPort(address, false); err != nil {
			errs = append(errs, fmt.Errorf("join[%d]: %w", i, err))
		}
	}
	if n := len(c.Token.Reveal()); n > 0 && n < minToken {
		errs = append(errs, fmt.Errorf("token: too short to be safe; want at least %d characters, or none, and canalgo makes one", minToken))
	}
	return errs
}

// minToken is the least length of a token in bytes.
const minToken = 16

// validPort checks a host:port; only to listen on may the host be left out.
func validPort(address string, listen bool) error {
	if strings.Contains(address, "://") {
		return fmt.Errorf("%q must not carry a scheme; write HOST:PORT", address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" && !listen {
		return fmt.Errorf("want host:port, for example \"10.0.0.1%s\", got %q", DefaultListen, address)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return fmt.Errorf("want a port from 1 to 65535, got %q", port)
	}
	return nil
}

// DefaultHTTP is where a node answers HTTP, and where commands ask, if nothing else is said.
const DefaultHTTP = "127.0.0.1:8111"

// DefaultNode returns the section's defaults.
func DefaultNode() Node {
	return Node{Data: "canalgo-data", HTTP: DefaultHTTP, Listen: DefaultListen, LogLevel: "info", LogFormat: "text"}
}

// Validate says what is wrong with the settings by themselves, each error beginning with its key.
func (n Node) Validate() []error {
	var errs []error
	if n.Data == "" {
		errs = append(errs, errors.New("data: missing; it names the folder that positions are kept in"))
	}
	if _, port, err := net.SplitHostPort(n.HTTP); err != nil {
		errs = append(errs, fmt.Errorf("http: want host:port, for example %q, got %q", DefaultHTTP, n.HTTP))
	} else if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		errs = append(errs, fmt.Errorf("http: want a port from 1 to 65535, got %q", port))
	}
	if err := validPort(n.Listen, true); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	}
	if n.Advertise != "" {
		if err := validPort(n.Advertise, false); err != nil {
			errs = append(errs, fmt.Errorf("advertise: %w", err))
		} else if host, _, _ := net.SplitHostPort(n.Advertise); net.ParseIP(host).IsUnspecified() {
			errs = append(errs, fmt.Errorf("advertise: %q stands for all addresses of this host; name the one at which the other nodes reach it", n.Advertise))
		}
	}
	if n.Name != "" && !cluster.ValidNodeName(n.Name) {
		errs = append(errs, fmt.Errorf("name: %q is no name of a node: at most 64 of letters, digits, '.', '_' and '-'", n.Name))
	}
	if n.HTTP == n.Listen {
		errs = append(errs, fmt.Errorf("listen: %q is http's address, too; give each its own port", n.Listen))
	}
	for _, c := range []struct {
		key, value string
		known      []string
	}{
		{"log_level", n.LogLevel, []string{"trace", "debug", "info", "warn", "error"}},
		{"log_format", n.LogFormat, []string{"text", "json"}},
	} {
		if !slices.Contains(c.known, c.value) {
			errs = append(errs, fmt.Errorf("%s: %q is unknown; %s", c.key, c.value, didYouMean(c.value, c.known)))
		}
	}
	return errs
}

// A Mapping is one [mapping.NAME].
type Mapping struct {
	Source string `toml:"source"`
	Sink   string `toml:"sink"`
	Load   string `toml:"load"` // "initial", or "" for none
	mapping.Config
}

// Validate says what is wrong with the settings by themselves, each error beginning with its key.
func (m Mapping) Validate() []error {
	var errs []error
	if m.Load != "" && m.Load != "initial" {
		errs = append(errs, fmt.Errorf(`load: want "initial", or "" to load no existing rows by itself, got %q`, m.Load))
	}
	return append(errs, m.Config.Validate()...)
}

// Load reads a file. The error is *Mistakes when it could be read but not used; whatever could be used is returned with it.
func Load(name string) (File, error) {
	data, err := read(name)
	if err != nil {
		return File{}, err
	}
	return Parse(name, data)
}

func read(name string) ([]byte, error) {
	explain := func(err error) error {
		var cause *fs.PathError
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: no such file; config.example.toml shows what one holds", name)
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%s: permission denied (running as uid %d%s)", name, os.Getuid(), owner(name))
		case errors.As(err, &cause):
			return fmt.Errorf("%s: %w", name, cause.Err)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, explain(err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s: is a directory; name the file in it", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, explain(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, explain(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d KiB; this is not a configuration file", name, maxFile>>10)
	}
	return data, nil
}

// owner says who may read a file, for a message: "; the file is 0600, uid 0".
func owner(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return ""
	}
	text := fmt.Sprintf("; the file is %#o", info.Mode().Perm())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		text += fmt.Sprintf(", uid %d", stat.Uid)
	}
	return text
}

// Parse reads the content of a file; name is for messages.
func Parse(name string, data []byte) (File, error) {
	file := File{Node: DefaultNode(), Coordination: DefaultCoordination(), Canal: DefaultCanal(), Sources: map[string]binlog.Config{}, Sinks: map[string]Sink{}, Mappings: map[string]Mapping{}}
	d := parseDocument(name, data)
	if len(d.mistakes.List) > 0 {
		return file, d.mistakes
	}
	if len(d.values) == 0 {
		d.add(Mistake{Text: "the file is empty; config.example.toml shows what it could hold"})
		return file, d.mistakes
	}
	r := reader{d: d, file: &file, bad: map[string]bool{}, from: map[string][]string{}}
	r.sections()
	r.groups()
	c := checker{file: &file, served: file.Canal.Listen != "", has: r.has, report: r.report}
	c.check()
	if len(d.mistakes.List) > 0 {
		d.mistakes.sorted()
		return file, d.mistakes
	}
	return file, nil
}

// A reader turns a document into a File.
type reader struct {
	d    *document
	file *File
	bad  map[string]bool     // paths of keys whose value was not taken
	from map[string][]string // of a key that groups made: the key in the file
}

// topLevel are the kinds of sections.
var topLevel = []string{"node", "cluster", "coordination", "canal_server", "source", "sink", "mapping"}

func (r *reader) sections() {
	for _, name := range slices.Sorted(maps.Keys(r.d.values)) {
		if !slices.Contains(topLevel, name) {
			r.d.wrong([]string{name}, "unknown section; %s", didYouMean(name, topLevel))
			continue
		}
		table, ok := r.d.values[name].(map[string]any)
		if !ok {
			header := "[" + name + ".NAME]"
			if r.single(name) != nil {
				header = "[" + name + "]"
			}
			r.d.wrong([]string{name}, "want a section %s, got %s", header, kindOf(r.d.values[name]))
			continue
		}
		if section := r.single(name); section != nil {
			r.section([]string{name}, table, section)
			continue
		}
		r.named(name, table)
	}
}

// single returns the section of that name of which there is one, nil for a kind of sections.
func (r *reader) single(name string) Section {
	switch name {
	case "node":
		return &r.file.Node
	case "cluster":
		return &r.file.Cluster
	case "coordination":
		return &r.file.Coordination
	case "canal_server":
		return &r.file.Canal
	}
	return nil
}

// maxName bounds the name of a section, in bytes.
const maxName = 64

// named reads all sections [kind.NAME].
func (r *reader) named(kind string, sections map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		at := []string{kind, name}
		table, ok := sections[name].(map[string]any)
		if !ok {
			r.d.wrong(at, "give the section a name: [%s.NAME]", kind)
			continue
		}
		if !cluster.ValidName(name) || len(name) > maxName {
			r.d.wrong(at, "a name consists of at most %d of the characters a-z, 0-9, - and _", maxName)
			continue
		}
		switch kind {
		case "source":
			s := binlog.Defaults()
			r.section(at, table, &s)
			r.file.Sources[name] = s
		case "sink":
			r.sink(at, table)
		case "mapping":
			var m Mapping
			r.section(at, table, &m)
			r.file.Mappings[name] = m
		}
	}
}

// section fills a section.
func (r *reader) section(at []string, table map[string]any, target Section) {
	decode(table, target, func(key []string, text string) {
		key = slices.Concat(at, key)
		r.bad[path(key...)] = true
		r.d.wrong(key, "%s", text)
	})
	r.exposed(at, table, target)
}

// exposed warns of files of secrets that others on this host can read.
func (r *reader) exposed(at []string, table map[string]any, target Section) {
	for _, f := range fields(reflect.ValueOf(target).Elem()) {
		text, _ := table[f.key].(string)
		name, isFile := strings.CutPrefix(text, "file:")
		if !isFile || f.value.Type() != secretType {
			continue
		}
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o077 != 0 {
			m := r.d.mistake(slices.Concat(at, []string{f.key}), fmt.Sprintf("%s can be read by others on this host (%#o); chmod 600 it", name, info.Mode().Perm()))
			r.file.Warnings = append(r.file.Warnings, (&Mistakes{File: r.d.mistakes.File, List: []Mistake{m}}).Error())
		}
	}
}

func (r *reader) sink(at []string, table map[string]any) {
	known := slices.Sorted(maps.Keys(sinkTypes))
	typeKey := append(at[:2:2], "type")
	name, ok := table["type"].(string)
	switch {
	case table["type"] == nil:
		r.d.wrong(typeKey, "missing; known are %s", strings.Join(known, ", "))
		return
	case !ok:
		r.d.wrong(typeKey, "want a text in quotes, got %s", show(table["type"]))
		return
	case sinkTypes[name].defaults == nil:
		r.d.wrong(typeKey, "%q is unknown; %s", name, didYouMean(name, known))
		return
	}
	settings := sinkTypes[name].defaults()
	rest := maps.Clone(table)
	delete(rest, "type")
	r.section(at, rest, settings)
	r.file.Sinks[at[1]] = Sink{Type: name, Settings: settings}
}

// has reports whether the file has the section, usable or not.
func (r *reader) has(section ...string) bool { return r.d.has(section) }

// report adds what the checker found, unless more was said about it already.
func (r *reader) report(f finding) {
	if from, ok := r.from[path(f.key...)]; ok {
		f.key = from
	}
	if r.bad[path(f.key...)] {
		return
	}
	m := r.d.mistake(f.key, f.text)
	m.Key += f.entry
	if f.sqlLine > 0 {
		m.Line, m.Column = r.d.place(f.key, f.sqlLine, f.sqlColumn)
	}
	r.d.add(m)
}

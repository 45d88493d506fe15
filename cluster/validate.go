package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Validate says what makes a configuration unusable as replicated state, naming section and key: a name that is not
// [a-z0-9_-]+, a reference to a section that is not there, settings that are not JSON. What the sections mean is checked
// by the packages that own them. The first fault in the order of names is returned.
func (c Config) Validate() error {
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		if err := validSection("source", name, c.Sources[name].Spec); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		sink := c.Sinks[name]
		if err := validSection("sink", name, sink.Spec); err != nil {
			return err
		}
		if sink.Type == "" {
			return fmt.Errorf("sink.%s.type: missing", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Mappings)) {
		mapping := c.Mappings[name]
		if err := validSection("mapping", name, mapping.Spec); err != nil {
			return err
		}
		if _, ok := c.Sources[mapping.Source]; !ok {
			return fmt.Errorf("mapping.%s.source: there is no source %q", name, mapping.Source)
		}
		if _, ok := c.Sinks[mapping.Sink]; !ok {
			return fmt.Errorf("mapping.%s.sink: there is no sink %q", name, mapping.Sink)
		}
		if mapping.Load != "" && mapping.Load != "initial" {
			return fmt.Errorf(`mapping.%s.load: must be "initial" or left out, got %q`, name, mapping.Load)
		}
	}
	return nil
}

func validSection(kind, name string, spec Spec) error {
	if !ValidName(name) {
		return fmt.Errorf("%s.%s: a name may have a-z, 0-9, _ and -", kind, name)
	}
	if len(spec.Settings) > 0 && !json.Valid(spec.Settings) {
		return fmt.Errorf("%s.%s: settings are not JSON", kind, name)
	}
	return nil
}

// duties lists the stream duties that a configuration has: one for each mapping.
func (c Config) duties() map[DutyID]bool {
	all := make(map[DutyID]bool, len(c.Mappings))
	for name, m := range c.Mappings {
		all[DutyID{Source: m.Source, Mapping: name, Kind: Stream}] = true
	}
	return all
}

// has reports whether the configuration has the section that "source/NAME", "sink/NAME" or "mapping/NAME" names.
func (c Config) has(kind, name string) bool {
	var ok bool
	switch kind {
	case "source":
		_, ok = c.Sources[name]
	case "sink":
		_, ok = c.Sinks[name]
	case "mapping":
		_, ok = c.Mappings[name]
	}
	return ok
}

// maxNodeName is the longest name of a node in bytes.
const maxNodeName = 64

// ValidNodeName reports whether a node may be called so: [A-Za-z0-9._-]{1,64}.
func ValidNodeName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return name != "" && len(name) <= maxNodeName
}

// Validate says, as an ErrInvalid, what makes the command one that every state refuses.
func (c SetNode) Validate() error {
	switch {
	case !ValidNodeName(c.Name):
		return fmt.Errorf("set node %q: a name may have A-Z, a-z, 0-9, ., _ and -, and %d of them: %w", c.Name, maxNodeName, ErrInvalid)
	case c.Node.ServerID == "":
		return fmt.Errorf("set node %s without a server id: %w", c.Name, ErrInvalid)
	case c.Node.Address == "":
		return fmt.Errorf("set node %s without an address: %w", c.Name, ErrInvalid)
	}
	return nil
}

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"canalgo/binlog"
	"canalgo/cluster"
	"canalgo/secret"
)

// ToCluster returns the configuration that is replicated: all but [node], [cluster], [coordination] and [canal_server], secrets sealed with the cluster's key. Its Version is 0.
func (f File) ToCluster(key []byte) (cluster.Config, error) {
	c := cluster.Config{
		Sources:  map[string]cluster.SourceConfig{},
		Sinks:    map[string]cluster.SinkConfig{},
		Mappings: map[string]cluster.MappingConfig{},
	}
	for name, s := range f.Sources {
		spec, err := toSpec(key, &s)
		if err != nil {
			return c, fmt.Errorf("source.%s: %w", name, err)
		}
		c.Sources[name] = cluster.SourceConfig{Spec: spec}
	}
	for name, s := range f.Sinks {
		spec, err := toSpec(key, s.Settings)
		if err != nil {
			return c, fmt.Errorf("sink.%s: %w", name, err)
		}
		c.Sinks[name] = cluster.SinkConfig{Type: s.Type, Spec: spec}
	}
	for name, m := range f.Mappings {
		spec, err := toSpec(key, &m.Config)
		if err != nil {
			return c, fmt.Errorf("mapping.%s: %w", name, err)
		}
		c.Mappings[name] = cluster.MappingConfig{Source: m.Source, Sink: m.Sink, Load: m.Load, Spec: spec}
	}
	return c, nil
}

// FromCluster returns what ToCluster was given, but for what is not replicated, which has its defaults.
func FromCluster(key []byte, c cluster.Config) (File, error) {
	f := File{Node: DefaultNode(), Coordination: DefaultCoordination(), Canal: DefaultCanal(), Sources: map[string]binlog.Config{}, Sinks: map[string]Sink{}, Mappings: map[string]Mapping{}}
	var err error
	for name, s := range c.Sources {
		if f.Sources[name], err = DecodeSource(key, s); err != nil {
			return f, fmt.Errorf("source.%s: %w", name, err)
		}
	}
	for name, s := range c.Sinks {
		if f.Sinks[name], err = DecodeSink(key, s); err != nil {
			return f, fmt.Errorf("sink.%s: %w", name, err)
		}
	}
	for name, m := range c.Mappings {
		if f.Mappings[name], err = DecodeMapping(key, m); err != nil {
			return f, fmt.Errorf("mapping.%s: %w", name, err)
		}
	}
	return f, nil
}

// DecodeSource opens a replicated source.
func DecodeSource(key []byte, c cluster.SourceConfig) (binlog.Config, error) {
	s := binlog.Defaults()
	err := fromSpec(key, c.Spec, &s)
	return s, err
}

// DecodeSink opens a replicated sink.
func DecodeSink(key []byte, c cluster.SinkConfig) (Sink, error) {
	defaults := sinkTypes[c.Type].defaults
	if defaults == nil {
		return Sink{}, fmt.Errorf("type %q is unknown to this version; upgrade this node", c.Type)
	}
	s := Sink{Type: c.Type, Settings: defaults()}
	return s, fromSpec(key, c.Spec, s.Settings)
}

// DecodeMapping opens a replicated mapping.
func DecodeMapping(key []byte, c cluster.MappingConfig) (Mapping, error) {
	m := Mapping{Source: c.Source, Sink: c.Sink, Load: c.Load}
	err := fromSpec(key, c.Spec, &m.Config)
	return m, err
}

func toSpec(key []byte, section any) (cluster.Spec, error) {
	table, secrets, err := encode(section)
	if err != nil {
		return cluster.Spec{}, err
	}
	settings, err := json.Marshal(table)
	if err != nil {
		return cluster.Spec{}, err
	}
	spec := cluster.Spec{Settings: settings}
	for name, value := range secrets {
		sealed, err := secret.Seal(key, value.Reveal())
		if err != nil {
			return cluster.Spec{}, fmt.Errorf("%s: %w", name, err)
		}
		if spec.Secrets == nil {
			spec.Secrets = map[string][]byte{}
		}
		spec.Secrets[name] = sealed
	}
	return spec, nil
}

func fromSpec(key []byte, spec cluster.Spec, section any) error {
	decoder := json.NewDecoder(bytes.NewReader(spec.Settings))
	decoder.UseNumber()
	var table map[string]any
	if err := decoder.Decode(&table); err != nil {
		return fmt.Errorf("replicated settings: %w", err)
	}
	var errs []error
	for name, sealed := range spec.Secrets {
		plain, err := secret.Open(key, sealed)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		unmask(table, strings.Split(name, "."), secret.New(plain))
	}
	decode(table, section, func(key []string, text string) {
		errs = append(errs, fmt.Errorf("%s: %s", path(key...), text))
	})
	return errors.Join(errs...)
}

// unmask puts a secret in the place of its mask.
func unmask(table map[string]any, key []string, value secret.Value) {
	for _, group := range key[:len(key)-1] {
		deeper, ok := table[group].(map[string]any)
		if !ok {
			return
		}
		table = deeper
	}
	table[key[len(key)-1]] = value
}

package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"canalgo/binlog"
	"canalgo/cluster"
	"canalgo/secret"
)

// Diff says in words what changes from a to b, one line for each key: "source.shop.host: "a" becomes "b"". Of secrets it says
// only that they change. It needs the key that both were sealed with.
func Diff(key []byte, a, b cluster.Config) ([]string, error) {
	before, err := FromCluster(key, a)
	if err != nil {
		return nil, fmt.Errorf("configuration in use: %w", err)
	}
	after, err := FromCluster(key, b)
	if err != nil {
		return nil, fmt.Errorf("new configuration: %w", err)
	}
	var lines []string
	compare(&lines, "source", before.Sources, after.Sources, func(s binlog.Config) (string, any) { return "", &s })
	compare(&lines, "sink", before.Sinks, after.Sinks, func(s Sink) (string, any) { return s.Type, s.Settings })
	compare(&lines, "mapping", before.Mappings, after.Mappings, func(m Mapping) (string, any) { return "", &m })
	return lines, nil
}

// compare adds the differences of all sections of one kind. open returns a section's type and struct.
func compare[S any](lines *[]string, kind string, before, after map[string]S, open func(S) (string, any)) {
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		at := kind + "." + name
		old, was := before[name]
		now, is := after[name]
		switch {
		case !was:
			*lines = append(*lines, at+": added")
			continue
		case !is:
			*lines = append(*lines, at+": removed")
			continue
		}
		oldType, oldSettings := open(old)
		newType, newSettings := open(now)
		if oldType != newType {
			*lines = append(*lines, fmt.Sprintf("%s.type: %q becomes %q", at, oldType, newType))
			continue
		}
		compareGroup(lines, at, reflect.ValueOf(oldSettings).Elem(), reflect.ValueOf(newSettings).Elem())
	}
}

func compareGroup(lines *[]string, at string, before, after reflect.Value) {
	now := fields(after)
	for i, was := range fields(before) {
		key, is := at+"."+was.key, now[i]
		if old, ok := was.value.Interface().(secret.Value); ok {
			if !old.Equal(is.value.Interface().(secret.Value)) {
				*lines = append(*lines, key+": changed")
			}
			continue
		}
		if isGroup(was.value) {
			compareGroup(lines, key, was.value, is.value)
			continue
		}
		if reflect.DeepEqual(was.value.Interface(), is.value.Interface()) {
			continue
		}
		line := key + ": white space changes"
		if old, now := inWords(was.value), inWords(is.value); old != now {
			line = fmt.Sprintf("%s: %s becomes %s", key, old, now)
		}
		*lines = append(*lines, line)
	}
}

// inWords prints a setting as one line.
func inWords(v reflect.Value) string {
	if text, ok := v.Interface().(encoding.TextMarshaler); ok {
		words, _ := text.MarshalText()
		return string(words)
	}
	if v.Kind() == reflect.String {
		return fmt.Sprintf("%q", strings.Join(strings.Fields(v.String()), " "))
	}
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = inWords(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

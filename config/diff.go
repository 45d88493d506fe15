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
	changes, err := differences(key, a, b)
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.section+c.text)
	}
	return lines, err
}

// Keep returns next with the sections of now that mean the same, byte for byte: sealing makes other bytes of a secret each time,
// and what has the same bytes goes on undisturbed.
func Keep(key []byte, now, next cluster.Config) (cluster.Config, error) {
	changes, err := differences(key, now, next)
	if err != nil {
		return next, err
	}
	changed := make(map[string]bool)
	for _, c := range changes {
		changed[c.section] = true
	}
	keep(changed, "source", now.Sources, next.Sources)
	keep(changed, "sink", now.Sinks, next.Sinks)
	keep(changed, "mapping", now.Mappings, next.Mappings)
	return next, nil
}

func keep[S any](changed map[string]bool, kind string, now, next map[string]S) {
	for name := range next {
		if !changed[kind+"."+name] {
			next[name] = now[name]
		}
	}
}

// A change is one key that differs.
type change struct {
	section string // "source.shop"
	text    string // what follows it: the rest of the key and what becomes of it
}

func differences(key []byte, a, b cluster.Config) ([]change, error) {
	before, err := FromCluster(key, a)
	if err != nil {
		return nil, fmt.Errorf("configuration in use: %w", err)
	}
	after, err := FromCluster(key, b)
	if err != nil {
		return nil, fmt.Errorf("new configuration: %w", err)
	}
	var changes []change
	compare(&changes, "source", before.Sources, after.Sources, func(s binlog.Config) (string, any) { return "", &s })
	compare(&changes, "sink", before.Sinks, after.Sinks, func(s Sink) (string, any) { return s.Type, s.Settings })
	compare(&changes, "mapping", before.Mappings, after.Mappings, func(m Mapping) (string, any) { return "", &m })
	return changes, nil
}

// compare adds the differences of all sections of one kind. open returns a section's type and struct.
func compare[S any](changes *[]change, kind string, before, after map[string]S, open func(S) (string, any)) {
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		at := kind + "." + name
		add := func(text string) { *changes = append(*changes, change{section: at, text: text}) }
		old, was := before[name]
		now, is := after[name]
		switch {
		case !was:
			add(": added")
			continue
		case !is:
			add(": removed")
			continue
		}
		oldType, oldSettings := open(old)
		newType, newSettings := open(now)
		if oldType != newType {
			add(fmt.Sprintf(".type: %q becomes %q", oldType, newType))
			continue
		}
		compareGroup(add, "", reflect.ValueOf(oldSettings).Elem(), reflect.ValueOf(newSettings).Elem())
	}
}

func compareGroup(add func(text string), at string, before, after reflect.Value) {
	now := fields(after)
	for i, was := range fields(before) {
		key, is := at+"."+was.key, now[i]
		if old, ok := was.value.Interface().(secret.Value); ok {
			if !old.Equal(is.value.Interface().(secret.Value)) {
				add(key + ": changed")
			}
			continue
		}
		if isGroup(was.value) {
			compareGroup(add, key, was.value, is.value)
			continue
		}
		if isNamed(was.value) {
			compareNamed(add, key, was.value, is.value)
			continue
		}
		if isTexts(was.value) {
			compareTexts(add, key, was.value, is.value)
			continue
		}
		if reflect.DeepEqual(was.value.Interface(), is.value.Interface()) {
			continue
		}
		text := key + ": white space changes"
		if old, now := inWords(was.value), inWords(is.value); old != now {
			text = fmt.Sprintf("%s: %s becomes %s", key, old, now)
		}
		add(text)
	}
}

// compareNamed compares maps of groups. One that is not there is as one that says nothing.
func compareNamed(add func(text string), at string, before, after reflect.Value) {
	group := func(m, name reflect.Value) reflect.Value {
		g := reflect.New(m.Type().Elem()).Elem()
		if found := m.MapIndex(name); found.IsValid() {
			g.Set(found)
		}
		return g
	}
	names := map[string]bool{}
	for _, m := range []reflect.Value{before, after} {
		for _, name := range m.MapKeys() {
			names[name.String()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		compareGroup(add, at+"."+path(name), group(before, reflect.ValueOf(name)), group(after, reflect.ValueOf(name)))
	}
}

// compareTexts compares maps of texts. One that is not there is as an empty one.
func compareTexts(add func(text string), at string, before, after reflect.Value) {
	names := map[string]bool{}
	texts := func(m reflect.Value) map[string]string {
		out := map[string]string{}
		for _, name := range m.MapKeys() {
			names[name.String()] = true
			out[name.String()] = m.MapIndex(name).String()
		}
		return out
	}
	old, now := texts(before), texts(after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if old[name] != now[name] {
			add(fmt.Sprintf("%s.%s: %q becomes %q", at, path(name), old[name], now[name]))
		}
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

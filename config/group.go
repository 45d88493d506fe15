package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// groups makes one mapping of those with upsert that write the same documents: one of their names, the first, with the others' SQL as its parts.
// A document is then written whole, by one duty.
func (r *reader) groups() {
	leaders := make(map[string]string)
	others := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(r.file.Mappings)) {
		m := r.file.Mappings[name]
		if !m.Upsert || m.Index == "" {
			continue
		}
		place := strings.Join([]string{m.Source, m.Sink, m.Index}, "\x00")
		leader, ok := leaders[place]
		if !ok {
			leaders[place] = name
			continue
		}
		r.join(leader, name)
		others[leader] = append(others[leader], name)
	}
	for _, leader := range slices.Sorted(maps.Keys(others)) {
		m := r.d.mistake([]string{"mapping", leader, "upsert"}, fmt.Sprintf("its documents are written whole, with those of %s: one mapping, which commands and status call %s",
			strings.Join(others[leader], ", "), leader))
		r.file.Warnings = append(r.file.Warnings, (&Mistakes{File: r.d.mistakes.File, List: []Mistake{m}}).Error())
	}
}

// join makes a mapping a part of another one.
func (r *reader) join(leader, name string) {
	whole, part := r.file.Mappings[leader], r.file.Mappings[name]
	wrong := func(key, format string, args ...any) {
		r.d.wrong([]string{"mapping", name, key}, "%s, which mapping.%s of the same documents has otherwise; one mapping is made of both (upsert)", fmt.Sprintf(format, args...), leader)
	}
	if part.ID != whole.ID {
		wrong("_id", "%q is the name of its id", part.ID)
	}
	if part.Load != whole.Load {
		wrong("load", "%q", part.Load)
	}
	if part.OnNewColumn != "" && part.OnNewColumn != whole.OnNewColumn {
		wrong("on_new_column", "%q", part.OnNewColumn)
	}
	for key, set := range map[string]bool{"parts": len(part.Parts) > 0, "relations": len(part.Relations) > 0, "etlCondition": part.EtlCondition != "", "pk": part.PK != ""} {
		if set {
			r.d.wrong([]string{"mapping", name, key}, "say it in mapping.%s, with which it makes one mapping (upsert)", leader)
		}
	}
	if whole.Parts == nil {
		whole.Parts = make(map[string]string)
	} else {
		whole.Parts = maps.Clone(whole.Parts)
	}
	if _, ok := whole.Parts[name]; ok {
		r.d.wrong([]string{"mapping", name}, "mapping.%s of the same documents (upsert) has parts.%s already; give one of the two another name", leader, name)
	}
	whole.Parts[name] = part.SQL
	r.from[path("mapping", leader, "parts", name)] = []string{"mapping", name, "sql"}
	whole.Skips = append(slices.Clone(whole.Skips), part.Skips...)
	whole.ObjFields = merge(r, leader, name, "objFields", whole.ObjFields, part.ObjFields)
	whole.Fields = merge(r, leader, name, "fields", whole.Fields, part.Fields)
	whole.Quarantine = max(whole.Quarantine, part.Quarantine)
	whole.CommitBatch = max(whole.CommitBatch, part.CommitBatch)
	r.file.Mappings[leader] = whole
	delete(r.file.Mappings, name)
}

// merge adds one mapping's settings of names to another's.
func merge[V any](r *reader, leader, name, key string, whole, part map[string]V) map[string]V {
	if len(part) == 0 {
		return whole
	}
	out := maps.Clone(whole)
	if out == nil {
		out = make(map[string]V)
	}
	for _, field := range slices.Sorted(maps.Keys(part)) {
		if _, ok := out[field]; ok {
			r.d.wrong([]string{"mapping", name, key, field}, "mapping.%s of the same documents (upsert) says it, too", leader)
			continue
		}
		out[field] = part[field]
		r.from[path("mapping", leader, key, field)] = []string{"mapping", name, key, field}
	}
	return out
}

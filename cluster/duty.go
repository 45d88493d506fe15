package cluster

import (
	"cmp"
	"fmt"
	"strings"
)

const loadSuffix = "#load"

// String returns "source/mapping" for a stream and "source/mapping#load" for a load.
func (d DutyID) String() string {
	if d.Kind == Load {
		return d.Source + "/" + d.Mapping + loadSuffix
	}
	return d.Source + "/" + d.Mapping
}

// ParseDutyID reads what String prints.
func ParseDutyID(text string) (DutyID, error) {
	rest, isLoad := strings.CutSuffix(text, loadSuffix)
	source, mapping, ok := strings.Cut(rest, "/")
	if !ok || !ValidName(source) || !ValidName(mapping) {
		return DutyID{}, fmt.Errorf("duty %q: must be source/mapping or source/mapping%s", text, loadSuffix)
	}
	if isLoad {
		return DutyID{Source: source, Mapping: mapping, Kind: Load}, nil
	}
	return DutyID{Source: source, Mapping: mapping, Kind: Stream}, nil
}

// MarshalText makes a DutyID a key of JSON objects.
func (d DutyID) MarshalText() ([]byte, error) {
	if !ValidName(d.Source) || !ValidName(d.Mapping) || d.Kind != Stream && d.Kind != Load {
		return nil, fmt.Errorf("duty of source %q, mapping %q, kind %q: no such name", d.Source, d.Mapping, d.Kind)
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (d *DutyID) UnmarshalText(text []byte) error {
	parsed, err := ParseDutyID(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Compare orders duties by their text: by source, by mapping, streams before loads.
func (d DutyID) Compare(o DutyID) int {
	return cmp.Or(cmp.Compare(d.Source, o.Source), cmp.Compare(d.Mapping, o.Mapping), -cmp.Compare(d.Kind, o.Kind))
}

// ValidName reports whether a source, sink or mapping may be called so: [a-z0-9_-]+.
func ValidName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != ""
}

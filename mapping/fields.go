package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that a zone means the same on a host without zones
)

// FieldConfig says how one name of the select list is written, where the column's type alone shall not decide. What is "" is left to it.
type FieldConfig struct {
	Type       string `toml:"type" json:"type"`               // of the field in the index
	OnOverflow string `toml:"on_overflow" json:"on_overflow"` // a value that the field's type does not take
	OnInvalid  string `toml:"on_invalid" json:"on_invalid"`   // a date of no calendar, bytes that are not text, a float that is no number
	Decimal    string `toml:"decimal" json:"decimal"`         // "number", "string"
	Timezone   string `toml:"timezone" json:"timezone"`       // of a TIMESTAMP: "+08:00", "Asia/Shanghai"; UTC when empty
}

// What happens to a value.
const (
	refuse   = "refuse" // its document is set aside
	clip     = "clip"   // the nearest value that fits is written
	asString = "string" // it is written as text
	null     = "null"   // null is written
)

// validateFields says what is wrong with the settings by themselves, each error beginning with its key.
func (c Config) validateFields() []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		f := c.Fields[name]
		for _, setting := range []struct {
			key, value string
			known      []string
		}{
			{"type", f.Type, fieldTypes},
			{"on_overflow", f.OnOverflow, []string{refuse, clip, asString, null}},
			{"on_invalid", f.OnInvalid, []string{refuse, clip, asString, null}},
			{"decimal", f.Decimal, []string{"number", "string"}},
		} {
			if setting.value != "" && !slices.Contains(setting.known, setting.value) {
				errs = append(errs, fmt.Errorf("%s.%s: want one of %s, got %q", fieldKey(name), setting.key, strings.Join(setting.known, ", "), setting.value))
			}
		}
		if _, err := zoneOf(f.Timezone); err != nil {
			errs = append(errs, fmt.Errorf("%s.timezone: %w", fieldKey(name), err))
		}
	}
	return errs
}

// fieldKey is the key of a field's settings, as a file spells it.
func fieldKey(name string) string { return settingKey("fields", name) }

// settingKey is the key of a name of the documents in a group of settings, as a file spells it.
func settingKey(group, name string) string {
	bare := name != ""
	for _, c := range name {
		bare = bare && (c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if bare {
		return group + "." + name
	}
	return group + "." + strconv.Quote(name)
}

// badSetting finds settings of names that the documents do not have: their key, and what is wrong.
func (m *Mapping) badSetting(selected map[string]bool) (key, reason string) {
	if key, reason = m.badField(selected); reason == "" {
		key, reason = m.badRelation(selected)
	}
	return key, reason
}

func (m *Mapping) badField(selected map[string]bool) (key, reason string) {
	bad := func(key, name string) (string, string) {
		switch {
		case name == m.id && !m.pk:
			return key, "it is the document's id, which is not a field"
		case m.skips[name]:
			return key, "it is in skips, so the documents do not have it"
		case !selected[name]:
			return key, "is not a name in the select list"
		}
		return "", ""
	}
	for _, name := range slices.Sorted(maps.Keys(m.settings)) {
		if key, reason := bad(fieldKey(name), name); reason != "" {
			return key, reason
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		if key, reason := bad(settingKey("objFields", name), name); reason != "" {
			return key, reason
		}
	}
	return "", ""
}

// zoneOf returns the zone of that name, nil for UTC.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "UTC" || name == "Z" {
		return nil, nil
	}
	if name[0] == '+' || name[0] == '-' {
		at, err := time.Parse("-07:00", name)
		if err != nil {
			return nil, fmt.Errorf(`%q is not an offset; write for example "+08:00"`, name)
		}
		_, offset := at.Zone()
		return time.FixedZone(name, offset), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf(`%q is not the name of a zone; write for example "+08:00" or "Asia/Shanghai"`, name)
	}
	return zone, nil
}

package config

import (
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"canalgo/secret"
)

// A section is a struct whose fields have a toml key; what is known of it is asked by reflection, so that file, replicated
// form, difference and documentation cannot disagree on the keys.

var (
	secretType   = reflect.TypeFor[secret.Value]()
	durationType = reflect.TypeFor[time.Duration]()
)

// A field is one key of a section.
type field struct {
	key      string
	value    reflect.Value
	optional bool // left out of what is replicated when it is zero, so that a version that does not know the key can read the section
}

// fields returns the keys of a struct, those of embedded structs included, in the order of the definition.
func fields(v reflect.Value) []field {
	var list []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && key == "":
			list = append(list, fields(v.Field(i))...)
		case !f.IsExported() || key == "" || key == "-":
		default:
			list = append(list, field{key: key, value: v.Field(i), optional: options == "omitempty"})
		}
	}
	return list
}

// A refuser is a section whose users come with keys from elsewhere that it does not have; it says why, and what to write instead.
type refuser interface{ RefusedKeys() map[string]string }

// isGroup reports whether a value is a struct with keys of its own.
func isGroup(v reflect.Value) bool {
	_, text := v.Addr().Interface().(encoding.TextUnmarshaler)
	return v.Kind() == reflect.Struct && !text
}

// isNamed reports whether a value is a map of groups, by names that the user gives.
func isNamed(v reflect.Value) bool {
	return v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.Struct
}

// isTexts reports whether a value is a map of texts, by names that the user gives.
func isTexts(v reflect.Value) bool {
	return v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.String
}

// decode fills the struct that target points to from a table. Each thing that is wrong goes to wrong, with its key below the table.
func decode(table map[string]any, target any, wrong func(key []string, text string)) {
	decodeGroup(table, reflect.ValueOf(target).Elem(), nil, wrong)
}

func decodeGroup(table map[string]any, target reflect.Value, at []string, wrong func(key []string, text string)) {
	known := map[string]reflect.Value{}
	var names []string
	for _, f := range fields(target) {
		known[f.key] = f.value
		names = append(names, f.key)
	}
	for name, value := range table {
		key := append(at[:len(at):len(at)], name)
		f, ok := known[name]
		if !ok {
			text := "unknown key; " + didYouMean(name, names)
			if r, ok := target.Addr().Interface().(refuser); ok {
				text = cmp.Or(r.RefusedKeys()[name], text)
			}
			wrong(key, text)
			continue
		}
		if isGroup(f) {
			group, ok := value.(map[string]any)
			if !ok {
				wrong(key, "want a group of keys, for example "+name+"."+fields(f)[0].key+" = …")
				continue
			}
			decodeGroup(group, f, key, wrong)
			continue
		}
		if isNamed(f) {
			decodeNamed(value, f, key, wrong)
			continue
		}
		if isTexts(f) {
			decodeTexts(value, f, key, wrong)
			continue
		}
		if err := assign(f, value); err != nil {
			wrong(key, err.Error())
		}
	}
}

// decodeNamed fills a map of groups.
func decodeNamed(value any, target reflect.Value, at []string, wrong func(key []string, text string)) {
	name := at[len(at)-1]
	groups, ok := value.(map[string]any)
	if !ok {
		wrong(at, "want a group of keys for each name, for example "+name+".NAME."+fields(reflect.New(target.Type().Elem()).Elem())[0].key+" = …")
		return
	}
	if len(groups) == 0 {
		return
	}
	target.Set(reflect.MakeMap(target.Type()))
	for one, value := range groups {
		key := append(at[:len(at):len(at)], one)
		table, ok := value.(map[string]any)
		if !ok {
			wrong(key, "want a group of keys, got "+show(value))
			continue
		}
		group := reflect.New(target.Type().Elem()).Elem()
		decodeGroup(table, group, key, wrong)
		target.SetMapIndex(reflect.ValueOf(one), group)
	}
}

// decodeTexts fills a map of texts.
func decodeTexts(value any, target reflect.Value, at []string, wrong func(key []string, text string)) {
	texts, ok := value.(map[string]any)
	if !ok {
		wrong(at, "want a text for each name, for example "+at[len(at)-1]+".NAME = \"…\", got "+show(value))
		return
	}
	if len(texts) == 0 {
		return
	}
	target.Set(reflect.MakeMap(target.Type()))
	for one, value := range texts {
		text := reflect.New(target.Type().Elem()).Elem()
		if err := assign(text, value); err != nil {
			wrong(append(at[:len(at):len(at)], one), err.Error())
			continue
		}
		target.SetMapIndex(reflect.ValueOf(one), text)
	}
}

// assign sets one key's value. Errors say what is wanted and never quote the value of a secret.
func assign(f reflect.Value, value any) error {
	if opened, ok := value.(secret.Value); ok && f.Type() == secretType {
		f.Set(reflect.ValueOf(opened))
		return nil
	}
	if text, ok := f.Addr().Interface().(encoding.TextUnmarshaler); ok {
		s, ok := value.(string)
		switch {
		case !ok && f.Type() == secretType:
			return fmt.Errorf("want a text in quotes, got %s", kindOf(value))
		case !ok && f.Kind() == reflect.Int64:
			return fmt.Errorf("want a time with a unit in quotes, for example \"10s\", got %s", show(value))
		case !ok:
			return fmt.Errorf("want a text in quotes, got %s", show(value))
		}
		return text.UnmarshalText([]byte(s))
	}
	if f.Type() == durationType {
		return assignDuration(f, value)
	}
	switch f.Kind() {
	case reflect.String:
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf("want a text in quotes, got %s", show(value))
		}
		f.SetString(s)
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return fmt.Errorf("want true or false, got %s", show(value))
		}
		f.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := integer(value)
		if !ok || f.OverflowInt(n) {
			return fmt.Errorf("want a number, got %s", show(value))
		}
		f.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := integer(value)
		if limit := uint64(math.MaxUint64) >> (64 - f.Type().Bits()); !ok || n < 0 || uint64(n) > limit {
			return fmt.Errorf("want a number from 0 to %d, got %s", limit, show(value))
		}
		f.SetUint(uint64(n))
	case reflect.Float64:
		if n, ok := value.(json.Number); ok {
			value, _ = n.Float64()
		}
		switch n := value.(type) {
		case float64:
			f.SetFloat(n)
		case int64:
			f.SetFloat(float64(n))
		default:
			return fmt.Errorf("want a number, got %s", show(value))
		}
	case reflect.Slice:
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("want a list, for example [%s], got %s", example(f.Type().Elem()), show(value))
		}
		if len(list) == 0 {
			f.SetZero()
			return nil
		}
		slice := reflect.MakeSlice(f.Type(), len(list), len(list))
		for i, one := range list {
			if err := assign(slice.Index(i), one); err != nil {
				return fmt.Errorf("entry %d: %w", i+1, err)
			}
		}
		f.Set(slice)
	default:
		return fmt.Errorf("values of type %s are not supported", f.Type()) // a mistake of the program
	}
	return nil
}

func assignDuration(f reflect.Value, value any) error {
	s, ok := value.(string)
	if !ok {
		if n, isNumber := integer(value); isNumber {
			return fmt.Errorf("add a unit, for example \"%ds\"", n)
		}
		return fmt.Errorf("want a time with a unit, for example \"10s\", got %s", show(value))
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		if _, err := time.ParseDuration(s + "s"); err == nil {
			return fmt.Errorf("%q has no unit; write for example \"%ss\"", s, s)
		}
		return fmt.Errorf("%q is not a time; write for example \"500ms\", \"10s\", \"5m\" or \"24h\"", s)
	}
	f.SetInt(int64(d))
	return nil
}

// integer reads a whole number of a file, or of JSON.
func integer(value any) (int64, bool) {
	switch n := value.(type) {
	case int64:
		return n, true
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	}
	return 0, false
}

// kindOf names what a value is, without the value.
func kindOf(value any) string {
	switch value.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int64, float64, json.Number:
		return "a number"
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a group of keys"
	}
	return "a date"
}

// show names what a value is and quotes it if it is short.
func show(value any) string {
	switch v := value.(type) {
	case string:
		if len(v) > 60 {
			return "a text"
		}
		return fmt.Sprintf("the text %q", v)
	case bool, int64, float64, json.Number:
		return fmt.Sprint(v)
	}
	return kindOf(value)
}

func example(t reflect.Type) string {
	if t.Kind() == reflect.String {
		return `"a", "b"`
	}
	return "1, 2"
}

// encode returns the section that v points to as a table, secrets masked in it, and the secrets by their key.
func encode(v any) (map[string]any, map[string]secret.Value, error) {
	secrets := map[string]secret.Value{}
	table, err := encodeGroup(reflect.ValueOf(v).Elem(), "", secrets)
	return table, secrets, err
}

func encodeGroup(v reflect.Value, prefix string, secrets map[string]secret.Value) (map[string]any, error) {
	table := map[string]any{}
	for _, f := range fields(v) {
		if f.optional && f.value.IsZero() {
			continue
		}
		value := f.value.Interface()
		switch typed := value.(type) {
		case secret.Value:
			if typed.IsUnknown() {
				return nil, errors.New(prefix + f.key + ": the secret is unknown")
			}
			table[f.key] = typed.String()
			if !typed.IsZero() {
				secrets[prefix+f.key] = typed
			}
		case time.Duration:
			table[f.key] = typed.String()
		case encoding.TextMarshaler:
			text, err := typed.MarshalText()
			if err != nil {
				return nil, fmt.Errorf("%s%s: %w", prefix, f.key, err)
			}
			table[f.key] = string(text)
		default:
			if f.value.Kind() == reflect.Slice && f.value.Len() == 0 {
				value = []any{} // not null
			}
			if isNamed(f.value) {
				groups := map[string]any{}
				for _, name := range f.value.MapKeys() {
					group := reflect.New(f.value.Type().Elem()).Elem()
					group.Set(f.value.MapIndex(name))
					encoded, err := encodeGroup(group, prefix+f.key+"."+name.String()+".", secrets)
					if err != nil {
						return nil, err
					}
					groups[name.String()] = encoded
				}
				table[f.key] = groups
				continue
			}
			if !isGroup(f.value) {
				table[f.key] = value
				continue
			}
			group, err := encodeGroup(f.value, prefix+f.key+".", secrets)
			if err != nil {
				return nil, err
			}
			table[f.key] = group
		}
	}
	return table, nil
}

package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"canalgo/event"
)

// An objField says what a text becomes that stands for more than a text: canal's objFields.
type objField struct {
	said      string // as the settings have it
	separator string // of an array; "" for an object
}

const (
	arrayPrefix = "array:"
	objectWord  = "object"
)

// parseObjField reads array:SEPARATOR, or object.
func parseObjField(said string) (*objField, error) {
	if said == objectWord {
		return &objField{said: said}, nil
	}
	separator, ok := strings.CutPrefix(said, arrayPrefix)
	switch {
	case !ok:
		return nil, fmt.Errorf(`want "array:SEPARATOR", for example "array:;", or "object", got %q`, said)
	case separator == "":
		return nil, fmt.Errorf(`%q: the separator is missing; write for example "array:;"`, said)
	case separator[0] == ' ' && strings.TrimSpace(separator) != "":
		return nil, fmt.Errorf("%q: the separator would begin with a blank; write %q", said, arrayPrefix+strings.TrimLeft(separator, " "))
	case len(separator) > 1 && strings.Contains(separator, `\`):
		return nil, fmt.Errorf("%q: the separator is text, no regular expression; write %q", said, arrayPrefix+strings.ReplaceAll(separator, `\`, ""))
	}
	return &objField{said: said, separator: separator}, nil
}

// validateObjFields says what is wrong with the settings by themselves, each error beginning with its key.
func (c Config) validateObjFields() []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.ObjFields)) {
		if _, err := parseObjField(c.ObjFields[name]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", settingKey("objFields", name), err))
		}
	}
	return errs
}

// takes reports whether values of a column can be read so.
func (o *objField) takes(c *event.Column) bool {
	switch formOf(c) {
	case textForm:
		return c.Type != event.Time
	case jsonForm, bytesForm:
		return o.separator == ""
	}
	return false
}

// append appends a value that is not NULL. An invalidError says that it is not what it should be.
func (o *objField) append(dst []byte, f form, v any) ([]byte, error) {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case []byte:
		if f == textForm {
			return dst, errNoText
		}
		text = string(v)
	default:
		return dst, unexpected(v)
	}
	if o.separator != "" {
		return appendArray(dst, text, o.separator)
	}
	if text == "" && f != jsonForm {
		return dst, invalidError("objFields: an empty text is no JSON")
	}
	out, err := appendJSON(dst, text)
	if err != nil {
		return dst, invalidError("objFields: " + err.Error())
	}
	return out, nil
}

// appendArray appends the parts of a text as an array of strings: as many as joined by the separator give the text, none for "".
func appendArray(dst []byte, text, separator string) ([]byte, error) {
	out := append(dst, '[')
	if text != "" {
		for i := 0; ; i++ {
			part, rest, more := strings.Cut(text, separator)
			if i > 0 {
				out = append(out, ',')
			}
			var err error
			if out, err = appendString(out, part); err != nil {
				return dst, err
			}
			if !more {
				break
			}
			text = rest
		}
	}
	return append(out, ']'), nil
}

// objChoices makes of a field's settings what they mean beside objFields.
func (b *binder) objChoices(it item, c *event.Column, o *objField) (choices, error) {
	set := b.m.settings[it.name]
	r := choices{object: o, kind: set.Type, invalid: set.OnInvalid}
	if !o.takes(c) {
		fix := `"object" is for text, bytes and JSON`
		if o.separator != "" {
			fix = "an array is made of text, ENUM and SET"
		}
		return r, b.stop(fmt.Sprintf("%s: column %s is %s", settingKey("objFields", it.name), c.Name, typeName(c)), fix)
	}
	stop := func(key, fix string) (choices, error) {
		return r, b.stop(fmt.Sprintf("%s.%s: the field is %q by objFields", settingKey("fields", it.name), key, o.said), fix)
	}
	switch {
	case set.Type != "" && o.separator == "":
		return stop("type", "leave it out")
	case set.Type != "" && set.Type != "keyword" && set.Type != "text":
		return stop("type", "it can be keyword, text")
	case set.OnOverflow != "":
		return stop("on_overflow", "leave it out")
	case set.Decimal != "":
		return stop("decimal", "leave it out")
	case set.Timezone != "":
		return stop("timezone", "leave it out")
	case set.OnInvalid != "" && set.OnInvalid != refuse && set.OnInvalid != null:
		return stop("on_invalid", "it can be "+refuse+", "+null)
	}
	return r, nil
}

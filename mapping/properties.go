package mapping

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"canalgo/event"
)

// IndexBody returns the body with which an index for the documents can be created: {"mappings":{"properties":{...}}}, the
// types taken from the columns.
func (m *Mapping) IndexBody(t *event.Table) (json.RawMessage, error) {
	b, err := m.binding(t)
	if err != nil {
		return nil, err
	}
	if r := m.relation; r != nil {
		return nil, &event.StopError{Reason: fmt.Sprintf("mapping %s: relations: there is no index %s, and which relations it has no mapping says", m.name, m.index),
			Fix: "create it with its fields, of them " + r.example()}
	}
	return json.RawMessage(fmt.Sprintf(`{"mappings":{"properties":%s}}`, properties(b.fields))), nil
}

// property is what the index says of one name.
type property struct {
	name string // the rest of it, from the first dot that was not followed yet
	body string
}

// properties lists the fields, sorted by name; a dot in a name makes an object.
func properties(fields []field) string {
	var list []property
	for _, f := range fields {
		list = append(list, property{f.name, f.indexType()})
	}
	return nest(list)
}

func nest(list []property) string {
	groups := map[string][]property{}
	for _, p := range list {
		head, tail, _ := strings.Cut(p.name, ".")
		groups[head] = append(groups[head], property{tail, p.body})
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	out.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			out.WriteByte(',')
		}
		quoted, _ := appendString(nil, name) // checked when it was bound
		out.Write(quoted)
		out.WriteByte(':')
		if group := groups[name]; group[0].name == "" {
			out.WriteString(group[0].body)
		} else {
			out.WriteString(`{"properties":` + nest(group) + `}`)
		}
	}
	out.WriteByte('}')
	return out.String()
}

const (
	textType = `{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}}`
	dateType = `{"type":"date","format":"strict_date_optional_time"}`
	// unsignedType holds all of 64 bits: what is above a long is found as a keyword, and not refused.
	unsignedType = `{"type":"long","ignore_malformed":true,"fields":{"keyword":{"type":"keyword"}}}`
	opaqueType   = `{"type":"object","enabled":false}`
	nanosType    = `{"type":"date_nanos","format":"strict_date_optional_time"}`
	// digitsType keeps all digits of a DECIMAL and is ordered by the sub-field.
	digitsType = `{"type":"keyword","fields":{"double":{"type":"double"}}}`
	// besides is what a type gets that has to take text, too, which is found as a keyword.
	besides = `,"ignore_malformed":true,"fields":{"keyword":{"type":"keyword"}}}`
)

// indexType returns the type that a created index gives the field: one that refuses nothing of what is written.
func (f *field) indexType() string {
	body := indexType(f.source)
	switch kind := f.choices.kind; {
	case f.shape() == objectShape:
		body = opaqueType
	case kind == "text":
		body = textType
	case kind == "date":
		body = dateType
	case kind == "date_nanos":
		body = nanosType
	case kind != "":
		body = `{"type":"` + kind + `"}`
	case f.choices.quoted:
		body = digitsType
	}
	if (f.choices.overflow == asString || f.choices.invalid == asString) && f.choices.kind != "keyword" {
		body = strings.TrimSuffix(body, "}") + besides
	}
	return body
}

// indexType returns the type that a created index gives a column's values: one that refuses no value of the column.
func indexType(c *event.Column) string {
	simple := func(name string) string { return `{"type":"` + name + `"}` }
	switch c.Type {
	case event.TinyInt, event.SmallInt, event.MediumInt, event.Int, event.BigInt:
		types := map[event.Type][2]string{ // signed, unsigned
			event.TinyInt: {"byte", "short"}, event.SmallInt: {"short", "integer"}, event.MediumInt: {"integer", "integer"},
			event.Int: {"integer", "long"}, event.BigInt: {"long", ""},
		}[c.Type]
		if !c.Unsigned {
			return simple(types[0])
		}
		if c.Type == event.BigInt {
			return unsignedType
		}
		return simple(types[1])
	case event.Bit:
		switch {
		case c.Length == 1:
			return simple("byte")
		case c.Length < 64:
			return simple("long")
		}
		return unsignedType
	case event.Year:
		return simple("short")
	case event.Decimal:
		switch {
		case c.Scale == 0 && c.Length <= 18:
			return simple("long")
		case c.Length <= 15: // a double gives back 15 digits
			return simple("double")
		}
		return digitsType
	case event.Float:
		return simple("float")
	case event.Double:
		return simple("double")
	case event.Date, event.DateTime:
		return dateType
	case event.Timestamp:
		if c.Length > 3 {
			return nanosType
		}
		return dateType
	case event.Time, event.Enum, event.Set:
		return simple("keyword")
	case event.Char, event.Text:
		if c.Charset == "binary" {
			return simple("binary")
		}
		return textType
	case event.Binary, event.VarBinary, event.Blob:
		return simple("binary")
	case event.Vector:
		return `{"type":"float","index":false,"doc_values":false}`
	}
	return opaqueType // JSON, GEOMETRY: kept, returned, not searched; so no value of any shape is refused
}

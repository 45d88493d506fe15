package event

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A Definition is what is known of a table's definition behind an event: that of the rows which follow.
type Definition struct {
	From  Version `json:"from"`
	Table Table   `json:"table"` // without columns: there is no such table
	// Collation is the table's default, for columns to come that name none; "" when it is not known.
	Collation string `json:"collation,omitempty"`
	// Unknown says why nobody can tell the definition; Table has only its name then.
	Unknown string `json:"unknown,omitempty"`
}

// Gone reports whether there is no such table.
func (d Definition) Gone() bool { return d.Unknown == "" && len(d.Table.Columns) == 0 }

// Equal reports whether two definitions say the same, from wherever on.
func (d Definition) Equal(e Definition) bool {
	return d.Table.Name == e.Table.Name && d.Collation == e.Collation && d.Unknown == e.Unknown && slices.Equal(d.Table.Key, e.Table.Key) &&
		slices.EqualFunc(d.Table.Columns, e.Table.Columns, Column.Equal)
}

// Equal reports whether two columns are defined alike.
func (c Column) Equal(d Column) bool {
	return c.Name == d.Name && c.Type == d.Type && c.Unsigned == d.Unsigned && c.Length == d.Length && c.Scale == d.Scale &&
		c.Charset == d.Charset && c.Collation == d.Collation && slices.Equal(c.Labels, d.Labels)
}

// EncodeDefinition writes a definition as JSON.
func EncodeDefinition(d Definition) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode the definition of %s: %w", d.Table.Name, err)
	}
	return raw, nil
}

// DecodeDefinition reads what EncodeDefinition wrote.
func DecodeDefinition(raw []byte) (Definition, error) {
	var d Definition
	if err := json.Unmarshal(raw, &d); err != nil {
		return Definition{}, fmt.Errorf("definition: %w", err)
	}
	return d, nil
}

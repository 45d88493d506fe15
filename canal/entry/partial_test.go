package entry_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"canalgo/canal/entry"
	"canalgo/event"
)

// within returns the bytes of the first field of a number in a message.
func within(b []byte, number protowire.Number) []byte {
	for len(b) > 0 {
		found, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		if found == number && kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			return v
		}
		b = b[protowire.ConsumeFieldValue(found, kind, b):]
	}
	return nil
}

// An image is what a rows event says of the first table map before it.
type image struct {
	kind byte // of the event
	rows string
}

// format is the raw bytes of a format description.
func format(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString("0400392e372e342d32" + strings.Repeat("00", 43) + "00000000" + "13" + // version 4, "9.7.4-2", the time, bytes of a header
		"000d0008000000000400040000006300041a08000000000000020000000a0a0a2a2a001234000a280000" + "00" + "00000000")
	if err != nil {
		t.Fatal(err)
	}
	return raw(15, b)
}

// columns are those of the row that a Maker makes of an image, flat, with a table map that ends with a text.
func columns(t *testing.T, tableMap string, of image) (string, error) {
	t.Helper()
	const id = "\x01\x00\x00\x00\x00\x00\x01\x00"
	name := event.TableName{Schema: "s", Name: "t"}
	m := entry.New(entry.Options{}, everything)
	for _, e := range []event.Event{
		{Kind: event.FormatDescription, Raw: format(t)},
		{Kind: event.TableMap, Table: name, Raw: raw(19, []byte(id+"\x01s\x00\x01t\x00"+tableMap))},
	} {
		if _, _, err := m.Entry(&e); err != nil {
			t.Fatal(err)
		}
	}
	got, _, err := m.Entry(&event.Event{Kind: event.Rows, Table: name, Version: event.NewVersion(1, event.FirstCount), Raw: raw(of.kind, []byte(id+"\x02\x00"+of.rows))})
	return flat(within(within(got.Data, 3), 12), map[int]map[int]any{1: nil, 2: nil}), err
}

const (
	insertRows        = 30
	updateRows        = 31
	deleteRows        = 32
	partialUpdateRows = 39
)

// TestRowsThatLackColumns have what the log has, with the numbers that the columns have in their table.
func TestRowsThatLackColumns(t *testing.T) {
	table := "\x02\x03\x03\x00\x00" + "\x01\x01\x00" + "\x04\x04\x01a\x01b" + "\x08\x01\x00" // two INTs, their signs, names, the key
	for _, test := range []struct {
		what  string
		image image
		want  string
	}{
		{"an update with a before, b after", image{updateRows, "\x02\xfd\xfe" + "\xfc\x07\x00\x00\x00" + "\xfe\x08\x00\x00\x00"},
			`1:{1:0 2:4 3:"a" 4:1 5:0 6:0 8:"7" 10:"int"} 2:{1:1 2:4 3:"b" 4:0 5:1 6:0 8:"8" 10:"int"}`},
		{"an update with a, b before, the same b after", image{updateRows, "\x02\xff\xfe" + "\xfc\x07\x00\x00\x00\x08\x00\x00\x00" + "\xfe\x08\x00\x00\x00"}, // MariaDB's FULL_NODUP
			`1:{1:0 2:4 3:"a" 4:1 5:0 6:0 8:"7" 10:"int"} 1:{1:1 2:4 3:"b" 4:0 5:0 6:0 8:"8" 10:"int"} ` +
				`2:{1:0 2:4 3:"a" 4:1 5:0 6:0 8:"7" 10:"int"} 2:{1:1 2:4 3:"b" 4:0 5:0 6:0 8:"8" 10:"int"}`},
		{"an insert of b", image{insertRows, "\x02\xfe" + "\xfe\x08\x00\x00\x00"}, `2:{1:1 2:4 3:"b" 4:0 5:1 6:0 8:"8" 10:"int"}`},
		{"a deletion by a", image{deleteRows, "\x02\xfd" + "\xfc\x07\x00\x00\x00"}, `1:{1:0 2:4 3:"a" 4:1 5:0 6:0 8:"7" 10:"int"}`},
	} {
		if got, err := columns(t, table, test.image); err != nil || got != test.want {
			t.Errorf("%s:\n%s, %v, want\n%s", test.what, got, err, test.want)
		}
	}
}

// oneJSON is a table with a JSON column d.
const oneJSON = "\x01\xf5\x01\x04\x00" + "\x04\x02\x01d"

func TestJSONAsCanalPrintsIt(t *testing.T) {
	for want, document := range map[string]string{
		"1.0E7":                        "\x0b\x00\x00\x00\x00\xd0\x12\x63\x41",
		`[1, "a"]`:                     "\x02\x02\x00\x0c\x00\x05\x01\x00\x0c\x0a\x00\x01a",
		`"2015-01-15 00:00:00.000000"`: "\x0f\x0a\x08\x00\x00\x00\x00\x00\x1e\x95\x19", // a DATE
		`"raw\""`:                      "\x0f\xfc\x04raw\"",
		"":                             "", // what INSERT IGNORE makes of NULL
	} {
		got, err := columns(t, oneJSON, image{insertRows, "\x01\xff" + "\xfe" + string(rune(len(document))) + "\x00\x00\x00" + document})
		if want = fmt.Sprintf(`2:{1:0 2:12 3:"d" 4:0 5:1 6:0 8:%q 10:"json"}`, want); err != nil || got != want {
			t.Errorf("%x:\n%s, %v, want\n%s", document, got, err, want)
		}
	}
}

// TestChangesOfJSON gives the whole new document of a row that has what changes in it (binlog_row_value_options), and stops by name where
// the log does not have the document before.
func TestChangesOfJSON(t *testing.T) {
	const (
		document = "\x0d\x00\x00\x00" + "\x02\x02\x00\x0c\x00\x05\x01\x00\x0c\x0a\x00\x01a"     // [1, "a"]
		changes  = "\x01\x01" + "\xfe" + "\x0b\x00\x00\x00" + "\x00\x04$[1]" + "\x04\x0c\x02bc" // the second one is "bc"
	)
	got, err := columns(t, oneJSON, image{partialUpdateRows, "\x01\xff\xff" + "\xfe" + document + changes})
	want := `1:{1:0 2:12 3:"d" 4:0 5:0 6:0 8:"[1, \"a\"]" 10:"json"} 2:{1:0 2:12 3:"d" 4:0 5:1 6:0 8:"[1, \"bc\"]" 10:"json"}`
	if err != nil || got != want {
		t.Errorf("%s, %v, want\n%s", got, err, want)
	}
	got, err = columns(t, oneJSON, image{partialUpdateRows, "\x01\xfe\xff" + changes})
	var stop *event.StopError
	if !errors.As(err, &stop) || !strings.Contains(stop.Reason, "the document that was there is not in the log") || !strings.Contains(stop.Fix, "binlog_row_value_options = ''") {
		t.Errorf("without the document before: %s, %v", got, err)
	}
}

// TestTableThatIsNotWanted stops nobody, whatever is known of its definition.
func TestTableThatIsNotWanted(t *testing.T) {
	name := event.TableName{Schema: "s", Name: "t"}
	definition, err := event.EncodeDefinition(event.Definition{Table: event.Table{Name: name}}) // the account cannot see it
	if err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []bool{true, false} {
		m := entry.New(entry.Options{}, func(event.TableName) bool { return wanted })
		for _, e := range []event.Event{
			{Kind: event.FormatDescription, Raw: format(t)},
			{Kind: event.Defined, Table: name, Raw: definition},
			{Kind: event.TableMap, Table: name, Raw: raw(19, []byte("\x01\x00\x00\x00\x00\x00\x01\x00"+"\x01s\x00\x01t\x00"+"\x02\x03\x03\x00\x00"))},
		} {
			if _, _, err = m.Entry(&e); err != nil {
				break
			}
		}
		if (err != nil) != wanted {
			t.Errorf("wanted %v: %v", wanted, err)
		}
	}
}

package entry_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"canalgo/canal/entry"
	"canalgo/event"
)

// TestRowsThatLackColumns end a client's stream by name: what is not there is no value.
func TestRowsThatLackColumns(t *testing.T) {
	format, err := hex.DecodeString("0400392e372e342d32" + strings.Repeat("00", 43) + "00000000" + "13" + // version 4, "9.7.4-2", the time, bytes of a header
		"000d0008000000000400040000006300041a08000000000000020000000a0a0a2a2a001234000a280000" + "00" + "00000000")
	if err != nil {
		t.Fatal(err)
	}
	name := event.TableName{Schema: "s", Name: "t"}
	table := "\x01\x00\x00\x00\x00\x00\x01\x00" + "\x01s\x00\x01t\x00" + "\x02\x03\x03\x00\x00" + // two INTs
		"\x01\x01\x00" + "\x04\x04\x01a\x01b" + "\x08\x01\x00" // signs, names, the key
	update := "\x01\x00\x00\x00\x00\x00\x01\x00\x02\x00\x02\xfd\xfe" + "\xfc\x07\x00\x00\x00" + "\xfe\x08\x00\x00\x00" // a before, b after
	m := entry.New(entry.Options{}, everything)
	for _, e := range []event.Event{
		{Kind: event.FormatDescription, Raw: raw(15, format)},
		{Kind: event.TableMap, Table: name, Raw: raw(19, []byte(table))},
		{Kind: event.Rows, Table: name, Version: event.NewVersion(1, event.FirstCount), Raw: raw(31, []byte(update))},
	} {
		_, _, err = m.Entry(&e)
		var stop *event.StopError
		if e.Kind == event.Rows != errors.As(err, &stop) || stop != nil && (!strings.Contains(stop.Reason, "s.t lacks columns") || !strings.Contains(stop.Fix, "binlog_row_image = FULL")) {
			t.Errorf("kind %d: %v", e.Kind, err)
		}
	}
}

package binlog

import (
	"testing"

	"canalgo/event"
)

// TestConvertIntegersThatCameAsText is what MariaDB sends for the key of a UNION of integers with and without a sign.
func TestConvertIntegersThatCameAsText(t *testing.T) {
	for _, c := range []struct {
		column event.Column
		text   string
		want   any
	}{
		{event.Column{Type: event.BigInt}, "-7", int64(-7)},
		{event.Column{Type: event.BigInt, Unsigned: true}, "18446744073709551615", uint64(18446744073709551615)},
		{event.Column{Type: event.BigInt}, "18446744073709551615", nil},
		{event.Column{Type: event.BigInt}, "1.5", nil},
		{event.Column{Type: event.Int}, "7", int32(7)},
		{event.Column{Type: event.Double}, "7", nil},
	} {
		got, err := convertText(c.column, nil, []byte(c.text))
		if got != c.want || (err != nil) != (c.want == nil) {
			t.Errorf("%s of %s: %v, %v, want %v", c.text, c.column.Type, got, err, c.want)
		}
	}
}

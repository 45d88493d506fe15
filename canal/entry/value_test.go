package entry

import (
	"testing"
	"time"

	"canalgo/event"
)

// The texts are those of a JDK from 19 on; earlier ones print some numbers with a digit too many.
func TestNumbersAsJavaPrintsThem(t *testing.T) {
	for want, f := range map[string]float64{
		"0.0": 0, "0.1": 0.1, "-0.5": -0.5, "100.0": 100, "9999999.0": 9999999, "1.0E7": 1e7, "1.2345678912E8": 123456789.12, "0.001": 0.001,
		"9.99E-4": 0.000999, "1.0E-5": 1e-5, "-1.0E10": -1e10, "4.9E-324": 5e-324, "1.7976931348623157E308": 1.7976931348623157e308,
		"3.0E-323": 3e-323, "1.0E23": 1e23,
	} {
		if got := string(appendJava(nil, f, 64)); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
	for want, f := range map[string]float32{"1.0": 1, "1.2345679E8": 123456789, "1.0E-4": 1e-4, "0.1": 0.1, "3.4028235E38": 3.4028235e38, "1.4E-45": 1e-45} {
		if got := string(appendJava(nil, float64(f), 32)); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
}

func TestTextInJSONAsCanalPrintsIt(t *testing.T) {
	got := string(appendQuoted([]byte("x"), []byte("a\"b\\c\nd\re\tf\bg\x1f\u007f\u009f\u00a0\u00a1\u00e9/")))
	if want := `x"a\"b\\c\nd\re\tf\u0008g\u001F\u007F\u009F\u00A0` + "\u00a1\u00e9/\""; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTypesOfValues(t *testing.T) {
	for _, test := range []struct {
		kind event.Type
		v    any
		want int
	}{
		{event.TinyInt, int8(-128), -6}, {event.TinyInt, uint8(127), -6}, {event.TinyInt, uint8(128), 5}, {event.TinyInt, nil, -6},
		{event.SmallInt, uint16(32767), 5}, {event.SmallInt, uint16(32768), 4}, {event.MediumInt, uint32(1 << 23), 4},
		{event.Int, uint32(1<<31 - 1), 4}, {event.Int, uint32(1 << 31), -5}, {event.BigInt, uint64(1<<63 - 1), -5}, {event.BigInt, uint64(1 << 63), 3},
		{event.BigInt, nil, -5}, {event.Set, uint64(3), -7}, {event.Set, nil, 2004}, {event.JSON, "true", 12}, {event.JSON, nil, 1111},
		{event.Enum, uint64(1), 4}, {event.Bit, uint64(1), -7}, {event.Year, uint16(0), 12}, {event.Char, "a", 12}, {event.Text, nil, 2005},
		{event.Blob, nil, 2004}, {event.Geometry, nil, 2004}, {event.Time, "", 92}, {event.Timestamp, "", 93}, {event.Date, "", 91},
		{event.Float, float32(1), 7}, {event.Double, 1.0, 8}, {event.Decimal, "1", 3},
	} {
		if got := sqlType(&column{Column: event.Column{Type: test.kind}}, test.v); got != test.want {
			t.Errorf("%s %v: %d, want %d", test.kind, test.v, got, test.want)
		}
	}
	if got := sqlType(&column{Column: event.Column{Type: event.Char}, fixed: true}, "a"); got != 1 {
		t.Errorf("CHAR: %d, want 1", got)
	}
}

func TestTimestampsInAZone(t *testing.T) {
	zone := time.FixedZone("", 8*3600)
	for text, want := range map[string]string{"2024-02-28 20:00:01.250": "2024-02-29 04:00:01.250", "0000-00-00 00:00:00.00": "0000-00-00 00:00:00.00", "1999-12-31 16:00:00": "2000-01-01 00:00:00"} {
		if got := string(appendLocal(nil, text, zone)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestBytesAsText(t *testing.T) {
	all := make([]byte, 256)
	var want string
	for i := range all {
		all[i] = byte(i)
		want += string(rune(i))
	}
	var w buffer
	w.latin(all)
	if got := string(w.b[w.at:]); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

package charset_test

import (
	"testing"

	"canalgo/charset"
)

// The server says what each code is (TestCharacterSets in integration); here is what lies between codes.
func TestText(t *testing.T) {
	for _, c := range []struct {
		set, bytes string
		want       string
		ok         bool
	}{
		{"utf8mb4", "half\xe4\xb8", "half\xe4\xb8", true},
		{"ascii", "plain", "plain", true},
		{"ascii", "\xc3\xa9", "", false},
		{"latin1", "", "", true},
		{"latin1", "\x80\x81 \xff", "€\u0081 ÿ", true},
		{"greek", "\xe1\xae", "α", false},
		{"swe7", "@A[", "ÉAÄ", true},
		{"gbk", "a\xd6\xd0\x81\x5cb", "a中乗b", true},
		{"gbk", "a\xd6", "a", false},
		{"gbk", "\xd6\xd0\xa2\xab", "中", false},
		{"gb18030", "\xd6\xd0\x81\x30\x81\x30\x94\x39\xda\x33a", "中\u0080💩a", true},
		{"gb18030", "\x84\x31\xa4\x37", "\ufffd", true},
		{"gb18030", "\x81\x30\x81", "", false},
		{"gb18030", "\xe3\x32\x9a\x36", "", false},
		{"gb18030", "\x81\x30\x01\x30", "", false},
		{"gb18030", "\x01\x80", "\x01", false},
		{"big5", "\xa1\x5a", "", false},
		{"sjis", "\x5c\x81\x5f\xb1", `\\ｱ`, true},
		{"ujis", "\xa4\xa2\x8e\xb1\x8f\xb0\xa1", "あｱ丂", true},
		{"eucjpms", "\xa4\xa2\x8f\xb0", "あ", false},
		{"eucjpms", "\x01\xa1", "\x01", false},
		{"ucs2", "\x00a\x4e\x2d", "a中", true},
		{"ucs2", "\x00", "", false},
		{"ucs2", "\xd8\x3d\xde\x00", "", false},
		{"utf16", "\x4e\x2d\xd8\x3d\xde\x00", "中😀", true},
		{"utf16", "\xd8\x3d", "", false},
		{"utf16", "\xd8\x3d\x00a", "", false},
		{"utf16", "\xde\x00\xd8\x3d", "", false},
		{"utf16le", "\x2d\x4e\x3d\xd8\x00\xde", "中😀", true},
		{"utf32", "\x00\x01\xf6\x00\x00\x00\x00a", "😀a", true},
		{"utf32", "\x00\x11\x00\x00", "", false},
		{"utf32", "\xff\xff\xff\xff", "", false},
		{"utf32", "\x00\x00a", "", false},
	} {
		if got, ok := charset.Lookup(c.set).Text([]byte(c.bytes)); got != c.want || ok != c.ok {
			t.Errorf("%s %x: got %q, %t, want %q, %t", c.set, c.bytes, got, ok, c.want, c.ok)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, name := range charset.Names() {
		if charset.Lookup(name) == nil {
			t.Errorf("%s is not there", name)
		}
	}
	if charset.Lookup("binary") != nil || charset.Lookup("utf7") != nil {
		t.Error("what is no character set is there")
	}
}

func TestOneCode(t *testing.T) {
	for _, c := range []struct {
		set, text string
		want      bool
	}{
		{"utf16", "中", true}, {"cp932", "中", true}, {"cp932", "a≒", false}, {"sjis", `\`, false}, {"gb18030", "中", true},
	} {
		if got := charset.Lookup(c.set).OneCode(c.text); got != c.want {
			t.Errorf("%s %q: got %t", c.set, c.text, got)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, b := range []string{"", "plain", "\x81\x30\x81\x30", "\x8f\xb0\xa1", "\xd8\x3d\xde\x00", "\xff\x30\x81\x30", "\x8f"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range charset.Names() {
			charset.Lookup(name).Text(b)
		}
	})
}

func BenchmarkText(b *testing.B) {
	text := []byte("an address, \xd6\xd0\xb9\xfa\xb1\xb1\xbe\xa9, and more of it")
	set := charset.Lookup("gbk")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		set.Text(text)
	}
}

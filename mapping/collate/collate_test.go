package collate_test

import (
	"slices"
	"testing"

	"canalgo/mapping/collate"
)

func lookup(t *testing.T, name string) *collate.Collation {
	t.Helper()
	c, ok := collate.Lookup(name)
	if !ok {
		t.Fatalf("%s is not handled", name)
	}
	return c
}

// The expected orders are a MySQL 9.7 server's.
func TestOrder(t *testing.T) {
	tests := []struct {
		collation, a, b string
		want            int
	}{
		{"utf8mb4_bin", "a", "A", 1},
		{"utf8mb4_bin", "a ", "a", 0},
		{"utf8mb4_bin", "a\t", "a", -1},
		{"utf8mb4_bin", "a", "a\t", 1},
		{"utf8mb4_bin", "中", "😀", -1},
		{"utf8mb4_0900_bin", "a ", "a", 1},
		{"utf8mb4_0900_ai_ci", "É", "e", 0},
		{"utf8mb4_0900_ai_ci", "a ", "a", 1},
		{"utf8mb4_0900_ai_ci", "a", "a ", -1},
		{"utf8mb4_0900_ai_ci", "ß", "SS", 0},
		{"utf8mb4_0900_ai_ci", "a\x01", "a", 0},
		{"utf8mb4_0900_ai_ci", "e\u0301", "E", 0},
		{"utf8mb4_0900_ai_ci", "-", "0", -1},
		{"utf8mb4_0900_ai_ci", "\uf900", "\u8c48", 0},
		{"utf8mb4_0900_ai_ci", "\u8c48", "\u8c49", -1},
		{"utf8mb4_0900_ai_ci", "각", "가", 1},
		{"utf8mb4_0900_ai_ci", "😀", "🎉", 1},
		{"utf8mb4_0900_ai_ci", "", "", 0},
		{"utf8mb4_unicode_ci", "a  ", "A", 0},
		{"utf8mb4_unicode_ci", "😀", "🎉", 0},
		{"utf8mb4_general_ci", "ß", "s", 0},
		{"utf8mb4_general_ci", "ß", "ss", -1},
		{"utf8mb4_general_ci", "_", "a", 1},
		{"utf8mb4_general_ci", "ä ", "A", 0},
		{"latin1_swedish_ci", "Y", "ü", 0},
		{"latin1_swedish_ci", "ä", "z", 1},
		{"latin1_bin", "€", "é", -1}, // 0x80 in latin1
		{"ascii_general_ci", "ABC ", "abc", 0},
	}
	for _, tt := range tests {
		if got := lookup(t, tt.collation).Order(tt.b)(tt.a); got != tt.want {
			t.Errorf("%s: %q against %q: got %d, want %d", tt.collation, tt.a, tt.b, got, tt.want)
		}
	}
}

func TestPattern(t *testing.T) {
	tests := []struct {
		collation, s, pattern string
		escape                byte
		want                  bool
	}{
		{"utf8mb4_bin", "abc", "abc", '\\', true},
		{"utf8mb4_bin", "abc", "ABC", '\\', false},
		{"utf8mb4_bin", "abc", "a%", '\\', true},
		{"utf8mb4_bin", "abc", "%c", '\\', true},
		{"utf8mb4_bin", "abc", "%b", '\\', false},
		{"utf8mb4_bin", "abcbd", "%b_", '\\', true},
		{"utf8mb4_bin", "中文", "__", '\\', true},
		{"utf8mb4_bin", "", "%%", '\\', true},
		{"utf8mb4_bin", "", "_", '\\', false},
		{"utf8mb4_bin", "a ", "a", '\\', false},
		{"utf8mb4_bin", "a%", `a\%`, '\\', true},
		{"utf8mb4_bin", "ab", `a\%`, '\\', false},
		{"utf8mb4_bin", "a_", "a|_", '|', true},
		{"utf8mb4_bin", `a\`, `a\`, '\\', true},
		{"utf8mb4_bin", `a\x`, `a\%`, 0, true},
		{"utf8mb4_0900_ai_ci", "Éa", "e%", '\\', true},
		{"utf8mb4_0900_ai_ci", "ß", "ss", '\\', false},
		{"utf8mb4_unicode_ci", "😀", "🎉", '\\', false},
		{"utf8mb4_general_ci", "😀", "🎉", '\\', true},
	}
	for _, tt := range tests {
		if got := lookup(t, tt.collation).Pattern(tt.pattern, tt.escape)(tt.s); got != tt.want {
			t.Errorf("%s: %q like %q: got %v, want %v", tt.collation, tt.s, tt.pattern, got, tt.want)
		}
	}
}

func TestHolds(t *testing.T) {
	tests := []struct {
		collation, s string
		want         bool
	}{
		{"utf8mb4_bin", "😀", true}, {"utf8mb4_bin", "\xff", false},
		{"utf8mb3_bin", "中", true}, {"utf8mb3_bin", "😀", false},
		{"latin1_swedish_ci", "€ÿ", true}, {"latin1_swedish_ci", "中", false},
		{"ascii_bin", "a", true}, {"ascii_bin", "é", false},
	}
	for _, tt := range tests {
		if got := lookup(t, tt.collation).Holds(tt.s); got != tt.want {
			t.Errorf("%s holds %q: got %v, want %v", tt.collation, tt.s, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	names := collate.Names()
	if !slices.IsSorted(names) || !slices.Contains(names, "utf8mb4_0900_ai_ci") {
		t.Errorf("got %v", names)
	}
	if _, ok := collate.Lookup("utf8mb4_0900_as_cs"); ok {
		t.Error("utf8mb4_0900_as_cs has further levels and must not be handled")
	}
}

func BenchmarkOrder(b *testing.B) {
	c, _ := collate.Lookup("utf8mb4_0900_ai_ci")
	order := c.Order("some name of a user")
	b.ReportAllocs()
	for b.Loop() {
		if order("Some Name of a User") != 0 {
			b.Fatal("not equal")
		}
	}
}

package packed_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"canalgo/packed"
)

func TestNumbersComeBack(t *testing.T) {
	var data []byte
	for _, n := range []int64{0, 1, -1, 127, 128, -300, math.MaxInt64, math.MinInt64} {
		data = binary.AppendUvarint(binary.AppendVarint(data, n), uint64(n))
	}
	name := filepath.Join(t.TempDir(), "numbers.bin")
	if err := packed.WriteFile(name, data); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := packed.NewReader("numbers.bin", file)
	for _, n := range []int64{0, 1, -1, 127, 128, -300, math.MaxInt64, math.MinInt64} {
		if v, u := r.Varint(), r.Uvarint(); v != n || u != uint64(n) {
			t.Errorf("got %d and %d, want %d", v, u, n)
		}
	}
}

func TestADamagedFileIsNamed(t *testing.T) {
	defer func() {
		if text, ok := recover().(string); !ok || text[:len("numbers.bin: ")] != "numbers.bin: " {
			t.Errorf("panicked with %q", text)
		}
	}()
	packed.NewReader("numbers.bin", []byte("not compressed"))
	t.Error("it was read")
}

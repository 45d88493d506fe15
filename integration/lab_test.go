//go:build integration

package integration_test

import (
	"testing"
	"time"

	"canalgo/integration/lab"
)

// TestRandomSchedules plays three random schedules on real processes. make soak plays many more; one that failed there once belongs
// here.
func TestRandomSchedules(t *testing.T) {
	l, err := lab.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, seed := range []uint64{2, 4, 15} {
		s := lab.Random(seed, 6*time.Second)
		o, err := l.Play(t.Context(), s)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if o.Rows == 0 || len(o.Faults) < 3 {
			t.Errorf("seed %d: %d rows changed and %d kinds of faults were made: this shows nothing", seed, o.Rows, len(o.Faults))
		}
		for _, v := range o.Violations {
			t.Errorf("seed %d: %s\n%s", seed, v, s)
		}
		t.Logf("seed %d: %v, %d rows, all was written %s after the last was healed", seed, o.Faults, o.Rows, o.Equal.Round(time.Millisecond))
	}
}

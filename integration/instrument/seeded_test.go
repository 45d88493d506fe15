//go:build integration

package instrument_test

import (
	"maps"
	"slices"
	"testing"

	"canalgo/integration/instrument"
)

// Each seeded bug is caught by the tests that its file names, which pass without it.
func TestSeededBugs(t *testing.T) {
	bugs, err := instrument.Bugs()
	if err != nil {
		t.Fatal(err)
	}
	sound := make(map[instrument.Tests]bool)
	for _, name := range slices.Sorted(maps.Keys(bugs)) {
		t.Run(name, func(t *testing.T) {
			for _, tests := range bugs[name].Caught {
				if !sound[tests] {
					if out, passed := run(t, tests); !passed {
						t.Fatalf("%s %s fails without any bug:\n%s", tests.Package, tests.Run, out)
					}
					sound[tests] = true
				}
				if _, passed := run(t, tests, "CANALGO_BUG="+name); passed {
					t.Errorf("%s %s does not see it: %s", tests.Package, tests.Run, bugs[name].What)
				}
			}
		})
	}
}

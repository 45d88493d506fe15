// Package seeded says which of the bugs that are in an instrumented build on purpose are switched on. Nothing else imports it: a
// plain build has none of them.
package seeded

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

var on = make(map[string]bool)

func init() {
	for name := range strings.SplitSeq(os.Getenv("CANALGO_BUG"), ",") {
		if name == "" {
			continue
		}
		if !slices.Contains(names, name) {
			fmt.Fprintf(os.Stderr, "CANALGO_BUG: no bug is named %q, there are %s\n", name, strings.Join(names, ", "))
			os.Exit(2)
		}
		on[name] = true
	}
}

// On reports whether CANALGO_BUG, names with commas between, switches a bug on.
func On(name string) bool { return on[name] }

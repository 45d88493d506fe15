//go:build integration

package integration_test

import (
	"flag"
	"fmt"
	"testing"
)

// soak makes the scenarios of the cluster as long as make soak wants them. make test plays the same ones, shorter.
var soak = flag.Bool("soak", false, "play the cluster's scenarios as often as make soak does")

// often is how often something is done: a few times in make test, more in make soak.
func often(inTest, inSoak int) int {
	if *soak {
		return inSoak
	}
	return inTest
}

// played is what the scenarios did, for the end of make soak.
var played []string

func play(t *testing.T, format string, args ...any) {
	result := "passed"
	if t.Failed() {
		result = "FAILED"
	}
	line := fmt.Sprintf("soak %s %s: %s", t.Name(), result, fmt.Sprintf(format, args...))
	t.Log(line)
	played = append(played, line)
}

func printPlayed() {
	if !*soak {
		return
	}
	for _, line := range played {
		fmt.Println(line)
	}
}

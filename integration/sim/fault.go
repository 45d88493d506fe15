package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Fault is something that goes wrong for a while.
type Fault struct {
	At, For time.Duration
	Kind    string
	Target  string // a node, "leader", a destination, ...; "-" for none
}

// String prints a fault as one line, which ParseSchedule reads.
func (f Fault) String() string { return fmt.Sprintf("%s %s %s %s", f.At, f.For, f.Kind, f.Target) }

// ParseSchedule reads faults, one a line.
func ParseSchedule(text string) ([]Fault, error) {
	var out []Fault
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 4 {
			return nil, fmt.Errorf("fault %q: want AT FOR KIND TARGET", line)
		}
		at, err := time.ParseDuration(words[0])
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", line, err)
		}
		length, err := time.ParseDuration(words[1])
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", line, err)
		}
		if _, ok := kinds[words[2]]; !ok {
			return nil, fmt.Errorf("fault %q: no such kind", line)
		}
		out = append(out, Fault{At: at, For: length, Kind: words[2], Target: words[3]})
	}
	return out, nil
}

// What a fault of a kind may be about.
const (
	ofNode = iota + 1
	ofSink
	ofMapping
	ofNothing
)

// A kind is what can go wrong, and how long it lasts at most.
type kind struct {
	of     int
	weight int
	most   time.Duration
	begin  func(*chaos, Fault) (end func())
}

// kinds are set in chaos.go.
var kinds map[string]kind

// Random returns a schedule of faults for a simulation of that length. Many overlap.
func Random(random *rand.Rand, nodes []string, length time.Duration) []Fault {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	var bag []string
	for _, name := range names {
		for range kinds[name].weight {
			bag = append(bag, name)
		}
	}
	var out []Fault
	at := 20 * time.Second // a cluster is made first
	for {
		at += time.Duration(random.ExpFloat64() * float64(25*time.Second))
		if at > length-30*time.Second {
			return out
		}
		name := bag[random.IntN(len(bag))]
		k := kinds[name]
		f := Fault{At: at.Round(time.Millisecond), Kind: name, Target: "-"}
		f.For = time.Duration(random.Float64() * random.Float64() * float64(k.most)).Round(time.Millisecond) // most are short
		switch k.of {
		case ofNode:
			if f.Target = "leader"; random.IntN(2) == 0 {
				f.Target = nodes[random.IntN(len(nodes))]
			}
		case ofSink:
			f.Target = []string{"one", "two"}[random.IntN(2)]
		case ofMapping:
			f.Target = rules[random.IntN(len(rules))].name
		}
		out = append(out, f)
	}
}

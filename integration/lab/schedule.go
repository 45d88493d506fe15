package lab

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Schedule is a load of some length and the faults that happen meanwhile. It is written as a trace, one line a fault, and read
// from one.
type Schedule struct {
	Mode   Mode   // of the cluster
	Seed   uint64 // of the load, and of what the faults draw
	Load   time.Duration
	Events []Event // in the order of their starts
}

// A Mode says what coordinates a cluster.
type Mode string

// The modes.
const (
	Raft      Mode = "raft"
	ZooKeeper Mode = "zookeeper" // an ensemble of three
)

// An Event is one fault: it breaks something at Start, counted from the start of the load, and heals it Length later.
type Event struct {
	Start, Length time.Duration
	Fault         string // the name of a kind
	Target        Target // "" where the kind has no choice
}

// At returns the event at another start.
func At(start time.Duration, e Event) Event {
	e.Start = start
	return e
}

// For returns the event with another length.
func (e Event) For(length time.Duration) Event {
	e.Length = length
	return e
}

func (e Event) String() string {
	return strings.TrimSpace(fmt.Sprintf("%.2fs +%.2fs %s %s", e.Start.Seconds(), e.Length.Seconds(), e.Fault, e.Target))
}

// String is the trace.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d load %s mode %s\n", s.Seed, s.Load, s.Mode)
	for _, e := range s.Events {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// Parse reads a trace.
func Parse(trace string) (Schedule, error) {
	var s Schedule
	lines := bufio.NewScanner(strings.NewReader(trace))
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		var err error
		if strings.HasPrefix(text, "seed ") {
			s.Seed, s.Load, s.Mode, err = parseHead(text)
		} else {
			var e Event
			e, err = parseEvent(text)
			s.Events = append(s.Events, e)
		}
		if err != nil {
			return Schedule{}, fmt.Errorf("trace: line %d: %q: %w", number, text, err)
		}
	}
	if s.Load <= 0 {
		return Schedule{}, fmt.Errorf("trace: it must begin with: seed NUMBER load DURATION mode MODE")
	}
	return s, nil
}

func parseHead(text string) (seed uint64, load time.Duration, mode Mode, err error) {
	var length string
	if _, err = fmt.Sscanf(text, "seed %d load %s mode %s", &seed, &length, &mode); err != nil {
		return 0, 0, "", fmt.Errorf("want seed NUMBER load DURATION mode MODE: %w", err)
	}
	if mode != Raft && mode != ZooKeeper {
		return 0, 0, "", fmt.Errorf("want mode %s or %s, got %q", Raft, ZooKeeper, mode)
	}
	load, err = time.ParseDuration(length)
	return seed, load, mode, err
}

func parseEvent(text string) (Event, error) {
	words := strings.Fields(text)
	if len(words) < 3 || len(words) > 4 {
		return Event{}, fmt.Errorf("want START +LENGTH FAULT [TARGET]")
	}
	var e Event
	var err error
	if e.Start, err = time.ParseDuration(words[0]); err != nil {
		return Event{}, err
	}
	if e.Length, err = time.ParseDuration(strings.TrimPrefix(words[1], "+")); err != nil {
		return Event{}, err
	}
	e.Fault = words[2]
	k, ok := kindOf(e.Fault)
	if !ok {
		return Event{}, fmt.Errorf("there is no fault %q", e.Fault)
	}
	if len(words) == 4 {
		e.Target = Target(words[3])
	}
	if len(k.targets) == 0 && e.Target != "" || len(k.targets) > 0 && !slices.Contains(k.targets, e.Target) {
		return Event{}, fmt.Errorf("%s: the targets are %q", e.Fault, k.targets)
	}
	return e, nil
}

// Random draws a schedule: 7 to 15 faults that overlap.
func Random(m Mode, seed uint64, load time.Duration) Schedule {
	random := rand.New(rand.NewPCG(seed, 1))
	s := Schedule{Mode: m, Seed: seed, Load: load}
	all := kindsOf(m)
	var weights int
	for _, k := range all {
		weights += k.weight
	}
	for range 7 + random.IntN(9) {
		k := draw(all, random.IntN(weights))
		length := k.shortest + time.Duration(random.Int64N(int64(k.longest-k.shortest)+1))
		length = min(length, load*3/4)
		e := Event{Start: time.Duration(random.Int64N(int64(load - length))), Length: length, Fault: k.name}
		if len(k.targets) > 0 {
			e.Target = k.targets[random.IntN(len(k.targets))]
		}
		e.Start, e.Length = e.Start.Round(10*time.Millisecond), e.Length.Round(10*time.Millisecond) // as a trace says it
		s.Events = append(s.Events, e)
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(a.Start - b.Start) })
	return s
}

func draw(all []kind, n int) kind {
	for _, k := range all {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	panic("drawn beyond the last kind")
}

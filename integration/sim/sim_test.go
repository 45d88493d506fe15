package sim_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/integration/sim"
)

var (
	seeds    = flag.Int("seeds", 0, "how many simulations; 0 for as many as the hours need")
	seed     = flag.Uint64("seed", 1, "of the first simulation")
	hours    = flag.Float64("hours", 1, "how many hours are simulated in all")
	nodes    = flag.Int("nodes", 0, "of a cluster; 0 for one to three, by the seed")
	schedule = flag.String("schedule", "", "a file with the faults of one simulation, as one that failed has printed them")
)

// length is how long one simulation is, as long as the hours are not divided among -seeds.
const length = 40 * time.Minute

// sizes are of the clusters, by the seed.
var sizes = []int{1, 3, 2, 3, 3}

// TestRandom simulates clusters under random faults.
func TestRandom(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // time stands still while any goroutine runs: more of them at once only wait for each other
	total := time.Duration(*hours * float64(time.Hour))
	count, each := *seeds, length
	if count > 0 {
		each = total / time.Duration(count)
	} else {
		count = max(1, int(total/length))
	}
	var faults []sim.Fault
	if *schedule != "" {
		text, err := os.ReadFile(*schedule)
		if err != nil {
			t.Fatal(err)
		}
		if faults, err = sim.ParseSchedule(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	var simulated time.Duration
	began := time.Now()
	for i := range count {
		next := *seed + uint64(i)
		size := *nodes
		if size == 0 {
			size = sizes[next%uint64(len(sizes))]
		}
		r := simulate(t, sim.Plan{Seed: next, Nodes: size, Length: each, Load: next%2 == 0, Faults: faults, Folder: folder(t)})
		simulated += r.Took
		if len(r.Violations) > 0 {
			return
		}
	}
	t.Logf("%s simulated by %d seeds in %s", simulated.Round(time.Minute), count, time.Since(began).Round(time.Second))
}

// simulate runs one simulation and prints what is needed to run it again, if it fails.
func simulate(t *testing.T, p sim.Plan) (r sim.Report) {
	t.Helper()
	began := time.Now()
	// Outside of the bubble time goes on, also when something in it runs for ever.
	watchdog := time.AfterFunc(10*time.Minute, func() { panic(fmt.Sprintf("seed %d: no end is in sight", p.Seed)) })
	defer watchdog.Stop()
	synctest.Test(t, func(t *testing.T) { r = sim.Run(p) })
	if len(r.Violations) == 0 {
		t.Logf("%s; in %s", r, time.Since(began).Round(time.Millisecond))
		return r
	}
	t.Logf("the end of the trace:\n%s", r.Trace)
	t.Logf("the faults, for -schedule:\n%s", r.Plan.Schedule())
	for _, v := range r.Violations {
		t.Error(v)
	}
	t.Errorf("%s; run again with -seed %d -seeds 1 -hours %.3f -nodes %d", r, p.Seed, p.Length.Hours(), p.Nodes)
	return r
}

// folder returns a folder in memory if there is such a place.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "canalgo-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestScheduleIsReadAsPrinted(t *testing.T) {
	p := sim.Plan{Faults: sim.Random(rand.New(rand.NewPCG(1, 1)), []string{"n1", "n2", "n3"}, time.Hour)}
	got, err := sim.ParseSchedule(p.Schedule())
	if err != nil || len(got) < 100 || !slices.Equal(got, p.Faults) {
		t.Errorf("%v: %d faults of %d", err, len(got), len(p.Faults))
	}
	for _, text := range []string{"1s 2s kill", "x 2s kill n1", "1s x kill n1", "1s 2s nothing n1"} {
		if _, err := sim.ParseSchedule(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

package oracle

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Metered answers /metrics; *harness.Node is one.
type Metered interface {
	Get(ctx context.Context, path string) ([]byte, error)
}

// A Bound is how much a metric may grow in an hour. What grows less than Slack in all is noise.
type Bound struct{ PerHour, Slack float64 }

// Bounds are what a node may grow by: generous ones, for runs of minutes.
var Bounds = map[string]Bound{
	"process_resident_memory_bytes": {PerHour: 64 << 20, Slack: 128 << 20},
	"go_goroutines":                 {PerHour: 30, Slack: 30},
	"process_open_fds":              {PerHour: 30, Slack: 30},
}

// A Growth watches the memory, goroutines and descriptors of a process while Run runs. A restart begins anew.
type Growth struct {
	Node   Metered
	Bounds map[string]Bound
	Every  time.Duration

	mu      sync.Mutex
	began   float64 // start time of the process that the samples are of
	samples []sample
}

type sample struct {
	at     time.Time
	values map[string]float64
}

// Run samples until ctx ends. A node that does not answer is asked again.
func (g *Growth) Run(ctx context.Context) error {
	tick := time.NewTicker(g.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		text, err := g.Node.Get(ctx, "/metrics")
		if err != nil {
			continue
		}
		if err := g.take(time.Now(), text); err != nil {
			return err
		}
	}
}

func (g *Growth) take(at time.Time, text []byte) error {
	values := make(map[string]float64)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		if _, wanted := g.Bounds[name]; !wanted && name != "process_start_time_seconds" {
			continue
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return fmt.Errorf("metric %s: %w", name, err)
		}
		values[name] = value
	}
	for name := range g.Bounds {
		if _, ok := values[name]; !ok {
			return fmt.Errorf("there is no metric %s", name)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if began := values["process_start_time_seconds"]; began != g.began {
		g.began, g.samples = began, nil
	}
	g.samples = append(g.samples, sample{at, values})
	return nil
}

// Err says what grew too fast since the first third of the samples, in which caches and buffers fill.
func (g *Growth) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	settled := g.samples[len(g.samples)/3:]
	if len(settled) < 10 {
		return fmt.Errorf("only %d samples", len(g.samples))
	}
	var grown []string
	for _, name := range slices.Sorted(maps.Keys(g.Bounds)) {
		slope := slope(settled, name) // an hour
		length := settled[len(settled)-1].at.Sub(settled[0].at).Hours()
		if bound := g.Bounds[name]; slope > bound.PerHour && slope*length > bound.Slack {
			grown = append(grown, fmt.Sprintf("%s grows by %.0f an hour, at most %.0f is allowed: from %.0f to %.0f", name, slope, bound.PerHour,
				settled[0].values[name], settled[len(settled)-1].values[name]))
		}
	}
	if len(grown) > 0 {
		return fmt.Errorf("%s", strings.Join(grown, "\n"))
	}
	return nil
}

// slope is how much a metric grows in an hour, by least squares.
func slope(samples []sample, name string) float64 {
	var sumX, sumY, sumXX, sumXY float64
	for _, s := range samples {
		x, y := s.at.Sub(samples[0].at).Hours(), s.values[name]
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	n := float64(len(samples))
	return (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
}

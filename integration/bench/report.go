package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// A report prints measurements as they come and keeps the final lines.
type report struct{ lines []string }

// note prints a measurement.
func (r *report) note(format string, args ...any) {
	fmt.Printf(time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

func (r *report) value(name string, number float64, unit string) {
	r.lines = append(r.lines, fmt.Sprintf("bench %s value %s %s", name, digits(number), unit))
}

func (r *report) ratio(name string, value float64) {
	r.lines = append(r.lines, fmt.Sprintf("bench %s ratio %.3f", name, value))
}

// print prints the final lines.
func (r *report) print() {
	for _, line := range r.lines {
		fmt.Println(line)
	}
}

// digits shows large numbers whole and small ones with three digits behind the point.
func digits(f float64) string {
	if f >= 1000 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'f', 3, 64)
}

// median returns the middle value, or the mean of the two in the middle; NaN of nothing.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the smallest value that p percent of all do not exceed; NaN of nothing.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// quotients divides pair by pair.
func quotients(values, by []float64) []float64 {
	out := make([]float64, len(values))
	for i := range values {
		out[i] = values[i] / by[i]
	}
	return out
}

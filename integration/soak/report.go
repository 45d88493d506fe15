package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"canalgo/integration/lab"
)

// Between these lines of the document stand the figures.
const (
	figuresBegin = "<!-- figures: made by `make reliability` from reliability.jsonl -->"
	figuresEnd   = "<!-- end of the figures -->"
)

// render puts the report's figures into a document.
func render(document string, records []lab.Record) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(text, []byte(figuresBegin+"\n"))
	_, after, ended := bytes.Cut(rest, []byte(figuresEnd))
	if !found || !ended {
		return fmt.Errorf("%s: the lines %q and %q must stand around the figures", document, figuresBegin, figuresEnd)
	}
	figures := fmt.Sprintf("%s\n%s%s", figuresBegin, figures(records), figuresEnd)
	return os.WriteFile(document, slices.Concat(before, []byte(figures), after), 0o644)
}

// figures is the report in words and tables.
func figures(records []lab.Record) string {
	var b strings.Builder
	var builds []string
	var schedules, kills, inFlight, items, repeats int
	var transactions, rows int64
	var whole, equal []int64
	faults, series := make(map[string]int), make(map[string][]lab.Record)
	var violations []string
	for _, r := range records {
		if !slices.Contains(builds, r.Build) {
			builds = append(builds, r.Build)
		}
		for _, v := range r.Violations {
			first, _, _ := strings.Cut(v, "\n")
			violations = append(violations, fmt.Sprintf("%s %d: %s", r.What, r.Seed, first))
		}
		if r.What != lab.Schedules {
			series[r.What] = append(series[r.What], r)
			continue
		}
		schedules++
		kills, inFlight, items, repeats = kills+r.Kills, inFlight+r.InFlight, items+r.Items, repeats+r.Repeats
		transactions, rows = transactions+r.Transactions, rows+r.Rows
		whole, equal = append(whole, r.WholeMS), append(equal, r.EqualMS)
		for kind, n := range r.Faults {
			faults[kind] += n
		}
	}
	fmt.Fprintf(&b, "\n%d random schedules, by %d builds of canalgo: %d transactions with %d changed rows became %d written items, of which Elasticsearch "+
		"refused or took as repeats %d. %d processes of canalgo were killed, %d of them with a write under way.\n", schedules, len(builds), transactions, rows, items, repeats, kills, inFlight)
	fmt.Fprintf(&b, "\n**Violations: %d.**\n", len(violations))
	for _, v := range violations {
		fmt.Fprintf(&b, "\n- %s", v)
	}
	if len(violations) > 0 {
		b.WriteString("\n")
	}
	if schedules > 0 {
		b.WriteString("\n| from the last healing | until all nodes worked | until all was written |\n|---|---|---|\n")
		for _, row := range histogram(whole, equal) {
			b.WriteString(row)
		}
		fmt.Fprintf(&b, "| p50, p99, max | %s | %s |\n", percentiles(whole), percentiles(equal))
	}
	for _, what := range []string{lab.Kills, lab.Cuts, lab.CutsUnversioned} {
		var times []int64
		late := 0
		for _, r := range series[what] {
			times, late = append(times, r.TimesMS...), late+r.Late
		}
		if len(times) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%d %s: a row that was inserted after it had arrived after %s (p50, p99, max)", len(times), what, percentiles(times))
		if what != lab.Kills {
			fmt.Fprintf(&b, "; requests begun by the old leader after its lease: %d", late)
		}
		b.WriteString(".\n")
	}
	b.WriteString("\n| fault | rows of the matrix | made |\n|---|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "| %s | %s | %d |\n", kind, lab.MatrixRows(kind), faults[kind])
	}
	b.WriteString("\n")
	return b.String()
}

// histogram counts two rows of times, in ms, by powers of two of a quarter second.
func histogram(a, b []int64) []string {
	var rows []string
	for from, to := int64(0), int64(250); from <= max(slices.Max(a), slices.Max(b)); from, to = to, 2*to {
		count := func(times []int64) (n int) {
			for _, t := range times {
				if t >= from && t < to {
					n++
				}
			}
			return n
		}
		rows = append(rows, fmt.Sprintf("| %s to %s | %d | %d |\n", seconds(from), seconds(to), count(a), count(b)))
	}
	return rows
}

func percentiles(times []int64) string {
	sorted := slices.Sorted(slices.Values(times))
	at := func(p int) string { return seconds(sorted[(len(sorted)*p+99)/100-1]) }
	return fmt.Sprintf("%s, %s, %s", at(50), at(99), at(100))
}

func seconds(ms int64) string {
	return fmt.Sprintf("%.2f s", (time.Duration(ms) * time.Millisecond).Seconds())
}

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
	of := make(map[string][]lab.Record)
	for _, r := range records {
		of[r.What] = append(of[r.What], r)
	}
	var b strings.Builder
	writeSchedules(&b, of[lab.Schedules])
	for _, what := range []string{lab.Kills, lab.Cuts, lab.CutsUnversioned} {
		writeTimes(&b, what, of[what])
	}
	if all := of[lab.WithZooKeeper]; len(all) > 0 {
		b.WriteString("\n### In ZooKeeper mode\n")
		writeSchedules(&b, all)
	}
	b.WriteString("\n")
	return b.String()
}

// writeSchedules says what came of random schedules.
func writeSchedules(b *strings.Builder, records []lab.Record) {
	if len(records) == 0 {
		return
	}
	var builds []string
	var sum lab.Record
	var whole, equal []int64
	faults := make(map[string]int)
	for _, r := range records {
		if !slices.Contains(builds, r.Build) {
			builds = append(builds, r.Build)
		}
		sum.Kills, sum.InFlight, sum.Items, sum.Repeats = sum.Kills+r.Kills, sum.InFlight+r.InFlight, sum.Items+r.Items, sum.Repeats+r.Repeats
		sum.Transactions, sum.Rows = sum.Transactions+r.Transactions, sum.Rows+r.Rows
		whole, equal = append(whole, r.WholeMS), append(equal, r.EqualMS)
		for kind, n := range r.Faults {
			faults[kind] += n
		}
	}
	fmt.Fprintf(b, "\n%d random schedules, by %d builds of canalgo: %d transactions with %d changed rows became %d written items, of which Elasticsearch "+
		"refused or took as repeats %d. %d processes of canalgo were killed, %d of them with a write under way.\n", len(records), len(builds), sum.Transactions, sum.Rows,
		sum.Items, sum.Repeats, sum.Kills, sum.InFlight)
	writeViolations(b, records)
	b.WriteString("\n| from the last healing | until all nodes worked | until all was written |\n|---|---|---|\n")
	for _, row := range histogram(whole, equal) {
		b.WriteString(row)
	}
	fmt.Fprintf(b, "| p50, p99, max | %s | %s |\n", percentiles(whole), percentiles(equal))
	b.WriteString("\n| fault | rows of the matrix | made |\n|---|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(b, "| %s | %s | %d |\n", kind, lab.MatrixRows(kind), faults[kind])
	}
}

func writeViolations(b *strings.Builder, records []lab.Record) {
	var all []string
	clean := 0 // schedules since the last one
	for _, r := range records {
		clean++
		for _, v := range r.Violations {
			first, _, _ := strings.Cut(v, "\n")
			all = append(all, fmt.Sprintf("\n- %s %d: %s", r.What, r.Seed, first))
			clean = 0
		}
	}
	fmt.Fprintf(b, "\n**Violations: %d.** The last %d had none.\n", len(all), clean)
	for _, v := range all {
		b.WriteString(v)
	}
	if len(all) > 0 {
		b.WriteString("\n")
	}
}

// writeTimes says how long the new leader took.
func writeTimes(b *strings.Builder, what string, records []lab.Record) {
	var times []int64
	late := 0
	for _, r := range records {
		times, late = append(times, r.TimesMS...), late+r.Late
	}
	if len(times) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%d %s: a row that was inserted after it had arrived after %s (p50, p99, max)", len(times), what, percentiles(times))
	if what != lab.Kills {
		fmt.Fprintf(b, "; requests begun by the old leader after its lease: %d", late)
	}
	b.WriteString(".\n")
	if slices.ContainsFunc(records, func(r lab.Record) bool { return len(r.Violations) > 0 }) {
		writeViolations(b, records)
	}
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

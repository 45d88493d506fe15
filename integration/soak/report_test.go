package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"canalgo/integration/lab"
)

func TestRender(t *testing.T) {
	document := filepath.Join(t.TempDir(), "reliability.md")
	if err := os.WriteFile(document, []byte("before\n"+figuresBegin+"\nold\n"+figuresEnd+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	records := []lab.Record{
		{What: lab.Schedules, Build: "a", Seed: 1, Faults: map[string]int{"kill": 2}, Kills: 2, InFlight: 1, Rows: 10, Items: 20, Repeats: 3, WholeMS: 100, EqualMS: 900},
		{What: lab.Schedules, Build: "b", Seed: 2, Faults: map[string]int{"kill": 1, "cut": 4}, Kills: 1, WholeMS: 300, EqualMS: 400, Violations: []string{"lost\nmore"}},
		{What: lab.WithZooKeeper, Build: "b", Seed: 3, Faults: map[string]int{"keeper-cut": 5}, Kills: 7, WholeMS: 5000, EqualMS: 6000},
		{What: lab.Cuts, Build: "b", TimesMS: []int64{1000, 3000}, Late: 1},
	}
	if err := render(document, records); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for _, want := range []string{"before\n", "\nafter\n", "2 random schedules, by 2 builds", "3 processes of canalgo were killed, 1 of them", "**Violations: 1.** The last 0 had none.", "### In ZooKeeper mode\n\n1 random schedules, by 1 builds", "7 processes", "**Violations: 0.** The last 1 had none.", "| keeper-cut | F100 F101 | 5 |", "- schedule 2: lost\n",
		"| kill | F1 F5 | 3 |", "| cut | F18 F19 | 4 |", "| 0.00 s to 0.25 s | 1 | 0 |", "| 0.25 s to 0.50 s | 1 | 1 |", "| 0.50 s to 1.00 s | 0 | 1 |",
		"2 cuts of the leader: a row that was inserted after it had arrived after 1.00 s, 3.00 s, 3.00 s (p50, p99, max); requests begun by the old leader after its lease: 1."} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "old\n") {
		t.Error("the old figures are still there")
	}
}

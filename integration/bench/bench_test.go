package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

func TestStatistics(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"median of three", median([]float64{9, 1, 5}), 5},
		{"median of four", median([]float64{9, 1, 5, 6}), 5.5},
		{"p50", percentile(hundred, 50), 50},
		{"p99", percentile(hundred, 99), 99},
		{"p100", percentile(hundred, 100), 100},
		{"p99 of one", percentile([]float64{3}, 99), 3},
		{"quotient", quotients([]float64{1, 6}, []float64{2, 3})[1], 2},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(percentile(nil, 50)) {
		t.Error("nothing has a median")
	}
}

func TestFinalLines(t *testing.T) {
	var r report
	r.value("es_ceiling", 65432.1, "docs/s")
	r.value("ready", 0.4567, "s")
	r.ratio("es_sync", 0.85)
	want := "bench es_ceiling value 65432 docs/s\nbench ready value 0.457 s\nbench es_sync ratio 0.850"
	if got := strings.Join(r.lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestUserDocument holds the two forms of a row against each other.
func TestUserDocument(t *testing.T) {
	w := user("user")
	for _, id := range []int{0, 1, 9, 12345, 600_000, 12_345_678, 123_456_789} {
		var d struct {
			Name, Email, Created, Note string
			Age                        int
		}
		if err := json.Unmarshal(w.document(nil, id), &d); err != nil {
			t.Fatalf("document %d: %v", id, err)
		}
		got := string(w.values(nil, id))
		want := fmt.Sprintf("%d,'%s',%d,'%s','%s','%s'", id, d.Name, d.Age, d.Email, strings.ReplaceAll(d.Created, "T", " "), d.Note)
		if got != want {
			t.Errorf("row %s\nis not document %s", got, want)
		}
	}
}

func TestWideHasThirtyColumns(t *testing.T) {
	w := wide()
	for what, n := range map[string]int{
		"columns": strings.Count(strings.ReplaceAll(w.columns, "(12,2)", ""), ",") + 1,
		"names":   strings.Count(w.sql, ",") + 1,
		"values":  strings.Count(string(w.values(nil, 7)), ",") + 1,
	} {
		if n != 30 {
			t.Errorf("%d %s, want 30", n, what)
		}
	}
	if s := string(w.values(nil, 7)); strings.Contains(s, "%") {
		t.Errorf("values %s", s)
	}
}

func TestProcess(t *testing.T) {
	before := ownCPU()
	for ownCPU()-before < 30*time.Millisecond {
		for range 100_000 {
		}
	}
	cpu, err := cpuOf(os.Getpid())
	if own := ownCPU(); err != nil || cpu < 20*time.Millisecond || cpu > own+2*clockTick {
		t.Errorf("cpu %s, %v; getrusage says %s", cpu, err, own)
	}
	if rss, err := peakRSS(os.Getpid()); err != nil || rss < 1<<20 || rss > 1<<30 {
		t.Errorf("rss %d, %v", rss, err)
	}
	if _, err := cpuOf(-1); err == nil {
		t.Error("no such process has a CPU time")
	}
}

package oracle

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	for name, c := range map[string]struct {
		value func(minute int) int
		want  string
	}{
		"level":             {func(m int) int { return 100 + m%7 }, ""},
		"fills, then level": {func(m int) int { return min(100+20*m, 400) }, ""},
		"little":            {func(m int) int { return 100 + m/4 }, ""},
		"leaks":             {func(m int) int { return 100 + 2*m }, "go_goroutines grows by 120 an hour, at most 30 is allowed: from 140 to 218"},
	} {
		g := &Growth{Bounds: map[string]Bound{"go_goroutines": Bounds["go_goroutines"]}}
		at := time.Unix(0, 0)
		for m := range 60 {
			if err := g.take(at.Add(time.Duration(m)*time.Minute), fmt.Appendf(nil, "# HELP x\ngo_goroutines %d\nother 7\nprocess_start_time_seconds 1.7e+09\n", c.value(m))); err != nil {
				t.Fatal(err)
			}
		}
		err := g.Err()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestGrowthBeginsAnewWithTheProcess(t *testing.T) {
	g := &Growth{Bounds: map[string]Bound{"go_goroutines": Bounds["go_goroutines"]}}
	for m := range 40 {
		text := fmt.Appendf(nil, "go_goroutines %d\nprocess_start_time_seconds %d\n", 100+1000*(m/20), m/20)
		if err := g.take(time.Unix(int64(60*m), 0), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Err(); err != nil {
		t.Errorf("a restart was taken for growth: %v", err)
	}
	if err := g.take(time.Now(), []byte("go_threads 1\n")); err == nil {
		t.Error("a metric that is gone is not missed")
	}
	if err := (&Growth{}).Err(); err == nil {
		t.Error("nothing was seen, and all is well")
	}
}

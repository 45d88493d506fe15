package lab_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"canalgo/integration/lab"
)

func TestTraceIsTheSchedule(t *testing.T) {
	for seed := range uint64(200) {
		want := lab.Random([]lab.Mode{lab.Raft, lab.ZooKeeper}[seed%2], seed, 8*time.Second)
		got, err := lab.Parse("# a note\n\n" + want.String())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: %v\n%s\nbecame\n%s", seed, err, want, got)
		}
	}
}

func TestRandomSchedules(t *testing.T) {
	for _, mode := range []lab.Mode{lab.Raft, lab.ZooKeeper} {
		randomSchedules(t, mode)
	}
}

func randomSchedules(t *testing.T, mode lab.Mode) {
	kinds := make(map[string]bool)
	for seed := range uint64(300) {
		s := lab.Random(mode, seed, 8*time.Second)
		if n := len(s.Events); n < 7 || n > 15 {
			t.Errorf("seed %d: %d faults", seed, n)
		}
		for i, e := range s.Events {
			kinds[e.Fault] = true
			if e.Start < 0 || e.Length <= 0 || e.Start+e.Length > s.Load+10*time.Millisecond || i > 0 && e.Start < s.Events[i-1].Start {
				t.Errorf("seed %d: %s", seed, e)
			}
		}
	}
	for _, k := range lab.Kinds(mode) {
		if !kinds[k] {
			t.Errorf("%s: %s is never drawn", mode, k)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for trace, want := range map[string]string{
		"1s +1s kill leader":                                "must begin with",
		"seed 1 load 8s mode raft\n1s +1s kil leader":       `line 2: "1s +1s kil leader": there is no fault "kil"`,
		"seed 1 load 8s mode raft\n1s +1s kill":             "the targets are",
		"seed 1 load 8s mode raft\n1s +1s kill nobody":      "the targets are",
		"seed 1 load 8s mode raft\n1s +1s kill-all leader":  "the targets are",
		"seed 1 load 8s mode raft\n1 +1s kill leader":       "missing unit",
		"seed 1 load 8s mode raft\n1s kill":                 "want START +LENGTH FAULT",
		"seed one load 8s":                                  "want seed NUMBER load DURATION",
		"seed 1 load eight mode raft":                       "invalid duration",
		"seed 1 load 8s mode none":                          "want mode raft or zookeeper",
		"seed 1 load 8s mode raft\n1s +1s kill leader soon": "want START",
	} {
		if _, err := lab.Parse(trace); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", trace, err, want)
		}
	}
}

func TestSentence(t *testing.T) {
	if got, want := lab.At(2*time.Second, lab.Kill(lab.Leader).For(1500*time.Millisecond)).String(), "2.00s +1.50s kill leader"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

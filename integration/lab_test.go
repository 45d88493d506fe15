//go:build integration

package integration_test

import (
	"testing"
	"time"

	"canalgo/integration/lab"
)

// TestSchedules plays rows of the fault matrix one by one, and three random schedules, on real processes. make soak plays many more; one
// that failed there once belongs here.
func TestSchedules(t *testing.T) {
	l, err := lab.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	schedules := []struct {
		name string // the rows of the matrix
		lab.Schedule
	}{
		{"F1 F3", parse(t, "seed 1 load 5s mode raft\n 0.5s +1s kill-mid-write worker\n 3.5s +1s kill leader")},
		{"F8 F9", parse(t, "seed 2 load 6s mode raft\n 0.5s +3s pause leader\n 2s +3s pause worker")},
		{"F19", parse(t, "seed 3 load 6s mode raft\n 1s +4s cut leader")},
		{"F30", parse(t, "seed 4 load 5s mode raft\n 0.5s +4s peer-resets\n 1s +3s mysql-resets")},
		{"F51", parse(t, "seed 5 load 5s mode raft\n 0.5s +4s dump-kills")},
		{"F75 F78", parse(t, "seed 6 load 5s mode raft\n 0.5s +4s elastic-item-faults")},
		{"F77", parse(t, "seed 7 load 5s mode raft\n 0.5s +4s elastic-answers-lost")},
		{"random 2", lab.Random(lab.Raft, 2, 6*time.Second)},
		{"random 4", lab.Random(lab.Raft, 4, 6*time.Second)},
		{"random 15", lab.Random(lab.Raft, 15, 6*time.Second)},
		{"F97 F99", parse(t, "seed 8 load 6s mode zookeeper\n 0.5s +2s keeper-kill\n 1s +1s kill-mid-write leader\n 3s +2s keeper-freeze")},
		{"random 3 with ZooKeeper", lab.Random(lab.ZooKeeper, 3, 6*time.Second)},
	}
	for _, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			o, err := l.Play(t.Context(), s.Schedule)
			if err != nil {
				t.Fatal(err)
			}
			made := 0
			for _, n := range o.Faults {
				made += n
			}
			if o.Rows == 0 || made < min(len(s.Events), 2) {
				t.Errorf("%d rows changed and %d faults were made, %v: this shows nothing", o.Rows, made, o.Faults)
			}
			for _, v := range o.Violations {
				t.Errorf("%s\n%s", v, s)
			}
			t.Logf("%v, %d rows, %d kills, %d of them with a write under way, %d repeats, all was written %s after the last was healed", o.Faults, o.Rows, o.Kills, o.InFlight,
				o.Repeats, o.Equal.Round(time.Millisecond))
		})
	}
}

func parse(t *testing.T, trace string) lab.Schedule {
	t.Helper()
	s, err := lab.Parse(trace)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

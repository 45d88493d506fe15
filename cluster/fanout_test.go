package cluster_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"canalgo/cluster"
	"canalgo/event"
)

// of is a fan of the table called c.
func of(links ...string) cluster.Fan {
	f := cluster.Fan{Element: "c", Columns: []string{"id"}}
	for _, l := range links {
		f.Links = append(f.Links, []string{l})
	}
	return f
}

func put(f cluster.Fan, v event.Version) cluster.Command {
	return cluster.PutFanout{Duty: orders, Epoch: 1, Fan: f, Version: v}
}

func done(id uint64, second bool, at event.Version, key ...string) cluster.SaveFanout {
	return cluster.SaveFanout{Duty: orders, Epoch: 1, ID: id, Second: second, At: at, Key: key, Done: 10, Total: 30}
}

func end(c cluster.SaveFanout) cluster.SaveFanout {
	c.End = true
	return c
}

// shown lists the fan-outs as id, version, key, until and pass.
func shown(s cluster.State) []string {
	var out []string
	for _, f := range s.Duties[orders].Fanouts {
		pass := 1
		if f.Second {
			pass = 2
		}
		out = append(out, fmt.Sprintf("%d@%d %v-%v pass %d", f.ID, uint64(f.Version), f.Key, f.Until, pass))
	}
	return out
}

// TestFanouts goes through what can happen to a fan-out: the change comes again, the rows change again while it is under way in either
// pass, and another one comes beside it.
func TestFanouts(t *testing.T) {
	s := running(t)
	for i, step := range []struct {
		cmd  cluster.Command
		want []string
	}{
		{put(of("1", "2"), 10), []string{"1@10 []-[] pass 1"}},
		{done(1, false, 10, "5"), []string{"1@10 [5]-[] pass 1"}},
		{put(of("1", "2"), 10), []string{"1@10 [5]-[] pass 1"}}, // the stream was read again
		{put(of("1"), 9), []string{"1@10 [5]-[] pass 1"}},
		{done(1, false, 12, "8"), []string{"1@10 [8]-[] pass 1"}},
		{put(of("2"), 20), []string{"1@20 [8]-[8] pass 1"}},
		{put(of("3"), 21), []string{"1@20 [8]-[8] pass 1", "2@21 []-[] pass 1"}},
		{done(1, false, 20, "9"), []string{"1@20 [9]-[8] pass 1", "2@21 []-[] pass 1"}},
		{end(done(1, false, 20, "9")), []string{"1@20 []-[8] pass 2", "2@21 []-[] pass 1"}},
		{done(1, true, 22, "3"), []string{"1@20 [3]-[8] pass 2", "2@21 []-[] pass 1"}},
		{put(of("1"), 30), []string{"1@30 [3]-[3] pass 1", "2@21 []-[] pass 1"}},
		{end(done(1, false, 30)), []string{"1@30 []-[3] pass 2", "2@21 []-[] pass 1"}},
		{put(of("1"), 40), []string{"1@40 []-[] pass 1", "2@21 []-[] pass 1"}},
		{end(done(1, false, 40)), []string{"2@21 []-[] pass 1"}},
		{put(cluster.Fan{}, 50), []string{"2@21 []-[] pass 1", "3@50 []-[] pass 1"}},
		{put(of("9"), 60), []string{"2@21 []-[] pass 1", "3@60 []-[] pass 1"}}, // all documents are there
		{end(done(2, false, 60)), []string{"3@60 []-[] pass 1"}},
		{end(done(3, false, 60)), nil},
	} {
		s = after(t, s, throughBytes(t, step.cmd))
		if got := shown(s); !slices.Equal(got, step.want) {
			t.Fatalf("step %d, %+v: got %v, want %v", i, step.cmd, got, step.want)
		}
		if got := throughSnapshot(t, s); !reflect.DeepEqual(shown(got), shown(s)) {
			t.Fatalf("step %d: restored %v", i, shown(got))
		}
	}
}

// TestFanoutsRefused refuses what does not count: documents read before the newest change, of another pass, or by a node that no longer
// has the duty.
func TestFanoutsRefused(t *testing.T) {
	s := after(t, running(t), put(of("1"), 10), done(1, false, 10, "5"), put(of("1"), 20))
	full := s
	for i := range cluster.MaxFanouts - 1 {
		full = after(t, full, put(of(fmt.Sprint("n", i)), 30))
	}
	late, load := done(1, false, 20, "6"), done(1, false, 20, "6")
	late.Epoch, load.Duty = 0, ordersLoad
	moved := put(of("1"), 50).(cluster.PutFanout)
	moved.Epoch = 2
	for name, c := range map[string]struct {
		state cluster.State
		cmd   cluster.Command
		want  error
	}{
		"read before the change":  {s, done(1, false, 19, "6"), cluster.ErrStale},
		"of the other pass":       {s, done(1, true, 20, "6"), cluster.ErrStale},
		"not there":               {s, done(2, false, 20, "6"), cluster.ErrStale},
		"of an earlier epoch":     {s, late, cluster.ErrStale},
		"of a load":               {s, load, cluster.ErrUnknown},
		"put in an epoch to come": {s, moved, cluster.ErrStale},
		"one too many":            {full, put(of("more"), 30), cluster.ErrInvalid},
	} {
		if next, err := c.state.Apply(c.cmd); !errors.Is(err, c.want) || next.Hash() != c.state.Hash() {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	after(t, full, put(of("1"), 40)) // one that is there takes it
}

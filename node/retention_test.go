package node_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster/memory"
	"canalgo/node"
)

// logs are binary logs of the given numbers, with nothing in them that is not read.
func logs(numbers ...int) []node.LogFile {
	var files []node.LogFile
	for _, n := range numbers {
		files = append(files, node.LogFile{Name: fmt.Sprintf("binlog.%06d", n)})
	}
	return files
}

// The server keeps a log for 10 minutes after it has ended it. What is needed stands in binlog.000001, because the mapping is paused.
func TestRetentionIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.files = logs(0, 1)
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "the stream", func() bool { return !n.View().Duties[stream].Position.IsZero() })
		w.commit("a")
		eventually(t, "a", has(w, "a"))
		if err := n.SetPaused(t.Context(), "mapping/user", true); err != nil {
			t.Fatal(err)
		}
		said := func() string { return strings.Join(n.Report(t.Context()).Problems, "\n") }
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			if got := said(); want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("problems %q, want %q", got, want)
			}
		}
		after(20*time.Minute, "") // it is the newest: the server keeps it
		if r := n.Report(t.Context()).Sources[0]; r.SecondsUntilPurge != nil || r.Needed != "" || r.FilesUntilPurge == nil || *r.FilesUntilPurge != 1 || r.RetentionSeconds == nil || *r.RetentionSeconds != 600 {
			t.Errorf("the newest log is needed: %+v", r)
		}

		w.set(func() { w.files = logs(0, 1, 2, 3) })
		after(4*time.Minute, "")
		after(2*time.Minute, "source shop needs binlog.000001, which the server deletes in 4m1s, of the 10m0s that it keeps one")
		after(2*time.Minute+10*time.Second, "source shop loses rows soon: it needs binlog.000001, and the server deletes that in 1m5")
	})
}

func TestPurgesByHandAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.files = logs(0, 1, 2)
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
		time.Sleep(time.Minute)
		if r := n.Report(t.Context()); !r.Healthy {
			t.Errorf("an old log is needed, and nobody deletes any: %q", r.Problems)
		}
		w.set(func() { w.files = logs(1, 2) })
		eventually(t, "a warning", func() bool {
			return strings.Contains(fmt.Sprint(n.Report(t.Context()).Problems), "source shop may lose rows: it needs binlog.000001, one of the server's two oldest logs")
		})
	})
}

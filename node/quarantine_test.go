package node_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"canalgo/cluster/memory"
	"canalgo/event"
	"canalgo/node"
	"canalgo/status"
)

// refuse sets which document the destination refuses.
func (w *world) setRefused(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = id
}

func asideIs(n *node.Node, want ...string) func() bool {
	return func() bool {
		var got []string
		for _, q := range n.Quarantine() {
			got = append(got, q.Document)
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	}
}

func TestLaterChangesOfASetAsideDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "bad"
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("bad", "good")
		eventually(t, "bad set aside", asideIs(n, "bad"))
		first := n.Quarantine()[0]

		w.commit("bad", "later")
		eventually(t, "later", has(w, "later"))
		eventually(t, "refused again", func() bool { q := n.Quarantine(); return len(q) == 1 && q[0].Version > first.Version })
		if q := n.Quarantine()[0]; q.ID != first.ID {
			t.Errorf("entry %d, then %d: want one entry for one document", first.ID, q.ID)
		}
		if d, _ := n.Report(t.Context()).Duty("shop/user"); d.Counters.SetAside != 2 || d.Quarantine != 1 {
			t.Errorf("counted %d refusals and %d documents, want 2 and 1", d.Counters.SetAside, d.Quarantine)
		}

		w.setRefused("")
		w.commit("other", "bad")
		eventually(t, "written, and no longer set aside", func() bool { return has(w, "bad")() && asideIs(n)() })
	})
}

func TestTruncateEmptiesTheQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "bad"
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("bad")
		eventually(t, "bad set aside", asideIs(n, "bad"))
		w.commit(truncate)
		eventually(t, "nothing set aside", asideIs(n))
	})
}

func TestFullQuarantineStopsTheMappingByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		var written []string
		for i := range 5 { // the limit is 4
			id := fmt.Sprint("bad", i)
			w.setRefused(id)
			w.commit(id)
			if i == 4 {
				break
			}
			written = append(written, id)
			eventually(t, id+" set aside", asideIs(n, written...))
			half := strings.Contains(fmt.Sprint(n.Report(t.Context()).Problems), "stops when more than 4")
			if want := i >= 1; half != want {
				t.Errorf("%d of 4 set aside: problem %v, want %v", i+1, half, want)
			}
		}
		stage := func() status.Duty { d, _ := n.Report(t.Context()).Duty("shop/user"); return d }
		eventually(t, "the mapping stops", func() bool { return stage().Stage == status.Stopped })
		for _, part := range []string{"4 documents of mapping user are set aside, at most 4", "bad4", "strict"} {
			if d := stage(); !strings.Contains(d.LastError, part) {
				t.Errorf("the error does not say %q: %s", part, d.LastError)
			}
		}
		w.commit("after")
		time.Sleep(30 * time.Second)
		if at := n.View().Duties[stream].Position.Offset; at != 4 || !asideIs(n, written...)() {
			t.Errorf("a mapping whose quarantine is full went on: position %d, set aside %v", at, n.Quarantine())
		}
		if _, err := n.DropQuarantine(t.Context(), []uint64{n.Quarantine()[0].ID}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it goes on where there is room", asideIs(n, "bad1", "bad2", "bad3", "bad4"))
		eventually(t, "and behind that", func() bool { return n.View().Duties[stream].Position.Offset == 6 })
	})
}

func TestRetryDoesNotForgetALaterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "bad"
		w.rows["bad"] = ""
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		w.commit("bad")
		eventually(t, "bad set aside", asideIs(n, "bad"))
		first := n.Quarantine()[0]
		w.setRefused("")
		// While the retry's write is on its way, a later change is refused.
		release := make(chan struct{})
		w.mu.Lock()
		w.blocked = release
		w.mu.Unlock()
		retried := make(chan error, 1)
		go func() {
			_, err := n.RetryQuarantine(t.Context(), []uint64{first.ID})
			retried <- err
		}()
		synctest.Wait()
		w.mu.Lock()
		w.blocked, w.refuse = nil, "bad"
		w.mu.Unlock()
		w.commit("bad")
		eventually(t, "refused again", func() bool { return n.Quarantine()[0].Version > first.Version })
		w.setRefused("")
		close(release)
		if err := <-retried; err == nil || !strings.Contains(err.Error(), "later change") {
			t.Errorf("retry: %v, want that a later change was refused", err)
		}
		if !asideIs(n, "bad")() {
			t.Error("the later refusal was forgotten")
		}
	})
}

// All data folders were put back from old copies: the index has versions of an epoch that nobody remembers.
func TestStateOlderThanTheIndexIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.rows["a"] = ""
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		epoch := n.View().Sources["shop"].Epoch
		w.set(func() { w.foreign = event.NewVersion(epoch+3, event.FirstCount) })
		w.commit("a")
		eventually(t, "a set aside", asideIs(n, "a"))
		if q := n.Quarantine()[0]; !strings.Contains(q.Reason, fmt.Sprintf("of epoch %d, and the source is in epoch %d: the data folders are older", epoch+3, epoch)) {
			t.Errorf("reason %q", q.Reason)
		}
		const want = "shop/user: 1 documents have versions of a later epoch than the source: the data folders are older than the index"
		if got := strings.Join(n.Report(t.Context()).Problems, "\n"); !strings.Contains(got, want) {
			t.Errorf("problems %q, want %q", got, want)
		}
		w.set(func() { w.foreign = 0 })
		if _, err := n.RetryQuarantine(t.Context(), []uint64{n.Quarantine()[0].ID}); err != nil {
			t.Fatal(err)
		}
		if now := n.View().Sources["shop"].Epoch; now <= epoch+3 {
			t.Errorf("epoch %d after the retry, want one above %d", now, epoch+3)
		}
		eventually(t, "health", func() bool { return n.Report(t.Context()).Healthy })
	})
}

// What is refused at once can be more than one command holds.
func TestManyLongRefusalsAreSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.aside, w.bulk, w.refuse = 1000, 64<<20, "*"
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "stream begins", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) > 0 })
		const size = 100 << 10 // of an id; 100 of them are in one write
		var ids []string
		for i := range 150 {
			ids = append(ids, fmt.Sprint(i, strings.Repeat("x", size)))
		}
		w.commit(ids...)
		eventually(t, "all set aside", func() bool { return len(n.Quarantine()) == len(ids) })
	})
}

// A row is found again by the names of its key, or not at all when the key is another one by now.
func TestRetryByAKeyThatHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = "bad"
		n, _ := start(t, w, memory.New("n1"), "")
		eventually(t, "the stream", stage(t, n, "shop/user", status.Idle))
		w.commit("bad")
		eventually(t, "an entry", func() bool { return len(n.Quarantine()) == 1 })
		region := event.Column{Name: "region", Type: event.Char}
		id := event.Column{Name: "id", Type: event.Char}
		w.set(func() {
			w.refuse, w.table = "", &event.Table{Name: table, Columns: []event.Column{id, region}, Key: []int{0, 1}}
		})
		if done, err := n.RetryQuarantine(t.Context(), []uint64{n.Quarantine()[0].ID}); done != 0 || err == nil || !strings.Contains(err.Error(), "canalgo load") {
			t.Errorf("retried %d, %v", done, err)
		}
		if len(n.Quarantine()) != 1 {
			t.Error("the entry is forgotten")
		}
	})
}
